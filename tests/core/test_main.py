"""The command line of training, run as a reader would."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from vae_core import __main__ as command, load_checkpoint

SMALL = ["--hidden", "16", "--latent", "2", "--images", "300", "--epochs", "2", "--no-progress"]


def call(*arguments):
    """The command's exit code, and what it wrote."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-W", "error", "-m", "vae_core.training", *map(str, arguments)]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, timeout=240)
    return done.returncode, done.stdout, done.stderr


def test_help_names_every_setting():
    code, out, _ = call("--help")
    assert code == 0 and "torchrun" in out
    for setting in ("--data", "--decoder", "--latent", "--hidden", "--epochs", "--seed", "--output", "--resume", "--samples"):
        assert setting in out


@pytest.mark.parametrize("decoder", ["bernoulli", "gaussian"])
def test_run_leaves_checkpoint_history_and_curves_and_goes_on(decoder, tmp_path):
    code, out, err = call("--output", tmp_path / "run", "--decoder", decoder, *SMALL)
    assert (code, err) == (0, "") and "2 epochs, validation ELBO" in out
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(command.FILES)
    model, history = load_checkpoint(tmp_path / "run" / "checkpoint.pt")
    assert model.config["decoder"] == decoder and model.config["hidden"] == (16,)
    stored = json.loads((tmp_path / "run" / "history.json").read_text())
    assert stored == vars(history) and len(stored["train_kl"]) == 3
    assert (tmp_path / "run" / "curves.png").read_bytes().startswith(b"\x89PNG")

    code, _, err = call("--output", tmp_path / "run", "--decoder", decoder, *SMALL)
    assert code == 2 and "--resume" in err and "Traceback" not in err
    code, out, err = call("--output", tmp_path / "run", "--decoder", decoder, *SMALL, "--epochs", 3, "--resume")
    assert (code, err) == (0, "") and "3 epochs" in out
    whole = tmp_path / "whole"
    assert call("--output", whole, "--decoder", decoder, *SMALL, "--epochs", 3)[0] == 0
    for ours, theirs in zip(load_checkpoint(tmp_path / "run" / "checkpoint.pt")[0].parameters(), load_checkpoint(whole / "checkpoint.pt")[0].parameters()):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    "settings, came",
    [
        (["--latent", "0"], "latent"),
        (["--epochs", "-1"], "epochs"),
        (["--images", "0"], "--images from 1"),
        (["--data", "mnist", "--root", "nowhere"], "no file nowhere"),
        (["--learning-rate", "nan"], "learning_rate"),
    ],
)
def test_bad_settings_end_with_one_sentence(settings, came, tmp_path, capsys):
    with pytest.raises(SystemExit) as stopped:
        command.main(["--output", str(tmp_path), *SMALL, *settings])
    err = capsys.readouterr().err
    assert stopped.value.code == 2 and err.startswith("error: ") and came in err and len(err.strip().splitlines()) == 1


def test_folder_that_cannot_be_written_is_refused_before_training(tmp_path, capsys):
    (tmp_path / "file").write_text("")
    for output in (tmp_path / "file", tmp_path / "file" / "inside"):
        with pytest.raises(SystemExit) as stopped:
            command.main(["--output", str(output), *SMALL])
        assert stopped.value.code == 2 and "cannot be written" in capsys.readouterr().err


def test_another_runs_checkpoint_is_refused_by_name(tmp_path):
    assert call("--output", tmp_path, *SMALL)[0] == 0
    code, _, err = call("--output", tmp_path, *SMALL, "--latent", 3, "--resume")
    assert code == 2 and "checkpoint.pt was made by another run" in err and "latent" in err
    (tmp_path / "checkpoint.pt").write_bytes(b"something else")
    code, _, err = call("--output", tmp_path, *SMALL, "--resume")
    assert code == 2 and "checkpoint.pt is truncated or is not a checkpoint" in err


def test_interrupt_keeps_what_is_done(tmp_path):
    line = [sys.executable, "-m", "vae_core.training", "--output", str(tmp_path), *SMALL, "--epochs", "100000"]
    # a shell that runs in the background may have told its children to ignore Ctrl-C
    heed = {"preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL)}
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=environment, **heed) as process:
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
    assert history.epochs >= 1 and json.loads((tmp_path / "history.json").read_text()) == vars(history)
