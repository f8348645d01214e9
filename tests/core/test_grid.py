"""The three terms on a grid, against scipy, torch.distributions and Gauss-Hermite quadrature."""

import math

import numpy as np
import pytest
import torch
from helpers import tiny
from scipy import integrate, stats
from torch.distributions import Normal, kl_divergence

from drawing import posterior_on_grid
from vae_core import (
    VAE,
    Decomposition,
    DiagonalGaussian,
    binarize,
    decompose_on_grid,
    load_digits,
    load_pretrained,
    log_joint,
)


def test_decomposition_adds_and_subtracts():
    terms = Decomposition(*torch.tensor([[-100.0], [-90.0], [25.0], [14.0]]))
    assert terms.elbo.item() == -115 and terms.residual.item() == -1


def by_gauss_hermite(model, x, q, count=120):
    """log p(x), E_q[log p(x|z)] and KL(q ‖ p(z|x)) of one image, by Gauss-Hermite rules."""
    points, weights = np.polynomial.hermite_e.hermegauss(count)
    latent = q.mean.shape[-1]
    nodes = torch.cartesian_prod(*[torch.from_numpy(points)] * latent).reshape(-1, latent)
    weights = (
        torch.cartesian_prod(*[torch.from_numpy(weights / (2 * np.pi) ** 0.5)] * latent)
        .reshape(-1, latent)
        .prod(1)
    )
    log_px = (model.decode(nodes).log_prob(x) + weights.log()).logsumexp(0)
    z = q.mean + q.stddev * nodes
    log_pxz = model.decode(z).log_prob(x)
    log_q, log_pz = stats.norm.logpdf(z, q.mean, q.stddev).sum(-1), stats.norm.logpdf(z).sum(-1)
    return (
        log_px,
        weights @ log_pxz,
        weights @ (torch.from_numpy(log_q - log_pz) - log_pxz) + log_px,
    )


@pytest.mark.parametrize(("narrow", "wide"), [(0.03, 0.05), (0.07, 0.08)])
def test_a_loose_tolerance_holds_for_a_q_narrower_than_the_step(narrow, wide, gen):
    """By chance the three terms may add up although a rule misses a part of q: that shows too."""
    model = load_pretrained().model.double()
    x = binarize(load_digits("test").images[::50], gen(1)).double().repeat_interleave(60, 0)
    noise = torch.randn(600, 2, generator=gen(0), dtype=torch.float64)
    std = narrow + (wide - narrow) * torch.rand(600, 2, generator=gen(2), dtype=torch.float64)
    q = DiagonalGaussian(model.encode(x).mean + 0.3 * noise, 2 * std.log())
    loose, fine = (decompose_on_grid(model, x, q, tolerance) for tolerance in (0.05, 1e-4))
    for name in ("log_likelihood", "reconstruction", "kl_prior", "kl_posterior"):
        assert (getattr(loose, name) - getattr(fine, name)).abs().max() < 0.05, name


@pytest.mark.parametrize("decoder", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("latent", [1, 2])
def test_grid_gives_what_gauss_hermite_rules_give(decoder, latent, gen):
    model, x = tiny(decoder, gen, latent, (6,), 9, 0.3)
    other = DiagonalGaussian(
        torch.full((3, latent), 0.7).double(), torch.full((3, latent), -2.0).double()
    )
    for q, given in ((model.encode(x), None), (other, other)):
        terms = decompose_on_grid(model, x, given)
        expected = [
            by_gauss_hermite(model, x[i], DiagonalGaussian(q.mean[i], q.log_var[i]))
            for i in range(3)
        ]
        log_px, reconstruction, kl_posterior = map(torch.stack, zip(*expected))
        assert torch.allclose(terms.log_likelihood, log_px, atol=2e-6, rtol=0)
        assert torch.allclose(terms.reconstruction, reconstruction, atol=2e-6, rtol=0)
        assert (
            torch.allclose(terms.kl_posterior, kl_posterior, atol=2e-6, rtol=0)
            and (kl_posterior > 1e-3).all()
        )
        prior = Normal(torch.zeros(latent).double(), 1.0)
        assert torch.allclose(
            terms.kl_prior, kl_divergence(Normal(q.mean, q.stddev), prior).sum(-1)
        )
        assert terms.residual.abs().max() <= 1e-6


@pytest.mark.parametrize("decoder", ["gaussian", "bernoulli"])
def test_log_joint_is_the_sum_of_both_densities(decoder, gen):
    model, x = tiny(decoder, gen, 2, (6,), 9, 0.3)
    z = torch.randn(7, 2, generator=gen(2), dtype=torch.float64)
    expected = [
        [model.decode(code).log_prob(image).item() + stats.norm.logpdf(code).sum() for code in z]
        for image in x
    ]
    assert log_joint(model, x, z).shape == (3, 7) and np.allclose(
        log_joint(model, x, z), expected, rtol=1e-12
    )


def test_posterior_on_grid_is_bayes_rule_and_shows_all_its_mass(gen):
    model, x = tiny("bernoulli", gen, 2, (6,), 9, 0.3)
    q = DiagonalGaussian(*model.encode(x[:1]).mean.new_tensor([[[2.0, -3.0]], [[0.0, -1.0]]]))
    grid = posterior_on_grid(model, x[:1], q, points=150)
    log_px = by_gauss_hermite(model, x[0], DiagonalGaussian(q.mean[0], q.log_var[0]))[0]
    for i, j in ((0, 0), (75, 75), (20, 130), (149, 60)):
        z = torch.stack([grid.axes[0, i], grid.axes[1, j]])
        expected = model.decode(z).log_prob(x[0]) + stats.norm.logpdf(z).sum() - log_px
        assert grid.density[i, j].log().item() == pytest.approx(expected.item(), abs=1e-4)
    assert np.trapezoid(np.trapezoid(grid.density, grid.axes[1]), grid.axes[0]) == pytest.approx(
        1, abs=5e-3
    )
    assert (grid.axes.amin(1) < q.mean[0] - 2 * q.stddev[0]).all() and (
        grid.axes.amax(1) > q.mean[0] + 2 * q.stddev[0]
    ).all()


def test_grid_refuses(gen):
    model, x = tiny("bernoulli", gen, 2, (6,), 9, 0.3)
    narrow = DiagonalGaussian(torch.zeros(3, 2).double(), torch.full((3, 2), -30.0).double())
    wrong = DiagonalGaussian(torch.zeros(2, 2).double(), torch.zeros(2, 2).double())
    three, _ = tiny("bernoulli", gen, 3, (6,), 9, 0.3)
    for error, came, arguments in (
        (ValueError, "1 or 2 latent dimensions.*got 3", (three, x)),
        (ValueError, "grey", (model, x * 0.5)),
        (ValueError, r"\[3, 2\], got \[2, 2\]", (model, x, wrong)),
        (ArithmeticError, "narrow", (model, x, narrow)),
    ):
        with pytest.raises(error, match=came):
            decompose_on_grid(*arguments, max_points=100_000)


def test_the_posterior_of_one_image_is_drawn_and_no_other_forgotten(gen):
    model, x = tiny("bernoulli", gen, 2, (6,), 9, 0.3)
    three, _ = tiny("bernoulli", gen, 3, (6,), 9, 0.3)
    q = model.encode(x)
    one = DiagonalGaussian(q.mean[:1], q.log_var[:1])
    for arguments, came in (
        ((model, x[:2], DiagonalGaussian(q.mean[:2], q.log_var[:2])), r"\[2, 2, \[2\]\]"),
        ((model, x[:2], one), r"\[2, 2, \[1\]\]"),
        ((model, x[:1], q), r"\[2, 1, \[3\]\]"),
        ((model, x[:0], one), r"\[2, 0, \[1\]\]"),
        ((three, x[:1], one), r"\[3, 1, \[1\]\]"),
    ):
        with pytest.raises(ValueError, match=f"expected Z = 2 and one image.*got {came}"):
            posterior_on_grid(*arguments)


def two_modes(height):
    """A decoder that hardly tells z from −z, and an image whose posterior has two modes."""
    model = (
        VAE.mlp(1, (3,), "bernoulli", pixels=20, generator=torch.Generator().manual_seed(0))
        .double()
        .requires_grad_(False)
    )
    # silu(2z) + silu(−2z) is even in z
    model.decoder[0].weight[:] = torch.tensor([[2.0], [-2.0], [0.2]])
    model.decoder[0].bias[:] = torch.tensor([0.0, 0.0, 5.0])
    sign = torch.ones(20).double()
    sign[10:] = -1
    model.decoder[2].weight[:] = torch.stack(
        [sign, sign, torch.full((20,), height / 20).double()], 1
    )
    model.decoder[2].bias[:] = -4 * sign
    # half of the pixels want a large |z|, half a small one
    x = (torch.arange(20) % 2).double()[None]
    return model, x


@pytest.mark.parametrize("height", [0.0, 1.0])
@pytest.mark.parametrize("side", [-1, 1])
def test_grid_finds_both_modes_wherever_q_sits(height, side):
    model, x = two_modes(height)

    def joint(z):
        logits = model.decoder[:-1](torch.tensor([[z]]).double())[0]
        log_px_given_z = (x[0] * logits - torch.logaddexp(logits, torch.zeros(()).double())).sum()
        return math.exp(log_px_given_z.item() + 30) * stats.norm.pdf(z)

    halves = [
        integrate.quad(joint, *ends, epsabs=0, epsrel=1e-8, limit=200)[0]
        for ends in ((-9, 0), (0, 9))
    ]
    valley, peaks = (
        joint(0.0),
        [max(joint(s * z) for z in np.linspace(0.5, 4, 100)) for s in (-1, 1)],
    )
    assert valley < 1e-3 * min(peaks)  # two modes, and both count
    assert min(halves) > 0.05 * sum(halves)

    # on one of them
    q = DiagonalGaussian(torch.tensor([[2.0 * side]]).double(), torch.tensor([[-3.0]]).double())
    terms = decompose_on_grid(model, x, q)
    expected = math.log(sum(halves)) - 30
    assert terms.log_likelihood.item() == pytest.approx(expected, abs=2e-6)
    # at least what it costs to ignore the mass on the other side
    own, other = halves[side == 1], halves[side == -1]
    assert terms.kl_posterior.item() > -math.log(own / (own + other)) - 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("std", [0.5, 1.0, 1.5])
def test_grid_takes_a_q_as_wide_as_the_prior(std, gen):
    """A box of 6 standard deviations leaves out enough of q to keep the residual above 1e-6."""
    model = load_pretrained().model
    x = binarize(load_digits("test").images[::250], gen(0))
    own = decompose_on_grid(model, x)
    log_var = torch.full((len(x), 2), 2 * math.log(std))
    terms = decompose_on_grid(
        model, x, DiagonalGaussian(torch.zeros_like(log_var), log_var), max_points=300_000
    )
    assert terms.residual.abs().max() <= 1e-6
    torch.testing.assert_close(terms.log_likelihood, own.log_likelihood, atol=2e-6, rtol=0)
