"""log p(x) from both sides, for any latent size: importance weighting, and annealing in both directions."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from vae_core.data import check_images
from vae_core.distributions import DiagonalGaussian
from vae_core.model import VAE
from vae_core.objective import gaussian_kl


class Bracket(NamedTuple):
    """Two stochastic bounds on log p(x), in nats. Each holds in expectation, not for every single draw."""

    lower: Tensor
    "`[B]`: in expectation at most log p(x)."
    upper: Tensor
    "`[B]`: in expectation at least log p(x)."


@torch.no_grad()
def importance_log_likelihood(
    model: VAE,
    x: Tensor,
    samples: int = 1000,
    chunk: int = 4_000,
    generator: torch.Generator | None = None,
    true_z: Tensor | None = None,
) -> Tensor:
    """Estimate log p(x) with K codes from q(z|x): log (1/K) Σ_k p(x, z_k) / q(z_k|x), in nats: `[B]`.

    In expectation a lower bound, tighter with every further sample; K = 1 is the ELBO. For images that the model drew
    itself, the code they were drawn from is a draw from the true posterior: put in place of one of the K samples it
    turns the estimate into an upper bound in expectation. By Markov's inequality
    P(lower estimate > log p(x) + b) ≤ e^−b. Chapter 2, equations (importance) and (bracket); Burda et al. 2016; Grosse et al. 2015.

    Args:
        model: the VAE.
        x: images, `[B, D]`.
        samples: K.
        chunk: most rows (images × samples) that are decoded at once: it bounds the memory.
        generator: source of randomness.
        true_z: `[B, Z]`, the codes from which the model drew x, for the upper bound.

    Raises:
        ValueError: K or `chunk` below 1, bad images, codes of another shape, or an image that the model gives
            probability 0 for every sample.
    """
    if samples < 1 or chunk < 1:
        raise ValueError(f"expected samples and chunk of at least 1, got {samples} and {chunk}")
    check_images(x, model.config["pixels"])
    parts = []
    for start in range(0, len(x), chunk):
        rows = slice(start, start + chunk)
        part = x[rows]
        q = model.encode(part)
        log_sum = torch.full((len(part),), -math.inf, dtype=x.dtype, device=x.device)
        left = samples
        if true_z is not None:
            log_sum, left = _log_weight(model, part, true_z[rows], q), samples - 1
        while left:
            count = min(left, max(1, chunk // len(part)))
            z = q.sample((count,), generator)
            log_sum = torch.logaddexp(log_sum, _log_weight(model, part, z, q).logsumexp(0))
            left -= count
        parts.append(log_sum - math.log(samples))
    result = torch.cat(parts)
    if not result.isfinite().all():
        raise ValueError("expected images to which the model gives a probability above 0, and a decoder without NaN")
    return result


def _log_weight(model: VAE, x: Tensor, z: Tensor, q: DiagonalGaussian) -> Tensor:
    """log p(x, z) − log q(z|x): `[..., B]` for z `[..., B, Z]`."""
    if z.shape[-2:] != q.mean.shape:
        raise ValueError(f"expected codes of shape [..., {len(x)}, {q.mean.shape[1]}], got {list(z.shape)}")
    return model.decode(z).log_prob(x) + model.prior().log_prob(z) - q.log_prob(z)


class _Annealing:
    """The path from q to the posterior, in u = (z − μ)/σ: π_β(u) ∝ N(u; 0, I)^(1 − β) p(x, μ + σ u)^β."""

    def __init__(self, model: VAE, x: Tensor, q: DiagonalGaussian, chains: int, temperatures: int, leapfrogs: int):
        self.q = q
        self.model, self.x, self.leapfrogs = model, x, leapfrogs
        self.shape = (chains, *self.q.mean.shape)
        self.betas = torch.linspace(0, 1, temperatures + 1, dtype=x.dtype, device=x.device).tolist()
        self.steps = torch.full((temperatures + 1, len(x)), 0.3, dtype=x.dtype, device=x.device)

    def log_ratio(self, u: Tensor) -> Tensor:
        """log p(x, z) + log |dz/du| − log N(u; 0, I): `[chains, B]`. Its mean weight is p(x)."""
        return _log_weight(self.model, self.x, self.q.mean + self.q.stddev * u, self.q)

    def energy_and_slope(self, u: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """log π_β(u) up to a constant, `[chains, B]`, and its gradient."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            value = -0.5 * (u**2).sum(-1) + beta * self.log_ratio(u)
            (slope,) = torch.autograd.grad(value.sum(), u)
        return value.detach(), slope

    def move(self, u: Tensor, t: int, generator: torch.Generator | None) -> tuple[Tensor, Tensor]:
        """One Hamiltonian Monte Carlo step that leaves π_β unchanged; also the share of accepted chains, `[B]`."""
        step = self.steps[t][:, None]
        momentum = torch.randn(self.shape, generator=generator, dtype=u.dtype, device=u.device)
        value, slope = self.energy_and_slope(u, self.betas[t])
        start = value - 0.5 * (momentum**2).sum(-1)
        new = u
        for _ in range(self.leapfrogs):
            momentum = momentum + 0.5 * step * slope
            new = new + step * momentum
            value, slope = self.energy_and_slope(new, self.betas[t])
            momentum = momentum + 0.5 * step * slope
        chance = (value - 0.5 * (momentum**2).sum(-1) - start).exp().clamp(max=1).nan_to_num(0)
        accept = torch.rand(chance.shape, generator=generator, dtype=u.dtype, device=u.device) < chance
        return torch.where(accept[..., None], new, u), chance.mean(0)

    def forward(self, generator: torch.Generator | None, tune: bool = False) -> Tensor:
        """Anneal from q to the posterior; log weights `[chains, B]`. With `tune`, set the step sizes on the way."""
        u = torch.randn(self.shape, generator=generator, dtype=self.x.dtype, device=self.x.device)
        log_weight = torch.zeros(self.shape[:2], dtype=u.dtype, device=u.device)
        for t in range(1, len(self.betas)):
            with torch.no_grad():
                log_weight += (self.betas[t] - self.betas[t - 1]) * self.log_ratio(u)
            if tune:
                self.steps[t] = self.steps[t - 1] if t > 1 else self.steps[t]
            u, accepted = self.move(u, t, generator)
            if tune:
                self.steps[t] *= torch.exp(0.5 * (accepted - 0.7))
        return log_weight

    def reverse(self, true_z: Tensor, generator: torch.Generator | None) -> Tensor:
        """Anneal from a draw of the posterior back to q; log weights `[chains, B]`, whose mean weight is 1/p(x)."""
        u = ((true_z - self.q.mean) / self.q.stddev).expand(self.shape)
        log_weight = torch.zeros(self.shape[:2], dtype=u.dtype, device=u.device)
        for t in range(len(self.betas) - 1, 0, -1):
            u, _ = self.move(u, t, generator)
            with torch.no_grad():
                log_weight -= (self.betas[t] - self.betas[t - 1]) * self.log_ratio(u)
        return log_weight


def annealed_log_likelihood(
    model: VAE,
    x: Tensor,
    true_z: Tensor,
    temperatures: int = 50,
    chains: int = 8,
    leapfrogs: int = 3,
    generator: torch.Generator | None = None,
    start: DiagonalGaussian | None = None,
) -> Bracket:
    """Bracket log p(x) of images that the model drew, by annealed importance sampling in both directions.

    Forward, chains start at q and move to the posterior: the mean weight has expectation p(x), so its logarithm
    is a lower bound in expectation. In reverse they start at the code from which x was drawn, a draw from the
    posterior: the mean weight has expectation 1/p(x), which gives an upper bound. Step sizes are tuned in a pilot run
    and frozen: tuned inside a chain they would break the bounds. Chapter 2;
    Neal 2001; Grosse et al. 2015.

    Args:
        model: the VAE.
        x: images drawn from the model, `[B, D]`. For other images the upper bound means nothing.
        true_z: the codes they were drawn from, `[B, Z]`.
        temperatures: T, steps from q to the posterior.
        chains: for each image and direction.
        leapfrogs: steps of each Hamiltonian move.
        generator: source of randomness.
        start: batch `[B]`, event `[Z]`: where chains start; the encoder's q(z|x) if not given. It may depend on x, as
            `best_gaussian` does, but not on `true_z`.

    Raises:
        ValueError: a number below 1, bad images, or codes of another shape.
    """
    if min(temperatures, chains, leapfrogs) < 1:
        raise ValueError(f"expected numbers of at least 1, got {temperatures}, {chains} and {leapfrogs}")
    check_images(x, model.config["pixels"])
    with torch.no_grad():
        start = model.encode(x) if start is None else start
    path = _Annealing(model, x, start, chains, temperatures, leapfrogs)
    path.forward(generator, tune=True)
    lower = path.forward(generator).logsumexp(0) - math.log(chains)
    upper = math.log(chains) - path.reverse(true_z, generator).logsumexp(0)
    return Bracket(lower, upper)


def best_gaussian(
    model: VAE,
    x: Tensor,
    start: DiagonalGaussian,
    steps: int = 200,
    samples: int = 8,
    learning_rate: float = 0.03,
    generator: torch.Generator | None = None,
) -> DiagonalGaussian:
    """Climb the ELBO of each image over the μ and log σ² of a q of its own, with the decoder as it is.

    What is left of KL(q ‖ p(z|x)) is (up to the optimiser) the price of the Gaussian family, what went away the price
    of sharing one encoder. Score the result on fresh noise. Chapter 2; Cremer et al. 2018.

    Args:
        model: the VAE.
        x: images, `[B, D]`.
        start: where to begin, batch `[B]`, event `[Z]`.
        steps: of Adam.
        samples: K codes for each gradient.
        learning_rate: of Adam, decayed to 0 along a half cosine.
        generator: source of randomness.

    Raises:
        ValueError: a number that is not positive, or bad images.
    """
    if min(steps, samples) < 1 or not learning_rate > 0:
        raise ValueError(f"expected positive numbers, got {steps}, {samples} and {learning_rate}")
    check_images(x, model.config["pixels"])
    mean, log_var = (t.detach().clone().requires_grad_() for t in (start.mean, start.log_var))
    optimizer = torch.optim.Adam([mean, log_var], lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        z = DiagonalGaussian(mean, log_var).rsample((samples,), generator)
        bound = model.decode(z).log_prob(x).mean(0) - gaussian_kl(mean, log_var)
        gradients = torch.autograd.grad(-bound.sum(), [mean, log_var])
        mean.grad, log_var.grad = gradients
        optimizer.step()
        schedule.step()
    return DiagonalGaussian(mean.detach(), log_var.detach())
