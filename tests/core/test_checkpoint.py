"""Checkpoints: no finished epoch is lost, a run goes on as it was, and bad files are named."""

import os
from pathlib import Path

import pytest
import torch
from helpers import Interrupt, assert_same, run, small

from vae_core import VAE, GaussianHead, binarize, load_checkpoint


@pytest.mark.parametrize(("decoder", "transform"), [("bernoulli", binarize), ("gaussian", None)])
def test_continued_run_is_the_uninterrupted_one(decoder, transform, gen, digits, tmp_path):
    whole = run(gen, digits, 4, small(gen, 0, decoder), transform=transform)
    path = tmp_path / "run.pt"
    run(gen, digits, 2, small(gen, 0, decoder), transform=transform, checkpoint=path)
    assert_same(
        run(gen, digits, 4, small(gen, 7, decoder), seed=99, transform=transform, checkpoint=path),
        whole,
    )
    assert_same(load_checkpoint(path), whole)
    # nothing to do
    assert_same(
        run(gen, digits, 4, small(gen, 8, decoder), transform=transform, checkpoint=path), whole
    )


# before, within and between epochs: each has 4 batches and a validation
@pytest.mark.parametrize("call", [1, 7, 11, 12, 14])
def test_interrupted_run_goes_on_as_if_it_had_not_been(call, gen, digits, tmp_path):
    whole = run(gen, digits, 4)
    path = tmp_path / "run.pt"
    with pytest.raises(KeyboardInterrupt):
        run(gen, digits, 4, transform=Interrupt(call, binarize), checkpoint=path)
    assert path.exists() == (call >= 8)
    assert_same(run(gen, digits, 4, checkpoint=path), whole)
    assert os.listdir(tmp_path) == ["run.pt"]


@pytest.mark.parametrize(
    "settings", [{"schedule": "cosine"}, {"samples": 3, "importance_from": 0.5}]
)
def test_scheduled_run_goes_on_as_if_it_had_not_been_interrupted(settings, gen, digits, tmp_path):
    whole = run(gen, digits, epochs=4, **settings)
    path = tmp_path / "run.pt"
    interrupted = {"transform": Interrupt(15, binarize), "checkpoint": path, **settings}
    with pytest.raises(KeyboardInterrupt):
        run(gen, digits, epochs=4, **interrupted)
    assert 1 <= load_checkpoint(path)[1].epochs < 4
    assert_same(run(gen, digits, epochs=4, checkpoint=path, **settings), whole)
    with pytest.raises(ValueError, match="epochs: 4 there, 5 here"):
        run(gen, digits, epochs=5, checkpoint=path, **settings)


@pytest.mark.parametrize(("module", "name"), [(os, "replace"), (os, "fsync"), (torch, "save")])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("no space left")])
def test_interrupt_while_saving_leaves_the_previous_checkpoint_whole(
    module, name, error, gen, digits, tmp_path, monkeypatch
):
    path = tmp_path / "run.pt"
    run(gen, digits, 2, checkpoint=path)
    before = path.read_bytes()
    kind = type(error) if isinstance(error, OSError) else error
    with monkeypatch.context() as patch:
        patch.setattr(module, name, Interrupt(1, getattr(module, name), error))
        with pytest.raises(kind):
            run(gen, digits, 4, checkpoint=path)
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["run.pt"]
    assert_same(run(gen, digits, 4, checkpoint=path), run(gen, digits, 4))


def test_half_written_checkpoint_is_never_at_its_place(gen, digits, tmp_path, monkeypatch):
    def half(state, file):
        file.write(b"PK half")
        raise KeyboardInterrupt

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(KeyboardInterrupt):
        run(gen, digits, 1, checkpoint=tmp_path / "run.pt")
    assert os.listdir(tmp_path) == []


OTHER = {
    "latent": lambda gen: {"model": small(gen, latent=3)},
    "likelihood": lambda gen: {"model": small(gen, likelihood="gaussian")},
    "batch_size": lambda gen: {"batch_size": 32},
    "learning_rate": lambda gen: {"learning_rate": 0.5},
    "validation": lambda gen: {"validation": None},
    "schedule": lambda gen: {"schedule": "cosine"},
    "samples": lambda gen: {"samples": 2},
    "beta": lambda gen: {"beta": 2.0},
    "precision": lambda gen: {"precision": "bfloat16"},
}


@pytest.mark.parametrize("name", OTHER)
def test_checkpoint_of_another_run_is_refused_by_name(name, gen, digits, tmp_path):
    path = tmp_path / "run.pt"
    run(gen, digits, 1, checkpoint=path)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"{path}.*{name}"):
        run(gen, digits, 2, checkpoint=path, **OTHER[name](gen))
    with pytest.raises(ValueError, match=f"{path}.*images: 200 there, 100 here"):
        run(gen, digits[:100], 2, checkpoint=path, validation=digits[200:260])
    assert path.read_bytes() == before


BROKEN = {
    "no bytes": lambda whole: b"",
    "a few bytes": lambda whole: whole[:20],
    "half": lambda whole: whole[: len(whole) // 2],
    "one byte short": lambda whole: whole[:-1],
    "a bit flipped": lambda whole: whole[:5000] + bytes([whole[5000] ^ 64]) + whole[5001:],
    "text": lambda whole: b"<html>404</html>",
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_checkpoint_is_named(how, gen, digits, tmp_path):
    path = tmp_path / "run.pt"
    run(gen, digits, 1, checkpoint=path)
    path.write_bytes(BROKEN[how](path.read_bytes()))
    for use in (lambda: load_checkpoint(path), lambda: run(gen, digits, 2, checkpoint=path)):
        with pytest.raises(ValueError, match=f"{path}.*checkpoint"):
            use()


class Evil:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


@pytest.mark.parametrize(
    "wrap", [lambda evil: evil, lambda evil: {"format": "vae_core checkpoint 2", "config": evil}]
)
def test_checkpoint_cannot_execute_code(wrap, tmp_path):
    path, marker = tmp_path / "evil.pt", tmp_path / "executed"
    torch.save(wrap(Evil(marker)), path)
    with pytest.raises(ValueError, match=f"{path}"):
        load_checkpoint(path)
    assert not marker.exists()


def test_missing_and_foreign_checkpoints_are_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path / 'none.pt'}"):
        load_checkpoint(tmp_path / "none.pt")
    torch.save({"weights": torch.zeros(2)}, tmp_path / "foreign.pt")
    with pytest.raises(ValueError, match=f"{tmp_path / 'foreign.pt'}.*checkpoint"):
        load_checkpoint(tmp_path / "foreign.pt")


def test_checkpoint_keeps_the_dtype(gen, digits, tmp_path):
    path = tmp_path / "run.pt"
    model = small(gen).double()
    done = run(gen, digits.double(), 1, model, validation=None, checkpoint=path)
    assert next(load_checkpoint(path)[0].parameters()).dtype == torch.float64
    assert_same(load_checkpoint(path), done)


def test_what_a_killed_write_left_is_gone_after_the_next(gen, digits, tmp_path, monkeypatch):
    path = tmp_path / "run.pt"
    run(gen, digits, 1, checkpoint=path)
    with monkeypatch.context() as patch:  # a process that is killed can clean up nothing
        patch.setattr(os, "replace", Interrupt(1, os.replace))
        patch.setattr(Path, "unlink", lambda *arguments, **settings: None)
        with pytest.raises(KeyboardInterrupt):
            run(gen, digits, 2, checkpoint=path)
    assert len(os.listdir(tmp_path)) == 2 and load_checkpoint(path)[1].epochs == 1
    run(gen, digits, 2, checkpoint=path)
    assert os.listdir(tmp_path) == ["run.pt"] and load_checkpoint(path)[1].epochs == 2


@pytest.fixture(scope="module")
def stored(tmp_path_factory, gen, digits):
    """What a file of a run holds."""
    path = tmp_path_factory.mktemp("stored") / "run.pt"
    run(gen, digits, 1, checkpoint=path)
    return torch.load(path, weights_only=True)


def test_a_checkpoint_without_one_of_its_parts_is_named(stored, gen, digits, tmp_path):
    path = tmp_path / "run.pt"
    assert {"format", "config", "model", "optimizer", "generator", "history"} <= stored.keys()
    for missing in stored:
        torch.save({name: part for name, part in stored.items() if name != missing}, path)
        for use in (lambda: load_checkpoint(path), lambda: run(gen, digits, 2, checkpoint=path)):
            with pytest.raises(ValueError, match=f"{path}.*is not a checkpoint"):
                use()


@pytest.mark.parametrize("state", [{"format": "vae_core checkpoint 1"}, {"format": None}])
def test_a_checkpoint_of_another_format_is_named(state, stored, tmp_path):
    torch.save(stored | state, tmp_path / "run.pt")
    with pytest.raises(ValueError, match=r"run.pt.*is not a checkpoint"):
        load_checkpoint(tmp_path / "run.pt")


@pytest.mark.parametrize("name", ["encoder.2.weight", "decoder.0.bias"])
def test_weights_that_do_not_fit_are_named_and_none_is_loaded(name, stored, gen, digits, tmp_path):
    weights, path = stored["model"], tmp_path / "run.pt"
    others = {k: weight for k, weight in weights.items() if k != name}
    for wrong in (
        others,
        weights | {name: weights[name][1:]},
        weights | {"encoder.9": torch.ones(1)},
    ):
        torch.save(stored | {"model": wrong}, path)
        model = small(gen, 5)
        before = {k: weight.clone() for k, weight in model.state_dict().items()}
        what = "encoder.9" if "encoder.9" in wrong else name
        for use in (
            lambda: load_checkpoint(path),
            lambda model=model: load_checkpoint(path, model),
            lambda model=model: run(gen, digits, 2, model, checkpoint=path),
        ):
            with pytest.raises(ValueError, match=f"weights of {path} do not fit.*{what}"):
                use()
        assert all(torch.equal(weight, before[k]) for k, weight in model.state_dict().items())


def test_ones_own_model_is_needed_to_load_its_weights(gen, digits, tmp_path):
    def own(seed, latent=2):
        usual = small(gen, seed, latent=latent)
        encoder = torch.nn.Sequential(torch.nn.Linear(784, 2 * latent), GaussianHead())
        return VAE(encoder, usual.decoder, usual.prior)

    path = tmp_path / "run.pt"
    done = run(gen, digits, 1, own(0), checkpoint=path)
    with pytest.raises(ValueError, match=f"{path} holds a model of your own.*path, model"):
        load_checkpoint(path)
    loaded = load_checkpoint(path, own(1))
    assert_same(loaded, done)
    with pytest.raises(ValueError, match=f"weights of {path} do not fit"):
        load_checkpoint(path, own(1, latent=3))
