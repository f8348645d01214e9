"""Gaussian codes: draws that pass a gradient on, and the KLs that torch lacks."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch import distributions as td
from torch.linalg import solve_triangular

from vae_core.data import Rng, checks_values, expect


def reparameterize(mean: Tensor, std: Tensor, noise: Tensor) -> Tensor:
    """Turn standard normal noise into a draw from N(mean, std²): z = μ + σ ⊙ ε.

    Mean μ and standard deviation σ (not the variance), `[..., Z]`, are deterministic; all
    randomness is in the noise ε ~ N(0, I), `[K, ..., Z]`. So z has a gradient with respect to both.
    Raises `ValueError`: σ ≤ 0 or NaN, shapes that do not fit, another dtype or device. Chapter 4;
    Kingma & Welling 2014, section 2.4.
    """
    _check_noise(mean, std, noise)
    return mean + std * noise


def _check_noise(mean: Tensor, std: Tensor, noise: Tensor) -> None:
    kinds = {(part.dtype, part.device) for part in (mean, std, noise)}
    if not mean.shape == std.shape == noise.shape[noise.ndim - mean.ndim :] or len(kinds) > 1:
        got = [f"{list(t.shape)} {t.dtype} on {t.device}" for t in (mean, std, noise)]
        expect(False, "mean and std of one shape, noise that ends in it, all of one kind", got)
    if checks_values() and not (std > 0).all():
        expect(False, "std > 0", f"a smallest value of {std.min().item():.3g}")


class DiagonalGaussian(td.Independent):  # type: ignore[type-arg]  # generic in new torch only
    """N(μ, diag σ²), from μ and log σ², `[..., Z]`: what the usual encoder gives. Chapter 3."""

    def __init__(self, mean: Tensor, log_var: Tensor):
        self.log_var = log_var
        base = td.Normal(mean, torch.exp(0.5 * log_var), validate_args=False)
        super().__init__(base, 1, validate_args=False)

    @property
    def stddev(self) -> Tensor:
        """σ, `[..., Z]`: as it is, and not as the square root of its square."""
        return self.base_dist.scale

    def expand(self, batch_shape: Any, _instance: Any = None) -> "DiagonalGaussian":
        """Give the same with another batch shape."""
        shape = (*batch_shape, *self.event_shape)
        return DiagonalGaussian(self.mean.expand(shape), self.log_var.expand(shape))

    def rsample(self, sample_shape: Any = (), generator: Rng = None) -> Tensor:
        """Draw z = μ + σ ⊙ ε, with a gradient for μ and σ: `[*sample_shape, ..., Z]`."""
        return from_noise(self, randn_like(self.mean, sample_shape, generator))

    def sample(self, sample_shape: Any = (), generator: Rng = None) -> Tensor:
        """Draw z without a gradient: `[*sample_shape, ..., Z]`."""
        with torch.no_grad():
            return self.rsample(sample_shape, generator)


def randn_like(like: Tensor, leading: Any, generator: Rng) -> Tensor:
    """Draw standard normal noise `[*leading, *like.shape]`, of the kind and device of `like`."""
    shape = (*leading, *like.shape)
    return torch.randn(shape, generator=generator, dtype=like.dtype, device=like.device)


def draw(q: td.Distribution, samples: int, generator: Rng = None) -> Tensor:
    """Draw K codes z ~ q, `[K, ..., Z]`, with a gradient where q has one.

    Raises `ValueError`: K below 1; `TypeError`: q has no gradient, and torch's are enabled.
    """
    expect(samples >= 1, "samples of at least 1", samples)
    if (root := gaussian(q)) is not None:
        return from_noise(q, randn_like(root.loc, (samples,), generator))
    if torch.is_grad_enabled() and not q.has_rsample:
        raise TypeError(
            f"expected a q whose draws have a gradient (rsample), got {type(q).__name__}"
        )
    with seeded(generator):
        return q.rsample((samples,)) if q.has_rsample else q.sample((samples,))


@contextmanager
def seeded(generator: Rng) -> Iterator[None]:
    """Let what takes no generator draw from this one; torch's own state is put back at the end."""
    devices = [generator.device] if generator and generator.device.type == "cuda" else []
    with torch.random.fork_rng(devices, enabled=generator is not None):
        if generator is not None:
            seed = torch.randint(2**62, (), generator=generator, device=generator.device)
            torch.manual_seed(int(seed))
        yield


def gaussian(q: td.Distribution) -> td.Normal | td.MultivariateNormal | None:
    """Give the `Normal` in an `Independent`, or q itself; None if q is no Gaussian."""
    root = q.base_dist if isinstance(q, td.Independent) else q
    return root if isinstance(root, td.Normal | td.MultivariateNormal) else None


def gaussian_factors(q: td.Distribution) -> tuple[Tensor, Tensor]:
    """Give μ, `[..., Z]`, and the lower triangular L, `[..., Z, Z]`, of a Gaussian N(μ, LLᵀ)."""
    if isinstance(root := gaussian(q), td.MultivariateNormal):
        return root.loc, root.scale_tril
    if root is None:
        raise ValueError(f"expected a Gaussian q, got {type(q).__name__}")
    return root.loc, torch.diag_embed(root.scale)


def from_noise(q: td.Distribution, noise: Tensor) -> Tensor:
    """Give z = μ + L ε, the draw of a Gaussian q that noise becomes, `[K, ..., Z]`.

    That is μ + σ ⊙ ε if q is diagonal. Raises `ValueError`: q is no Gaussian, noise does not fit.
    """
    if isinstance(root := gaussian(q), td.Normal):
        return reparameterize(root.loc, root.scale, noise)
    mean, factor = gaussian_factors(q)
    _check_noise(mean, torch.ones_like(mean), noise)
    return mean + (factor @ noise[..., None])[..., 0]


def gaussian_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σ_i (μ_i² + σ_i² − log σ_i² − 1), in nats: `[...]`.

    Of μ and log σ² (not log σ), `[..., Z]`; never negative. Raises `ValueError`: shapes that
    differ, or a KL that is NaN or infinite. Chapter 1, equation (gaussian-kl); Kingma & Welling
    2014, appendix B.
    """
    shapes = [list(mean.shape), list(log_var.shape)]
    expect(mean.shape == log_var.shape, "mean and log_var of one shape", shapes)
    kl = 0.5 * (mean**2 + (torch.expm1(log_var) - log_var)).sum(-1)
    fits = not checks_values() or bool(kl.isfinite().all())
    expect(fits, "mean and log_var with a finite KL", "NaN or infinity")
    return kl


@td.register_kl(DiagonalGaussian, DiagonalGaussian)
def _kl_diagonal(q: DiagonalGaussian, p: DiagonalGaussian) -> Tensor:
    return gaussian_kl((q.mean - p.mean) / p.stddev, q.log_var - p.log_var)


@td.register_kl(td.Independent, td.MultivariateNormal)
@td.register_kl(td.MultivariateNormal, td.Independent)
def _kl_full(q: td.Distribution, p: td.Distribution) -> Tensor:
    """L_p⁻¹ makes it KL(N(m, LLᵀ) ‖ N(0, I)): that of m and L's diagonal, and ½ Σ_{i>j} L_ij²."""
    if gaussian(q) is None or gaussian(p) is None:
        raise NotImplementedError
    (mean, factor), (center, scale) = gaussian_factors(q), gaussian_factors(p)
    mean = solve_triangular(scale, (mean - center)[..., None], upper=False)[..., 0]
    factor = solve_triangular(scale, factor, upper=False)
    log_var = 2 * factor.diagonal(dim1=-2, dim2=-1).log()
    return gaussian_kl(mean, log_var) + 0.5 * factor.tril(-1).square().sum((-2, -1))
