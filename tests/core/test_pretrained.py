"""The shipped model has fixed weights, says where it came from, and can be made again."""

import importlib.util
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from torch.distributions import Bernoulli, Normal, kl_divergence

from vae_core import VAE, Settings, binarize, load_digits, load_pretrained, pretrained

spec = importlib.util.spec_from_file_location(
    "pretrain", Path(__file__).resolve().parents[2] / "book" / "_tools" / "pretrain.py"
)
pretrain = importlib.util.module_from_spec(spec)
spec.loader.exec_module(pretrain)


def mean_elbo(model, seed, samples=100):
    """Mean ELBO in nats of the validation digits, by torch.distributions, with noise of our own."""
    generator = torch.Generator().manual_seed(seed)
    x = binarize(load_digits("validation").images, generator)
    with torch.no_grad():
        mean, log_var = model.encoder[:-1](x).chunk(2, dim=-1)
        q = Normal(mean, log_var.exp().sqrt())
        z = mean + q.stddev * torch.randn(samples, *mean.shape, generator=generator)
        reconstruction = torch.stack(
            [Bernoulli(logits=model.decoder[:-1](code)).log_prob(x).sum(-1) for code in z]
        ).mean(0)
    return (reconstruction - kl_divergence(q, Normal(0.0, 1.0)).sum(-1)).mean().item()


def test_weights_are_fixed_and_whole_in_half_precision():
    (model, origin), (again, _) = load_pretrained(), load_pretrained()
    assert (
        model.config
        == {"mlp": {"latent": 2, "hidden": (100,), "likelihood": "bernoulli", "pixels": 784}}
        and not model.training
    )
    for name, weight in model.state_dict().items():
        assert weight.dtype == torch.float32 and not weight.requires_grad
        assert torch.equal(weight.half().float(), weight) and torch.equal(
            again.state_dict()[name], weight
        )
    assert not any(parameter.requires_grad for parameter in model.parameters())
    assert (
        origin["command"] == "make pretrained"
        and {"data", "settings", "torch", "validation_elbo"} <= origin.keys()
    )
    known = {**asdict(pretrained.SETTINGS), "seed": pretrained.SEED}
    assert origin["settings"] == known


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_elbo_is_the_one_in_origin(seed):
    model, origin = load_pretrained()
    # other noise, other binarisation
    assert mean_elbo(model, seed) == pytest.approx(origin["validation_elbo"], abs=1.0)
    assert pretrain.validation_elbo(model) == pytest.approx(origin["validation_elbo"], abs=0.02)


def test_loading_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    load_pretrained()
    assert torch.equal(torch.get_rng_state(), before)


BROKEN = {
    "no bytes": lambda whole: b"",
    "half": lambda whole: whole[: len(whole) // 2],
    "one byte short": lambda whole: whole[:-1],
    "text": lambda whole: b"<html>404</html>",
    "other origin": lambda whole: whole.replace(b'"origin"', b'"nigiro"'),
    "origin cut": lambda whole: whole.replace(b'{\\"command', b'[\\"command'),
    "another layer": lambda whole: whole.replace(b'"encoder.0.bias"', b'"encoder.9.bias"'),
    "another shape": lambda whole: whole.replace(b'"shape":[100]', b'"shape":[1e2]'),
    "a bit flipped": lambda whole: whole[:-101] + bytes([whole[-101] ^ 64]) + whole[-100:],
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_weights_are_named(how, tmp_path):
    whole, path = pretrained.WEIGHTS.read_bytes(), tmp_path / "weights.safetensors"
    path.write_bytes(BROKEN[how](whole))
    assert path.read_bytes() != whole
    with pytest.raises(ValueError, match=f"{path}.*make pretrained"):
        load_pretrained(path)


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=f"{tmp_path / 'pretrained.safetensors'}.*make pretrained"
    ):
        load_pretrained(tmp_path / "pretrained.safetensors")


@pytest.mark.slow
def test_command_writes_what_is_loaded(tmp_path, monkeypatch, gen):
    made = VAE.mlp(**pretrained.CONFIG, generator=gen(0))
    monkeypatch.setattr(pretrain, "train", lambda: made.half().float())
    path = tmp_path / "weights.safetensors"
    pretrain.main(["--output", str(path)])
    model, origin = load_pretrained(path)
    assert all(
        torch.equal(weight, made.state_dict()[name]) for name, weight in model.state_dict().items()
    )
    assert origin["validation_elbo"] == pytest.approx(mean_elbo(model, 0), abs=3.0)


def test_training_rounds_and_follows_its_seed():
    first, second, third = (
        pretrain.train(Settings(epochs=1), seed, progress=False).state_dict() for seed in (0, 0, 1)
    )
    for name, weight in first.items():
        assert torch.equal(weight.half().float(), weight) and torch.equal(weight, second[name])
    assert not torch.equal(first["encoder.0.weight"], third["encoder.0.weight"])


@pytest.mark.slow
def test_training_again_gives_as_good_a_model():
    model = pretrain.train(progress=False)
    assert mean_elbo(model, 0) == pytest.approx(
        load_pretrained().origin["validation_elbo"], abs=3.0
    )
