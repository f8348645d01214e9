"""The two terms that are trained: one value per image, in nats."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_core.distributions import DiagonalGaussian, reparameterize
from vae_core.model import VAE


class ElboTerms(NamedTuple):
    """The evidence lower bound, ELBO = reconstruction − kl, and its parts. Chapter 2, equation (elbo)."""

    reconstruction: Tensor
    "`[B]`, nats: an unbiased estimate of E_q[log p(x|z)]. It should rise."
    kl: Tensor
    "`[B]`, nats: KL(q(z|x) ‖ p(z)), exact, never negative."

    @property
    def elbo(self) -> Tensor:
        """`[B]` tensor in nats: reconstruction − kl, in expectation at most log p(x)."""
        return self.reconstruction - self.kl


def gaussian_kl(mean: Tensor, log_var: Tensor) -> Tensor:
    """Compute KL(N(μ, diag σ²) ‖ N(0, I)) = ½ Σ_i (μ_i² + σ_i² − log σ_i² − 1), in nats: `[...]`.

    Chapter 1, equation (gaussian-kl); Kingma & Welling 2014, appendix B.

    Args:
        mean: μ, `[..., Z]`.
        log_var: log σ², `[..., Z]`: the logarithm of the variance, not of the standard deviation.

    Raises:
        ValueError: shapes that differ, or NaN.
    """
    if mean.shape != log_var.shape:
        came = f"{list(mean.shape)} and {list(log_var.shape)}"
        raise ValueError(f"expected mean and log_var of one shape, got {came}")
    kl = 0.5 * (mean**2 + (torch.expm1(log_var) - log_var)).sum(-1)
    if kl.isnan().any():
        raise ValueError("expected finite mean and log_var, got NaN")
    return kl


def elbo(
    model: VAE,
    x: Tensor,
    samples: int = 1,
    generator: torch.Generator | None = None,
    noise: Tensor | None = None,
) -> ElboTerms:
    """Estimate the two terms of the ELBO for each image.

    Reconstruction = (1/K) Σ_k log p(x|z_k) with z_k ~ q(z|x), drawn so that it has a gradient for the encoder;
    KL in closed form. Chapter 2, equation (elbo); Kingma & Welling 2014, equation 7.

    Args:
        model: encoder and decoder.
        x: images, `[B, D]`: grey levels k/255 for a Gaussian decoder, 0 or 1 for a Bernoulli one.
        samples: K, draws of z for each image.
        generator: source of randomness.
        noise: ε, `[K, B, Z]`, instead of noise drawn here.

    Raises:
        ValueError: K below 1, or images that are not what the decoder gives probability to.
    """
    q = model.encode(x)
    noise = _noise(q, samples, generator) if noise is None else noise
    z = reparameterize(q.mean, q.stddev, noise)  # [K, B, Z]
    reconstruction = model.decode(z).log_prob(x).mean(0)  # [K, B] -> [B]
    return ElboTerms(reconstruction, gaussian_kl(q.mean, q.log_var))


class ImportanceElbo(NamedTuple):
    """The importance-weighted bound, and the two terms of the ELBO from the same draws. Chapter 2, equation (importance)."""

    bound: Tensor
    "`[B]`, nats: log (1/K) Σ_k p(x, z_k) / q(z_k|x), in expectation at most log p(x)."
    reconstruction: Tensor
    "`[B]`, nats: as in `ElboTerms`."
    kl: Tensor
    "`[B]`, nats: as in `ElboTerms`."


def importance_elbo(
    model: VAE,
    x: Tensor,
    samples: int = 1,
    generator: torch.Generator | None = None,
    noise: Tensor | None = None,
) -> ImportanceElbo:
    """Estimate the importance-weighted bound with a gradient for encoder and decoder, to train on it.

    Chapter 2, equation (importance); Burda et al. 2016, equation 8. To measure log p(x) with many samples use
    `importance_log_likelihood`, which bounds the memory.

    Args:
        model: encoder and decoder.
        x: images, `[B, D]`.
        samples: K.
        generator: source of randomness.
        noise: ε, `[K, B, Z]`, instead of noise drawn here.

    Raises:
        ValueError: K below 1, or images that are not what the decoder gives probability to.
    """
    q = model.encode(x)
    noise = _noise(q, samples, generator) if noise is None else noise
    z = reparameterize(q.mean, q.stddev, noise)  # [K, B, Z]
    log_px_given_z = model.decode(z).log_prob(x)
    log_weight = log_px_given_z + model.prior().log_prob(z) - q.log_prob(z)  # [K, B]
    bound = log_weight.logsumexp(0) - math.log(len(z))
    return ImportanceElbo(bound, log_px_given_z.mean(0), gaussian_kl(q.mean, q.log_var))


def _noise(q: DiagonalGaussian, samples: int, generator: torch.Generator | None) -> Tensor:
    """Standard normal noise for K codes of each image, `[K, B, Z]`."""
    if samples < 1:
        raise ValueError(f"expected samples of at least 1, got {samples}")
    return torch.randn((samples, *q.mean.shape), generator=generator, dtype=q.mean.dtype, device=q.mean.device)
