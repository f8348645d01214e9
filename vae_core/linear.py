"""The linear-Gaussian model, also called factor analysis: the decoder for which everything has a closed form."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_core.data import check_images


class LinearGaussian(NamedTuple):
    """A decoder whose mean is linear in z: p(z) = N(0, I), p(x|z) = N(Wz + b, Ψ). Factor analysis. Chapter 1.

    Bishop 2006, section 12.2.
    """

    weight: Tensor
    "`[D, Z]`: W."
    bias: Tensor
    "`[D]`: b."
    noise_var: Tensor
    "`[D]`: the diagonal of Ψ, > 0."

    def log_likelihood(self, x: Tensor) -> Tensor:
        """log p(x) = log N(x; b, WWᵀ + Ψ), in nats, by a D×D Cholesky factor: `[B, D]` → `[B]`."""
        covariance = self.weight @ self.weight.T + torch.diag(self.noise_var)
        factor = torch.linalg.cholesky(covariance)
        centred = (x - self.bias).T
        whitened = torch.linalg.solve_triangular(factor, centred, upper=False)
        log_det = 2 * factor.diagonal().log().sum()
        log_norm = len(self.bias) * math.log(2 * math.pi) + log_det
        return -0.5 * (log_norm + (whitened**2).sum(0))

    def posterior(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """p(z|x) = N(m, P⁻¹) with P = I + WᵀΨ⁻¹W and m = P⁻¹WᵀΨ⁻¹(x − b): m `[B, Z]` and P `[Z, Z]`."""
        scaled = self.weight / self.noise_var[:, None]  # Ψ⁻¹W, [D, Z]
        precision = torch.eye(self.weight.shape[1], dtype=x.dtype, device=x.device) + self.weight.T @ scaled
        mean = torch.linalg.solve(precision, ((x - self.bias) @ scaled).T).T
        return mean, precision


def add_pixel_noise(images: Tensor, std: float = 0.05, generator: torch.Generator | None = None) -> Tensor:
    """Add N(0, std²) to every pixel: `[N, D]`.

    A density over digits needs it: some pixels are 0 in every training image, so that their variance, and with it Ψ,
    would be 0. It is part of the model: the model is one of noisy digits. Chapter 1.

    Raises:
        ValueError: as `check_images`, or a `std` that is not positive.
    """
    if not std > 0:
        raise ValueError(f"expected std > 0, got {std}")
    check_images(images)
    return images + std * torch.randn(images.shape, generator=generator, dtype=images.dtype, device=images.device)


def fit_linear_gaussian(x: Tensor, latent: int, steps: int = 200) -> LinearGaussian:
    """Fit W, b and Ψ to data by expectation maximisation, starting from the principal components.

    E-step: q(z|x) = p(z|x), that is, KL(q(z|x) ‖ p(z|x)) = 0. M-step: the W and Ψ that maximise
    E_q[log p(x|z)]. So each step raises the ELBO, and with it log p(x). Chapter 1, equation (em);
    Rubin & Thayer 1982.

    Args:
        x: data, `[N, D]`, float64 for exactness; no column may be constant.
        latent: Z, from 1 to D.
        steps: rounds of E and M.

    Raises:
        ValueError: a Z below 1 or above D, NaN, or a column of x that is constant.
    """
    if x.ndim != 2 or not 1 <= latent <= x.shape[1]:
        raise ValueError(f"expected data [N, D] and latent from 1 to D, got {list(x.shape)} and latent = {latent}")
    if not x.isfinite().all():
        raise ValueError("expected finite numbers, got NaN or infinity")
    bias = x.mean(0)
    centred = x - bias
    total = (centred**2).mean(0)
    constant = x.amax(0) == x.amin(0)
    if constant.any():
        raise ValueError(f"expected every pixel to vary, {int(constant.sum())} are constant: see add_pixel_noise()")
    scatter = centred.T @ centred / len(x)  # all that EM needs to know of the data, [D, D]
    values, vectors = torch.linalg.eigh(scatter)
    noise = values[:-latent].mean() if latent < len(values) else values[0]
    vectors = vectors[:, -latent:]
    vectors = vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()  # the same on every machine
    weight = vectors * (values[-latent:] - noise).clamp(min=0).sqrt()
    noise_var = (total - (weight**2).sum(1)).clamp(min=1e-3 * total)
    eye = torch.eye(latent, dtype=x.dtype, device=x.device)
    for _ in range(steps):
        scaled = weight / noise_var[:, None]
        covariance = torch.linalg.inv(eye + weight.T @ scaled)  # E: Cov[z|x]
        gain = covariance @ scaled.T  # E[z|x] = gain (x − b), [Z, D]
        cross = scatter @ gain.T  # mean of (x − b) E[z|x]ᵀ, [D, Z]
        moment = covariance + gain @ cross  # mean of E[zzᵀ|x], [Z, Z]
        weight = torch.linalg.solve(moment, cross.T).T  # M
        noise_var = total - (weight * cross).sum(1)
    return LinearGaussian(weight, bias, noise_var)
