"""Two ways to estimate the gradient of the reconstruction term with respect to the encoder, one value per sample."""

import torch
from torch import Tensor, nn

from vae_core.distributions import reparameterize
from vae_core.model import VAE


def pathwise_gradient(model: VAE, x: Tensor, noise: Tensor) -> Tensor:
    """Differentiate log p(x|z) along z = μ + σ ⊙ ε, with respect to (μ, log σ²), for every draw: `[K, B, 2Z]`.

    ĝ_μ = ∇_z log p(x|z), ĝ_log σ² = ½ ∇_z log p(x|z) ⊙ σ ⊙ ε. The mean over ε is the gradient of E_q[log p(x|z)].
    Chapter 4, equation (pathwise); Kingma & Welling 2014.

    Args:
        model: encoder and decoder.
        x: images, `[B, D]`.
        noise: ε ~ N(0, I), `[K, B, Z]`.

    Raises:
        ValueError: noise of another shape, dtype or device, or no draw at all.
    """
    q = _checked(model, x, noise)
    mean, log_var = (t.detach().expand(noise.shape).clone().requires_grad_() for t in (q.mean, q.log_var))
    with torch.enable_grad():
        z = reparameterize(mean, (0.5 * log_var).exp(), noise)
        total = model.decode(z).log_prob(x).sum()
        return torch.cat(torch.autograd.grad(total, (mean, log_var)), -1)


@torch.no_grad()
def score_function_gradient(model: VAE, x: Tensor, noise: Tensor, baseline: bool = True) -> Tensor:
    """Weight the score of q by log p(x|z), with respect to (μ, log σ²), for every draw: `[K, B, 2Z]`.

    ĝ = (f(z) − b) ∇ log q(z|x) with f(z) = log p(x|z), ∇_μ log q = ε / σ and ∇_log σ² log q = ½ (ε² − 1). The
    baseline b of a draw is the mean of f over the other draws, or 0. Chapter 4, equation (score-function); Williams 1992.

    Args:
        model: encoder and decoder.
        x: images, `[B, D]`.
        noise: ε ~ N(0, I), `[K, B, Z]`.
        baseline: subtract the leave-one-out baseline, which needs K ≥ 2.

    Raises:
        ValueError: noise of another shape, dtype or device, no draw at all, or a single one with a baseline.
    """
    q = _checked(model, x, noise)
    draws = len(noise)
    if baseline and draws < 2:
        raise ValueError(f"expected at least 2 draws for a leave-one-out baseline, got {draws}")
    f = model.decode(reparameterize(q.mean, q.stddev, noise)).log_prob(x)  # [K, B]
    if baseline:
        f = (f - f.mean(0)) * draws / (draws - 1)  # f minus the mean of the others
    direction = torch.cat([noise / q.stddev, 0.5 * (noise**2 - 1)], -1)
    return f[..., None] * direction


def _checked(model: VAE, x: Tensor, noise: Tensor):
    """q(z|x), if the noise suits it."""
    with torch.no_grad():
        q = model.encode(x)
    if noise.ndim != 3 or noise.shape[1:] != q.mean.shape or len(noise) < 1:
        raise ValueError(f"expected noise [K, {len(x)}, {q.mean.shape[1]}] with K of at least 1, got {list(noise.shape)}")
    if noise.dtype != q.mean.dtype or noise.device != q.mean.device:
        raise ValueError(f"expected noise as {q.mean.dtype} on {q.mean.device}, got {noise.dtype} on {noise.device}")
    return q


@torch.no_grad()
def encoder_gram(model: VAE, x: Tensor) -> Tensor:
    """Compute J Jᵀ for the Jacobian J of the encoder's outputs (μ, log σ²) by all of its weights: `[B, 2Z, 2Z]`.

    A weight of a linear layer moves its output by its input, so with Δ_l the Jacobian by the output of layer l and h_l the
    input of that layer, J Jᵀ = Σ_l (‖h_l‖² + 1) Δ_l Δ_lᵀ: the 1 is the bias. No gradient of a weight is ever stored.
    """
    layers = list(model.encoder)
    hidden, inputs, slopes = x, [], []
    for layer in layers:  # forward: inputs of the linear layers, slopes of the activations
        if isinstance(layer, nn.Linear):
            inputs.append(hidden)
        else:
            with torch.enable_grad():
                point = hidden.detach().requires_grad_()
                slopes.append(torch.autograd.grad(layer(point).sum(), point)[0])
        hidden = layer(hidden)
    outputs = hidden.shape[-1]
    delta = torch.eye(outputs, dtype=x.dtype, device=x.device).expand(len(x), outputs, outputs)
    gram = torch.zeros_like(delta)
    for layer in reversed(layers):  # backward: Δ of each linear layer
        if isinstance(layer, nn.Linear):
            gram = gram + (inputs.pop().square().sum(-1) + 1)[:, None, None] * (delta @ delta.mT)
            delta = delta @ layer.weight
        else:
            delta = delta * slopes.pop()[:, None]
    return gram


def encoder_variance(model: VAE, x: Tensor, estimates: Tensor) -> Tensor:
    """Compute the variance of one draw's gradient, summed over all weights of the encoder: `[B]`.

    tr Cov[Jᵀ ĝ] = tr(J Jᵀ Cov[ĝ]), from estimates ĝ with respect to (μ, log σ²). Chapter 4, equation (weights-variance).

    Args:
        model: the VAE.
        x: images, `[B, D]`.
        estimates: one for each draw, `[K, B, 2Z]`, K ≥ 2.

    Raises:
        ValueError: fewer than 2 draws.
    """
    if estimates.ndim != 3 or len(estimates) < 2:
        raise ValueError(f"expected estimates [K, B, 2Z] of at least 2 draws, got {list(estimates.shape)}")
    centred = (estimates - estimates.mean(0)).transpose(0, 1)  # [B, K, 2Z]
    covariance = centred.mT @ centred / (len(estimates) - 1)
    return (encoder_gram(model, x) * covariance).sum((1, 2))
