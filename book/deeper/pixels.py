"""One ruler for decoders of grey images: log-density, closed bins, and bins that are open outside.

A grey level k is the bin from (k − ½)/255 to (k + ½)/255 of real numbers y. A decoder's Gaussian of
y, or of a stretched t(y), is then scored in three ways; only the last two are probabilities.
"""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.special import log_ndtr

from vae_core.data import Rng, check_images, expect

Stretch = Callable[[Tensor], Tensor]
SQUEEZE = 0.9  # of the levels, so that a logit stays finite


class Scores(NamedTuple):
    """Three values of one image under one decoder, in nats: `[B]` each. Chapter 7."""

    density: Tensor
    "E_u[log p(y)] − D log 255, y uniform in the image's bins: a lower bound on `closed`."
    closed: Tensor
    "log of the mass in the image's bins, the outer ones ½/255 wide on either side."
    opened: Tensor
    "the same with all that lies below black, and above white: a DiscretizedGaussian's log_prob."


def dequantise(x: Tensor, generator: Rng = None) -> Tensor:
    """Draw y = x + (u − ½)/255, u uniform in [0, 1) for each pixel. Raises as `check_images`."""
    noise = torch.rand(x.shape, generator=generator, dtype=x.dtype, device=x.device)
    return check_images(x) + (noise - 0.5) / 255


def logit(y: Tensor) -> Tensor:
    """t(y) = log r/(1 − r), r = ½ + 0.9 (s − ½), s = (255 y + ½)/256: levels are within (0, 1)."""
    return torch.logit(0.5 + SQUEEZE * ((255 * y + 0.5) / 256 - 0.5))


def unlogit(t: Tensor) -> Tensor:
    """Give the y of t = logit(y)."""
    return (256 * ((torch.sigmoid(t) - 0.5) / SQUEEZE + 0.5) - 0.5) / 255


def log_slope(y: Tensor) -> Tensor:
    """Give log dt/dy of `logit`: a density needs it when its variable is stretched."""
    r = torch.sigmoid(logit(y))
    return math.log(SQUEEZE * 255 / 256) - (r * (1 - r)).log()


def log_mass(loc: Tensor, scale: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """log[Φ((upper − loc)/scale) − Φ((lower − loc)/scale)], in float64, far out as well."""
    a, b = (lower.double() - loc) / scale, (upper.double() - loc) / scale
    flip = a + b > 0  # to the left half of the axis, where log Φ keeps its digits
    a, b = torch.where(flip, -b, a), torch.where(flip, -a, b)
    above, below = log_ndtr(b), log_ndtr(a)
    return above + torch.log(-torch.expm1((below - above).clamp(max=-1e-300)))


def score(
    loc: Tensor, scale: Tensor, x: Tensor, stretched: bool = False, draws: int = 10,
    generator: Rng = None,
) -> Scores:  # fmt: skip
    """Score 8-bit images x, `[B, D]`, under a Gaussian N(loc, diag scale²) of y, or of logit(y).

    Pixels are independent, so that a bin's mass is a difference of two Φ, equation
    (discretized-gaussian) with the outer bins closed or open. The density's expectation is over
    `draws` of u. Raises `ValueError`: shapes that differ, no draw, bad images. Chapter 7.
    """
    expect(loc.shape == scale.shape == x.shape and draws > 0, "shapes [B, D], draws", loc.shape)
    loc, scale = loc.double(), scale.double()
    stretch: Stretch = logit if stretched else torch.Tensor.double
    total = torch.zeros(len(x), dtype=torch.float64, device=x.device)
    for _ in range(draws):
        y = dequantise(x, generator).double()
        log_p = -0.5 * ((stretch(y) - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2 * math.pi)
        total += (log_p + log_slope(y) if stretched else log_p).sum(1)
    level = (255 * x.double()).round()
    lower, upper = stretch((level - 0.5) / 255), stretch((level + 0.5) / 255)
    closed = log_mass(loc, scale, lower, upper)
    lower = torch.where(level == 0, -torch.inf, lower)
    upper = torch.where(level == 255, torch.inf, upper)
    opened = log_mass(loc, scale, lower, upper)
    density = total / draws - x.shape[1] * math.log(255)
    return Scores(density, closed.sum(1), opened.sum(1))
