"""All three terms of log p(x), where they can be computed: in closed form, or on a grid."""

import copy
import math
from typing import NamedTuple

import torch
from torch import Tensor, nn

from vae_core.data import check_images
from vae_core.distributions import BernoulliImage, DiagonalGaussian
from vae_core.linear import LinearGaussian
from vae_core.model import VAE
from vae_core.objective import gaussian_kl

_CHUNK = 1_000_000  # numbers that fit into a processor's cache, so that long sums do not wait for memory


class Decomposition(NamedTuple):
    """log p(x) = reconstruction − kl_prior + kl_posterior, each in nats. Chapter 1, equation (three-terms)."""

    log_likelihood: Tensor
    "`[B]`: log p(x), the log evidence, computed without the three terms."
    reconstruction: Tensor
    "`[B]`: E_q[log p(x|z)]."
    kl_prior: Tensor
    "`[B]`: KL(q(z|x) ‖ p(z)), never negative but for rounding."
    kl_posterior: Tensor
    "`[B]`: KL(q(z|x) ‖ p(z|x)), never negative but for rounding or the grid's tolerance: called intractable."

    @property
    def elbo(self) -> Tensor:
        """`[B]` tensor in nats: the first two terms, reconstruction − kl_prior."""
        return self.reconstruction - self.kl_prior

    @property
    def residual(self) -> Tensor:
        """`[B]` tensor in nats: what is left when the three terms are added up and log p(x) is taken away."""
        return self.elbo + self.kl_posterior - self.log_likelihood


def decompose_linear(model: LinearGaussian, x: Tensor, q_mean: Tensor, q_covariance: Tensor) -> Decomposition:
    """Compute log p(x) and its three terms for any Gaussian q(z|x) = N(μ, S), in closed form.

    log p(x) comes from the D×D covariance of x, the posterior from the Z×Z precision of z: two routes that share
    nothing but the model, so that the residual can fail. Use float64. Chapter 1, equations (three-terms) and
    (linear-terms).

    Args:
        model: W, b and Ψ.
        x: data, `[B, D]`, any real numbers.
        q_mean: μ, `[B, Z]`.
        q_covariance: S, `[B, Z, Z]` or `[Z, Z]`, positive definite.

    Raises:
        ValueError: shapes that do not fit, NaN or infinity, a Ψ that is not positive, or an S that is not positive
            definite.
    """
    _check_linear(model, x, q_mean, q_covariance)
    weight, bias, noise_var = model
    pixels, latent = weight.shape
    factor, failed = torch.linalg.cholesky_ex(q_covariance)
    if failed.any() or not torch.allclose(q_covariance, q_covariance.mT):
        raise ValueError("expected q_covariance to be symmetric and positive definite, and it is not")
    log_det_q = 2 * factor.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    trace_q = q_covariance.diagonal(dim1=-2, dim2=-1).sum(-1)

    scaled = weight / noise_var[:, None]
    error = x - q_mean @ weight.T - bias
    spread = torch.einsum("dz,dy,...zy->...", scaled, weight, q_covariance)  # tr(WᵀΨ⁻¹W S)
    log_norm = pixels * math.log(2 * math.pi) + noise_var.log().sum()
    reconstruction = -0.5 * (log_norm + (error**2 / noise_var).sum(-1) + spread)

    kl_prior = 0.5 * (trace_q + (q_mean**2).sum(-1) - latent - log_det_q)

    mean, precision = model.posterior(x)
    shift = q_mean - mean
    distance = ((shift @ precision) * shift).sum(-1)
    trace = torch.einsum("zy,...zy->...", precision, q_covariance)
    kl_posterior = 0.5 * (trace + distance - latent - torch.logdet(precision) - log_det_q)
    return Decomposition(model.log_likelihood(x), reconstruction, kl_prior, kl_posterior)


def _check_linear(model: LinearGaussian, x: Tensor, q_mean: Tensor, q_covariance: Tensor) -> None:
    """Raise a `ValueError` that names what does not fit."""
    weight, bias, noise_var = model
    if weight.ndim != 2 or bias.shape != noise_var.shape or bias.shape != weight.shape[:1]:
        shapes = ", ".join(str(list(t.shape)) for t in model)
        raise ValueError(f"expected weight [D, Z], bias [D] and noise_var [D], got {shapes}")
    if not (noise_var > 0).all():
        raise ValueError(f"expected noise_var > 0, got a smallest value of {noise_var.min().item():.3g}")
    pixels, latent = weight.shape
    batch = len(x)
    fits = x.shape == (batch, pixels) and q_mean.shape == (batch, latent)
    if not fits or q_covariance.shape not in ((latent, latent), (batch, latent, latent)):
        shapes = ", ".join(str(list(t.shape)) for t in (x, q_mean, q_covariance))
        raise ValueError(
            f"expected x [B, {pixels}], q_mean [B, {latent}] and q_covariance [B, {latent}, {latent}], got {shapes}"
        )
    if not all(t.isfinite().all() for t in (*model, x, q_mean, q_covariance)):
        raise ValueError("expected finite numbers, got NaN or infinity")


def log_joint(model: VAE, x: Tensor, z: Tensor) -> Tensor:
    """Compute log p(x|z) + log p(z) for every image and every code, in nats: `[B, G]`.

    A Bernoulli decoder with a linear last layer, logits = V h(z) + c, is tabulated: log p(x|z) = h(z)·(Vᵀx) + c·x +
    log p(0|z), where h and the log-probability of the black image do not depend on x, so that many images cost little
    more than one.

    Args:
        model: the VAE.
        x: images, `[B, D]`.
        z: codes, `[G, Z]`.

    Raises:
        ValueError: as `VAE.encode` and `VAE.decode`, or a decoder that gives NaN.
    """
    check_images(x, model.config["pixels"])
    last = model.decoder[-1]
    if model.config["decoder"] == "bernoulli" and isinstance(last, nn.Linear):
        model.decode(z[:1]).log_prob(x)  # says so if the pixels are grey
        hidden = model.decoder[:-1](z)
        parts = hidden.split(_CHUNK // 4 // len(last.weight) + 1)
        black = torch.zeros_like(x[0])
        log_black = torch.cat([BernoulliImage(last(part)).log_prob(black) for part in parts])  # log p(0|z), [G]
        log_px = (x @ last.weight) @ hidden.T + (x @ last.bias)[:, None] + log_black
    else:
        log_px = model.decode(z[:, None]).log_prob(x).T
    if log_px.isnan().any():
        raise ValueError("expected a decoder that gives log-probabilities, got NaN")
    return log_px + model.prior().log_prob(z)


class _Sums(NamedTuple):
    """What one rule (one grid) gives for each image, `[B]`."""

    log_px: Tensor  # log ∫ p(x|z) p(z) dz
    edge: Tensor  # the share of that mass which lies in the outermost tenth of the box
    mass_q: Tensor  # ∫ q dz, which should be 1
    log_q: Tensor  # ∫ q log q dz
    log_joint: Tensor  # ∫ q log p(x, z) dz
    log_pz: Tensor  # ∫ q log p(z) dz


def _sum_over_grid(model: VAE, x: Tensor, q: DiagonalGaussian, half_width: float, step: float, shift: float) -> _Sums:
    """Trapezoidal rule on the points (i + shift) · step inside [−half_width, half_width]^Z, in chunks."""
    latent = model.config["latent"]
    count = int(half_width / step)
    axis = (torch.arange(-count, count + 1, dtype=x.dtype, device=x.device) + shift) * step
    log_cell = latent * math.log(step)
    prior = model.prior()
    log_px, log_edge = (torch.full((len(x),), -math.inf, dtype=x.dtype, device=x.device) for _ in range(2))
    sums = torch.zeros(4, len(x), dtype=x.dtype, device=x.device)
    points = torch.cartesian_prod(*[axis] * latent).reshape(-1, latent)
    for z in points.split(max(1, _CHUNK // max(x.shape))):
        joint = log_joint(model, x, z)  # [B, G]
        outer = z.abs().amax(1) > 0.9 * half_width
        log_px = torch.logaddexp(log_px, joint.logsumexp(1) + log_cell)
        if outer.any():
            log_edge = torch.logaddexp(log_edge, joint[:, outer].logsumexp(1) + log_cell)
        log_q = _log_prob_at(q, z)
        weight = (log_q + log_cell).exp()
        sums[0] += weight.sum(1)
        sums[1] += (weight * log_q).sum(1)
        sums[2] += (weight * joint).sum(1)
        sums[3] += weight @ prior.log_prob(z)
    return _Sums(log_px, (log_edge - log_px).exp(), *sums)


def _log_prob_at(q: DiagonalGaussian, z: Tensor) -> Tensor:
    """log q(z|x) of every image at every code: `[B, G]`."""
    scaled = q.mean / q.variance
    square = z**2 @ (1 / q.variance).T - 2 * z @ scaled.T + (q.mean * scaled).sum(-1)
    return (-0.5 * (square + (q.log_var + math.log(2 * math.pi)).sum(-1))).T


@torch.no_grad()
def decompose_on_grid(
    model: VAE, x: Tensor, q: DiagonalGaussian | None = None, tolerance: float = 1e-6, most_points: int = 2_500_000
) -> Decomposition:
    """Compute log p(x) and its three terms for any decoder with one or two latent dimensions, on a grid.

    Two rules are used that share no point: the first, [−R, R]^Z with step h, gives log p(x) and the reconstruction term;
    the second, with a larger box, another step and a shift, normalises the posterior and gives the KL to it. The KL to the
    prior is in closed form. So the residual tells how far the rules disagree. Images for which the residual, or the
    difference of the two log p(x), exceeds the tolerance are done again with half the step, or with a larger box where
    mass lies near its edge. A mode of the posterior much narrower than the first step, 1/8, or wholly outside the
    first box, [−6.6, 6.6]^Z, with a gap before it, is seen by neither rule; the residual does not tell. In float64
    whatever the input. Chapter 2, equation (grid).

    Args:
        model: the VAE, Z = 1 or 2, with smooth activations.
        x: images, `[B, D]`.
        q: batch `[B]`, event `[Z]`; the encoder's q(z|x) if not given.
        tolerance: in nats, for the size of the residual and for the change of log p(x).
        most_points: the largest grid that is tried.

    Raises:
        ValueError: Z > 2, bad images, a decoder that gives NaN, or an image that the model gives probability 0.
        ArithmeticError: the tolerance was not reached (a decoder that is not smooth, a q or a posterior that is too
            narrow), or a KL came out negative.
    """
    latent = model.config["latent"]
    if latent > 2:
        raise ValueError(f"expected a model with 1 or 2 latent dimensions, got {latent}: a grid would be too large")
    model, x = copy.deepcopy(model).double(), x.double()
    q = model.encode(x) if q is None else DiagonalGaussian(q.mean.double(), q.log_var.double())
    if q.mean.shape != (len(x), latent):
        raise ValueError(f"expected q with mean [{len(x)}, {latent}], got {list(q.mean.shape)}")
    kl_prior = gaussian_kl(q.mean, q.log_var)
    result = torch.full((4, len(x)), math.nan, dtype=x.dtype, device=x.device)
    reach = 2.7 + math.sqrt(-2 * math.log(min(tolerance, 0.5)))  # σ of q inside the box: 8 for 1e-6
    todo = [(torch.arange(len(x), device=x.device), 6.0, 1 / 8)]
    while todo:
        rows, half_width, step = todo.pop()
        if (2 * half_width / step) ** latent > most_points:
            raise ArithmeticError(
                f"log p(x) of {len(rows)} images is not known to {tolerance} nat on a grid of {most_points:,} points: "
                "is the decoder smooth, and are q and the posterior neither very narrow nor far from the origin?"
            )
        wide = (q.mean.abs() + reach * q.stddev).amax(1)[rows] > half_width
        todo += [(rows[wide], 1.5 * half_width, step)] if wide.any() else []
        if wide.all():
            continue
        rows = rows[~wide]
        part = DiagonalGaussian(q.mean[rows], q.log_var[rows])
        one = _sum_over_grid(model, x[rows], part, half_width, step, shift=0.0)
        two = _sum_over_grid(model, x[rows], part, 1.1 * half_width, 1.23 * step, shift=0.37)
        if one.log_px.isinf().any():
            raise ValueError("expected images to which the model gives a probability above 0")
        reconstruction = one.log_joint - one.log_pz
        kl_posterior = two.log_q - two.log_joint + two.log_px
        terms = Decomposition(one.log_px, reconstruction, kl_prior[rows], kl_posterior)
        errors = torch.stack([terms.residual, two.log_px - one.log_px, one.mass_q - 1, two.mass_q - 1]).abs().amax(0)
        cut, coarse = one.edge > tolerance, errors > tolerance
        result[:, rows] = torch.stack(terms)
        todo += [(rows[cut], 1.5 * half_width, step)] if cut.any() else []
        todo += [(rows[coarse & ~cut], half_width, step / 2)] if (coarse & ~cut).any() else []
    if (result[3] < -tolerance).any():
        raise ArithmeticError(f"KL(q ‖ p(z|x)) came out as {result[3].min().item():.3g} nats, and it cannot be negative")
    return Decomposition(*result)


class GridPosterior(NamedTuple):
    """The true posterior of one image on a window of the latent plane, for a picture."""

    axes: Tensor
    "`[2, G]`: coordinates along both latent dimensions."
    density: Tensor
    "`[G, G]`: p(z|x), first index along the first latent dimension."


@torch.no_grad()
def posterior_on_grid(model: VAE, x: Tensor, q: DiagonalGaussian, points: int = 120) -> GridPosterior:
    """Compute p(z|x) of one image where it has its mass, on a window that shows q (to 2.5 σ) too. Chapter 2.

    For a picture: p(x) comes from one fixed grid, [−6, 6]² with step 1/16, and nothing is refined. Mass outside that
    square, or modes much narrower than the step, would be missed: for numbers use `decompose_on_grid`.

    Args:
        model: the VAE, Z = 2.
        x: one image, `[1, D]`.
        q: batch `[1]`, event `[2]`.
        points: G, along each axis of the window.
    """
    axis = torch.arange(-6, 6, 1 / 16, dtype=x.dtype, device=x.device)
    plane = torch.cartesian_prod(axis, axis)
    joint = log_joint(model, x, plane)[0]
    log_px = joint.logsumexp(0) - 2 * math.log(16)
    heavy = plane[joint > joint.max() - 8]
    seen = torch.cat([heavy, q.mean + 2.5 * q.stddev, q.mean - 2.5 * q.stddev])
    low, high = seen.amin(0) - 0.05, seen.amax(0) + 0.05
    axes = low[:, None] + (high - low)[:, None] * torch.linspace(0, 1, points, dtype=x.dtype, device=x.device)
    density = (log_joint(model, x, torch.cartesian_prod(*axes))[0] - log_px).exp()
    return GridPosterior(axes, density.reshape(points, points))
