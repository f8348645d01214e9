"""Both terms of the ELBO and the importance-weighted bound: one value per image, in nats."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, kl_divergence

from vae_core.data import Rng, expect
from vae_core.distributions import draw, from_noise
from vae_core.model import VAE


class ElboTerms(NamedTuple):
    """The evidence lower bound, ELBO = reconstruction − kl, in nats. Chapter 2, equation (elbo)."""

    reconstruction: Tensor  #: `[B]`: an unbiased estimate of E_q[log p(x|z)]. It should rise.
    kl: Tensor  #: `[B]`: KL(q(z|x) ‖ p(z)), never negative if exact.
    kl_exact: bool = True  #: Or torch knows no closed form, and `kl` is estimated from the draws.

    @property
    def elbo(self) -> Tensor:
        """`[B]` tensor in nats: reconstruction − kl, in expectation at most log p(x)."""
        return self.reconstruction - self.kl


class ImportanceElbo(NamedTuple):
    """The importance-weighted bound, in nats, with the ELBO's terms from the same draws."""

    bound: Tensor  #: `[B]`: log (1/K) Σ_k p(x, z_k) / q(z_k|x), in expectation at most log p(x).
    terms: ElboTerms


class Decomposition(NamedTuple):
    """log p(x) = reconstruction − kl_prior + kl_posterior. Chapter 1, equation (three-terms)."""

    log_likelihood: Tensor  #: `[B]`: log p(x), the log evidence, computed without the three terms.
    reconstruction: Tensor  #: `[B]`: E_q[log p(x|z)].
    kl_prior: Tensor  #: `[B]`: KL(q(z|x) ‖ p(z)), never negative but for rounding.
    kl_posterior: Tensor  #: `[B]`: KL(q(z|x) ‖ p(z|x)), called intractable; as `kl_prior`.

    @property
    def elbo(self) -> Tensor:
        """`[B]` tensor in nats: the first two terms, reconstruction − kl_prior."""
        return self.reconstruction - self.kl_prior

    @property
    def residual(self) -> Tensor:
        """`[B]` tensor in nats: what is left of the three terms when log p(x) is taken away."""
        return self.elbo + self.kl_posterior - self.log_likelihood


def elbo(
    model: VAE, x: Tensor, samples: int = 1, generator: Rng = None, noise: Tensor | None = None
) -> ElboTerms:
    """Estimate the two terms of the ELBO for each image x, `[B, D]` or `[B, C, H, W]`.

    Reconstruction = (1/K) Σ_k log p(x|z_k) for K samples z_k ~ q(z|x), drawn so that they have a
    gradient for the encoder; from noise ε, `[K, B, Z]`, if it is given. Raises `ValueError`: K
    below 1, noise of another shape, images that the model refuses. Chapter 2, equation (elbo);
    Kingma & Welling 2014, equation 7.
    """
    q, prior, z = _draw(model, x, samples, generator, noise)  # z: [K, B, Z]
    reconstruction = model.log_likelihood(x, z).mean(0)  # [K, B] -> [B]
    return ElboTerms(reconstruction, *kl_to_prior(q, prior, z))


def importance_elbo(
    model: VAE, x: Tensor, samples: int = 1, generator: Rng = None, noise: Tensor | None = None
) -> ImportanceElbo:
    """Estimate the importance-weighted bound, with a gradient for encoder and decoder to train on.

    Arguments and errors as `elbo`; to measure, `importance_log_likelihood` bounds the memory.
    Chapter 6, equation (importance); Burda et al. 2016, equation 8.
    """
    q, prior, z = _draw(model, x, samples, generator, noise)
    log_px = model.log_likelihood(x, z)  # log p(x|z), [K, B]
    bound = _log_weight(log_px, q, prior, z).logsumexp(0) - math.log(samples)
    return ImportanceElbo(bound, ElboTerms(log_px.mean(0), *kl_to_prior(q, prior, z)))


@torch.no_grad()
def importance_log_likelihood(
    model: VAE, x: Tensor, samples: int = 1000, chunk: int = 4_000, generator: Rng = None,
    true_z: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Estimate log p(x), nats, `[B]`, from K codes of q(z|x): log (1/K) Σ_k p(x, z_k) / q(z_k|x).

    In expectation a lower bound, tighter with every further sample; K = 1 is the ELBO. For images
    that the model drew, the codes `true_z`, `[B, Z]`, that they were drawn from are draws from the
    true posterior: in place of one of the K samples they turn the estimate into an upper bound in
    expectation. By Markov's inequality P(lower estimate > log p(x) + b) ≤ e^−b. At most `chunk`
    rows (images × samples) are decoded at once. Raises `ValueError`: K or `chunk` below 1, bad
    images, codes of another shape, or an image of probability 0. Chapter 6, equations (importance)
    and (bracket); Burda et al. 2016; Grosse et al. 2015.
    """
    expect(min(samples, chunk) >= 1, "samples and chunk of at least 1", [samples, chunk])
    shape = [len(x), model.latent]
    got = shape if true_z is None else list(true_z.shape)
    expect(got == shape, f"codes {shape}", got)
    prior, parts = model.prior(), []
    for start in range(0, len(x), chunk):
        part, left, log_sums = x[start : start + chunk], samples, []
        q = model.encode(part)
        while left:
            if true_z is not None and left == samples:
                z = true_z[None, start : start + chunk]
            else:
                z = draw(q, min(left, max(1, chunk // len(part))), generator)
            log_px, left = model.log_likelihood(part, z), left - len(z)
            log_sums.append(_log_weight(log_px, q, prior, z).logsumexp(0))
        parts.append(torch.stack(log_sums).logsumexp(0) - math.log(samples))
    result = torch.cat(parts)
    expect(bool(result.isfinite().all()), "images with a probability above 0", "0 or NaN")
    return result


def _draw(model: VAE, x: Tensor, samples: int, generator: Rng, noise: Tensor | None) -> Any:
    """q(z|x), p(z), and K codes of each image, `[K, B, Z]`."""
    q = model.encode(x)
    if noise is None:
        return q, model.prior(), draw(q, samples, generator)
    fits = noise.ndim == 3 and len(noise) == samples > 0
    expect(fits, f"noise [K, B, Z] with K = samples = {samples}", list(noise.shape))
    return q, model.prior(), from_noise(q, noise)


def _log_weight(log_px: Tensor, q: Distribution, prior: Distribution, z: Tensor) -> Tensor:
    """log p(x, z) − log q(z|x), from log p(x|z): `[K, B]`."""
    return log_px + prior.log_prob(z) - q.log_prob(z)


def kl_to_prior(q: Distribution, prior: Distribution, z: Tensor) -> tuple[Tensor, bool]:
    """Give KL(q ‖ prior), `[B]`, and whether it is exact; without a closed form, from draws z."""
    try:
        return kl_divergence(q, prior), True
    except NotImplementedError:
        return (q.log_prob(z) - prior.log_prob(z)).mean(0), False
