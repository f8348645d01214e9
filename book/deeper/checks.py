"""Checks of a VAE's pieces against a library, on two images, before the first epoch.

Each takes a `Subject` and tells whether it passes. They are written against `deeper.plain`, and
find every slip of `deeper.broken` without training. Two images and not one: a sum over the batch
is the value of an image where the batch is one image.
"""

import math
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Normal, kl_divergence

import vae_core
from vae_core import binarize

load_digits = cache(vae_core.load_digits)  # read once, and not for every case


class Subject(NamedTuple):
    """What is checked: a file's namespace, an untrained model of it, two images and their noise."""

    code: Any
    model: Any
    x: Tensor  #: `[2, D]`, black and white.
    noise: Tensor  #: `[2, Z]`.


def subject(code: ModuleType, model: Any = None) -> Subject:
    """Take a module such as `deeper.plain`, and an untrained model of it, in float64."""
    generator = torch.Generator().manual_seed(0)
    x = binarize(load_digits("test").images[:2], generator).double()
    noise = torch.randn(2, 2, generator=generator).double()
    return Subject(code, (model or code.PlainVAE()).double(), x, noise)


def first_pulls_at_encoder(s: Subject) -> bool:
    """The first term has a gradient at each output of the encoder, μ and log σ²."""
    first, _ = s.model.terms(s.x, s.noise)
    weight = s.model.encoder[-1].weight  # [2Z, hidden]: a row for each output
    (pull,) = torch.autograd.grad(first.sum(), weight, allow_unused=True)
    return pull is not None and bool(pull.any(1).all())


def draws_are_of_q(s: Subject) -> bool:
    """10,000 draws for μ = 3, log σ² = 2: the mean is 3, the covariance e² I, to a tenth."""
    noise = torch.randn(10_000, 2, generator=torch.Generator().manual_seed(0))
    z = s.model.draw(torch.full_like(noise, 3), torch.full_like(noise, 2), noise)
    off = z.T.cov() / math.exp(2) - torch.eye(2)
    return bool((z.mean(0) - 3).abs().max() < 0.1 and off.abs().max() < 0.1)


def pixels_can_be_black(s: Subject) -> bool:
    """An untrained decoder gives logits of both signs."""
    logits = s.model.decode(s.noise)
    return bool(logits.min() < 0 < logits.max())


def no_test_digit_in_training(s: Subject) -> bool:
    """No row of the test digits is a row of the digits to train on."""
    splits = s.code.training_digits(), load_digits("test").images
    train, test = ({row.numpy().tobytes() for row in part} for part in splits)
    return train.isdisjoint(test)


def first_is_torchs(s: Subject) -> bool:
    """The first term is torch's log-probability, summed over pixels."""
    logits = s.model.decode(s.model.draw(*s.model.encode(s.x), s.noise))
    theirs = Bernoulli(logits=logits).log_prob(s.x).sum(1)
    return s.model.terms(s.x, s.noise)[0].allclose(theirs)


def second_is_torchs(s: Subject) -> bool:
    """The second term is torch's KL(q ‖ prior), summed over the numbers of a code."""
    mean, log_var = s.model.encode(s.x)
    q, prior = Normal(mean, (log_var / 2).exp()), Normal(0.0, 1.0)
    theirs = kl_divergence(q, prior).sum(1)
    return s.model.terms(s.x, s.noise)[1].allclose(theirs)


def loss_is_minus_elbo(s: Subject) -> bool:
    """With first terms −100 and −200, second terms 5 and 7 the loss is 156."""
    terms = torch.tensor([-100.0, -200.0]), torch.tensor([5.0, 7.0])
    return s.model.loss(*terms).item() == 156


CHECKS = (
    first_pulls_at_encoder,
    draws_are_of_q,
    pixels_can_be_black,
    no_test_digit_in_training,
    first_is_torchs,
    second_is_torchs,
    loss_is_minus_elbo,
)
