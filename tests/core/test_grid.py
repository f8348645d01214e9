"""The three terms against numpy, scipy, torch.distributions, Monte Carlo and Gauss-Hermite quadrature."""

import math
from functools import cache

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from vae_core import (
    VAE,
    Decomposition,
    DiagonalGaussian,
    LinearGaussian,
    add_pixel_noise,
    binarize,
    decompose_linear,
    decompose_on_grid,
    fit_linear_gaussian,
    load_digits,
    load_pretrained,
    log_joint,
    posterior_on_grid,
)

LATENTS = (1, 2, 10, 64)
QS = ("posterior", "diagonal", "prior", "bad", "wide", "narrow", "far")


@cache
def noisy_digits():
    images = load_digits("train").images.double()
    return add_pixel_noise(images, 0.05, torch.Generator().manual_seed(0))


@cache
def fitted(latent):
    return fit_linear_gaussian(noisy_digits(), latent, steps=10)


def conditioned(model, x):
    """p(z|x) by conditioning the joint Gaussian of (z, x), in numpy."""
    weight, bias, noise_var = (t.numpy() for t in model)
    gain = np.linalg.solve(weight @ weight.T + np.diag(noise_var), weight).T  # Cov[z, x] Cov[x]⁻¹
    covariance = np.eye(weight.shape[1]) - gain @ weight
    return torch.from_numpy((x.numpy() - bias) @ gain.T), torch.from_numpy((covariance + covariance.T) / 2)


def choose(name, model, x, gen):
    """Mean `[B, Z]` and covariance `[B, Z, Z]` or `[Z, Z]` of a q."""
    batch, latent = len(x), model.weight.shape[1]
    mean, covariance = conditioned(model, x)
    eye = torch.eye(latent, dtype=torch.float64)
    noise = torch.randn(batch, latent, latent + 1, generator=gen(1), dtype=torch.float64)
    return {
        "posterior": (mean, covariance),
        "diagonal": (mean + 0.1, covariance.diagonal().diag()),
        "prior": (0 * mean, eye),
        "bad": (3 * noise[..., 0], noise[..., 1:] @ noise[..., 1:].mT + 0.1 * eye),
        "wide": (mean, np.exp(50) * eye),
        "narrow": (mean, np.exp(-50) * eye.expand(batch, -1, -1)),
        "far": (1e6 * noise[..., 0], eye),
    }[name]


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("name", QS)
def test_three_terms_add_up_to_log_p_for_any_q(name, latent, gen):
    model, x = fitted(latent), noisy_digits()[:20]
    terms = decompose_linear(model, x, *choose(name, model, x, gen))
    size = torch.stack(terms).abs().amax(0)
    assert all(term.shape == (20,) and term.isfinite().all() for term in terms)
    assert (terms.residual.abs() <= 1e-12 * size).all(), (terms.residual.abs() / size).max()
    assert (terms.kl_prior >= -1e-12 * size).all() and (terms.kl_posterior >= -1e-12 * size).all()
    assert (terms.elbo <= terms.log_likelihood + 1e-12 * size).all()
    if name == "posterior":
        assert terms.kl_posterior.abs().max() < 1e-9
    if name == "prior":
        assert torch.equal(terms.kl_prior, torch.zeros(20, dtype=torch.float64))


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("name", QS)
def test_both_kls_are_torchs(name, latent, gen):
    model, x = fitted(latent), noisy_digits()[:20]
    mean, covariance = choose(name, model, x, gen)
    terms = decompose_linear(model, x, mean, covariance)
    q, posterior = MultivariateNormal(mean, covariance), MultivariateNormal(*conditioned(model, x))
    prior = MultivariateNormal(torch.zeros(latent).double(), torch.eye(latent).double())
    assert torch.allclose(terms.kl_prior, kl_divergence(q, prior), rtol=1e-7, atol=1e-8)
    assert torch.allclose(terms.kl_posterior, kl_divergence(q, posterior), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("latent", LATENTS)
@pytest.mark.parametrize("name", ["posterior", "bad"])
def test_reconstruction_is_the_mean_of_log_p_x_given_z(name, latent, gen):
    model, x = fitted(latent), noisy_digits()[:3]
    mean, covariance = choose(name, model, x, gen)
    expected = decompose_linear(model, x, mean, covariance).reconstruction
    noise = torch.randn(3000, 3, latent, 1, generator=gen(latent), dtype=torch.float64)
    z = mean + (torch.linalg.cholesky(covariance) @ noise)[..., 0]
    draws = Normal(z @ model.weight.T + model.bias, model.noise_var.sqrt()).log_prob(x).sum(-1)
    assert ((draws.mean(0) - expected).abs() < 4 * draws.std(0) / 3000**0.5).all()


def test_decomposition_adds_and_subtracts():
    terms = Decomposition(*torch.tensor([[-100.0], [-90.0], [25.0], [14.0]]))
    assert terms.elbo.item() == -115 and terms.residual.item() == -1


def small_model():
    return LinearGaussian(*(torch.ones(*s, dtype=torch.float64) for s in ((5, 2), (5,), (5,))))


BAD = {
    "Psi not positive": (lambda w, b, v, x, m, s: (w, b, v * 0, x, m, s), "noise_var > 0.*0"),
    "S not positive": (lambda w, b, v, x, m, s: (w, b, v, x, m, -s), "positive definite"),
    "S not symmetric": (lambda w, b, v, x, m, s: (w, b, v, x, m, s + torch.tensor([[0, 0.9], [0, 0]])), "symmetric"),
    "x of other pixels": (lambda w, b, v, x, m, s: (w, b, v, x[:, :4], m, s), r"\[3, 4\]"),
    "another batch": (lambda w, b, v, x, m, s: (w, b, v, x, m[:1], s), r"\[1, 2\]"),
    "S of another size": (lambda w, b, v, x, m, s: (w, b, v, x, m, s[:, :1]), r"\[2, 1\]"),
    "bias of another size": (lambda w, b, v, x, m, s: (w, b[:4], v, x, m, s), r"\[4\]"),
    "one image without its axis": (lambda w, b, v, x, m, s: (w, b, v, x[0], m, s), r"\[5\]"),
    "NaN": (lambda w, b, v, x, m, s: (w, b, v, x * float("nan"), m, s), "NaN"),
    "infinite mean": (lambda w, b, v, x, m, s: (w, b, v, x, m + float("inf"), s), "infinity"),
}


@pytest.mark.parametrize("what", BAD)
def test_decompose_linear_refuses(what):
    spoil, came = BAD[what]
    good = (*small_model(), torch.zeros(3, 5).double(), torch.zeros(3, 2).double(), torch.eye(2).double())
    decompose_linear(LinearGaussian(*good[:3]), *good[3:])
    w, b, v, *rest = spoil(*good)
    with pytest.raises(ValueError, match=f"expected.*{came}"):
        decompose_linear(LinearGaussian(w, b, v), *rest)


def tiny(decoder, latent, gen):
    """A VAE whose decoder matters, with 9 pixels, and 4 images for it."""
    model = VAE(latent, (6,), decoder, pixels=9, generator=gen(0)).double().requires_grad_(False)
    for parameter in model.parameters():
        parameter += 0.3 * torch.randn(parameter.shape, generator=gen(parameter.numel()), dtype=torch.float64)
    x = torch.rand(4, 9, generator=gen(1), dtype=torch.float64)
    return model, x.round() if decoder == "bernoulli" else (255 * x).round() / 255


def by_gauss_hermite(model, x, q, count=120):
    """log p(x), E_q[log p(x|z)] and KL(q ‖ p(z|x)) of one image, under the prior and under q, by Gauss-Hermite rules."""
    points, weights = np.polynomial.hermite_e.hermegauss(count)
    latent = q.mean.shape[-1]
    nodes = torch.cartesian_prod(*[torch.from_numpy(points)] * latent).reshape(-1, latent)
    weights = torch.cartesian_prod(*[torch.from_numpy(weights / (2 * np.pi) ** 0.5)] * latent).reshape(-1, latent).prod(1)
    log_px = (model.decode(nodes).log_prob(x) + weights.log()).logsumexp(0)
    z = q.mean + q.stddev * nodes
    log_pxz = model.decode(z).log_prob(x)
    log_q, log_pz = stats.norm.logpdf(z, q.mean, q.stddev).sum(-1), stats.norm.logpdf(z).sum(-1)
    return log_px, weights @ log_pxz, weights @ (torch.from_numpy(log_q - log_pz) - log_pxz) + log_px


@pytest.mark.parametrize("decoder", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("latent", [1, 2])
def test_grid_gives_what_gauss_hermite_rules_give(decoder, latent, gen):
    model, x = tiny(decoder, latent, gen)
    other = DiagonalGaussian(torch.full((4, latent), 0.7).double(), torch.full((4, latent), -2.0).double())
    for q, given in ((model.encode(x), None), (other, other)):
        terms = decompose_on_grid(model, x, given)
        expected = [by_gauss_hermite(model, x[i], DiagonalGaussian(q.mean[i], q.log_var[i])) for i in range(4)]
        log_px, reconstruction, kl_posterior = map(torch.stack, zip(*expected))
        assert torch.allclose(terms.log_likelihood, log_px, atol=2e-6, rtol=0)
        assert torch.allclose(terms.reconstruction, reconstruction, atol=2e-6, rtol=0)
        assert torch.allclose(terms.kl_posterior, kl_posterior, atol=2e-6, rtol=0) and (kl_posterior > 1e-3).all()
        prior = Normal(torch.zeros(latent).double(), 1.0)
        assert torch.allclose(terms.kl_prior, kl_divergence(Normal(q.mean, q.stddev), prior).sum(-1))
        assert terms.residual.abs().max() <= 1e-6


@pytest.mark.parametrize("decoder", ["gaussian", "bernoulli"])
def test_log_joint_is_the_sum_of_both_densities(decoder, gen):
    model, x = tiny(decoder, 2, gen)
    z = torch.randn(7, 2, generator=gen(2), dtype=torch.float64)
    expected = [[model.decode(code).log_prob(image).item() + stats.norm.logpdf(code).sum() for code in z] for image in x]
    assert log_joint(model, x, z).shape == (4, 7) and np.allclose(log_joint(model, x, z), expected, rtol=1e-12)


def test_posterior_on_grid_is_bayes_rule_and_shows_all_its_mass(gen):
    model, x = tiny("bernoulli", 2, gen)
    q = DiagonalGaussian(*model.encode(x[:1]).mean.new_tensor([[[2.0, -3.0]], [[0.0, -1.0]]]))
    grid = posterior_on_grid(model, x[:1], q, points=150)
    log_px = by_gauss_hermite(model, x[0], DiagonalGaussian(q.mean[0], q.log_var[0]))[0]
    for i, j in ((0, 0), (75, 75), (20, 130), (149, 60)):
        z = torch.stack([grid.axes[0, i], grid.axes[1, j]])
        expected = model.decode(z).log_prob(x[0]) + stats.norm.logpdf(z).sum() - log_px
        assert grid.density[i, j].log().item() == pytest.approx(expected.item(), abs=1e-4)
    assert np.trapezoid(np.trapezoid(grid.density, grid.axes[1]), grid.axes[0]) == pytest.approx(1, abs=5e-3)
    assert (grid.axes.amin(1) < q.mean[0] - 2 * q.stddev[0]).all() and (grid.axes.amax(1) > q.mean[0] + 2 * q.stddev[0]).all()


def test_grid_refuses(gen):
    model, x = tiny("bernoulli", 2, gen)
    narrow = DiagonalGaussian(torch.zeros(4, 2).double(), torch.full((4, 2), -30.0).double())
    wrong = DiagonalGaussian(torch.zeros(3, 2).double(), torch.zeros(3, 2).double())
    for error, came, arguments in (
        (ValueError, "1 or 2 latent dimensions, got 3", (tiny("bernoulli", 3, gen)[0], x)),
        (ValueError, "grey", (model, x * 0.5)),
        (ValueError, r"\[4, 2\], got \[3, 2\]", (model, x, wrong)),
        (ArithmeticError, "narrow", (model, x, narrow)),
    ):
        with pytest.raises(error, match=came):
            decompose_on_grid(*arguments)


def two_modes(height):
    """A decoder that cannot tell z from −z but for a tilt, and the image whose posterior has a mode on either side."""
    model = VAE(1, (3,), "bernoulli", pixels=20, generator=torch.Generator().manual_seed(0)).double().requires_grad_(False)
    model.decoder[0].weight[:] = torch.tensor([[2.0], [-2.0], [0.2]])  # silu(2z) + silu(−2z) is even in z
    model.decoder[0].bias[:] = torch.tensor([0.0, 0.0, 5.0])
    sign = torch.ones(20).double()
    sign[10:] = -1
    model.decoder[2].weight[:] = torch.stack([sign, sign, torch.full((20,), height / 20).double()], 1)
    model.decoder[2].bias[:] = -4 * sign
    x = (torch.arange(20) % 2).double()[None]  # half of the pixels want a large |z|, half a small one
    return model, x


@pytest.mark.parametrize("height", [0.0, 1.0])
@pytest.mark.parametrize("side", [-1, 1])
def test_grid_finds_both_modes_wherever_q_sits(height, side):
    model, x = two_modes(height)

    def joint(z):
        logits = model.decoder(torch.tensor([[z]]).double())[0]
        log_px_given_z = (x[0] * logits - torch.logaddexp(logits, torch.zeros(()).double())).sum()
        return math.exp(log_px_given_z.item() + 30) * stats.norm.pdf(z)

    halves = [integrate.quad(joint, *ends, epsabs=0, epsrel=1e-8, limit=200)[0] for ends in ((-9, 0), (0, 9))]
    valley, peaks = joint(0.0), [max(joint(s * z) for z in np.linspace(0.5, 4, 100)) for s in (-1, 1)]
    assert valley < 1e-3 * min(peaks)  # two modes, and both count
    assert min(halves) > 0.05 * sum(halves)

    q = DiagonalGaussian(torch.tensor([[2.0 * side]]).double(), torch.tensor([[-3.0]]).double())  # on one of them
    terms = decompose_on_grid(model, x, q)
    expected = math.log(sum(halves)) - 30
    assert terms.log_likelihood.item() == pytest.approx(expected, abs=2e-6)
    # at least what it costs to ignore the mass on the other side
    own, other = halves[side == 1], halves[side == -1]
    assert terms.kl_posterior.item() > -math.log(own / (own + other)) - 1e-6


@pytest.mark.parametrize("std", [0.5, 1.0, 1.5])
def test_grid_takes_a_q_as_wide_as_the_prior(std, gen):
    """A box of 6 standard deviations leaves enough of q outside to keep the residual above the tolerance for ever."""
    model = load_pretrained().model
    x = binarize(load_digits("test").images[::250], gen(0))
    own = decompose_on_grid(model, x)
    log_var = torch.full((len(x), 2), 2 * math.log(std))
    terms = decompose_on_grid(model, x, DiagonalGaussian(torch.zeros_like(log_var), log_var), most_points=300_000)
    assert terms.residual.abs().max() <= 1e-6
    torch.testing.assert_close(terms.log_likelihood, own.log_likelihood, atol=2e-6, rtol=0)
