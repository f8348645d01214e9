"""Two ways to estimate the gradient of the reconstruction term with respect to the encoder."""

import torch
from torch import Tensor

from vae_core.data import expect
from vae_core.distributions import DiagonalGaussian, reparameterize
from vae_core.model import VAE


def pathwise_gradient(model: VAE, x: Tensor, noise: Tensor) -> Tensor:
    """Differentiate log p(x|z) along z = μ + σ ⊙ ε by (μ, log σ²), for every draw: `[K, B, 2Z]`.

    ĝ_μ = ∇_z log p(x|z), ĝ_log σ² = ½ ∇_z log p(x|z) ⊙ σ ⊙ ε, for images x, `[B, ...]`, and noise
    ε ~ N(0, I), `[K, B, Z]`. The mean over ε is the gradient of E_q[log p(x|z)]. Raises
    `ValueError`: a q that is not diagonal, or other noise. Chapter 8, equation (pathwise); Kingma
    & Welling 2014.
    """
    q = _diagonal_q(model, x, noise)
    mean, log_var = (t.expand(noise.shape).clone().requires_grad_() for t in (q.mean, q.log_var))
    with torch.enable_grad():
        log_px = model.log_likelihood(x, reparameterize(mean, (0.5 * log_var).exp(), noise))
        return torch.cat(torch.autograd.grad(log_px.sum(), (mean, log_var)), -1)


@torch.no_grad()
def score_function_gradient(model: VAE, x: Tensor, noise: Tensor, baseline: bool = True) -> Tensor:
    """Weight the score of q by log p(x|z), by (μ, log σ²), for every draw: `[K, B, 2Z]`.

    ĝ = (f(z) − b) ∇ log q(z|x) with f(z) = log p(x|z), ∇_μ log q = ε / σ and ∇_log σ² log q =
    ½ (ε² − 1). The baseline b of a draw is the mean of f over the other draws, or 0. Arguments and
    errors as `pathwise_gradient`; a baseline needs K ≥ 2. Chapter 8, equation (score-function);
    Williams 1992.
    """
    q, draws = _diagonal_q(model, x, noise), len(noise)
    expect(draws > 1 or not baseline, "at least 2 draws for a leave-one-out baseline", draws)
    f = model.log_likelihood(x, reparameterize(q.mean, q.stddev, noise))  # [K, B]
    if baseline:
        f = (f - f.mean(0)) * draws / (draws - 1)  # f minus the mean of the others
    direction = torch.cat([noise / q.stddev, 0.5 * (noise**2 - 1)], -1)
    return f[..., None] * direction


@torch.no_grad()
def _diagonal_q(model: VAE, x: Tensor, noise: Tensor) -> DiagonalGaussian:
    """q(z|x), if it is a diagonal Gaussian and the noise suits it."""
    q = model.encode(x)
    fits = isinstance(q, DiagonalGaussian)
    expect(fits, "an encoder that gives a DiagonalGaussian", type(q).__name__)
    fits = noise.ndim == 3 and noise.shape[1:] == q.mean.shape and len(noise) > 0
    fits = fits and noise.dtype == x.dtype and noise.device == x.device
    wanted = f"noise [K, {len(x)}, {model.latent}] of {x.dtype} on {x.device}, K of at least 1"
    expect(fits, wanted, f"{list(noise.shape)} of {noise.dtype} on {noise.device}")
    return q


def encoder_gram(model: VAE, x: Tensor) -> Tensor:
    """Compute J Jᵀ, `[B, 2Z, 2Z]`, for the Jacobian J of (μ, log σ²) by all encoder weights.

    One image after the other, by `torch.func`: any layers will do that treat images one by one.
    """

    def outputs(weights: dict[str, Tensor], image: Tensor) -> Tensor:
        q = torch.func.functional_call(model.encoder, weights, (image[None],))
        return torch.cat([q.mean, q.log_var], -1)[0]

    weights = {name: weight.detach() for name, weight in model.encoder.named_parameters()}
    grams = []
    for image in x:
        jacobian = torch.func.jacrev(outputs)(weights, image)
        flat = torch.cat([part.flatten(1) for part in jacobian.values()], 1)  # [2Z, weights]
        grams.append(flat @ flat.T)
    return torch.stack(grams)


@torch.no_grad()
def encoder_variance(model: VAE, x: Tensor, estimates: Tensor) -> Tensor:
    """Compute the variance of one draw's gradient, summed over all weights of the encoder: `[B]`.

    tr Cov[Jᵀ ĝ] = tr(J Jᵀ Cov[ĝ]), from estimates ĝ with respect to (μ, log σ²), `[K, B, 2Z]`,
    K ≥ 2. Raises `ValueError`: fewer draws. Chapter 8, equation (weights-variance).
    """
    fits = estimates.ndim == 3 and len(estimates) >= 2
    expect(fits, "estimates [K, B, 2Z] of at least 2 draws", list(estimates.shape))
    centred = (estimates - estimates.mean(0)).transpose(0, 1)  # [B, K, 2Z]
    covariance = centred.mT @ centred / (len(estimates) - 1)
    return (encoder_gram(model, x) * covariance).sum((1, 2))
