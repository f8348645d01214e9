"""What more than one test file needs."""

import importlib.util
import sys
from dataclasses import fields
from functools import cache
from pathlib import Path

import torch

from deeper import add_pixel_noise
from vae_core import VAE, Settings, binarize, fit, load_digits

ROOT = Path(__file__).resolve().parent.parent


def load(path):
    """The script at `path`, from the root, without .py; it finds its neighbours as when run."""
    path = (ROOT / path).with_suffix(".py")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(path.parent))
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(path.parent))
    return module


def tiny(likelihood, gen, latent=2, hidden=(3,), pixels=4, spread=None):
    """A VAE in float64 with few pixels and weights large enough to matter, and images for it.

    Three images of black and white pixels, or of 8-bit grey values for the Gaussian likelihood.
    """
    spread = spread or (0.5 if likelihood == "bernoulli" else 0.2)
    model = VAE.mlp(latent, hidden, likelihood, pixels, gen(0)).double().requires_grad_(False)
    for parameter in model.parameters():
        parameter += spread * torch.randn(
            parameter.shape, generator=gen(parameter.numel()), dtype=torch.float64
        )
    x = torch.rand(3, pixels, generator=gen(1), dtype=torch.float64)
    return model, x.round() if likelihood == "bernoulli" else (255 * x).round() / 255


def z_scores(draws, mean, std=None):
    """How many standard errors the means along the first axis are from what is expected."""
    return (draws.mean(0) - mean) / (draws.std(0) if std is None else std) * len(draws) ** 0.5


@cache
def noisy_digits():
    """The 4,000 training digits with N(0, 0.05²) on every pixel, float64, `[4000, 784]`."""
    images = load_digits("train").images.double()
    return add_pixel_noise(images, 0.05, torch.Generator().manual_seed(0))


def black_or_white(images, generator):
    """A transform without noise."""
    return (images > 0.5).to(images.dtype)


def small(gen, seed=0, likelihood="bernoulli", latent=2):
    """A model of digits that is trained quickly."""
    return VAE.mlp(latent, (16,), likelihood, generator=gen(seed))


def run(gen, digits, epochs=4, model=None, seed=1, **settings):
    """A short training run: its model and its history."""
    model = model or small(gen)
    given = {"epochs": epochs, "batch_size": 64, "validation": digits[200:260]}
    given |= {"transform": binarize, **settings}
    names = {field.name for field in fields(Settings)}
    settings = Settings(**{name: value for name, value in given.items() if name in names})
    rest = {name: value for name, value in given.items() if name not in names}
    return model, fit(model, digits[:200], settings, generator=gen(seed), **rest)


def assert_same(run, other):
    """Both runs, a model and a history each, are the same to the last bit."""
    (model, history), (other_model, other_history) = run, other
    assert history == other_history
    weights, others = model.state_dict(), other_model.state_dict()
    assert weights.keys() == others.keys()
    assert all(torch.equal(weights[name], others[name]) for name in weights)


class Interrupt:
    """A transform, or whatever else is called, that is interrupted at its n-th call."""

    def __init__(self, call, then, error=KeyboardInterrupt):
        self.calls, self.call, self.then, self.error = 0, call, then, error

    def __call__(self, *arguments, **settings):
        self.calls += 1
        if self.calls == self.call:
            raise self.error
        return self.then(*arguments, **settings)
