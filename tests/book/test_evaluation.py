"""Over-fitting, binarisation and published rows: what the page on evaluation reads."""

import json
import re
from pathlib import Path

import pytest
import torch
from helpers import load

from vae_core import VAE, Digits, binarize, elbo, importance_log_likelihood

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"


overfitting, binarisation = load("benchmarks/overfitting"), load("benchmarks/binarisation")
ROWS = json.loads((FOLDER / "likelihood.json").read_text(encoding="utf-8"))
NAMES = [f"{row['goal']}-{row['seed']}" for row in ROWS]


def tiny_images(gen):
    """Grey images of 784 pixels, not MNIST's."""
    return torch.rand(60, 784, generator=gen(0))


def test_a_score_is_the_bound_and_the_elbo_of_each_image(gen):
    model = VAE.mlp(3, (8,), "bernoulli", generator=gen(0)).requires_grad_(False)
    x = binarize(tiny_images(gen), gen(1))
    scores = overfitting.score(model, x, samples=7, draws=5)
    a, b = gen(2), gen(4)
    for first in (0, 20, 40):
        part = x[first : first + 20]
        expected = importance_log_likelihood(model, part, 7, 1000, a).double()
        assert torch.equal(scores["log_likelihood"][first : first + 20], expected)
        assert torch.equal(
            scores["elbo"][first : first + 20], elbo(model, part, 5, b).elbo.double()
        )


def some_scores(gen, shift=0.0, n=400):
    log_px = 5 * torch.randn(n, generator=gen(0), dtype=torch.float64) - 90 + shift
    return {
        "log_likelihood": log_px,
        "elbo": log_px - 3 - torch.rand(n, generator=gen(1), dtype=torch.float64),
    }


def test_what_is_lost_splits_into_decoder_and_encoder_with_their_errors(gen):
    seen = some_scores(gen)
    unseen = {"log_likelihood": seen["log_likelihood"] - 2, "elbo": seen["elbo"] - 2.5}
    parts = overfitting.split(seen, unseen)
    means = {who: value[0] for who, value in parts.items()}
    assert means == pytest.approx({"decoder": 2, "encoder": 0.5, "elbo": 2.5})
    error = (2 * seen["log_likelihood"].var() / 400) ** 0.5
    assert parts["decoder"][1] == pytest.approx(error.item())


def test_a_control_takes_out_how_hard_the_digits_are(gen):
    """Test digits that are 4 nats easier hide what the decoder loses, and the control shows it."""
    seen, tested = some_scores(gen), some_scores(gen, 4.0)
    noise = torch.randn(400, generator=gen(3), dtype=torch.float64)
    model = {
        "seen": {name: values + 2 + 0.1 * noise for name, values in seen.items()},
        "test": tested,
    }
    labels = torch.arange(400) % 10
    record = overfitting.summarize(
        {"one-0": model, "two-0": model}, {"seen": seen, "test": tested}, labels
    )
    assert record["lost_on_test_digits"]["one-0"]["decoder"][0] == pytest.approx(-2, abs=0.1)
    mean, error = record["lost_relative_to_the_control"]["one-0"]["decoder"]
    assert mean == pytest.approx(2, abs=0.05)
    assert error < record["lost_on_test_digits"]["one-0"]["decoder"][1] / 20
    assert record["paired_on_test_digits"]["two less one"]["elbo"] == [0, 0]
    with_control = record["paired_with_the_control"]["two-0"]
    assert with_control["log_likelihood"] == with_control["elbo"] == [0, 0]
    by_slope = record["lost_relative_to_the_slope_on_the_control"]["one-0"]
    assert by_slope["slope"] == pytest.approx(1, abs=0.01)
    assert by_slope["decoder"][0] == pytest.approx(2, abs=0.05)
    classes = record["test_digits_by_class"]["one-0"]["gap"]
    assert len(classes) == 10 and all(3 < value < 4 and error > 0 for value, error in classes)


def test_the_slope_on_a_control_takes_out_what_the_model_shares_with_it(gen):
    """A control whose scores differ more: subtracted whole it takes out too much, by slope not."""
    seen, tested = some_scores(gen), some_scores(gen, 4.0)
    noise = torch.randn(400, generator=gen(3), dtype=torch.float64)
    model = {
        "seen": {"log_likelihood": 0.8 * seen["log_likelihood"] + 2 + 0.1 * noise},
        "test": {"log_likelihood": 0.8 * tested["log_likelihood"]},
    }
    part = overfitting.by_slope(model, {"seen": seen, "test": tested})
    assert part["slope"] == pytest.approx(0.8, abs=0.01)
    assert part["decoder"][0] == pytest.approx(2, abs=0.05)
    whole = overfitting.lost(
        *(model[x]["log_likelihood"] - y["log_likelihood"] for x, y in
          (("seen", seen), ("test", tested)))
    )  # fmt: skip
    assert whole[0] == pytest.approx(2 + 0.2 * 4, abs=0.05)
    assert part["decoder"][1] < whole[1] / 5


def test_more_samples_split_the_same_digits(gen):
    """The first digits have the same pixels, however many are drawn after them."""
    x = tiny_images(gen)
    assert torch.equal(binarize(x, gen(1))[:40], binarize(x[:40], gen(1)))
    model = {"seen": some_scores(gen), "test": some_scores(gen, -2.0)}
    model["test"]["log_likelihood"][10:] += 99  # not among the first
    row = {"samples": 500, "train": {"elbo": -93, "nll": 88}, "test": {"elbo": -95.5, "nll": 89.5}}
    parts = overfitting.by_samples(model, row, digits=10)
    assert parts["50"]["decoder"] == pytest.approx(2)
    assert parts["500"] == pytest.approx({"decoder": 1.5, "elbo": 2.5, "encoder": 1.0})


def test_differences_are_paired_and_goals_are_means_over_their_seeds(gen):
    a, b = some_scores(gen), some_scores(gen, 1.0)
    pairs = overfitting.compare({"one-0": a, "one-1": b, "two-0": b})
    assert set(pairs) == {
        *("one-1 less one-0", "two-0 less one-0", "two-0 less one-1", "two less one")
    }
    assert pairs["one-1 less one-0"]["log_likelihood"] == pytest.approx([1, 0])
    assert pairs["two less one"]["elbo"] == pytest.approx([0.5, 0])


def test_arms_differ_in_the_pixels_alone(gen):
    """Binarising black and white images changes nothing and takes as many random numbers."""
    x = binarize(tiny_images(gen), gen(1))
    one, two = gen(5), gen(5)
    assert torch.equal(binarize(x, one), x)
    binarize(tiny_images(gen), two)
    assert torch.equal(one.get_state(), two.get_state())
    how = binarisation.Settings(epochs=1, batch_size=20)
    arms = [binarisation.train(x, arm, 0, how, (5,), 2) for arm in binarisation.ARMS]
    for a, b in zip(*(arm.parameters() for arm in arms), strict=True):
        assert torch.equal(a, b)  # these images are black and white already: the arms are one
    grey = [binarisation.train(tiny_images(gen), arm, 0, how, (5,), 2) for arm in binarisation.ARMS]
    assert not all(
        torch.equal(a, b) for a, b in zip(*(arm.parameters() for arm in grey), strict=True)
    )


def test_a_small_run_of_both_arms_is_scored_on_the_same_digits(gen, monkeypatch, tmp_path):
    """And is kept: what is finished is not done again, and gives the same summary."""
    grey = {"train": tiny_images(gen), "test": tiny_images(gen)[:10]}
    splits = []

    def images(root, split, download=False):
        splits.append(split)
        return Digits(grey[split], torch.arange(len(grey[split])) % 10)

    for module in (binarisation, overfitting):
        monkeypatch.setattr(module, "load_mnist", images)
    monkeypatch.setattr(binarisation, "DIGITS", 10)
    monkeypatch.setattr(binarisation, "HIDDEN", (5,))
    monkeypatch.setattr(binarisation, "LATENT", 2)
    monkeypatch.setattr(binarisation, "HOW", binarisation.Settings(epochs=1, batch_size=10))

    def once():
        return {
            arm: {seed: binarisation.run(None, tmp_path, arm, seed, False) for seed in (0, 1)}
            for arm in binarisation.ARMS
        }

    first = binarisation.summarize(once())
    count = len(splits)
    assert binarisation.summarize(once()) == first and len(splits) == count
    assert set(first["models"]) == {"dynamic-0", "dynamic-1", "fixed-0", "fixed-1"}
    for part in first["dynamic less fixed"].values():
        means = [pair["elbo"][0] for pair in part["by_seed"]]
        assert part["mean_of_seeds"]["elbo"][0] == pytest.approx(sum(means) / 2)


def test_the_page_and_the_figure_have_the_same_published_numbers():
    rows = json.loads((FOLDER / "published.json").read_text(encoding="utf-8"))
    cells = json.loads((ROOT / "book" / "evaluation.ipynb").read_text(encoding="utf-8"))["cells"]
    text = "\n".join("".join(c["source"]) for c in cells if c["cell_type"] == "markdown")
    table = [line for line in text.splitlines() if re.fullmatch(r"\|.*\| [\d. ±]+ \|", line)]
    assert len(table) == len(rows)
    for line, row in zip(table, rows, strict=True):
        spread = f" ± {row['spread']:.2f}" if "spread" in row else ""
        assert line.endswith(f"| {row['nll']:.2f}{spread} |")
        assert row["source"] in text


@pytest.mark.parametrize("name", ["overfitting", "binarisation"])
def test_stored_results_were_made_with_the_settings_that_are_here(name):
    record = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert record["samples"] == overfitting.SAMPLES and f"{name}.py" in record["command"]
    if name == "overfitting":
        assert set(record["lost_on_test_digits"]) == set(NAMES)
        assert record["digits"] == {"test": 10_000, "seen": overfitting.DIGITS}
        assert record["controls"] == len(binarisation.SEEDS)
        for row in ROWS:  # K = 50 there, and other noise
            part = record["lost_on_test_digits"][f"{row['goal']}-{row['seed']}"]
            assert part["elbo"][0] == pytest.approx(
                part["decoder"][0] + part["encoder"][0], abs=1e-3
            )
    else:
        expected = vars(binarisation.HOW) | {"latent": binarisation.LATENT}
        assert {key: record["settings"][key] for key in expected} == expected
        assert record["settings"]["hidden"] == list(binarisation.HIDDEN)
        assert len(record["models"]) == len(binarisation.SEEDS) * len(binarisation.ARMS)


def read(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def test_published_rows_stand_to_ours_as_the_page_says():
    """A nat behind the best row with the ELBO; with a bound, the best two within two errors."""
    nll = {goal: [r["nll"] for r in ROWS if r["goal"] == goal] for goal in ("one", "two")}
    one, two = (sum(values) / 3 for values in nll.values())
    published = read("published")
    rows = {
        kind: sorted(r["nll"] for r in published if r["trained_on"] == kind)
        for kind in ("elbo", "bound", "other")
    }
    pixels = torch.tensor([row["binarisations"]["nll"] for row in ROWS]).std(1).mean().item()
    seeds = torch.tensor(nll["two"]).std().item()
    smaller = read("overfitting")["paired_with_the_control"].values()
    digits = max(pair["log_likelihood"][1] for pair in smaller)
    between = (2 * pixels**2 + 4 / 3 * seeds**2 + digits**2) ** 0.5
    assert between == pytest.approx(0.13, abs=0.01)
    assert one - min(rows["elbo"]) == pytest.approx(1, abs=0.1) and one - rows["elbo"][0] > between
    assert sorted([*rows["elbo"], one])[1] == one
    apart = [(theirs - two) / between for theirs in rows["bound"]]
    assert 0 < apart[0] < apart[1] < 2 and apart[-3] > 3 and apart[-1] > 5
    spread = next(r["spread"] for r in published if r["nll"] == rows["elbo"][0])
    assert abs(rows["bound"][0] - rows["elbo"][0]) < spread
    assert rows["bound"][-3] - rows["elbo"][0] > 2 * spread
    assert max(rows["other"]) < min(rows["elbo"] + rows["bound"] + [two])
    assert max(rows["elbo"]) - min(rows["elbo"]) > 3


def test_paired_differences_are_as_the_page_says():
    """Errors a tenth of unpaired ones; the goals' order turns between the ELBO and log p(x)."""
    pairs = read("overfitting")["paired_on_test_digits"]
    unpaired = 2**0.5 * ROWS[0]["standard_error"]
    for name in ("one-1 less one-0", "two-1 less two-0"):
        mean, error = pairs[name]["log_likelihood"]
        assert abs(mean) > 2 * error and error == pytest.approx(unpaired / 10, rel=0.2)
    seeds = [pair["log_likelihood"] for name, pair in pairs.items() if name.count(name[:3]) == 2]
    assert len(seeds) == 6 and sum(abs(mean) > 2 * error for mean, error in seeds) == 5
    assert pairs["two less one"]["elbo"][0] < -0.5 < 1 < pairs["two less one"]["log_likelihood"][0]


def test_over_fitting_is_as_the_page_says():
    """Decoders lose about two nats against the control, encoders about half a nat."""
    record = read("overfitting")
    for name, part in record["lost_relative_to_the_control"].items():
        assert part["decoder"][0] == pytest.approx(2.2, abs=0.4), name
        assert part["encoder"][0] == pytest.approx(0.5, abs=0.15), name
    for name, part in record["lost_relative_to_the_slope_on_the_control"].items():
        whole = record["lost_relative_to_the_control"][name]["decoder"]
        assert part["decoder"][0] == pytest.approx(2.1, abs=0.25) and part["decoder"][0] < whole[0]
        assert part["decoder"][1] < 0.8 * whole[1] and 0.75 < part["slope"] < 0.85
    for at in record["first_2000"].values():
        moved = at["50"]["decoder"] - at["500"]["decoder"]
        assert 0.05 < moved < 0.25 and at["500"]["encoder"] > at["50"]["encoder"]
    control = record["lost_by_the_control"]
    assert control["decoder"][0] < 0 and abs(control["encoder"][0]) < 3 * control["encoder"][1]


def test_a_fixed_binarisation_costs_what_the_page_says():
    """Seeds disagree about log p(x) and agree about the ELBO and what is known by heart."""
    record = read("binarisation")
    for part in record["dynamic less fixed"].values():
        for score, low, high in (("log_likelihood", -0.05, 0.55), ("elbo", 0.2, 0.7)):
            means = [pair[score][0] for pair in part["by_seed"]]
            assert low < min(means) and max(means) < high and max(means) - min(means) > 0.3
    gains = {
        name: part["as trained less other pixels"]["log_likelihood"]
        for name, part in record["models"].items()
    }
    for seed in binarisation.SEEDS:
        assert gains[f"fixed-{seed}"][0] > 10 * gains[f"fixed-{seed}"][1]
        more = gains[f"fixed-{seed}"][0] - gains[f"dynamic-{seed}"][0]
        assert more == pytest.approx(0.83, abs=0.05)
