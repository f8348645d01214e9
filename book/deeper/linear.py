"""The linear-Gaussian model, or factor analysis: the decoder with a closed form for everything."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_core.data import Rng, check_images, expect
from vae_core.distributions import randn_like
from vae_core.objective import Decomposition


class LinearGaussian(NamedTuple):
    """A decoder whose mean is linear in z: p(z) = N(0, I), p(x|z) = N(Wz + b, Ψ).

    Factor analysis. Chapter 5; Bishop 2006, section 12.2.
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
        """p(z|x) = N(m, P⁻¹), P = I + WᵀΨ⁻¹W, m = P⁻¹WᵀΨ⁻¹(x − b): m `[B, Z]` and P `[Z, Z]`."""
        scaled = self.weight / self.noise_var[:, None]  # Ψ⁻¹W, [D, Z]
        precision = torch.eye(self.weight.shape[1]).to(x) + self.weight.T @ scaled
        mean = torch.linalg.solve(precision, ((x - self.bias) @ scaled).T).T
        return mean, precision


def add_pixel_noise(images: Tensor, std: float = 0.05, generator: Rng = None) -> Tensor:
    """Add N(0, std²) to every pixel, `[N, D]`: the model is one of noisy digits. Chapter 5.

    A density over digits needs it: some pixels are 0 in every training image, so that their
    variance, and with it Ψ, would be 0. Raises as `check_images`, or a `ValueError` if `std` is
    not positive.
    """
    expect(std > 0, "std > 0", std)
    return check_images(images) + std * randn_like(images, (), generator)


def fit_linear_gaussian(x: Tensor, latent: int, steps: int = 200) -> LinearGaussian:
    """Fit W, b and Ψ to data x, `[N, D]`, by expectation maximisation from principal components.

    E-step: q(z|x) = p(z|x), that is, KL(q(z|x) ‖ p(z|x)) = 0. M-step: the W and Ψ that maximise
    E_q[log p(x|z)]. So no step lowers the ELBO summed over the data, nor log p(x) so summed; that
    of a single image may fall. Use float64. Chapter 5, equation (em); Rubin & Thayer 1982.

    Raises:
        ValueError: a Z below 1, above D or not below N, NaN, or a column of x that is constant.
    """
    fits = x.ndim == 2 and 1 <= latent <= x.shape[1] and latent < len(x)
    wanted = "data [N, D] and latent from 1 to D, below N"
    expect(fits, wanted, f"{list(x.shape)} and latent = {latent}")
    expect(bool(x.isfinite().all()), "finite numbers", "NaN or infinity")
    constant = int((x.amax(0) == x.amin(0)).sum())
    expect(
        constant == 0, "every pixel to vary", f"{constant} that are constant: see add_pixel_noise()"
    )
    bias = x.mean(0)
    scatter = (x - bias).T @ (x - bias) / len(x)  # all that EM needs to know of the data, [D, D]
    total = ((x - bias) ** 2).mean(0)
    values, vectors = torch.linalg.eigh(scatter)
    noise = values[:-latent].mean() if latent < len(values) else values[0]
    vectors = vectors[:, -latent:]
    largest = vectors.gather(0, vectors.abs().argmax(0, keepdim=True))
    weight = vectors * largest.sign() * (values[-latent:] - noise).clamp(min=0).sqrt()
    noise_var = (total - (weight**2).sum(1)).clamp(min=1e-3 * total)
    for _ in range(steps):
        scaled = weight / noise_var[:, None]
        covariance = torch.linalg.inv(torch.eye(latent).to(x) + weight.T @ scaled)  # E: Cov[z|x]
        gain = covariance @ scaled.T  # E[z|x] = gain (x − b), [Z, D]
        cross = scatter @ gain.T  # mean of (x − b) E[z|x]ᵀ, [D, Z]
        moment = covariance + gain @ cross  # mean of E[zzᵀ|x], [Z, Z]
        weight = torch.linalg.solve(moment, cross.T).T  # M
        noise_var = total - (weight * cross).sum(1)
    return LinearGaussian(weight, bias, noise_var)


def decompose_linear(
    model: LinearGaussian, x: Tensor, q_mean: Tensor, q_covariance: Tensor
) -> Decomposition:
    """Compute log p(x) and its three terms for any Gaussian q(z|x) = N(μ, S), in closed form.

    From data x, `[B, D]`, any real numbers, μ, `[B, Z]`, and S, `[B, Z, Z]` or `[Z, Z]`. log p(x)
    comes from the D×D covariance of x, the posterior from the Z×Z precision of z: two routes that
    share nothing but the model, so that the residual can fail. Use float64. Chapter 1, equation
    (three-terms). Chapter 5, equation (linear-terms).

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, a Ψ or an S that is not positive.
    """
    weight, bias, noise_var = model
    (pixels, latent), batch = weight.shape, len(x)
    fits = bias.shape == noise_var.shape == (pixels,) and bool((noise_var > 0).all())
    expect(fits, "bias [D] and noise_var [D] > 0", [list(bias.shape), noise_var.min().item()])
    fits = x.shape == (batch, pixels) and q_mean.shape == (batch, latent)
    fits = fits and q_covariance.shape in ((latent, latent), (batch, latent, latent))
    shapes = [list(t.shape) for t in (x, q_mean, q_covariance)]
    expect(
        fits, f"x [B, {pixels}], q_mean [B, {latent}], q_covariance [B, {latent}, {latent}]", shapes
    )
    fits = all(bool(t.isfinite().all()) for t in (*model, x, q_mean, q_covariance))
    expect(fits, "finite numbers", "NaN or infinity")
    factor, failed = torch.linalg.cholesky_ex(q_covariance)
    fits = not failed.any() and torch.allclose(q_covariance, q_covariance.mT)
    expect(fits, "q_covariance to be symmetric and positive definite", "another")
    log_det_q = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)

    scaled = weight / noise_var[:, None]
    error = ((x - q_mean @ weight.T - bias) ** 2 / noise_var).sum(-1)
    spread = torch.einsum("dz,dy,...zy->...", scaled, weight, q_covariance)  # tr(WᵀΨ⁻¹W S)
    log_norm = pixels * math.log(2 * math.pi) + noise_var.log().sum()
    reconstruction = -0.5 * (log_norm + error + spread)

    trace_q = q_covariance.diagonal(dim1=-2, dim2=-1).sum(-1)
    kl_prior = 0.5 * (trace_q + (q_mean**2).sum(-1) - latent - log_det_q)

    mean, precision = model.posterior(x)
    distance = (((q_mean - mean) @ precision) * (q_mean - mean)).sum(-1)
    trace = torch.einsum("zy,...zy->...", precision, q_covariance)
    kl_posterior = 0.5 * (trace + distance - latent - torch.logdet(precision) - log_det_q)
    return Decomposition(model.log_likelihood(x), reconstruction, kl_prior, kl_posterior)
