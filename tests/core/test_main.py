"""The command line: train, evaluate and sample, called as a function and as a reader would."""

import inspect
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from functools import cache

import numpy as np
import pytest
import torch
from PIL import Image

import vae_core
import vae_core.__main__ as command
from vae_core import VAE, GaussianHead, Settings, data, fit, load_checkpoint, load_digits

FILES = ["checkpoint.pt", "curves.png", "history.json"]
SMALL = ["--hidden", "16", "--latent", "2", "--images", "300", "--epochs", "2", "--no-progress"]


cached_digits = cache(load_digits)


@pytest.fixture(autouse=True)
def digits_are_read_once(monkeypatch):
    monkeypatch.setattr(data, "load_digits", cached_digits)


@pytest.fixture
def call(capsys):
    """A function that gives a command line's exit code, standard output and standard error."""

    def run(*arguments):
        try:
            command.main([str(argument) for argument in arguments])
            code = 0
        except SystemExit as stopped:
            code = stopped.code
        return (code, *capsys.readouterr())

    return run


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Checkpoints, by name: of two small runs, of a colour model, and of a reader's own."""
    folder, gen = tmp_path_factory.mktemp("trained"), torch.Generator().manual_seed(0)
    for likelihood, latent in (("bernoulli", 2), ("gaussian", 3)):
        arguments = ["train", "--output", str(folder / likelihood), "--likelihood", likelihood]
        command.main([*arguments, *SMALL, "--latent", str(latent)])
    usual = VAE.mlp(2, (4,), generator=gen)
    encoder = torch.nn.Sequential(torch.nn.Linear(784, 4), GaussianHead())
    own = VAE(encoder, usual.decoder, usual.prior)
    colour = VAE.convolutional(3, channels=3, size=(8, 12), generator=gen)
    for name, model, shape in (("own", own, (784,)), ("colour", colour, (3, 8, 12))):
        images = torch.randint(256, (4, *shape), generator=gen) / 255
        (folder / name).mkdir()
        how = {"generator": gen, "progress": False, "checkpoint": folder / name / "checkpoint.pt"}
        fit(model, images, Settings(epochs=1), **how)
    (folder / "broken").mkdir()
    whole = (folder / "bernoulli" / "checkpoint.pt").read_bytes()
    (folder / "broken" / "checkpoint.pt").write_bytes(whole[: len(whole) // 2])
    return {path.name: path / "checkpoint.pt" for path in folder.iterdir()}


def weights(path):
    return load_checkpoint(path)[0].state_dict()


def assert_same_weights(path, other):
    first, second = weights(path), weights(other)
    assert first.keys() == second.keys()
    assert all(torch.equal(weight, second[name]) for name, weight in first.items())


def test_help_names_every_setting(call):
    code, out, _ = call("--help")
    assert code == 0 and "torchrun" in out
    assert all(name in out for name in ("train", "evaluate", "sample"))
    code, out, _ = call("train", "--help")
    settings = [f"--{field.name.replace('_', '-')}" for field in fields(Settings)]
    others = ("--output", "--resume", "--model", "--likelihood", "--latent", "--hidden")
    for option in (*settings, *others, "--data", "--root", "--images", "--seed", "--device"):
        assert code == 0 and option in out, option


@pytest.mark.parametrize(
    ("model", "likelihood"),
    [
        ("mlp", "bernoulli"),
        pytest.param("mlp", "gaussian", marks=pytest.mark.slow),
        ("convolutional", "gaussian"),
    ],
)
def test_run_leaves_checkpoint_history_and_curves_and_goes_on(model, likelihood, call, tmp_path):
    kind = ["--likelihood", likelihood, "--model", model, *SMALL]
    if model == "convolutional":
        kind += ["--images", 40]
    code, out, err = call("train", "--output", tmp_path / "run", *kind)
    assert (code, err) == (0, "") and "2 epochs, validation ELBO" in out
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == FILES
    stored, history = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    ((made, config),) = stored.config.items()
    assert made == model and (config["latent"], config["likelihood"]) == (2, likelihood)
    assert model != "mlp" or config["hidden"] == (16,)
    numbers = json.loads((tmp_path / "run" / "history.json").read_text())
    assert numbers == vars(history) and len(numbers["train_kl"]) == 3
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")

    code, _, err = call("train", "--output", tmp_path / "run", *kind)
    assert code == 2 and "--resume" in err
    code, out, err = call("train", "--output", tmp_path / "run", *kind, "--epochs", 3, "--resume")
    assert (code, err) == (0, "") and "3 epochs" in out
    assert call("train", "--output", tmp_path / "whole", *kind, "--epochs", 3)[0] == 0
    assert_same_weights(*(tmp_path / name / "checkpoint.pt" for name in ("run", "whole")))


def bound(given, more):
    """What `fit` is called with, by name."""
    return inspect.signature(fit).bind(*given, **more).arguments


def test_every_setting_reaches_the_run(call, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(vae_core, "fit", lambda *given, **more: seen.append(bound(given, more)))
    wanted = Settings(3, 50, 2e-3, "cosine", 4, 0.5, 1.0, "bfloat16")
    given = [f"--{f.name.replace('_', '-')}={getattr(wanted, f.name)}" for f in fields(Settings)]
    assert call("train", "--output", tmp_path, *given) == (0, "", "")
    assert call("train", "--output", tmp_path, "--beta", 0.25) == (0, "", "")
    assert call("train", "--output", tmp_path) == (0, "", "")
    assert [run["settings"] for run in seen] == [wanted, Settings(beta=0.25), Settings()]


def test_another_seed_is_another_run(call, trained, tmp_path):
    assert call("train", "--output", tmp_path, "--seed", 1, *SMALL)[0] == 0
    first, second = weights(trained["bernoulli"]), weights(tmp_path / "checkpoint.pt")
    assert not torch.equal(first["encoder.0.weight"], second["encoder.0.weight"])


def test_without_matplotlib_there_are_no_curves_and_no_error(call, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    code, _, err = call("train", "--output", tmp_path, *SMALL)
    assert (code, err) == (0, "") and sorted(os.listdir(tmp_path)) == [FILES[0], FILES[2]]


def rows_of(out):
    """The table's numbers: mean and standard error by name."""
    found = re.findall(r"(?m)^(\S.*?) +(-?\d+\.\d{3}) ± (\d+\.\d{3})$", out)
    return {name: (float(mean), float(error)) for name, mean, error in found}


def test_evaluate_prints_the_terms_and_stores_the_same_numbers(call, trained, tmp_path):
    path = tmp_path / "numbers.json"
    some = ["evaluate", trained["bernoulli"], "--images", 20, "--samples", 100, "--no-progress"]
    code, out, err = call(*some, "--json", path)
    assert (code, err) == (0, "") and out.startswith("20 images, test split of digits")
    stored, table = json.loads(path.read_text(encoding="utf-8")), rows_of(out)
    assert (stored["images"], stored["split"], stored["data"]) == (20, "test", "digits")
    assert stored["checkpoint"] == str(trained["bernoulli"]) and int(stored["seed"]) == 0
    nats = {name: row for name, row in stored.items() if isinstance(row, dict)}
    assert table.keys() == nats.keys() and len(table) == 6
    for name, row in nats.items():
        assert table[name] == pytest.approx((row["mean"], row["standard_error"]), abs=6e-4)
    mean = {name: row["mean"] for name, row in nats.items()}
    log_px, terms = mean["log_likelihood"], mean["reconstruction"] - mean["kl_prior"]
    assert terms + mean["kl_posterior"] == pytest.approx(log_px, abs=1e-5)
    assert mean["ELBO"] == pytest.approx(terms, abs=0.5)  # from 20 draws of each image
    assert mean["ELBO"] < mean["log p(x), K = 100"] == pytest.approx(log_px, abs=0.5)
    few = [*some, "--images", 3]
    assert call(*few)[1] == call(*few)[1] != call(*few, "--seed", 1)[1]  # other pixels, other noise


def test_evaluate_gives_two_bounds_where_z_is_too_large_for_a_grid(call, trained):
    some = ["--images", 30, "--samples", 7, "--split", "validation", "--no-progress"]
    code, out, err = call("evaluate", trained["gaussian"], *some)
    assert (code, err) == (0, "") and out.startswith("30 images, validation split of digits")
    table = rows_of(out)
    assert list(table) == ["ELBO", "log p(x), K = 7"]
    assert table["ELBO"][0] < table["log p(x), K = 7"][0] + 0.1


def test_what_is_drawn_is_a_square_of_grey_images(call, trained, tmp_path):
    path = tmp_path / "many.png"
    code, _, err = call("sample", trained["bernoulli"], "--output", path, "--rows", 3)
    assert (code, err) == (0, "")
    pixels = np.asarray(Image.open(path))
    assert pixels.shape == (84, 84) and pixels.dtype == np.uint8
    z = torch.randn(9, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        means = load_checkpoint(trained["bernoulli"])[0].decode(z).mean
    for i, mean in enumerate(means.reshape(9, 28, 28)):
        row, column = 28 * (i // 3), 28 * (i % 3)
        tile = torch.from_numpy(pixels[row : row + 28, column : column + 28].copy())
        assert (tile - 255 * mean).abs().max() < 0.51
    again = tmp_path / "again.png"
    assert call("sample", trained["bernoulli"], "--output", again, "--rows", 3)[0] == 0
    assert again.read_bytes() == path.read_bytes()


def test_what_is_drawn_is_in_colour_where_the_model_is(call, trained, tmp_path):
    path = tmp_path / "many.png"
    assert call("sample", trained["colour"], "--output", path, "--rows", 2, "--seed", 5)[0] == 0
    pixels = np.asarray(Image.open(path))
    assert pixels.shape == (16, 24, 3)
    z = torch.randn(4, 3, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        means = load_checkpoint(trained["colour"])[0].decode(z).mean  # [4, 3, 8, 12]
    last = torch.from_numpy(pixels[8:, 12:].copy()).permute(2, 0, 1)
    assert (last - 255 * means[3]).abs().max() < 0.51


BAD = {
    "Z": (["train", "--latent", 0], "latent.*got 0"),
    "a width": (["train", "--hidden", 8, 0], "hidden.*got"),
    "epochs": (["train", "--epochs", -1], "epochs.*got -1"),
    "batch": (["train", "--batch-size", 0], "batch_size.*got 0"),
    "learning rate": (["train", "--learning-rate", "nan"], "learning_rate.*got nan"),
    "schedule": (["train", "--schedule", "linear"], "schedule.*'cosine'.*got 'linear'"),
    "precision": (["train", "--precision", "float16"], "precision.*got 'float16'"),
    "beta": (["train", "--beta", -1], "beta.*got -1"),
    "samples": (["train", "--samples", 0], "samples.*got 0"),
    "images": (["train", "--images", 0], "--images of at least 1, got 0"),
    "no MNIST": (["train", "--data", "mnist", "--root", "nowhere"], "no file nowhere.*download"),
    "device": (["train", "--device", "abacus"], "abacus"),
    "no checkpoint": (["evaluate", "nowhere.pt"], "no checkpoint at nowhere.pt"),
    "K": (["evaluate", "{bernoulli}", "--samples", 0], "samples.*at least 1.*0"),
    "no image": (["evaluate", "{bernoulli}", "--images", 0], "--images of at least 1, got 0"),
    "no MNIST to measure": (["evaluate", "{gaussian}", "--data", "mnist"], "no file .*MNIST"),
    "colour and digits": (["evaluate", "{colour}", "--images", 3], "3, 8, 12"),
    "broken": (["evaluate", "{broken}"], "checkpoint.pt is truncated or is not a checkpoint"),
    "one's own model": (["evaluate", "{own}"], "a model of your own"),
    "evaluate on": (["evaluate", "{gaussian}", "--device", "abacus"], "abacus"),
    "nothing to draw from": (["sample", "nowhere.pt"], "no checkpoint at nowhere.pt"),
    "broken to draw": (["sample", "{broken}"], "checkpoint.pt is truncated or is not a checkpoint"),
    "no rows": (["sample", "{bernoulli}", "--rows", 0], "at least 1, got 0"),
    "no folder": (["sample", "{bernoulli}", "--output", "nowhere/many.png"], "nowhere/many.png"),
}


@pytest.mark.parametrize("what", BAD)
def test_bad_requests_end_with_one_sentence(what, call, trained, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (name, *arguments), came = BAD[what]
    output = ["--output", tmp_path / "run", *SMALL[:-1]] if name == "train" else []
    said_of = [str(argument).format(**trained) for argument in arguments]
    code, out, err = call(name, *output, *said_of)
    assert (code, out) == (2, "") and err.startswith("error: ") and re.search(came, err), err
    assert len(err.splitlines()) == 1, err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU on this machine")
@pytest.mark.parametrize("name", ["train", "evaluate", "sample"])
def test_a_gpu_that_is_not_there_is_said_in_one_sentence(name, call, trained, tmp_path):
    rest = ["--output", tmp_path, *SMALL] if name == "train" else [trained["gaussian"]]
    code, out, err = call(name, *rest, "--device", "cuda")
    assert (code, out) == (2, "") and err.startswith("error: ") and len(err.splitlines()) == 1, err
    assert re.search("(?i)cuda|gpu", err)


def test_without_pillow_it_says_what_is_missing(call, trained, monkeypatch):
    monkeypatch.setitem(sys.modules, "PIL", None)
    code, _, err = call("sample", trained["bernoulli"])
    assert code == 2 and "PIL" in err and len(err.splitlines()) == 1


def test_folder_that_cannot_be_written_is_refused_before_training(call, tmp_path, monkeypatch):
    monkeypatch.setattr(vae_core, "fit", lambda *given, **more: pytest.fail("trained"))
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file" / "inside"):
        code, _, err = call("train", "--output", output, *SMALL)
        assert code == 2 and str(output) in err and len(err.splitlines()) == 1


def test_another_runs_checkpoint_is_refused_by_name(call, tmp_path):
    assert call("train", "--output", tmp_path, *SMALL)[0] == 0
    whole = (tmp_path / "checkpoint.pt").read_bytes()
    code, _, err = call("train", "--output", tmp_path, *SMALL, "--latent", 3, "--resume")
    assert code == 2 and "checkpoint.pt was made by another run" in err and "latent" in err
    assert (tmp_path / "checkpoint.pt").read_bytes() == whole
    (tmp_path / "checkpoint.pt").write_bytes(b"something else")
    code, _, err = call("train", "--output", tmp_path, *SMALL, "--resume")
    assert code == 2 and "checkpoint.pt is truncated or is not a checkpoint" in err
    assert len(err.splitlines()) == 1


def test_interrupt_keeps_finished_epochs(call, tmp_path, monkeypatch):
    def interrupted(*given, **more):
        run, calls = bound(given, more), []
        transform = run["transform"]

        def until_the_third_epoch(batch, generator):
            calls.append(1)
            if len(calls) == 2 + 2 * 4 + 2:  # each epoch has three batches and a measurement
                raise KeyboardInterrupt
            return transform(batch, generator)

        return fit(**run | {"transform": until_the_third_epoch})

    with monkeypatch.context() as patch:
        patch.setattr(vae_core, "fit", interrupted)
        code, _, err = call("train", "--output", tmp_path / "run", *SMALL, "--epochs", 4)
    assert code == 130 and "--resume goes on" in err and len(err.splitlines()) == 1
    _, history = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert history.epochs == 2
    assert json.loads((tmp_path / "run" / "history.json").read_text()) == vars(history)


LINE = [sys.executable, "-W", "error", "-m", "vae_core"]


@pytest.mark.slow
def test_a_reader_trains_evaluates_and_samples_without_a_warning(tmp_path):
    checkpoint = tmp_path / "run" / "checkpoint.pt"
    for arguments in (
        ["train", "--output", tmp_path / "run", *SMALL],
        ["evaluate", checkpoint, "--images", "20", "--samples", "20", "--no-progress"],
        ["sample", checkpoint, "--output", tmp_path / "many.png"],
    ):
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        line = [*LINE, *map(str, arguments)]
        done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=240)
        assert (done.returncode, done.stderr) == (0, ""), done.stderr[-2000:]
    assert (tmp_path / "many.png").exists()


@pytest.mark.slow
def test_interrupt_of_a_process_keeps_what_is_done(tmp_path):
    line = [*LINE, "train", "--output", str(tmp_path), *SMALL, "--epochs", "100000"]
    # a shell that runs in the background may have told its children to ignore Ctrl-C
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        line, stderr=subprocess.PIPE, text=True, env=environment, **heed
    ) as process:
        try:
            until = time.monotonic() + 120
            while not (tmp_path / "checkpoint.pt").exists() and time.monotonic() < until:
                time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            _, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert process.returncode == 130 and "--resume goes on" in err and "Traceback" not in err
    _, history = load_checkpoint(tmp_path / "checkpoint.pt")
    assert history.epochs >= 1
    assert json.loads((tmp_path / "history.json").read_text()) == vars(history)
