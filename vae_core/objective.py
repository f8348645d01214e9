"""The two terms that are trained: one value per image, in nats."""

from typing import NamedTuple

import torch
from torch import Tensor

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
    if mean.isnan().any() or log_var.isnan().any():
        raise ValueError("expected mean and log_var without NaN, got NaN")
    return 0.5 * (mean**2 + (torch.expm1(log_var) - log_var)).sum(-1)


def elbo(
    model: VAE,
    x: Tensor,
    samples: int = 1,
    generator: torch.Generator | None = None,
) -> ElboTerms:
    """Estimate the two terms of the ELBO for each image.

    Reconstruction = (1/K) Σ_k log p(x|z_k) with z_k ~ q(z|x), drawn so that it has a gradient for the encoder;
    KL in closed form. Chapter 2, equation (elbo); Kingma & Welling 2014, equation 7.

    Args:
        model: encoder and decoder.
        x: images, `[B, D]`: grey levels k/255 for a Gaussian decoder, 0 or 1 for a Bernoulli one.
        samples: K, draws of z for each image.
        generator: source of randomness.

    Raises:
        ValueError: K below 1, or images that are not what the decoder gives probability to.
    """
    if samples < 1:
        raise ValueError(f"expected samples of at least 1, got {samples}")
    q = model.encode(x)
    z = q.rsample((samples,), generator)  # [K, B, Z]
    reconstruction = model.decode(z).log_prob(x).mean(0)  # [K, B] -> [B]
    return ElboTerms(reconstruction, gaussian_kl(q.mean, q.log_var))
