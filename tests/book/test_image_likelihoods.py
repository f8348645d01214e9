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
        fixed = {f"{std:.3g}" for std in script.SIGMAS}
        assert set(STORED["sigma"][seed]) == fixed | {"learned", "end"}
        assert set(STORED["sigma"][seed]["learned"]["rescored"]) == fixed | {"own", "rms"}
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


def test_jensens_inequality_costs_little_beside_what_the_outer_bins_give():
    for name in TRAININGS:
        for epochs in ("6", "30"):
            opened, closed, lost = (
                of("matrix", name, epochs, what) for what in ("opened", "closed", "jensen")
            )
            assert (lost / (opened - closed) < (0.15 if name == "logit" else 0.03)).all()


def test_a_hundred_epochs_do_not_close_the_gap():
    late = {name: STORED["matrix"]["0"][name]["100"]["opened"] for name in TRAININGS}

    def ahead(first, second):
        (more, error), (less, e) = late[first], late[second]
        return (more - less) / (error**2 + e**2) ** 0.5

    assert all(ahead("8-bit", name) > 4 for name in TRAININGS[:-1]) and ahead("logit", "floor") > 4


def test_what_70_more_epochs_changed_is_paired_and_told_by_its_error():
    runs = STORED["matrix"]["0"]
    for name in TRAININGS:
        early, late = (runs[name][epochs]["opened"][0] for epochs in ("30", "100"))
        gain, _ = runs[name]["100"]["change"]["mean"]
        assert gain == pytest.approx(late - early, abs=0.02)
    change = {name: runs[name]["100"]["change"] for name in TRAININGS}
    resolved = {name: c["mean"][0] / c["mean"][1] for name, c in change.items()}
    assert resolved["floor"] > 3 and resolved["logit"] > 3 and resolved["8-bit"] < -2.5
    for name in ("raw", "density"):  # most digits gain, and a few undo it
        assert abs(resolved[name]) < 2 and change[name]["median"] > 50
        assert change[name]["better"][0] > 0.85


def test_a_change_is_taken_digit_by_digit():
    script = benchmark()
    zero, more = torch.zeros(4), torch.tensor([1.0, 2.0, 3.0, -10.0])
    before, after = (script.pixels.Scores(zero, zero, value) for value in (zero + 5, more + 5))
    found = script.change(before, after)
    assert found["mean"][0] == -1 and found["median"] == 1 and found["better"][0] == 0.75


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
    keys = [key for key in STORED["sigma"]["0"] if key not in ("learned", "end")]
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


def test_a_learned_sigma_is_not_the_same_sigma_fixed_from_the_start():
    for what in ("prior", "sharpness_prior"):
        assert (of("sigma", "learned", what) > 1.3 * of("sigma", "end", what)).all()
    assert (of("sigma", "learned", "sigma") == of("sigma", "end", "sigma")).all()
    assert (of("sigma", "learned", "squares") < of("sigma", "end", "squares")).all()


def test_sharp_means_are_not_those_that_the_classifier_is_sure_of():
    for key in ("0.4", "0.707", "1"):
        more = of("sigma", key, "prior") - of("sigma", "learned", "prior")
        assert (more > 0).all() and more.mean() > 3 * 0.02 * (2 / 3) ** 0.5
    assert (of("sigma", "learned", "sharpness_prior") > of("sigma", "1", "sharpness_prior")).all()


def test_the_learned_sigma_still_narrows_towards_the_root():
    path = [of("sigma", "learned", "path", epochs) for epochs in ("10", "20", "30")]
    assert (path[0] > path[1]).all() and (path[1] > path[2]).all()
    assert torch.equal(path[2], of("sigma", "learned", "sigma"))
    assert (path[2] > of("sigma", "learned", "rms")).all()


def test_the_root_is_best_for_the_density_and_not_for_what_is_seen():
    def rescored(what):
        keys = STORED["sigma"]["0"]["learned"]["rescored"]
        return {key: of("sigma", "learned", "rescored", key, what).mean() for key in keys}

    by_density, by_bins = rescored("density"), rescored("opened")
    assert sorted(by_density, key=by_density.get)[-2:] == ["own", "rms"]
    assert max(by_bins, key=by_bins.get) == "0.4" and 140 < by_bins["0.4"] - by_bins["own"] < 160
    trained = of("sigma", "0.4", "nats").mean()
    assert 0 < trained - by_bins["0.4"] < 0.1 * (trained - by_bins["own"])
    for what, wanted in {
        "density_black": "0.1", "black": "1", "density_others": "0.2", "others": "0.2",
    }.items():  # fmt: skip
        part = rescored(what)
        assert max(part, key=part.get) == wanted
    kl = of("sigma", "learned", "kl").mean()
    parts = rescored("black"), rescored("others")
    for key, whole in by_bins.items():
        assert abs(parts[0][key] + parts[1][key] - kl - whole) < 0.01


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


def test_a_cure_ends_collapse_that_the_objective_does_not_ask_for():
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


def test_a_deep_training_goes_on_without_a_cure_and_free_bits_stay_ahead():
    runs = {
        cure: [of("longer", cure, epochs, "elbo") for epochs in ("30", "60", "90")]
        for cure in ("none", "free bits")
    }
    for cure, run in runs.items():
        assert (run[0] == of("collapse", "deep", cure, "elbo")).all()
        assert (run[1] - run[0] > 5).all() and (run[2] > run[1]).all()
    assert (runs["none"][1] > runs["free bits"][0]).tolist() == [True, False, True]
    assert runs["none"][2][1] < runs["free bits"][0][1]  # the second run has not passed by 90
    for seed in SEEDS:
        for entry in STORED["longer"][seed]["free bits"].values():
            gain, error = entry["elbo_gain"]
            assert gain > 5 and gain > 5 * error and entry["active"] == 20
