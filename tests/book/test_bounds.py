"""The stored bounds of chapter 6: the scripts' settings, and what the page says of them."""

import json
from pathlib import Path

import pytest
import torch
from helpers import load

from vae_core import binarize, decompose_on_grid, load_digits, load_pretrained

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"


likelihood = load("benchmarks/likelihood")


@pytest.mark.parametrize("name", ["annealing", "brackets", "counterfactual"])
def test_stored_bounds_are_of_the_settings_that_the_script_has(name):
    stored = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    assert stored["settings"] == load(f"benchmarks/{name}").SETTINGS
    assert stored["command"].startswith(f"python benchmarks/{name}.py")


def test_annealed_bounds_are_there_for_every_model_and_set():
    stored = json.loads((FOLDER / "annealing.json").read_text(encoding="utf-8"))
    script, rows = load("benchmarks/annealing"), stored["rows"]
    assert stored["test_binarisation"] == script.TEST_SEED == likelihood.TEST_SEED
    there = {(row["model"], row["set"]) for row in rows}
    assert there == {(model, kind) for model in script.MODELS for kind in ("real", "drawn")}
    for row in rows:
        count = stored["settings"][row["set"]]
        values = [value for value in row.values() if isinstance(value, list)]
        assert len(values) == 4 + 2 * (row["set"] == "drawn")
        assert all(len(value) == count for value in values)


@pytest.mark.slow
def test_the_exact_objective_is_log_p_of_x(gen):
    """Shifted grids agree with the two rules; the bound is below."""
    script, model = load("benchmarks/counterfactual"), load_pretrained().model
    x = binarize(load_digits("test").images[::50], gen(0))
    with torch.no_grad():
        exact = decompose_on_grid(model, x).log_likelihood
        close = script.evidence(model, x, gen(1))
        bound = script.averaged(model, x, gen(2))
    assert (close - exact).abs().max() < 0.1 and bound.mean() < exact.mean()


def stored_bounds(name):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def paired(one, other):
    """Mean difference, image by image, and how many standard errors it is from 0."""
    values = torch.tensor(one, dtype=torch.float64) - torch.tensor(other, dtype=torch.float64)
    return values.mean().item(), (values.mean() / values.std() * len(values) ** 0.5).item()


def test_annealed_brackets_are_narrow_and_above_the_published_bound():
    """Chapter 6: widths of hundredths of a nat, and L_5000 some tenths of a nat short."""
    for row in stored_bounds("annealing")["rows"]:
        short, errors = paired(row["annealed_lower"], row["weighted_lower"])
        assert 0.25 < short < 0.65 and errors > 2.5
        if row["set"] == "drawn":
            width, errors = paired(row["annealed_upper"], row["annealed_lower"])
            assert abs(width) < 0.05 and abs(errors) < 2


def test_annealing_and_a_better_start_narrow_the_bracket():
    """Chapter 6: at equal decodes annealing wins; a better q helps codes much."""
    for row in stored_bounds("brackets")["rows"]:
        drawn, width = row["drawn"], {}
        for q in ("encoder", "own_q"):
            assert drawn[q]["annealing"]["decodes"] == drawn[q]["3000"]["decodes"]
            for way in ("300", "3000", "annealing"):
                width[q, way], _ = paired(drawn[q][way]["upper"], drawn[q][way]["lower"])
            assert width[q, "annealing"] < width[q, "3000"] / 6 < width[q, "300"] / 6
        assert width["own_q", "3000"] < width["encoder", "3000"] / 6
        assert width["own_q", "annealing"] < min(0.15, width["encoder", "annealing"])
        for way in ("300", "3000"):
            assert width["encoder", way] - width["own_q", way] > 10
        assert 0.25 < width["encoder", "annealing"] - width["own_q", "annealing"] < 0.4
        real = row["real"]
        best = real["own_q"]["annealing"]["lower"]
        for q in ("encoder", "own_q"):
            codes, annealed = real[q]["3000"], real[q]["annealing"]
            assert annealed["decodes"] * 3 == codes["decodes"] * 4
            assert 1.6 < annealed["cpu_seconds"] / codes["cpu_seconds"] < 2.6
        for q in ("encoder", "own_q"):
            lead, errors = paired(best, real[q]["3000"]["lower"])
            assert lead > 0.1 and errors > 3
        lead, errors = paired(best, real["encoder"]["annealing"]["lower"])
        assert abs(lead) < 0.05 and abs(errors) < 2


def test_counterfactual_says_what_chapter_six_says():
    rows = stored_bounds("counterfactual")["rows"]
    base = [row["elbo"]["test"]["log_px"] for row in rows]
    gains = {
        name: [
            paired(row[name]["test"]["log_px"], usual)
            for row, usual in zip(rows, base, strict=True)
        ]
        for name in ("averaged", "weighted", "evidence")
    }
    assert all(errors > 3 for name in ("averaged", "weighted") for _, errors in gains[name])
    assert [errors > 5 for _, errors in gains["evidence"]] == [True, False, True]
    assert 0.5 < gains["evidence"][1][1] < 2
    mean = {name: sum(gain for gain, _ in gains[name]) / 3 for name in gains}
    assert abs(mean["evidence"] - mean["weighted"]) < 0.5 < 2 < mean["evidence"] - mean["averaged"]
    for row in rows:
        assert sum(row["weighted"]["test"]["third"]) > 19 * len(base[0])
        assert row["evidence"]["cpu_seconds"] > 15 * row["elbo"]["cpu_seconds"]
    ahead = [
        paired(*(row[name]["test"]["log_px"] for name in ("evidence", "weighted"))) for row in rows
    ]
    level, worse, better = (errors for _, errors in ahead)  # by seed
    assert abs(level) < 1 and worse < -2 and better > 3
    seen = [
        paired(*(row[name]["train"]["log_px"] for name in ("evidence", "elbo"))) for row in rows
    ]
    lost = [test - train for (test, _), (train, _) in zip(gains["evidence"], seen, strict=True)]
    assert 0.9 < min(lost) < max(lost) < 2.1 and abs(seen[1][1]) < 1


def test_runs_of_one_kind_differ_as_chapter_six_says():
    """Repeats of the usual run with other codes: what two runs differ by is no gain."""
    stored = stored_bounds("counterfactual")
    first, repeats = stored["rows"][0], stored["repeats"]
    assert (first["seed"], repeats["seed"], repeats["objective"]) == (0, 0, "elbo")
    assert len(repeats["rows"]) == stored["settings"]["repeats"]
    assert len({row["draws"] for row in repeats["rows"]}) == len(repeats["rows"])
    runs = [first["elbo"], *repeats["rows"]]
    ends = torch.tensor([run["test"]["log_px"] for run in runs]).mean(1)
    chance = 2**0.5 * ends.std().item()
    assert len(ends) == 6 and ends.argmin() == 0 and 1.8 < ends.std() < 2.2

    def gain(row, name, other):
        return paired(*(row[k]["test"]["log_px"] for k in (name, other)))[0]

    gains = [
        [gain(row, name, "elbo") for row in stored["rows"]] for name in ("averaged", "evidence")
    ]
    assert max(gains[0]) < 1.2 * chance and sorted(gains[1])[1] > 2 * chance > min(gains[1])
    rest = [gain(row, "evidence", "weighted") for row in stored["rows"]]
    assert max(map(abs, rest)) < chance


def test_gap_is_split_as_chapter_six_says():
    stored = stored_bounds("brackets")
    plane, splits = stored["plane"], []
    for kind in ("real", "drawn"):
        part = plane[kind]
        levels = torch.tensor(part["log_px"], dtype=torch.float64)
        splits.append((levels, part["own_q"]["elbo"], part["encoder"]["elbo"]))
        by_grid = levels - torch.tensor(part["own_q"]["third"])
        assert abs(paired(by_grid.tolist(), part["own_q"]["elbo"])[0]) < 0.01
    for row in stored["rows"]:
        for kind in ("real", "drawn"):
            best = row[kind]["own_q"]
            sides = [best["annealing"][s] for s in ("lower", "upper") if s in best["annealing"]]
            splits.append((torch.tensor(sides).mean(0), best["elbo"], row[kind]["encoder"]["elbo"]))
    for row in stored_bounds("annealing")["rows"]:
        sides = [row[s] for s in ("annealed_lower", "annealed_upper") if s in row]
        assert len(sides) == 1 + (row["set"] == "drawn")
        splits.append((torch.tensor(sides).mean(0), row["own_elbo"], row["elbo"]))
    for i, (levels, own, encoder) in enumerate(splits):
        family, _ = paired(levels.tolist(), own)
        sharing, _ = paired(own, encoder)
        assert sharing > 1.3 * family
        assert 0.05 < family < 0.3 if i < 2 else 1.5 < family < 3.2
    ends = torch.tensor([plane["real"][q]["third"] for q in ("own_q", "from_moments")])
    assert ends.min(0).values.mean() < 0.1 and (ends[0] - ends[1] > 0.5).sum() < 10
    for digits, sign in ("test", 1), ("train", -1):
        shift, errors = paired(plane["control"][digits], plane["taught"][digits])
        assert sign * shift > 0.3 and sign * errors > 4
