"""What chapter 7 says of its stored runs holds in `benchmarks/image_likelihoods.json`."""

import json
from pathlib import Path

import nbformat
import pytest
import torch
from helpers import load

ROOT = Path(__file__).resolve().parents[2]
STORED = json.loads((ROOT / "benchmarks" / "image_likelihoods.json").read_text(encoding="utf-8"))
SEEDS = ("0", "1", "2")
TRAININGS = ("raw", "density", "floor", "logit", "8-bit")


def benchmark():
    return load("benchmarks/image_likelihoods")


def of(part, *keys):
    """The same entry of each seed; of [mean, standard error] the mean."""
    found = []
    for seed in SEEDS:
        entry = STORED[part][seed]
        for key in keys:
            entry = entry[key]
        found.append(entry[0] if isinstance(entry, list) else entry)
    return torch.tensor(found, dtype=torch.float64)


def test_every_part_was_run_for_three_seeds_by_the_script_that_is_here():
    script = benchmark()
    for part in script.PARTS:
        assert set(STORED[part]) == set(SEEDS)
    for seed in SEEDS:
        runs = STORED["matrix"][seed]
        assert set(runs) == {"real", *script.TRAININGS} and set(script.TRAININGS) == set(TRAININGS)
        epochs = {str(n) for n in script.EPOCHS[: 3 if seed == "0" else 2]}
        assert all(set(runs[name]) == epochs for name in TRAININGS)
        assert set(STORED["sigma"][seed]) == {f"{std:.3g}" for std in script.SIGMAS} | {"learned"}
        assert set(STORED["heads"][seed]) == set(script.HEADS)
        assert set(STORED["collapse"][seed]) == set(script.SITUATIONS)


@pytest.mark.parametrize("epochs", ["6", "30"])
def test_8_bits_lead_on_the_open_ruler_and_are_last_on_the_others(epochs):
    best = of("matrix", "8-bit", epochs, "opened")
    for name in TRAININGS[:-1]:
        assert (of("matrix", name, epochs, "opened") < best).all()
        for ruler in ("density", "closed"):
            assert (of("matrix", name, epochs, ruler) > of("matrix", "8-bit", epochs, ruler)).all()


@pytest.mark.parametrize("epochs", ["6", "30"])
def test_the_rulers_share_of_the_lead_is_between_a_half_and_four_fifths(epochs):
    best = of("matrix", "8-bit", epochs, "opened")
    for name in ("density", "floor", "logit"):
        own, opened = (of("matrix", name, epochs, ruler) for ruler in ("density", "opened"))
        assert 0.5 < ((opened - own) / (best - own)).mean() < 0.8


def test_jensens_inequality_costs_little_with_a_floor_and_tens_of_nats_without():
    gaps = {name: of("matrix", name, e, "jensen") for name in TRAININGS for e in ("6", "30")}
    assert gaps["floor"].max() < 0.05 and (gaps["logit"] > 10).all()
    assert of("matrix", "density", "6", "jensen").min() < 1 < 10 < gaps["density"].max()


def test_a_hundred_epochs_do_not_close_the_gap():
    late = {name: STORED["matrix"]["0"][name]["100"]["opened"][0] for name in TRAININGS}
    early = {name: STORED["matrix"]["0"][name]["30"]["opened"][0] for name in TRAININGS}
    assert sorted(late, key=late.get, reverse=True)[:3] == ["8-bit", "logit", "floor"]
    assert {name for name in TRAININGS if late[name] > early[name]} == {"floor", "logit"}


def test_only_8_bits_lead_on_nats_and_on_what_the_classifier_recognises():
    def order(measure):
        return sorted(TRAININGS, key=lambda name: measure(name).mean(), reverse=True)

    def own_ruler(name):
        return of("matrix", name, "30", "opened" if name == "8-bit" else "density")

    by_nats = order(own_ruler)
    encoded, prior = (order(lambda n, k=k: of("matrix", n, "30", k)) for k in ("encoded", "prior"))
    assert by_nats[0] == encoded[0] == prior[0] == "8-bit"
    assert by_nats[1] == "logit" == prior[-1] and by_nats[-1] == "floor" == encoded[1]
    for seed in SEEDS:
        assert STORED["matrix"][seed]["real"]["noise"][0] == 0


def test_a_wide_sigma_blurs_and_silences():
    keys = [key for key in STORED["sigma"]["0"] if key != "learned"]
    for what in ("kl", "sharpness"):
        values = torch.stack([of("sigma", key, what) for key in keys])
        assert (values.diff(dim=0)[2:] < 0).all() and (values[0] > 1.5 * values[-1]).all()
    from_prior = [of("sigma", key, "sharpness_prior").mean() for key in keys]
    assert keys[from_prior.index(max(from_prior))] == "0.4"
    active = torch.stack([of("sigma", key, "active") for key in keys])
    assert (active[:-1] == 20).all() and (active[-1] < 20).all()
    assert (of("sigma", "learned", "sigma") / of("sigma", "learned", "rms") - 1).abs().max() < 0.1
    plain, narrow = (of("sigma", key, "sharpness") for key in ("0.707", "0.05"))
    assert (plain < 2 / 3 * narrow).all() and (narrow < 0.5).all()


def test_the_learned_sigma_is_best_for_the_density_and_not_for_what_is_seen():
    def rescored(what):
        keys = STORED["sigma"]["0"]["learned"]["rescored"]
        return {key: of("sigma", "learned", "rescored", key, what).mean() for key in keys}

    by_density, by_bins = rescored("density"), rescored("opened")
    assert max(by_density, key=by_density.get) == "own"
    assert max(by_bins, key=by_bins.get) == "0.4" and 140 < by_bins["0.4"] - by_bins["own"] < 160
    trained = of("sigma", "0.4", "nats").mean()
    assert 0 < trained - by_bins["0.4"] < 0.1 * (trained - by_bins["own"])


def test_the_page_charges_the_kl_as_the_benchmark_does():
    notebook = nbformat.read(ROOT / "book" / "image_likelihoods.ipynb", as_version=4)
    (source,) = [cell.source for cell in notebook.cells if cell.source.startswith("def charged")]
    page = {}
    exec(source, page)
    text = (ROOT / "benchmarks" / "image_likelihoods.py").read_text(encoding="utf-8")
    assert "min(1.0, 2 * done) * kl.sum(1)" in source and "min(1.0, 2 * done) * kl.sum(1)" in text
    kl = torch.tensor([[0.1, 0.5], [0.2, 0.7]])
    assert page["charged"](kl, 0.1, "free bits").item() == pytest.approx(benchmark().FREE + 0.6)


def test_what_stands_for_the_spread_of_q_matters():
    assert of("heads", "softplus", "difference").abs().max() < 1
    for key in ("std", "std from 1"):
        assert (of("heads", key, "difference") < -20).all()
        assert all(0.3 < STORED["heads"][seed][key]["negative"] < 0.7 for seed in SEEDS)
    assert (of("heads", "variance", "steps_to_nan") == 0).all()


def test_cures_help_where_training_was_stuck_and_not_where_the_objective_asks_for_collapse():
    for gain in ("elbo_gain", "bound_gain"):
        assert (of("collapse", "deep", "free bits", gain) > 5).all()
        assert (of("collapse", "deep", "warm-up", gain) > 5).sum() == 2
    assert (
        of("collapse", "shallow", "none", "elbo") > of("collapse", "deep", "none", "elbo")
    ).all()
    weight = benchmark().SITUATIONS["mean slip"][1] - 1
    objective = {
        cure: of("collapse", "mean slip", cure, "elbo")
        - weight * of("collapse", "mean slip", cure, "kl")
        for cure in ("none", "warm-up", "free bits")
    }
    assert (objective["none"] - objective["warm-up"]).abs().max() < 10
    assert (objective["free bits"] < objective["none"] - 500).all()
    hidden = {
        name: (layers, epochs) for name, (layers, _, epochs) in benchmark().SITUATIONS.items()
    }
    assert hidden["mean slip"] == hidden["shallow"] and hidden["deep"][1] == hidden["shallow"][1]
