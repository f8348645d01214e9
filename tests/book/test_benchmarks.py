"""The stored results: made by the code that is here, on digits that no model was trained on."""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from vae_core import VAE, binarize, elbo, importance_log_likelihood

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "benchmarks"


def load(name):
    spec = importlib.util.spec_from_file_location(name, FOLDER / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


likelihood, speed = load("likelihood"), load("speed")
ROWS = json.loads((FOLDER / "likelihood.json").read_text(encoding="utf-8"))
NAMES = [f"{row['goal']}-{row['seed']}" for row in ROWS]


def stored(row):
    """The model of a row."""
    model = VAE.mlp(row["settings"]["latent"], tuple(row["settings"]["hidden"]), "bernoulli")
    model.load_state_dict(load_file(FOLDER / row["model"]["file"]))
    return model


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_rows_belong_to_their_models_and_settings(row):
    path = FOLDER / row["model"]["file"]
    assert hashlib.sha256(path.read_bytes()).hexdigest() == row["model"]["sha256"]
    goal = likelihood.GOALS[row["goal"]]
    assert {name: row["settings"][name] for name in goal} == goal | {"hidden": list(goal["hidden"])}
    assert sum(p.numel() for p in stored(row).parameters()) == row["settings"]["parameters"]
    assert row["samples"] == 5000 and row["test_binarisation"]["seed"] == likelihood.TEST_SEED


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_goals_are_reached_in_their_time(row):
    limit, minutes = {"one": (86.0, 10), "two": (84.78, 40)}[row["goal"]]
    assert row["nll"] < limit and row["training_seconds"] <= 60 * minutes and row["threads"] <= 2


@pytest.mark.parametrize("row", ROWS, ids=NAMES)
def test_the_bound_rises_with_its_samples(row):
    by_samples = {int(count): nll for count, nll in row["nll_by_samples"].items()}
    values = [by_samples[count] for count in sorted(by_samples)]
    assert (
        values == sorted(values, reverse=True)
        and values[0] == -row["elbo"]
        and values[-1] == row["nll"]
    )


@pytest.mark.slow
@pytest.mark.parametrize("row", ROWS[:1] + ROWS[-1:], ids=NAMES[:1] + NAMES[-1:])
def test_stored_models_give_the_stored_numbers(row, mnist_root):
    x, _, digest = likelihood.binarized_test(mnist_root)
    assert digest == row["test_binarisation"]["sha256"]
    with torch.no_grad():
        bound = elbo(stored(row), x[:2000], 20, likelihood.seeded(4)).elbo.mean().item()
    assert abs(bound - row["first_2000"]["test"]["elbo"]) < 0.01
    # there K = 500
    assert (
        abs(likelihood.nll_of(stored(row), x[:2000], 50) - row["first_2000"]["test"]["nll"]) < 1.5
    )


def test_no_model_of_mnist_is_scored_on_digits_of_its_training_set(monkeypatch, mnist_root):
    """All digits of `load_digits` are in MNIST's training set: what scores these reads none."""
    for path in FOLDER.glob("*.py"):
        assert "load_digits" not in path.read_text(encoding="utf-8"), path.name
    for path in (ROOT / "book").glob("*.ipynb"):
        text = path.read_text(encoding="utf-8")
        assert not ("benchmarks/models" in text and "load_digits" in text), path.name
        for cell in json.loads(text)["cells"]:
            source = "".join(cell["source"])
            assert not ('load_pretrained("mnist")' in source and "load_digits" in source), path.name
    for path in (FOLDER / row["model"]["file"] for row in ROWS):
        with safe_open(path, "pt") as file:
            assert file.metadata() == {"trained on": "MNIST, train"}
    splits = []
    whole = likelihood.load_mnist
    monkeypatch.setattr(
        likelihood, "load_mnist", lambda root, split: splits.append(split) or whole(root, split)
    )
    likelihood.binarized_test(mnist_root)
    assert splits == ["test"]


def test_numbers_are_stored_at_four_decimals():
    assert likelihood.rounded({1: [0.123456, 3], "a": {"b": 2.0}}) == {
        "1": [0.1235, 3],
        "a": {"b": 2.0},
    }


def test_what_goes_into_the_table_has_the_goals_epochs(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["likelihood.py", "--epochs", "3"])
    with pytest.raises(SystemExit) as exit:
        likelihood.main()
    assert exit.value.code == 2 and "--epochs needs --choose" in capsys.readouterr().err


@pytest.mark.slow
def test_a_small_run_is_measured_with_the_settings_of_a_goal(digits, gen):
    settings = likelihood.GOALS["one"] | {
        "hidden": (20,),
        "latent": 3,
        "epochs": 2,
        "batch_size": 50,
        "samples": 2,
        "importance_from": 0.5,
    }
    model, history, seconds = likelihood.train(settings, digits, 0)
    assert model.latent == 3 and history.epochs == 2 and seconds > 0
    x = binarize(digits[:4], gen(1))
    expected = -importance_log_likelihood(model, x, 7, 1000, gen(2)).double().mean().item()
    assert likelihood.nll_of(model, x, 7) == expected


def test_contestants_did_the_same_work():
    record = json.loads((FOLDER / "speed.json").read_text(encoding="utf-8"))
    assert set(speed.PEERS) < set(record["median"]) <= set(speed.NAMES)
    ours = record["train_elbo"]["ours"]
    assert all(
        abs(value / ours - 1) < 0.01 for value in record["train_elbo"].values() if value is not None
    )
    for name, values in record["seconds"].items():
        assert record["times_ours"][name] == pytest.approx(
            sorted(values)[len(values) // 2] / record["median"]["ours"], abs=1e-3
        )
