"""Images and their probability given a code: black and white, or 256 grey values."""

import math
from typing import Any

import torch
from torch import Tensor
from torch import distributions as td
from torch.nn.functional import binary_cross_entropy_with_logits
from torch.special import erfcx, log_ndtr, ndtr

from vae_core.data import Rng, checks_values, expect
from vae_core.distributions import randn_like, reparameterize

_FAR = 50.0  # standard deviations: beyond them lies no mass that a float64 could hold
_LARGEST = 1e12  # standard deviations, and so no scale is below its inverse: float32 overflows


class BernoulliImage(td.Independent):  # type: ignore[type-arg]  # generic in new torch only
    """Black-and-white pixels, independent given z: π_d = p(x_d = 1) = sigmoid(logits_d). Chapter 3.

    From logits `[..., D]`, or `[..., C, H, W]` with 3 `event_dims`, any real numbers.
    """

    def __init__(self, logits: Tensor, event_dims: int = 1):
        base = td.Bernoulli(logits=logits, validate_args=False)
        super().__init__(base, event_dims, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "BernoulliImage":
        """Give the same with another batch shape."""
        logits = self.base_dist.logits.expand(*batch_shape, *self.event_shape)
        return BernoulliImage(logits, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Σ_d x_d log π_d + (1 − x_d) log(1 − π_d), in nats: `[...]`.

        Raises `ValueError`: a pixel is neither 0 nor 1. Grey ones have no probability: `binarize`.
        """
        _check_shape(value, self.event_shape)
        if checks_values() and not torch.equal(value * value, value):  # false for NaN as well
            expect(False, "pixels that are 0 or 1", "grey ones: see binarize()")
        logits, value = torch.broadcast_tensors(self.base_dist.logits, value)
        loss = binary_cross_entropy_with_logits(logits, value, reduction="none")
        return -loss.flatten(-len(self.event_shape)).sum(-1)

    def sample(self, sample_shape: Any = (), generator: Rng = None) -> Tensor:
        """Draw black-and-white images: `[*sample_shape, ..., D]`."""
        mean = self.mean.detach().expand(*sample_shape, *self.mean.shape)
        return torch.bernoulli(mean, generator=generator)


class DiscretizedGaussian(td.Distribution):
    """A Gaussian y ~ N(loc, diag scale²) seen with 8 bits: clipped to [0, 1], rounded to k/255.

    P(x = k/255) = Φ((k + ½ − 255 loc) / (255 scale)) − Φ((k − ½ − 255 loc) / (255 scale)), where
    level 0 also takes all that lies below it and level 255 all that lies above. These are
    probabilities of images, so log P ≤ 0 however small `scale` becomes. From loc and scale,
    `[..., D]`, or `[..., C, H, W]` with 3 `event_dims`. Raises `ValueError`: a scale ≤ 0, NaN,
    infinity, or shapes that differ. Chapter 7; Ho et al. 2020, equation 13, have the same, Salimans
    et al. 2017 a likelihood with logistic instead of normal tails.
    """

    arg_constraints = {}  # noqa: RUF012  as torch.distributions has it

    def __init__(self, loc: Tensor, scale: Tensor, event_dims: int = 1):
        shapes = [list(loc.shape), list(scale.shape)]
        expect(loc.shape == scale.shape, "loc and scale of one shape", shapes)
        if checks_values() and not ((scale > 0) & loc.isfinite() & scale.isfinite()).all():
            expect(False, "a finite loc and a finite scale > 0", f"{scale.min().item():.3g} or NaN")
        self.loc, self.scale = loc, scale
        super().__init__(loc.shape[:-event_dims], loc.shape[-event_dims:], validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> "DiscretizedGaussian":
        """Give the same with another batch shape."""
        loc, scale = (t.expand(*batch_shape, *self.event_shape) for t in (self.loc, self.scale))
        return DiscretizedGaussian(loc, scale, len(self.event_shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """log P(x), summed over pixels, in nats: `[...]`. Raises `ValueError`: not levels k/255."""
        _check_shape(value, self.event_shape)
        level = (255 * value).round()
        off = torch.where((level >= 0) & (level <= 255), 255 * value - level, 1).abs()
        fits = not checks_values() or bool(off.amax() < 1e-2)
        expect(fits, "8-bit grey values k/255, k = 0 … 255", "others: round them first")
        edges, scale = (
            ((level - 0.5) / 255, (level + 0.5) / 255),
            self.scale.clamp(min=1 / _LARGEST),
        )
        lower, upper = (((e - self.loc) / scale).clamp(-_LARGEST, _LARGEST) for e in edges)
        lower = torch.where(level == 0, upper.clamp(max=0) - _FAR, lower)  # all that lies below
        upper = torch.where(level == 255, lower.clamp(min=0) + _FAR, upper)  # all that lies above
        width = torch.where((level == 0) | (level == 255), _FAR, 1 / 255 / scale)
        return _log_normal_mass(lower, upper, width).flatten(-len(self.event_shape)).sum(-1)

    def sample(self, sample_shape: Any = (), generator: Rng = None) -> Tensor:
        """Draw 8-bit images, as values k/255: `[*sample_shape, ..., D]`."""
        noise = randn_like(self.loc, sample_shape, generator)
        y = reparameterize(self.loc.detach(), self.scale.detach(), noise)
        return (255 * y).round().clamp(0, 255) / 255

    @property
    def mean(self) -> Tensor:
        """E[x] of the observed image, `[..., D]`: not `loc`, since clipping moves it."""
        return self._moments()[0]

    @property
    def variance(self) -> Tensor:
        """Var[x] of the observed image, `[..., D]`: not the square of `scale`."""
        first, second = self._moments()
        return (second - first**2).clamp(min=0)

    def _moments(self) -> tuple[Tensor, Tensor]:
        """E[x] and E[x²], from E[k] = Σ_j P(k ≥ j) and E[k²] = Σ_j (2j − 1) P(k ≥ j)."""
        first, second = torch.zeros_like(self.loc), torch.zeros_like(self.loc)
        for j in range(1, 256):
            tail = ndtr((self.loc - (j - 0.5) / 255) / self.scale)
            first += tail
            second += (2 * j - 1) * tail
        return first / 255, second / 255**2


def _log_normal_mass(lower: Tensor, upper: Tensor, width: Tensor) -> Tensor:
    """log[Φ(upper) − Φ(lower)] without overflow or cancellation; the width is given exactly."""
    flip = lower + upper > 0  # to the left half of the axis, where log Φ keeps its digits
    lower, upper = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    eps = torch.finfo(width.dtype).eps
    narrow = width < eps ** (1 / 3)  # there density × width is exact enough, a difference is not
    density = -0.5 * (((lower + upper) / 2) ** 2 + math.log(2 * math.pi))
    log_upper = _LogNdtr.apply(upper)
    difference = torch.where(narrow, -1.0, (_LogNdtr.apply(lower) - log_upper).clamp(max=-eps))
    wide = log_upper + torch.log(-torch.expm1(difference))
    return torch.where(narrow, density + width.log(), wide)


class _LogNdtr(torch.autograd.Function):
    """log Φ(x) with derivative φ/Φ = √(2/π) / erfcx(−x/√2): torch's own loses it far below 0."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        """log Φ(x)."""
        ctx.save_for_backward(x)
        return log_ndtr(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        """Its derivative, times what comes from above."""
        return gradient * math.sqrt(2 / math.pi) / erfcx(-ctx.saved_tensors[0] / math.sqrt(2))


def _check_shape(value: Tensor, event: torch.Size) -> None:
    """Raise if the last axes do not hold an image: it would be broadcast silently."""
    fits = value.shape[value.ndim - len(event) :] == event
    expect(fits, f"images of shape [..., {', '.join(map(str, event))}]", list(value.shape))
