"""Both terms of the ELBO against torch, Monte Carlo, quadrature and finite differences."""

import numpy as np
import pytest
import torch
from helpers import tiny
from scipy import integrate, stats
from torch.distributions import (
    AffineTransform,
    Distribution,
    Independent,
    Normal,
    TransformedDistribution,
    kl_divergence,
)

from vae_core import (
    VAE,
    DiagonalGaussian,
    ElboTerms,
    StandardNormal,
    binarize,
    elbo,
    gaussian_kl,
    importance_elbo,
    importance_log_likelihood,
)
from vae_core.distributions import draw
from vae_core.objective import kl_to_prior


def log_p_x_given_z(model, x, z):
    """log p(x|z) from the decoder network's output, by scipy: `[..., D]`, `[..., Z]` → `[...]`."""
    output = model.decoder[:-1](z).detach().numpy()
    if model.decoder[-1].likelihood == "bernoulli":
        return stats.bernoulli.logpmf(x.numpy(), 1 / (1 + np.exp(-output))).sum(-1)
    loc, scale = np.split(output, 2, axis=-1)
    scale, k = np.exp(scale), np.rint(255 * x.numpy())
    high = np.where(k == 255, np.inf, ((k + 0.5) / 255 - loc) / scale)
    low = np.where(k == 0, -np.inf, ((k - 0.5) / 255 - loc) / scale)
    # where Φ is small
    left, right = (
        np.where(low + high > 0, -high, low),
        np.where(low + high > 0, -low, high),
    )
    right, left = stats.norm.logcdf(right), stats.norm.logcdf(left)
    return (right + np.log1p(-np.exp(left - right))).sum(-1)


def normal(mean, log_var):
    return Independent(Normal(mean, log_var.exp().sqrt()), 1)


@pytest.mark.parametrize("latent", [1, 2, 20])
def test_gaussian_kl_is_torchs(latent, gen):
    mean, log_var = 3 * torch.randn(2, 7, 5, latent, generator=gen(0), dtype=torch.float64)
    expected = kl_divergence(
        normal(mean, log_var), normal(torch.zeros_like(mean), torch.zeros_like(mean))
    )
    assert gaussian_kl(mean, log_var).shape == (7, 5)
    assert torch.allclose(gaussian_kl(mean, log_var), expected, rtol=1e-12)


@pytest.mark.parametrize("seed", range(3))
def test_gaussian_kl_is_the_mean_log_ratio_of_the_densities(seed, gen):
    mean, log_var = torch.tensor([1.0, -0.5, 0.0]).double(), torch.tensor([-2.0, 0.7, 0.0]).double()
    z = mean + (0.5 * log_var).exp() * torch.randn(
        100_000, 3, generator=gen(seed), dtype=torch.float64
    )
    q = stats.multivariate_normal(mean.numpy(), np.diag(np.exp(log_var.numpy()))).logpdf(z.numpy())
    ratio = q - stats.multivariate_normal(np.zeros(3), np.eye(3)).logpdf(z.numpy())
    assert abs(ratio.mean() - gaussian_kl(mean, log_var).item()) < 4 * ratio.std() / len(z) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_gaussian_kl_is_never_negative_and_finite_in_the_extremes(dtype):
    log_var = (
        torch.cat([torch.linspace(-1e-3, 1e-3, 10_001), torch.linspace(-50, 50, 10_001)])
        .to(dtype)
        .requires_grad_()
    )
    kl = gaussian_kl(torch.zeros(20_002, 1, dtype=dtype), log_var[:, None])
    (slope,) = torch.autograd.grad(kl.sum(), log_var)
    assert kl.min() >= 0 and kl.isfinite().all() and slope.isfinite().all()
    assert gaussian_kl(torch.zeros(4, dtype=dtype), torch.zeros(4, dtype=dtype)) == 0
    assert gaussian_kl(torch.full((4,), 1e4, dtype=dtype), torch.zeros(4, dtype=dtype)) == 2e8


def test_gaussian_kl_gradient_is_that_of_finite_differences(gen):
    mean, log_var = (
        torch.randn(3, 4, generator=gen(s), dtype=torch.float64, requires_grad=True) for s in (0, 1)
    )
    assert torch.autograd.gradcheck(gaussian_kl, (mean, log_var))


@pytest.mark.parametrize(("mean", "log_var", "came"), [
    (torch.zeros(3, 2), torch.zeros(2), r"\[3, 2\], \[2\]"),
    (torch.tensor([float("nan")]), torch.zeros(1), "NaN"),
    (torch.zeros(1), torch.tensor([float("nan")]), "NaN"),
    (torch.tensor([float("inf"), 0.0]), torch.zeros(2), "infinity"),
    (torch.zeros(1), torch.tensor([float("inf")]), "infinity"),
    (torch.zeros(1), torch.tensor([-float("inf")]), "infinity"),
])  # fmt: skip
def test_gaussian_kl_refuses(mean, log_var, came):
    with pytest.raises(ValueError, match=f"expected.*got.*{came}"):
        gaussian_kl(mean, log_var)


def test_elbo_terms_subtract():
    assert ElboTerms(torch.tensor([-90.0]), torch.tensor([25.0])).elbo.item() == -115


@pytest.mark.parametrize("decoder", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("samples", [1, 5])
def test_elbo_is_what_its_noise_gives_by_hand(decoder, samples, gen):
    model, x = tiny(decoder, gen)
    terms = elbo(model, x, samples, gen(7))
    mean, log_var = model.encoder[:-1](x).detach().chunk(2, dim=-1)
    z = mean + log_var.exp().sqrt() * torch.randn(
        samples, 3, 2, generator=gen(7), dtype=torch.float64
    )
    assert terms.reconstruction.shape == terms.kl.shape == terms.elbo.shape == (3,)
    assert np.allclose(
        terms.reconstruction.detach(), log_p_x_given_z(model, x, z).mean(0), rtol=1e-9
    )
    expected = kl_divergence(
        normal(mean, log_var), normal(torch.zeros_like(mean), torch.zeros_like(mean))
    )
    assert torch.allclose(terms.kl, expected, rtol=1e-12) and terms.elbo.dtype == torch.float64


@pytest.mark.parametrize("decoder", ["gaussian", "bernoulli"])
def test_elbo_falls_short_of_log_p_by_the_kl_alone_if_z_is_ignored(decoder, gen):
    model, x = tiny(decoder, gen)
    with torch.no_grad():
        model.decoder[0].weight.zero_()  # so p(x|z) = p(x) and p(z|x) = p(z)
    log_p = log_p_x_given_z(model, x, torch.zeros(2, dtype=torch.float64))
    terms = elbo(model, x, 1, gen(0))
    assert np.allclose(terms.reconstruction.detach(), log_p, rtol=1e-9)
    assert np.allclose((terms.elbo + terms.kl).detach(), log_p, rtol=1e-9) and (terms.kl > 0).all()


@pytest.mark.parametrize("decoder", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("seed", range(3))
def test_elbo_is_log_p_minus_the_kl_to_the_posterior_on_average(decoder, seed, gen):
    model, images = tiny(decoder, gen, latent=1)
    x = images[seed : seed + 1]
    m, s = (v.item() for v in (model.encode(x).mean, model.encode(x).stddev))

    def joint(z):
        log_px = log_p_x_given_z(model, x[0], torch.tensor([z]).double())
        return log_px + stats.norm.logpdf(z)

    evidence = np.log(
        integrate.quad(lambda z: np.exp(joint(z)), -12, 12, epsabs=0, limit=500, points=[m])[0]
    )
    gap = integrate.quad(
        lambda z: stats.norm.pdf(z, m, s) * (stats.norm.logpdf(z, m, s) - joint(z) + evidence),
        m - 12 * s,
        m + 12 * s,
        limit=500,
    )[0]
    draws = elbo(model, x.expand(20_000, 4), 1, gen(seed)).elbo.detach()
    assert gap > 1e-3
    assert abs(draws.mean() - (evidence - gap)) < 4 * draws.std() / len(draws) ** 0.5
    assert draws.mean() < evidence


@pytest.mark.parametrize("decoder", ["gaussian", "bernoulli"])
def test_elbo_gradient_reaches_all_weights_as_finite_differences_say(decoder, gen):
    model, x = tiny(decoder, gen)
    model.requires_grad_()
    value = lambda: elbo(model, x, 2, gen(3)).elbo.sum()  # noqa: E731
    gradients = torch.autograd.grad(value(), list(model.parameters()))
    with torch.no_grad():
        for parameter, gradient in zip(model.parameters(), gradients):
            flat = parameter.view(-1)
            for i in range(len(flat)):
                flat[i] += 1e-6
                above = value()
                flat[i] -= 2e-6
                slope = (above - value()) / 2e-6
                flat[i] += 1e-6
                assert slope.item() == pytest.approx(
                    gradient.view(-1)[i].item(), rel=1e-5, abs=1e-5
                )


def test_elbo_refuses_bad_input(gen):
    model, x = tiny("bernoulli", gen)
    for images, samples, came in (
        (x, 0, "samples.*got 0"),
        (x * 0.5, 1, "grey"),
        (x * float("nan"), 1, "nan"),
        (x + 1, 1, r"\[0, 1\].*2"),
        (x[:, :3], 1, r"\[3, 3\]"),
        (x[0], 1, r"\[4\]"),
    ):
        with pytest.raises(ValueError, match=f"expected.*{came}"):
            elbo(model, images, samples)
    model, _ = tiny("gaussian", gen)
    with pytest.raises(ValueError, match="k/255"):
        elbo(model, x * 0.1234, 1)


@pytest.mark.parametrize("samples", [1, 5])
def test_importance_elbo_is_the_bound_that_is_measured(samples, gen, digits):
    model, x = VAE.mlp(3, (8,), "bernoulli", generator=gen(0)).double(), (digits[:6] > 0.5).double()
    terms = importance_elbo(model, x, samples, gen(1))
    torch.testing.assert_close(
        terms.bound, importance_log_likelihood(model, x, samples, generator=gen(1))
    )
    for ours, theirs in zip(terms.terms[:2], elbo(model, x, samples, gen(1))[:2]):
        assert torch.equal(ours, theirs)
    noise = torch.randn((samples, 6, 3), generator=gen(1), dtype=torch.float64)
    assert torch.equal(importance_elbo(model, x, samples, noise=noise).bound, terms.bound)
    assert torch.equal(
        elbo(model, x, samples, noise=noise).reconstruction, terms.terms.reconstruction
    )


@pytest.mark.parametrize("samples", [1, 2, 5])
@pytest.mark.parametrize("likelihood", ["bernoulli", "gaussian"])
def test_a_true_code_takes_the_place_of_one_sample(likelihood, samples, gen):
    """log (1/K) Σ p(x, z) / q(z|x) over the true code and K − 1 draws, by scipy's densities."""
    model, x = tiny(likelihood, gen)
    true_z = torch.randn((3, 2), generator=gen(1), dtype=torch.float64)
    bound = importance_log_likelihood(model, x, samples, generator=gen(2), true_z=true_z)
    q, codes = model.encode(x), true_z[None]
    if samples > 1:
        codes = torch.cat([codes, draw(q, samples - 1, gen(2))])
    weights = log_p_x_given_z(model, x, codes) + stats.norm.logpdf(codes).sum(-1)
    weights -= stats.norm.logpdf(codes, q.mean, q.stddev).sum(-1)
    np.testing.assert_allclose(bound, np.log(np.exp(weights).sum(0) / samples), rtol=1e-12)


def test_importance_elbo_weights_gradients_by_importance(gen, digits):
    """d/dθ log Σ w = Σ (w / Σ w) d/dθ log w, for the decoder's bias."""
    model, x = VAE.mlp(3, (8,), "bernoulli", generator=gen(0)).double(), (digits[:1] > 0.5).double()
    noise = torch.randn((4, 1, 3), generator=gen(1), dtype=torch.float64)
    (ours,) = torch.autograd.grad(
        importance_elbo(model, x, 4, noise=noise).bound.sum(), model.decoder[-2].bias
    )
    q = model.encode(x)
    z = q.mean + q.stddev * noise
    p = model.decode(z)
    log_weight = p.log_prob(x) + model.prior().log_prob(z) - q.log_prob(z)
    expected = (log_weight.softmax(0)[..., None] * (x - p.mean)).sum((0, 1))
    torch.testing.assert_close(ours, expected)


def test_importance_elbo_refuses_no_samples(gen, digits):
    with pytest.raises(ValueError, match="at least 1, got 0"):
        importance_elbo(VAE.mlp(3, (8,), "bernoulli", generator=gen(0)), digits[:2].round(), 0)


@pytest.mark.parametrize("objective", [elbo, importance_elbo])
@pytest.mark.parametrize(
    ("samples", "shape", "came"),
    [
        (7, (3, 3, 2), r"K = samples = 7, got \[3, 3, 2\]"),
        (1, (7, 3, 2), r"K = samples = 1, got \[7, 3, 2\]"),
        (3, (3, 2), r"\[K, B, Z\].*got \[3, 2\]"),
        (1, (1, 3, 2, 1), r"\[K, B, Z\].*got \[1, 3, 2, 1\]"),
        (1, (1, 2, 2), r"\[1, 2, 2\]"),
        (1, (1, 3, 1), r"\[1, 3, 1\]"),
        (0, (0, 3, 2), "0"),
    ],
)
def test_noise_is_refused_unless_it_has_a_draw_for_every_sample(
    objective, samples, shape, came, gen
):
    model, x = tiny("bernoulli", gen)  # three images, Z = 2
    with pytest.raises(ValueError, match=f"expected .*{came}"):
        objective(model, x, samples, noise=torch.zeros(shape).double())


@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
@pytest.mark.parametrize("samples", [1, 3])
def test_no_step_waits_for_a_value(likelihood, samples):
    """A tensor of the device 'meta' has no values: whoever asks for one is told so."""
    checked = Distribution._validate_args
    Distribution.set_default_validate_args(False)
    try:
        model = VAE.mlp(3, (8,), likelihood).to("meta")
        x = torch.zeros(5, 784, device="meta")
        x = binarize(x) if likelihood == "bernoulli" else x
        terms = elbo(model, x, samples)
        (terms.reconstruction - 0.5 * terms.kl).sum().backward()
        importance_elbo(model, x, samples).bound.sum().backward()
    finally:
        Distribution.set_default_validate_args(checked)
    assert terms.elbo.shape == (5,) and terms.elbo.device.type == "meta"
    assert all(parameter.grad.device.type == "meta" for parameter in model.parameters())


def test_kl_without_a_closed_form_is_estimated_with_the_right_sign(gen):
    """A flow that changes nothing hides a Gaussian from torch: its exact KL must be met."""
    mean, log_var = (
        torch.tensor([[1.0, -0.5], [0.2, 2.0]]).double(),
        torch.tensor([[-2.0, 0.7], [0.0, -1.0]]).double(),
    )
    hidden = TransformedDistribution(DiagonalGaussian(mean, log_var), [AffineTransform(0.0, 1.0)])
    prior = StandardNormal(2).double()()
    z = hidden.base_dist.sample((20_000,), gen(0))
    each = hidden.log_prob(z) - prior.log_prob(z)
    estimate, exact = kl_to_prior(hidden, prior, z)
    assert not exact
    torch.testing.assert_close(estimate, each.mean(0))
    assert ((estimate - gaussian_kl(mean, log_var)).abs() < 4 * each.std(0) / 20_000**0.5).all()
    closed, exact = kl_to_prior(DiagonalGaussian(mean, log_var), prior, z)
    assert exact
    assert torch.equal(closed, gaussian_kl(mean, log_var))
