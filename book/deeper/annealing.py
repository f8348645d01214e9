"""log p(x) from both sides by annealing, and a Gaussian q of its own for each image."""

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, MultivariateNormal
from torch.linalg import solve_triangular

from vae_core.data import Rng, expect
from vae_core.distributions import DiagonalGaussian, draw, gaussian_factors, randn_like
from vae_core.model import VAE
from vae_core.objective import kl_to_prior

_FIRST_STEP, _ACCEPTED = 0.3, 0.7  # the step size to begin with, the acceptance to aim at


class Bracket(NamedTuple):
    """Two stochastic bounds on log p(x), in nats. Each holds in expectation, not for every draw."""

    lower: Tensor  #: `[B]`: in expectation at most log p(x).
    upper: Tensor  #: `[B]`: in expectation at least log p(x); infinite if the true code is unknown.


class _Path:
    """From q to the posterior, in u with z = μ + L u: π_β(u) ∝ N(u; 0, I) (p(x, z) / q(z|x))^β."""

    def __init__(self, model: VAE, x: Tensor, q: Distribution, betas: Tensor, leapfrogs: int):
        self.model, self.x, self.q, self.leapfrogs = model, x, q, leapfrogs
        self.mean, self.factor = gaussian_factors(q)
        self.betas = betas.tolist()
        self.steps = x.new_full((len(betas), len(x), 1), _FIRST_STEP)

    def log_ratio(self, u: Tensor) -> Tensor:
        """log p(x, z) − log q(z|x): `[chains, B]`. The mean weight of u ~ N(0, I) is p(x)."""
        z = self.mean + (self.factor @ u[..., None])[..., 0]
        log_joint = self.model.log_likelihood(self.x, z) + self.model.prior().log_prob(z)
        return log_joint - self.q.log_prob(z)

    def log_density(self, u: Tensor, beta: float) -> tuple[Tensor, Tensor]:
        """log π_β(u) up to a constant, `[chains, B]`, and its gradient."""
        with torch.enable_grad():
            u = u.detach().requires_grad_()
            value = -0.5 * (u**2).sum(-1) + beta * self.log_ratio(u)
            return value.detach(), torch.autograd.grad(value.sum(), u)[0]

    def move(self, u: Tensor, t: int, generator: Rng) -> tuple[Tensor, Tensor]:
        """A Hamiltonian step that keeps π_β; also the fraction of accepted chains, `[B]`."""
        momentum = randn_like(u, (), generator)
        value, slope = self.log_density(u, self.betas[t])
        start, new = value - 0.5 * (momentum**2).sum(-1), u
        for _ in range(self.leapfrogs):
            momentum = momentum + 0.5 * self.steps[t] * slope
            new = new + self.steps[t] * momentum
            value, slope = self.log_density(new, self.betas[t])
            momentum = momentum + 0.5 * self.steps[t] * slope
        chance = (value - 0.5 * (momentum**2).sum(-1) - start).exp().clamp(max=1).nan_to_num(0)
        uniform = torch.rand(chance.shape, generator=generator, dtype=u.dtype, device=u.device)
        return torch.where((uniform < chance)[..., None], new, u), chance.mean(0)

    def walk(self, u: Tensor, generator: Rng, forward: bool = True, tune: bool = False) -> Tensor:
        """Log weights, `[chains, B]`, of chains from u: from q to the posterior, or back."""
        log_weight, last = torch.zeros_like(u[..., 0]), len(self.betas) - 1
        for t in range(1, last + 1) if forward else range(last, 0, -1):
            gap = self.betas[t] - self.betas[t - 1]
            if forward:
                log_weight += gap * self.log_ratio(u)
            if tune and t > 1:
                self.steps[t] = self.steps[t - 1]
            u, accepted = self.move(u, t, generator)
            if tune:
                self.steps[t] *= torch.exp(0.5 * (accepted - _ACCEPTED))[:, None]
            if not forward:
                log_weight -= gap * self.log_ratio(u)
        return log_weight


@torch.no_grad()
def annealed_log_likelihood(
    model: VAE, x: Tensor, true_z: Tensor | None, temperatures: int = 50, chains: int = 8,
    leapfrogs: int = 3, generator: Rng = None, start: Distribution | None = None,
) -> Bracket:  # fmt: skip
    """Bracket log p(x) of images that the model drew, by annealed importance sampling both ways.

    Forward, chains go from a Gaussian q to the posterior over T temperatures, each a Hamiltonian
    move of some leapfrog steps: the mean weight has expectation p(x), so its logarithm is a lower
    bound in expectation. In reverse they start at the codes from which x was drawn, `true_z`, `[B,
    Z]`, draws from the posterior: the mean weight has expectation 1/p(x), which gives an upper
    bound; for other images, as real ones, there is none. Step sizes are tuned in a pilot run and
    frozen: tuned inside a chain they would break the bounds. q is the encoder's, or `start`, which
    may depend on x, as `best_gaussian` does, but not on `true_z`. Raises `ValueError`: a number
    below 1, bad images, codes of another shape, another q. Chapter 6; Neal 2001; Grosse et al.
    2015.
    """
    numbers, shape = [temperatures, chains, leapfrogs], [len(x), model.latent]
    expect(min(numbers) >= 1, "temperatures, chains and leapfrogs of at least 1", numbers)
    q = model.encode(x) if start is None else start
    for values in (gaussian_factors(q)[0], true_z):
        got = shape if values is None else list(values.shape)
        expect(got == shape, f"codes and a start of shape {shape}", got)
    path = _Path(model, x, q, torch.linspace(0, 1, temperatures + 1, dtype=x.dtype), leapfrogs)
    path.walk(randn_like(path.mean, (chains,), generator), generator, tune=True)
    u = randn_like(path.mean, (chains,), generator)
    lower = path.walk(u, generator).logsumexp(0) - math.log(chains)
    if true_z is None:
        return Bracket(lower, torch.full_like(lower, math.inf))
    u = solve_triangular(path.factor, (true_z - path.mean)[..., None], upper=False)[..., 0]
    weights = path.walk(u.expand(chains, -1, -1), generator, forward=False)
    return Bracket(lower, math.log(chains) - weights.logsumexp(0))


def best_gaussian(
    model: VAE, x: Tensor, start: Distribution, steps: int = 200, samples: int = 8,
    learning_rate: float = 0.03, generator: Rng = None,
) -> DiagonalGaussian | MultivariateNormal:  # fmt: skip
    """Climb the ELBO of each image over a Gaussian q of its own, with the decoder as it is.

    The family is that of `start`: a `MultivariateNormal` keeps a full covariance, any other
    Gaussian a diagonal one. Each step of Adam takes K samples; its learning rate falls to 0 along a
    half cosine. What is left of KL(q ‖ p(z|x)) is (up to the optimiser) the approximation gap, what
    went away the amortization gap. Score the result on fresh noise. Raises `ValueError`: a number
    that is not positive, another start, bad images. Chapter 6; Cremer et al. 2018.
    """
    expect(min(steps, learning_rate) > 0, "positive numbers", [steps, learning_rate])
    mean, factor = (part.detach().clone() for part in gaussian_factors(start))
    log_var, full = (
        2 * factor.diagonal(dim1=-2, dim2=-1).log(),
        isinstance(start, MultivariateNormal),
    )
    parameters = [t.requires_grad_() for t in (mean, log_var, factor)[: 3 if full else 2]]
    optimizer = torch.optim.Adam(parameters, lr=learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)

    def guess() -> DiagonalGaussian | MultivariateNormal:
        if not full:
            return DiagonalGaussian(mean, log_var)
        diagonal = torch.diag_embed((0.5 * log_var).exp())
        return MultivariateNormal(mean, scale_tril=factor.tril(-1) + diagonal)

    for _ in range(steps):
        q = guess()
        z = draw(q, samples, generator)
        bound = model.log_likelihood(x, z).mean(0) - kl_to_prior(q, model.prior(), z)[0]
        slopes = torch.autograd.grad(-bound.sum(), parameters)
        for parameter, slope in zip(parameters, slopes, strict=True):
            parameter.grad = slope
        optimizer.step()
        schedule.step()
    mean, log_var, factor = (part.detach() for part in (mean, log_var, factor))
    return guess()
