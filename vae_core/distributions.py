"""The distributions of a variational autoencoder, and how to draw from them so that a gradient passes."""

import math

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, Normal, constraints
from torch.special import erfcx, log_ndtr, ndtr

LEVELS = 256
_FAR = 50.0  # standard deviations: beyond them a normal distribution has no mass that a float64 could hold


def reparameterize(mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
    """Turn standard normal noise into a draw from N(mean, std²): z = μ + σ ⊙ ε.

    Mean and standard deviation are deterministic; all randomness is in the noise. So z has a gradient with
    respect to both. Chapter 4; Kingma & Welling 2014, section 2.4.

    Args:
        mean: μ, `[..., Z]`.
        std: σ > 0, `[..., Z]`: the standard deviation, not the variance.
        noise: ε ~ N(0, I), `[..., Z]`, with as many leading axes of samples as wanted.

    Raises:
        ValueError: σ ≤ 0 or NaN, shapes that do not fit, or another dtype or device.
    """
    _check_noise(mean, std, noise)
    return mean + std * noise


def _check_noise(mean: Tensor, std: Tensor, noise: Tensor) -> None:
    """Raise a `ValueError` if a scale is not positive, or if something would be broadcast or cast silently."""
    if mean.shape != std.shape or noise.shape[noise.ndim - mean.ndim :] != mean.shape:
        shapes = ", ".join(str(list(t.shape)) for t in (mean, std, noise))
        raise ValueError(f"expected mean and std of one shape and noise ending in it, got {shapes}")
    if len({(t.dtype, t.device) for t in (mean, std, noise)}) > 1:
        came = ", ".join(f"{t.dtype} on {t.device}" for t in (mean, std, noise))
        raise ValueError(f"expected mean, std and noise of one dtype and on one device, got {came}")
    if not (std > 0).all():
        raise ValueError(f"expected std > 0, got a smallest value of {std.min().item():.3g}")


class DiagonalGaussian(Independent):
    """N(μ, diag σ²) with the event in the last axis: what the encoder gives. Chapter 3.

    Args:
        mean: μ, `[..., Z]`.
        log_var: log σ², `[..., Z]`.
    """

    def __init__(self, mean: Tensor, log_var: Tensor):
        self.log_var = log_var
        super().__init__(Normal(mean, torch.exp(0.5 * log_var), validate_args=False), 1, validate_args=False)

    @property
    def stddev(self) -> Tensor:
        """σ, `[..., Z]`: as it is, and not as the square root of its square."""
        return self.base_dist.scale

    def rsample(self, sample_shape=(), generator: torch.Generator | None = None) -> Tensor:
        """Draw z = μ + σ ⊙ ε, with a gradient for μ and σ: `[*sample_shape, ..., Z]`."""
        shape = (*sample_shape, *self.mean.shape)
        noise = torch.randn(shape, generator=generator, dtype=self.mean.dtype, device=self.mean.device)
        return reparameterize(self.mean, self.stddev, noise)

    def sample(self, sample_shape=(), generator: torch.Generator | None = None) -> Tensor:
        """Draw z without a gradient: `[*sample_shape, ..., Z]`."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator)


class BernoulliImage(Independent):
    """Black-and-white pixels, independent given z: π_d = p(x_d = 1) = sigmoid(logits_d). Event in the last axis. Chapter 3.

    Args:
        logits: `[..., D]`, any real numbers.
    """

    def __init__(self, logits: Tensor):
        super().__init__(Bernoulli(logits=logits, validate_args=False), 1, validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """Σ_d x_d log π_d + (1 − x_d) log(1 − π_d), in nats: `[...]`.

        Raises:
            ValueError: a pixel is neither 0 nor 1. Grey pixels have no probability here: `binarize` draws from them.
        """
        _check_pixels(value, self.event_shape)
        if not torch.equal(value * value, value):  # false for NaN as well
            raise ValueError("expected pixels that are 0 or 1 for a Bernoulli likelihood, got grey ones: see binarize()")
        return _BernoulliLogProb.apply(self.base_dist.logits, value)

    def sample(self, sample_shape=(), generator: torch.Generator | None = None) -> Tensor:
        """Draw black-and-white images: `[*sample_shape, ..., D]`."""
        with torch.no_grad():
            return torch.bernoulli(self.mean.expand(*sample_shape, *self.mean.shape), generator=generator)


class _BernoulliLogProb(torch.autograd.Function):
    """Σ_d x_d l_d − log(1 + e^l_d) for logits l, with the derivative x − π in one step.

    log(1 + e^l) = max(l, 0) + log(1 + e^−|l|). The factors 1 + e^−|l| are at most 2, so a hundred of them can be
    multiplied before one logarithm is taken: logarithms are what takes the time.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(logits, value):
        factors = torch.exp(-logits.abs()).add_(1)
        whole = factors.shape[-1] // 100 * 100
        log_norm = factors[..., whole:].prod(-1).log()
        if whole:
            log_norm += factors[..., :whole].unflatten(-1, (-1, 100)).prod(-1).log().sum(-1)
        return (value * logits).sub_(logits.clamp(min=0)).sum(-1) - log_norm

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(*inputs)

    @staticmethod
    def backward(ctx, gradient):
        logits, value = ctx.saved_tensors
        gradient = gradient[..., None]
        for_value = gradient * logits if ctx.needs_input_grad[1] else None
        return (value - torch.sigmoid(logits)).mul_(gradient), for_value


class DiscretizedGaussian(Distribution):
    """A Gaussian observed as an 8-bit image: y ~ N(loc, diag scale²), then clipped to [0, 1] and rounded to k/255.

    P(x = k/255) = Φ((k + ½ − 255 loc) / (255 scale)) − Φ((k − ½ − 255 loc) / (255 scale)), where level 0 also
    takes all that lies below it and level 255 all that lies above. These are probabilities of images, so
    log P ≤ 0 however small `scale` becomes. Event in the last axis. Chapter 3; the same likelihood as in
    Ho et al. 2020, equation 13, and with logistic instead of normal tails in Salimans et al. 2017.

    Args:
        loc: mean of y, `[..., D]`.
        scale: standard deviation of y, `[..., D]`, > 0.

    Raises:
        ValueError: a scale that is not positive, or shapes that differ.
    """

    arg_constraints = {"loc": constraints.real_vector, "scale": constraints.independent(constraints.positive, 1)}
    support = constraints.independent(constraints.interval(0.0, 1.0), 1)

    def __init__(self, loc: Tensor, scale: Tensor):
        if loc.shape != scale.shape:
            raise ValueError(f"expected loc and scale of one shape, got {list(loc.shape)} and {list(scale.shape)}")
        if not (scale > 0).all():
            raise ValueError(f"expected scale > 0, got a smallest value of {scale.min().item():.3g}")
        self.loc, self.scale = loc, scale
        super().__init__(loc.shape[:-1], loc.shape[-1:], validate_args=False)

    def log_prob(self, value: Tensor) -> Tensor:
        """log P(x), in nats, summed over the pixels: `[...]`.

        Raises:
            ValueError: a value that is not one of the 256 levels k/255.
        """
        _check_pixels(value, self.event_shape)
        level = (255 * value).round()
        if not ((255 * value - level).abs().amax() < 1e-2 and level.min() >= 0 and level.max() <= 255):
            raise ValueError("expected 8-bit grey values k/255, k = 0 … 255; round other images to them first")
        lower = ((level - 0.5) / 255 - self.loc) / self.scale
        upper = ((level + 0.5) / 255 - self.loc) / self.scale
        lower = torch.where(level == 0, upper.clamp(max=0) - _FAR, lower)  # level 0 takes all that lies below
        upper = torch.where(level == 255, lower.clamp(min=0) + _FAR, upper)  # level 255 all that lies above
        width = torch.where((level == 0) | (level == 255), _FAR, 1 / 255 / self.scale)
        return _log_normal_mass(lower, upper, width).sum(-1)

    def sample(self, sample_shape=(), generator: torch.Generator | None = None) -> Tensor:
        """Draw 8-bit images, as values k/255: `[*sample_shape, ..., D]`."""
        with torch.no_grad():
            shape = (*sample_shape, *self.loc.shape)
            noise = torch.randn(shape, generator=generator, dtype=self.loc.dtype, device=self.loc.device)
            return (255 * reparameterize(self.loc, self.scale, noise)).round().clamp(0, 255) / 255

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
        for j in range(1, LEVELS):
            tail = ndtr((self.loc - (j - 0.5) / 255) / self.scale)
            first += tail
            second += (2 * j - 1) * tail
        return first / 255, second / 255**2


def _log_normal_mass(lower: Tensor, upper: Tensor, width: Tensor) -> Tensor:
    """log[Φ(upper) − Φ(lower)] without overflow or cancellation; `width` = upper − lower, known more exactly."""
    flip = lower + upper > 0  # to the left half of the axis, where log Φ keeps its digits
    lower, upper = torch.where(flip, -upper, lower), torch.where(flip, -lower, upper)
    eps = torch.finfo(width.dtype).eps
    narrow = width < eps ** (1 / 3)  # there the density times the width is exact enough, and the difference is not
    middle = (lower + upper) / 2
    density = -0.5 * (middle**2 + math.log(2 * math.pi))
    log_upper = _LogNdtr.apply(upper)
    difference = torch.where(narrow, -1.0, (_LogNdtr.apply(lower) - log_upper).clamp(max=-eps))
    return torch.where(narrow, density + width.log(), log_upper + torch.log(-torch.expm1(difference)))


class _LogNdtr(torch.autograd.Function):
    """log Φ(x) with the derivative φ(x)/Φ(x) = √(2/π) / erfcx(−x/√2), which torch's own loses for x far below 0."""

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        return log_ndtr(x)

    @staticmethod
    def backward(ctx, gradient):
        (x,) = ctx.saved_tensors
        return gradient * math.sqrt(2 / math.pi) / erfcx(-x / math.sqrt(2))


def _check_pixels(value: Tensor, event_shape: torch.Size) -> None:
    """Raise a `ValueError` if the last axis does not hold the pixels: it would be broadcast silently."""
    if value.shape[-1:] != event_shape:
        raise ValueError(f"expected images of shape [..., {event_shape[0]}], got {list(value.shape)}")
