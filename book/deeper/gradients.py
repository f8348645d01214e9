"""Ways to estimate the encoder's gradient: of the reconstruction term, and of the whole bound."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

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
    return f[..., None] * _score(q, noise)


def _score(q: DiagonalGaussian, noise: Tensor) -> Tensor:
    """∇ log q(z) by (μ, log σ²) at z = μ + σ ⊙ ε: `[K, B, 2Z]`."""
    return torch.cat([noise / q.stddev, 0.5 * (noise**2 - 1)], -1)


class WeightGradients(NamedTuple):
    """log w = log p(x, z) − log q(z|x) of every draw, and both ways in which (μ, log σ²) act on it.

    The gradient of log w is `path` − `score`; its second part is 0 on average. Chapter 8.
    """

    log_weight: Tensor  #: `[K, B]`: log w, in nats.
    path: Tensor  #: `[K, B, 2Z]`: ∂_z log w · ∂z/∂(μ, log σ²), through the code z = μ + σ ⊙ ε.
    score: Tensor  #: `[K, B, 2Z]`: ∇ log q(z|x) where the code is held: log w has it with a minus.


def weight_gradients(
    log_joint: Callable[[Tensor], Tensor], q: DiagonalGaussian, noise: Tensor
) -> WeightGradients:
    """Differentiate log w of every draw by (μ, log σ²), path and density apart.

    From log p(x, z) as a function of codes, `[K, B, Z]` → `[K, B]`, a diagonal q(z|x), batch `[B]`,
    and noise ε ~ N(0, I), `[K, B, Z]`. Chapter 8, equation (doubly).
    """
    mean, std = q.mean.detach(), q.stddev.detach()
    z = reparameterize(mean, std, noise).requires_grad_()
    fixed = DiagonalGaussian(mean, q.log_var.detach())
    with torch.enable_grad():
        density: Distribution = fixed
        log_weight = log_joint(z) - density.log_prob(z)
        (slope,) = torch.autograd.grad(log_weight.sum(), z)
    path = torch.cat([slope, 0.5 * slope * std * noise], -1)
    return WeightGradients(log_weight.detach(), path, _score(fixed, noise))


class BoundGradients(NamedTuple):
    """Two gradients of log (1/K) Σ_k w_k by (μ, log σ²), of one mean, from the same K draws."""

    plain: Tensor  #: `[B, 2Z]`: Σ_k w̃_k (path_k − score_k), what autograd gives.
    doubly: Tensor  #: `[B, 2Z]`: Σ_k w̃_k² path_k, doubly reparameterized.
    share: Tensor  #: `[B]`: Σ_k w̃_k², from 1/K, where all codes weigh the same, to 1.


def bound_gradients(weights: WeightGradients) -> BoundGradients:
    """Gradients of the importance-weighted bound of K draws, with w̃ = w / Σ_k w.

    Chapter 8, equation (doubly); Tucker et al. 2019; for K = 1 `doubly` is that of Roeder et al.
    2017.
    """
    share = weights.log_weight.softmax(0)[..., None]  # w̃, [K, B, 1]
    plain = (share * (weights.path - weights.score)).sum(0)
    doubly = (share**2 * weights.path).sum(0)
    return BoundGradients(plain, doubly, share.square().sum((0, -1)))


def squared_signal_to_noise(estimates: Tensor, less_noisy: Tensor | None = None) -> Tensor:
    """(Length of the mean)² over the sum of the variances, of R estimates `[R, B, n]`: `[B]`.

    What chance adds to the square of a mean of R is taken away. Where `less_noisy` has the same
    mean, `[R, B, n]`, the mean is taken from it. Raises `ValueError`: fewer than two estimates.
    Chapter 8; Rainforth et al. 2018.
    """
    expect(len(estimates) >= 2, "at least 2 estimates", len(estimates))
    best = estimates if less_noisy is None else less_noisy
    by_chance = best.var(0).sum(-1) / len(best)
    return (best.mean(0).square().sum(-1) - by_chance) / estimates.var(0).sum(-1)


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
def encoder_variance(
    model: VAE, x: Tensor, estimates: Tensor, gram: Tensor | None = None
) -> Tensor:
    """Compute the variance of one draw's gradient, summed over all weights of the encoder: `[B]`.

    tr Cov[Jᵀ ĝ] = tr(J Jᵀ Cov[ĝ]), from estimates ĝ with respect to (μ, log σ²), `[K, B, 2Z]`,
    K ≥ 2, and J Jᵀ (`gram`, where `encoder_gram` has made it before). Raises `ValueError`: fewer
    draws. Chapter 8, equation (weights-variance).
    """
    fits = estimates.ndim == 3 and len(estimates) >= 2
    expect(fits, "estimates [K, B, 2Z] of at least 2 draws", list(estimates.shape))
    centred = (estimates - estimates.mean(0)).transpose(0, 1)  # [B, K, 2Z]
    covariance = centred.mT @ centred / (len(estimates) - 1)
    gram = encoder_gram(model, x) if gram is None else gram
    return (gram * covariance).sum((1, 2))
