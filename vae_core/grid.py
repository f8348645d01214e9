"""All three terms of log p(x) for any decoder with one or two latent dimensions, on a grid."""

import copy
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Distribution, MultivariateNormal, kl_divergence

from vae_core.data import expect
from vae_core.distributions import draw, gaussian, gaussian_factors
from vae_core.model import VAE
from vae_core.objective import Decomposition

_CHUNK = 1_000_000  # numbers that fit into a processor's cache: sums need not wait for memory
_RIM = 0.9  # a code is on the rim if it is farther out than this fraction of the half width
_LogDensity = Callable[[Tensor, Tensor], Tensor]


class _Rule(NamedTuple):
    """The points (i + shift) · step inside [−half_width, half_width]^Z, all of one weight."""

    half_width: float = 6.0
    step: float = 1 / 8
    shift: float = 0.0


def _log_black(logits: Tensor) -> Tensor:
    """log p(0|z) = −Σ log(1 + eˡ) over the last dimension: one logarithm for up to 16 pixels."""
    factors = 1 + (-logits.abs()).exp()  # each at most 2
    for _ in range(4):
        if factors.shape[-1] % 2 == 0:
            factors = factors[..., ::2] * factors[..., 1::2]
    return -logits.relu().sum(-1) - factors.log().sum(-1)


def log_joint(model: VAE, x: Tensor, z: Tensor) -> Tensor:
    """log p(x|z) + log p(z) of each image x, `[B, ...]`, and code z, `[G, Z]`: `[B, G]`, in nats.

    A Bernoulli decoder with a linear last layer, logits = V h(z) + c, is tabulated: log p(x|z) =
    h(z)·(Vᵀx) + c·x + log p(0|z), where h and the log-probability of the black image do not depend
    on x, so that many images cost little more than one. Raises `ValueError`: as
    `VAE.log_likelihood`, or a decoder that gives NaN.
    """
    layers: list[Any] = list(model.decoder) if isinstance(model.decoder, nn.Sequential) else []
    last, head = layers[-2:] if len(layers) > 1 else (None, None)
    if isinstance(last, nn.Linear) and getattr(head, "likelihood", None) == "bernoulli":
        model.log_likelihood(x, z[:1].expand(1, len(x), -1))  # says so if the pixels are grey
        body, slope, offset = nn.Sequential(*layers[:-2]), x @ last.weight, (x @ last.bias)[:, None]
        hidden = (body(part) for part in z.split(_CHUNK // 4 // len(last.weight) + 1))
        log_px = torch.cat([slope @ h.T + offset + _log_black(last(h)) for h in hidden], 1)
    else:
        p = model.decode(z)
        log_px = torch.stack([p.log_prob(image) for image in x])
    expect(not log_px.isnan().any(), "a decoder that gives log-probabilities", "NaN")
    return log_px + model.prior().log_prob(z)


def _log_density(q: Distribution) -> _LogDensity:
    """log q(z|x) of some images at codes `[G, Z]`: `[B, G]`; for a Gaussian one matrix product."""
    if not isinstance(q, MultivariateNormal):
        return lambda z, rows: q.log_prob(z[:, None]).T[rows]
    slope = (q.precision_matrix @ q.loc[..., None])[..., 0]
    constant = q.log_prob(torch.zeros_like(q.loc))[:, None]
    form = torch.cat([-0.5 * q.precision_matrix.flatten(1), slope, constant], 1)

    def log_density(z: Tensor, rows: Tensor) -> Tensor:
        squares = (z[:, :, None] * z[:, None]).flatten(1)
        return form[rows] @ torch.cat([squares, z, torch.ones_like(z[:, :1])], 1).T

    return log_density


def _integrate(
    model: VAE, x: Tensor, log_density: _LogDensity, rows: Tensor, rule: _Rule
) -> Tensor:
    """What a rule gives for some images: log p(x), its fraction on the rim, and five ∫ q f dz.

    `[7, B]`; f is 1 on the rim, 1, log q(z|x), log p(x, z) and log p(z).
    """
    x, log_cell, prior = x[rows], model.latent * math.log(rule.step), model.prior()
    count = int(rule.half_width / rule.step)
    axis = (torch.arange(-count, count + 1).to(x) + rule.shift) * rule.step
    points = torch.cartesian_prod(*[axis] * model.latent).reshape(-1, model.latent)
    log_px, log_rim = x.new_full((2, len(x)), -math.inf)
    sums = x.new_zeros(5, len(x))
    for z in points.split(max(1, _CHUNK // max(len(x), x[0].numel()))):
        joint, log_q = log_joint(model, x, z), log_density(z, rows)  # [B, G]
        rim, weight = z.abs().amax(1) > _RIM * rule.half_width, (log_q + log_cell).exp()
        log_px = torch.logaddexp(log_px, joint.logsumexp(1) + log_cell)
        if rim.any():
            log_rim = torch.logaddexp(log_rim, joint[:, rim].logsumexp(1) + log_cell)
            sums[0] += weight[:, rim].sum(1)
        sums[1] += weight.sum(1)
        sums[2] += (weight * log_q).sum(1)
        sums[3] += (weight * joint).sum(1)
        sums[4] += weight @ prior.log_prob(z)
    return torch.stack([log_px, (log_rim - log_px).exp(), *sums])


@torch.no_grad()
def decompose_on_grid(
    model: VAE, x: Tensor, q: Distribution | None = None, tolerance: float = 1e-6,
    max_points: int = 2_500_000,
) -> Decomposition:  # fmt: skip
    """Compute log p(x) and its three terms for any decoder with one or two latent dimensions.

    For images x, `[B, ...]`, and any q with a density, batch `[B]`, event `[Z]`; by default the
    encoder's. Two rules share no point: the first, [−6, 6]^Z with step 1/8, gives log p(x) and the
    reconstruction term; the second, with a larger box, another step and a shift, normalises the
    posterior and gives the KL to it. The KL to the prior is in closed form where torch knows one,
    else from the first rule. So the residual tells how far the rules disagree. Images for which it,
    the difference of the two log p(x), or log p(x) times what a rule misses of q's mass exceeds the
    tolerance (nats) are done again with half the step, or with a larger box where mass lies near
    its edge, on at most `max_points`. A mode of the posterior much narrower than the first step, or
    beyond both boxes with a gap before it, is seen by neither; the residual does not tell. Always
    in float64. Chapter 6, equation (grid).

    Raises:
        ValueError: Z > 2, bad images, a q of another shape, a decoder that gives NaN, or an image
            that the model gives probability 0.
        ArithmeticError: the tolerance was not reached (a decoder that is not smooth, a q or a
            posterior that is too narrow), or a KL came out negative.
    """
    expect(model.latent <= 2, "1 or 2 latent dimensions: a grid of more is too large", model.latent)
    model, x = copy.deepcopy(model).double(), x.double()
    q = model.encode(x) if q is None else q
    shapes, wanted = [*q.batch_shape, *q.event_shape], [len(x), model.latent]
    expect(shapes == wanted, f"q with batch and event {wanted}", shapes)
    if gaussian(q) is not None:
        mean, factor = (part.double() for part in gaussian_factors(q))
        q = MultivariateNormal(mean, scale_tril=factor, validate_args=False)
    try:
        kl_prior = kl_divergence(q, model.prior())
    except NotImplementedError:
        kl_prior = None
    some = draw(q, 100, torch.Generator(x.device).manual_seed(0))  # shows how far out q is
    far, log_density, result = some.abs().amax((0, 2)), _log_density(q), x.new_empty(4, len(x))
    todo = [(torch.arange(len(x), device=x.device), _Rule())]
    while todo:
        rows, rule = todo.pop()
        if (2 * rule.half_width / rule.step) ** model.latent > max_points:
            hint = "is the decoder smooth? are q and the posterior neither narrow nor far away?"
            known = f"is not known to {tolerance} nat on {max_points:,} points"
            raise ArithmeticError(f"log p(x) of {len(rows)} images {known}: {hint}")
        # the second shares no point with the first, and sees farther
        second = _Rule(1.1 * rule.half_width, 1.23 * rule.step, 0.37)
        one, two = (_integrate(model, x, log_density, rows, r) for r in (rule, second))
        expect(not one[0].isinf().any(), "images with a probability above 0", "others")
        own_kl = one[4] - one[6] if kl_prior is None else kl_prior[rows]
        terms = Decomposition(one[0], one[5] - one[6], own_kl, two[4] - two[5] + two[0])
        result[:, rows] = torch.stack(terms)
        # what a rule misses of q's mass, it misses of an average of log p(x, z), hundreds of nats
        missed = [(sums[3] - 1) * sums[0].abs().clamp(min=1) for sums in (one, two)]
        errors = torch.stack([terms.residual, two[0] - one[0], *missed]).abs().amax(0)
        # log p(x, z) is hundreds of nats where q has little mass, of which less may be outside
        cut = (
            (one[1] > tolerance)
            | (one[2] > 1e-3 * tolerance)
            | (far[rows] > _RIM * rule.half_width)
        )
        coarse = (errors > tolerance) & ~cut
        for part, other in (
            (cut, {"half_width": 1.5 * rule.half_width}),
            (coarse, {"step": rule.step / 2}),
        ):
            todo += [(rows[part], rule._replace(**other))] * bool(part.any())
    if (worst := result[3].min().item()) < -tolerance:
        raise ArithmeticError(f"KL(q ‖ p(z|x)) came out as {worst:.3g} nats; it cannot be negative")
    return Decomposition(*result)
