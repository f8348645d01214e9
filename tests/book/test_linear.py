"""The linear-Gaussian model on real noisy digits against scikit-learn, scipy and numpy."""

from functools import cache

import numpy as np
import pytest
import torch
from helpers import noisy_digits
from scipy import stats
from sklearn.decomposition import FactorAnalysis
from torch.distributions import MultivariateNormal, Normal, kl_divergence

from deeper import LinearGaussian, add_pixel_noise, decompose_linear, fit_linear_gaussian

LATENTS = (1, 2, 10, 64)


@pytest.mark.parametrize("latent", LATENTS)
def test_density_is_that_of_sklearn_and_scipy(latent):
    x = noisy_digits()[:50]
    model = fit_linear_gaussian(noisy_digits(), latent, steps=10)
    oracle = FactorAnalysis(latent, svd_method="lapack")
    oracle.components_, oracle.mean_, oracle.noise_variance_ = (
        model.weight.T.numpy(),
        model.bias.numpy(),
        model.noise_var.numpy(),
    )
    oracle.n_features_in_ = 784
    covariance = (model.weight @ model.weight.T + model.noise_var.diag()).numpy()
    assert np.allclose(model.log_likelihood(x), oracle.score_samples(x.numpy()), rtol=1e-10)
    assert np.allclose(
        model.log_likelihood(x),
        stats.multivariate_normal(model.bias.numpy(), covariance).logpdf(x.numpy()),
        rtol=1e-9,
    )


@pytest.mark.parametrize("latent", LATENTS)
def test_posterior_is_the_conditioned_joint_gaussian(latent):
    x = noisy_digits()[:20]
    model = fit_linear_gaussian(noisy_digits(), latent, steps=10)
    weight, bias, noise_var = (t.numpy() for t in model)
    gain = np.linalg.solve(weight @ weight.T + np.diag(noise_var), weight).T  # Cov[z, x] Cov[x]⁻¹
    mean, precision = model.posterior(x)
    assert np.allclose(mean, (x.numpy() - bias) @ gain.T, rtol=1e-8, atol=1e-9)
    assert np.allclose(
        precision.numpy() @ (np.eye(latent) - gain @ weight), np.eye(latent), atol=1e-8
    )


@cache
def patches():
    """1,000 noisy digits, every second pixel of the middle: `[1000, 100]`."""
    return noisy_digits()[::4].reshape(-1, 28, 28)[:, 4:24:2, 4:24:2].reshape(-1, 100)


@pytest.mark.parametrize("latent", [1, 5, 20])
def test_likelihood_never_falls_in_em(latent):
    x = patches()
    scores = torch.stack(
        [fit_linear_gaussian(x, latent, steps).log_likelihood(x).mean() for steps in range(25)]
    )
    assert (scores.diff() >= -1e-10).all() and scores[-1] - scores[0] > 0.1


@pytest.mark.parametrize("steps", [0, 3])
def test_m_step_maximises_the_reconstruction_under_the_posterior_of_the_step_before(steps):
    x = patches()
    before, after = (fit_linear_gaussian(x, 5, steps + more) for more in (0, 1))
    mean, precision = before.posterior(x)
    slopes = []
    for model in (before, after):
        leaves = [t.clone().requires_grad_() for t in (model.weight, model.noise_var.log())]
        candidate = LinearGaussian(leaves[0], model.bias, leaves[1].exp())
        score = decompose_linear(
            candidate, x, mean, torch.linalg.inv(precision)
        ).reconstruction.mean()
        slopes.append(max(g.abs().max().item() for g in torch.autograd.grad(score, leaves)))
    assert slopes[1] < 1e-9 < 1e-2 < slopes[0]


def test_em_reaches_sklearns_likelihood_and_a_stationary_point():
    x = patches()
    oracle = FactorAnalysis(5, svd_method="lapack", tol=1e-6, max_iter=20_000).fit(x.numpy())
    ours = fit_linear_gaussian(x, 5, steps=2000)
    # nats per image
    assert ours.log_likelihood(x).mean().item() == pytest.approx(oracle.score(x.numpy()), abs=1e-4)
    sizes = []
    for steps in (0, 2000):
        start = fit_linear_gaussian(x, 5, steps)
        leaves = [
            t.clone().requires_grad_() for t in (start.weight, start.bias, start.noise_var.log())
        ]
        score = LinearGaussian(leaves[0], leaves[1], leaves[2].exp()).log_likelihood(x).mean()
        sizes.append(max(g.abs().max().item() for g in torch.autograd.grad(score, leaves)))
    assert sizes[0] > 0.1 and sizes[1] < 1e-5


@pytest.mark.parametrize(("x", "latent", "came"), [
    (torch.rand(9), 1, r"\[9\]"),
    (torch.rand(9, 3), 0, "latent = 0"),
    (torch.rand(9, 3), 4, "latent = 4"),
    (torch.full((9, 3), float("nan")), 1, "NaN"),
    (torch.rand(9, 3) * torch.tensor([1, 0, 1]), 1, "1 that are constant.*add_pixel_noise"),
    (torch.rand(3, 5), 3, "below N.*3, 5"),
])  # fmt: skip
def test_fit_linear_gaussian_refuses(x, latent, came):
    with pytest.raises(ValueError, match=f"expected.*{came}"):
        fit_linear_gaussian(x, latent)


def test_a_constant_grey_pixel_is_refused_in_spite_of_rounding():
    x = torch.rand(7, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    x[:, 1] = 0.1  # its mean is not exactly 0.1
    with pytest.raises(ValueError, match="constant"):
        fit_linear_gaussian(x, 1)


@pytest.mark.parametrize("seed", range(3))
def test_pixel_noise_has_its_moments(seed, gen):
    images = torch.linspace(0, 1, 20, dtype=torch.float64).repeat(5000, 1)
    noise = add_pixel_noise(images, 0.3, gen(seed)) - images
    assert noise.dtype == torch.float64
    assert stats.kstest(noise.flatten().numpy() / 0.3, "norm").pvalue > 1e-4
    assert np.abs(np.corrcoef(noise.T) - np.eye(20)).max() < 5 / 5000**0.5


def test_pixel_noise_refuses():
    for images, std, came in (
        (torch.rand(2, 3), 0.0, "std > 0, got 0"),
        (torch.rand(2, 3) + 1, 0.1, r"\[0, 1\]"),
    ):
        with pytest.raises(ValueError, match=f"expected.*{came}"):
            add_pixel_noise(images, std)


QS = ("posterior", "diagonal", "prior", "bad", "wide", "narrow", "far")


@cache
def fitted(latent):
    return fit_linear_gaussian(noisy_digits(), latent, steps=10)


def conditioned(model, x):
    """p(z|x) by conditioning the joint Gaussian of (z, x), in numpy."""
    weight, bias, noise_var = (t.numpy() for t in model)
    gain = np.linalg.solve(weight @ weight.T + np.diag(noise_var), weight).T  # Cov[z, x] Cov[x]⁻¹
    covariance = np.eye(weight.shape[1]) - gain @ weight
    return torch.from_numpy((x.numpy() - bias) @ gain.T), torch.from_numpy(
        (covariance + covariance.T) / 2
    )


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


def small_model():
    return LinearGaussian(*(torch.ones(*s, dtype=torch.float64) for s in ((5, 2), (5,), (5,))))


BAD = {
    "Psi not positive": (lambda w, b, v, x, m, s: (w, b, v * 0, x, m, s), "noise_var.*> 0.*0"),
    "S not positive": (lambda w, b, v, x, m, s: (w, b, v, x, m, -s), "positive definite"),
    "S not symmetric": (
        lambda w, b, v, x, m, s: (w, b, v, x, m, s + torch.tensor([[0, 0.9], [0, 0]])),
        "symmetric",
    ),
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
    good = (
        *small_model(),
        torch.zeros(3, 5).double(),
        torch.zeros(3, 2).double(),
        torch.eye(2).double(),
    )
    decompose_linear(LinearGaussian(*good[:3]), *good[3:])
    w, b, v, *rest = spoil(*good)
    with pytest.raises(ValueError, match=f"expected.*{came}"):
        decompose_linear(LinearGaussian(w, b, v), *rest)


def test_em_lowers_log_p_of_single_images_while_the_sum_rises():
    x = noisy_digits()
    before, after = (fit_linear_gaussian(x, 10, steps).log_likelihood(x) for steps in (2, 3))
    change = after - before
    assert change.sum() > 0 and 1000 < (change < 0).sum() < 2000 and change.min() < -1


@pytest.mark.parametrize("latent", [2, 10, 64])
def test_codes_of_another_image_cost_the_first_term(latent):
    model, x = fitted(latent), noisy_digits()[:500]
    mean, covariance = conditioned(model, x)
    own, other = (
        decompose_linear(model, x, codes, covariance).reconstruction
        for codes in (mean, mean.roll(250, 0))  # digits come in the order of their classes
    )
    assert (own > other).all()


@pytest.mark.parametrize("latent", LATENTS)
def test_the_posterior_is_nearer_to_the_prior_than_the_code_that_explains_the_image_best(latent):
    model, x = fitted(latent), noisy_digits()[:500]
    scaled = model.weight / model.noise_var[:, None]
    best = torch.linalg.solve(model.weight.T @ scaled, ((x - model.bias) @ scaled).T).T
    mean, covariance = conditioned(model, x)
    assert (mean.norm(dim=1) < best.norm(dim=1)).all()
    at_best = decompose_linear(model, x, best, 1e-8 * covariance)
    terms = decompose_linear(model, x, mean, covariance)
    assert (terms.kl_prior < at_best.kl_prior).all() and (terms.elbo > at_best.elbo).all()


def test_the_best_diagonal_q_costs_nothing_in_the_axes_of_the_posterior():
    model, x = fitted(10), noisy_digits()[:20]
    scaled = model.weight / model.noise_var[:, None]
    axes = torch.linalg.eigh(model.weight.T @ scaled).eigenvectors
    third = {}
    for name, turn in {"fitted": torch.eye(10).double(), "turned": axes}.items():
        turned = model._replace(weight=model.weight @ turn)
        mean, precision = turned.posterior(x)
        terms = decompose_linear(turned, x, mean, torch.diag(1 / precision.diagonal()))
        third[name] = terms.kl_posterior
        assert torch.allclose(terms.log_likelihood, model.log_likelihood(x), rtol=1e-12)
    expected = 0.5 * (model.posterior(x)[1].diagonal().log().sum() - model.posterior(x)[1].logdet())
    assert torch.allclose(third["fitted"], expected.expand(20), atol=1e-9) and expected > 0.01
    assert third["turned"].abs().max() < 1e-9


def test_no_single_variance_beats_the_inverse_of_the_precisions_diagonal():
    """All variances scaled together would pass for those of the posterior, too: one at a time."""
    model, x = fitted(10), noisy_digits()[:1]
    mean, precision = model.posterior(x)
    right, wrong = 1 / precision.diagonal(), torch.linalg.inv(precision).diagonal()
    steps = 1 + 0.02 * torch.cat([torch.eye(10), -torch.eye(10)]).double()

    def third(widths):
        return decompose_linear(model, x, mean, widths.diag()).kl_posterior.item()

    assert all(third(step * right) > third(right) for step in steps)
    assert third(right) < third(wrong) and any(third(s * wrong) < third(wrong) for s in steps)


def test_em_raises_the_price_of_a_diagonal_q_from_that_of_its_start():
    """Principal components are better axes than those of the fit, and these than random ones."""
    x = noisy_digits()

    def price(precision):
        return 0.5 * (precision.diagonal().log().sum() - precision.logdet()).item()

    precisions = [fit_linear_gaussian(x, 10, steps).posterior(x[:1])[1] for steps in (0, 1, 5, 50)]
    prices = [price(precision) for precision in precisions]
    assert prices[0] > 0.01 and prices == sorted(prices)
    for seed in range(20):
        noise = torch.randn(10, 10, generator=torch.Generator().manual_seed(seed)).double()
        turn = torch.linalg.qr(noise).Q
        assert price(turn.T @ precisions[-1] @ turn) > prices[-1]
