"""Both estimators against quadrature and finite differences; the variance against torch.func."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import load, tiny
from torch import nn

from deeper import (
    LinearGaussian,
    bound_gradients,
    encoder_gram,
    encoder_variance,
    pathwise_gradient,
    score_function_gradient,
    squared_signal_to_noise,
    weight_gradients,
)
from vae_core import (
    VAE,
    DiagonalGaussian,
    GaussianHead,
    ImageHead,
    StandardNormal,
    elbo,
    gaussian_kl,
    importance_elbo,
)

ROOT = Path(__file__).resolve().parents[2]
SMALL = {"hidden": (5, 4), "pixels": 6}


def exact_gradient(model, x, step=1e-5):
    """∂/∂(μ, log σ²) of E_q[log p(x|z)], Z = 1: Gauss-Hermite and central differences, `[B, 2]`."""
    points, weights = (torch.from_numpy(a) for a in np.polynomial.hermite_e.hermegauss(100))
    q = model.encode(x)

    def expectation(mean, log_var):
        z = mean + (0.5 * log_var).exp() * points[:, None, None]  # [100, B, 1]
        return (weights[:, None] * model.decode(z).log_prob(x)).sum(0) / (2 * np.pi) ** 0.5

    by_mean = (expectation(q.mean + step, q.log_var) - expectation(q.mean - step, q.log_var)) / (
        2 * step
    )
    by_log_var = (expectation(q.mean, q.log_var + step) - expectation(q.mean, q.log_var - step)) / (
        2 * step
    )
    return torch.stack([by_mean, by_log_var], -1)


ESTIMATORS = {
    "pathwise": pathwise_gradient,
    "score": lambda model, x, noise: score_function_gradient(model, x, noise, baseline=False),
    "leave one out": score_function_gradient,
}


@pytest.mark.parametrize(
    "seed", [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in (1, 2))]
)
@pytest.mark.parametrize("decoder", ["bernoulli", "gaussian"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_estimators_are_unbiased(name, decoder, seed, gen):
    model, x = tiny(decoder, gen, 1, **SMALL)
    noise = torch.randn(40_000, 3, 1, generator=gen(seed), dtype=torch.float64)
    # groups of two draws: a baseline that held its own draw would halve the gradient
    groups = [
        ESTIMATORS[name](model, x, part).mean(0) for part in noise.reshape(400, 100, 3, 1)[:, :2]
    ]
    values = torch.stack(groups) if name == "leave one out" else ESTIMATORS[name](model, x, noise)
    z = (values.mean(0) - exact_gradient(model, x)) / (values.std(0) / len(values) ** 0.5)
    assert z.abs().max() < 5


def test_baseline_in_pairs_takes_nothing_from_the_gradient(gen):
    model, x = tiny("bernoulli", gen, 1, **SMALL)
    noise = torch.randn(20_000, 2, 3, 1, generator=gen(5), dtype=torch.float64)
    q = model.encode(x)
    f = model.decode(q.mean + q.stddev * noise).log_prob(x)
    score = torch.cat([noise / q.stddev, 0.5 * (noise**2 - 1)], -1)
    expected = torch.stack(
        [
            (f[:, 0] - f[:, 1])[..., None] * score[:, 0],
            (f[:, 1] - f[:, 0])[..., None] * score[:, 1],
        ],
        1,
    )
    for pair in (0, 7):
        torch.testing.assert_close(score_function_gradient(model, x, noise[pair]), expected[pair])
    values = expected.mean(1)
    z = (values.mean(0) - exact_gradient(model, x)) / (values.std(0) / len(values) ** 0.5)
    assert z.abs().max() < 5


@pytest.mark.parametrize("decoder", ["bernoulli", "gaussian"])
def test_pathwise_is_finite_differences_under_common_noise(decoder, gen):
    model, x = tiny(decoder, gen, 2, **SMALL)
    noise = torch.randn(4, 3, 2, generator=gen(0), dtype=torch.float64)
    ours, q, step = pathwise_gradient(model, x, noise), model.encode(x), 1e-6
    assert ours.shape == (4, 3, 4)
    parameters = torch.cat([q.mean, q.log_var], -1)

    def value(parameters):
        mean, log_var = parameters.chunk(2, -1)
        return model.decode(mean + (0.5 * log_var).exp() * noise).log_prob(x)

    for i in range(4):
        shift = step * torch.eye(4, dtype=torch.float64)[i]
        by_hand = (value(parameters + shift) - value(parameters - shift)) / (2 * step)
        torch.testing.assert_close(ours[..., i], by_hand, rtol=1e-5, atol=1e-6)


def test_gradient_of_the_whole_bound_is_what_training_uses(gen):
    """Through the encoder, the pathwise gradient minus the KL's is that of `elbo` for its noise."""
    model, x = tiny("bernoulli", gen, 2, **SMALL)
    noise = torch.randn(7, 3, 2, generator=gen(0), dtype=torch.float64)
    by_output = pathwise_gradient(model, x, noise).mean(0)  # [B, 2Z]
    weights = [p.requires_grad_() for p in model.encoder.parameters()]
    q = model.encode(x)
    outputs = torch.cat([q.mean, q.log_var], -1)
    ours = torch.autograd.grad(
        (outputs * by_output).sum() - gaussian_kl(q.mean, q.log_var).sum(), weights
    )
    theirs = torch.autograd.grad(elbo(model, x, 7, noise=noise).elbo.sum(), weights)
    for a, b in zip(ours, theirs):
        torch.testing.assert_close(a, b)


def test_variance_over_the_weights_is_that_of_torch_func(gen):
    model, x = tiny("bernoulli", gen, 2, **SMALL)
    names = [name for name, _ in model.named_parameters() if name.startswith("encoder")]
    weights = {name: dict(model.named_parameters())[name].detach() for name in names}

    def outputs(weights, image):
        network = model.encoder[:-1]
        return torch.func.functional_call(
            network, {n.removeprefix("encoder."): w for n, w in weights.items()}, (image,)
        )

    jacobian = torch.func.vmap(torch.func.jacrev(outputs), in_dims=(None, 0))(weights, x)
    flat = torch.cat([part.flatten(2) for part in jacobian.values()], -1)  # [B, 2Z, P]
    torch.testing.assert_close(encoder_gram(model, x), flat @ flat.mT)

    noise = torch.randn(50, 3, 2, generator=gen(0), dtype=torch.float64)
    estimates = pathwise_gradient(model, x, noise)
    per_draw = torch.einsum("kbo,bop->kbp", estimates, flat)
    torch.testing.assert_close(encoder_variance(model, x, estimates), per_draw.var(0).sum(-1))
    again = encoder_variance(model, x, estimates, 2 * flat @ flat.mT)  # the one that is given
    torch.testing.assert_close(again, 2 * per_draw.var(0).sum(-1))


@pytest.mark.parametrize("call", [pathwise_gradient, score_function_gradient])
@pytest.mark.parametrize(
    ("noise", "came"),
    [
        (torch.zeros(0, 3, 2).double(), r"\[0, 3, 2\]"),
        (torch.zeros(3, 2).double(), r"\[3, 2\]"),
        (torch.zeros(5, 2, 2).double(), r"\[5, 2, 2\]"),
        (torch.zeros(5, 3, 1).double(), r"\[5, 3, 1\]"),
        (torch.zeros(5, 3, 2), "float32"),
    ],
)
def test_bad_noise_is_refused(call, noise, came, gen):
    model, x = tiny("bernoulli", gen, 2, **SMALL)
    with pytest.raises(ValueError, match=f"expected.*got.*{came}"):
        call(model, x, noise)


def test_one_draw_has_no_others(gen):
    model, x = tiny("bernoulli", gen, 2, **SMALL)
    noise = torch.zeros(1, 3, 2).double()
    with pytest.raises(ValueError, match=r"at least 2 draws.*got 1"):
        score_function_gradient(model, x, noise)
    assert score_function_gradient(model, x, noise, baseline=False).shape == (1, 3, 4)
    with pytest.raises(ValueError, match="at least 2 draws"):
        encoder_variance(model, x, torch.zeros(1, 3, 4).double())


def test_keeps_dtype(gen):
    model, x = tiny("bernoulli", gen, 2, **SMALL)
    for call in (pathwise_gradient, score_function_gradient):
        assert call(model.float(), x.float(), torch.randn(5, 3, 2)).dtype == torch.float32
        model.double()


@pytest.mark.parametrize("layers", [
    [nn.Linear(6, 4, bias=False), nn.SiLU(), nn.Linear(4, 2)],
    [nn.Linear(6, 4), nn.LayerNorm(4), nn.SiLU(), nn.Linear(4, 2)],
    [nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 3, 2), nn.Flatten(), nn.Linear(6, 2)],
])  # fmt: skip
def test_gram_of_any_layers_is_that_of_one_gradient_after_the_other(layers, gen):
    """Layers without a bias, or not elementwise, were taken for others: 120 % and 38 % off."""
    decoder = nn.Sequential(nn.Linear(1, 6), ImageHead("bernoulli"))
    model = VAE(nn.Sequential(*layers, GaussianHead()), decoder, StandardNormal(1)).double()
    x = torch.rand(3, 6, generator=gen(0), dtype=torch.float64)
    for image, gram in zip(x, encoder_gram(model, x), strict=True):
        q = model.encode(image[None])
        outputs = torch.cat([q.mean, q.log_var], -1)[0]
        rows = [
            torch.autograd.grad(o, list(model.encoder.parameters()), retain_graph=True)
            for o in outputs
        ]
        flat = torch.stack([torch.cat([part.flatten() for part in row]) for row in rows])
        torch.testing.assert_close(gram, flat @ flat.T)


def test_other_kinds_of_q_are_refused_by_name(gen):
    class Full(nn.Module):
        def forward(self, x):
            return torch.distributions.MultivariateNormal(
                x.new_zeros(len(x), 2), torch.eye(2).to(x)
            )

    model, x = tiny("bernoulli", gen, 2, **SMALL)
    model.encoder = Full()
    for call in (pathwise_gradient, score_function_gradient):
        with pytest.raises(ValueError, match=r"expected.*DiagonalGaussian, got MultivariateNormal"):
            call(model, x, torch.zeros(5, 3, 2).double())


def log_joint_of(model, x):
    return lambda z: model.log_likelihood(x, z) + model.prior().log_prob(z)


@pytest.mark.parametrize("draws", [1, 7])
def test_both_parts_of_the_weights_give_the_gradient_that_training_uses(draws, gen):
    """Path minus score, weighted by w / sum of w, through the encoder: that of the bound itself."""
    model, x = tiny("bernoulli", gen, 2, **SMALL)
    noise = torch.randn(draws, 3, 2, generator=gen(0), dtype=torch.float64)
    with torch.no_grad():
        q = model.encode(x)
    parts = weight_gradients(log_joint_of(model, x), q, noise)
    log_weight, by_output = parts.log_weight, bound_gradients(parts).plain
    weights = [p.requires_grad_() for p in model.encoder.parameters()]
    q = model.encode(x)
    outputs = torch.cat([q.mean, q.log_var], -1)
    ours = torch.autograd.grad((outputs * by_output).sum(), weights)
    bound = importance_elbo(model, x, draws, noise=noise).bound
    torch.testing.assert_close(log_weight.logsumexp(0) - np.log(draws), bound.detach())
    for a, b in zip(ours, torch.autograd.grad(bound.sum(), weights), strict=True):
        torch.testing.assert_close(a, b)


def test_doubly_reparameterized_has_the_same_mean(gen):
    """Tucker et al. 2019: the square of the weights, the path alone; for K = 1 Roeder et al."""
    model, x = tiny("bernoulli", gen, 2, **SMALL)
    with torch.no_grad():
        q = model.encode(x)
    for draws in (1, 4):
        noise = torch.randn(draws, 3 * 20_000, 2, generator=gen(draws), dtype=torch.float64)
        many = DiagonalGaussian(q.mean.repeat(20_000, 1), q.log_var.repeat(20_000, 1))
        log_joint = log_joint_of(model, x.repeat(20_000, 1))
        parts = weight_gradients(log_joint, many, noise)
        plain, doubly, share = bound_gradients(parts)
        w = parts.log_weight.softmax(0)[..., None]
        torch.testing.assert_close(share, w.square().sum((0, 2)))
        off = (plain - doubly).unflatten(0, (20_000, 3))
        assert (off.mean(0) / (off.std(0) / 20_000**0.5)).abs().max() < 5
        # the weights themselves, not squared, are biased where there are several
        off = (w * parts.score).sum(0).unflatten(0, (20_000, 3))
        z = (off.mean(0) / (off.std(0) / 20_000**0.5)).abs().max()
        assert z < 5 if draws == 1 else z > 10


def test_sticking_the_landing_is_the_path_alone_and_has_no_noise_at_the_posterior(gen):
    model, x = tiny("bernoulli", gen, 2, **SMALL)
    noise = torch.randn(5, 3, 2, generator=gen(0), dtype=torch.float64)
    with torch.no_grad():
        q = model.encode(x)
    mean, log_var = (t.clone().requires_grad_() for t in (q.mean, q.log_var))
    z = mean + (0.5 * log_var).exp() * noise
    value = log_joint_of(model, x)(z) - q.log_prob(z)  # q: its parameters are held
    roeder = torch.cat(torch.autograd.grad(value.sum(), (mean, log_var)), -1)
    parts = weight_gradients(log_joint_of(model, x), q, noise)
    torch.testing.assert_close(parts.path.sum(0), roeder)
    at_posterior = weight_gradients(lambda z: q.log_prob(z) - 100, q, noise)
    assert at_posterior.path.abs().max() < 1e-12 < at_posterior.score.abs().min()
    torch.testing.assert_close(at_posterior.log_weight, torch.full((5, 3), -100.0).double())


def test_gradients_of_the_linear_decoder_are_exact_on_average(gen):
    """By the mean, by log σ² and, for a full covariance, by the factor L of LLᵀ."""
    linear = LinearGaussian(
        *(torch.randn(n, generator=gen(i)).double() for i, n in enumerate([(6, 2), (6,)])),
        torch.full((6,), 0.5).double(),
    )
    x = torch.randn(6, generator=gen(3), dtype=torch.float64)
    scaled = linear.weight / linear.noise_var[:, None]
    inner, target = linear.weight.T @ scaled, scaled.T @ (x - linear.bias)
    mean, factor = (
        torch.tensor([0.5, -0.5]).double(),
        torch.tensor([[0.3, 0.0], [0.1, 0.2]]).double(),
    )
    noise = torch.randn(50_000, 2, generator=gen(4), dtype=torch.float64)
    own = factor.expand(50_000, 2, 2).clone().requires_grad_()
    z = mean + (own @ noise[:, :, None])[..., 0]
    f = z @ target - 0.5 * ((z @ inner) * z).sum(1)
    path = torch.autograd.grad(f.sum(), own)[0].tril()
    off = (path.mean(0) - (-inner @ factor).tril()).abs()
    assert (off <= 5 * path.std(0) / 50_000**0.5).all()
    torch.testing.assert_close(z.detach().T.cov(), factor @ factor.T, rtol=0.05, atol=0)
    std = factor.diagonal()
    slope = target - (mean + std * noise) @ inner
    for part, exact in (
        (slope, target - inner @ mean),
        (0.5 * slope * std * noise, -0.5 * std**2 * inner.diagonal()),
    ):
        assert ((part.mean(0) - exact).abs() < 5 * part.std(0) / 50_000**0.5).all()
    # an antithetic pair: by the mean nothing of the noise is left
    mirrored = target - (mean - std * noise) @ inner
    torch.testing.assert_close((slope + mirrored) / 2, (target - inner @ mean).expand_as(slope))


def test_noise_that_holds_the_mean_leaves_no_gradient():
    """ε = (z − μ) / σ from a z drawn before: the same numbers, and both paths cancel."""
    mean, drawn = torch.zeros(3, requires_grad=True), torch.randn(3)
    cheat = mean + 1.0 * ((drawn - mean) / 1.0)
    assert torch.autograd.grad(cheat.sum(), mean)[0].abs().max() == 0


def test_signal_to_noise_is_that_of_the_normal_they_come_from(gen):
    """Mean (3, 4), sum of variances 50: 25 / 50; a mean of 0 gives 0 on average, not more."""
    draws = torch.randn(200, 2_000, 2, generator=gen(0), dtype=torch.float64)  # [R, B, n]
    estimates = torch.tensor([3.0, 4.0]) + 5 * draws
    for found in (
        squared_signal_to_noise(estimates),
        squared_signal_to_noise(estimates, estimates / 5 + torch.tensor([2.4, 3.2])),
    ):
        assert abs(found.mean() - 0.5) < 5 * found.std() / 2_000**0.5 + 0.003
    nothing = squared_signal_to_noise(5 * draws)
    assert abs(nothing.mean()) < 5 * nothing.std() / 2_000**0.5
    with pytest.raises(ValueError, match="at least 2 estimates"):
        squared_signal_to_noise(estimates[:1])


STORED = json.loads((ROOT / "benchmarks" / "gradients.json").read_text(encoding="utf-8"))


def test_stored_runs_are_those_of_the_script():
    script = load("benchmarks/gradients")
    assert list(STORED) == list(script.PARTS)
    for part, found in STORED.items():
        assert found["command"] == f"python benchmarks/gradients.py --part {part}"
        assert list(found["by_latent"]) == [str(latent) for latent in script.SIZES[part]]
        assert found["seeds"] == list(script.SEEDS[part]) and len(found["seeds"]) >= 3
        assert {len(runs) for runs in found["by_latent"].values()} == {len(found["seeds"])}
    for runs in STORED["signal"]["by_latent"].values():
        assert all(list(run) == [str(count) for count in script.COUNTS] for run in runs)


def test_what_chapter_8_says_of_stored_variances_holds():
    """About 6 times at Z = 2, about 35 at Z = 50 after ten epochs, and rising in between."""
    means = [
        np.mean([run["after 10 epochs"]["ratio_by_digit"] for run in runs])
        for runs in STORED["variance"]["by_latent"].values()
    ]
    assert 5 < means[0] < 6.5 and 33 < means[3] < 38 and sorted(means) == means
    digits = [
        len(run[stage]["ratio_by_digit"])
        for runs in STORED["variance"]["by_latent"].values()
        for run in runs
        for stage in run
    ]
    assert set(digits) == {20}


def test_what_chapter_8_says_of_stored_training_holds():
    """At Z = 2 no difference after eight epochs, at Z = 20 half as many again; none: far behind."""
    ways = ("pathwise", "score_function", "no_baseline")
    small, large = (
        np.array([[run[way]["elbo"] for run in runs] for way in ways])
        for runs in STORED["training"]["by_latent"].values()
    )  # [way, seed, epoch]
    lead = (small[0] - small[1])[:, 7]
    assert abs(lead.mean()) < 2 * lead.std(ddof=1) / len(lead) ** 0.5
    assert (large[0] > large[1]).all()
    arrival = (large[1] >= large[0][:, 7:8]).argmax(1) + 1
    assert 11.5 < arrival.mean() < 12.8
    for found in (small, large):
        assert (found[2] < found[1])[:, 1:].all() and (found[1] - found[2])[:, 1:].mean() > 20
        assert (found[2] < found[:2])[..., -1].all()  # at the end behind both, in every run
        assert (np.diff(found[2], axis=1) < -100).any()
    falls = [-np.diff(run).min() for found in (small, large) for run in found[2]]
    assert [fall > 155 for fall in sorted(falls)] == [False] * 5 + [True] * 3
    assert 265 < max(falls) < 275
    cost = [
        [run[way]["processor_seconds_an_epoch"] for run in STORED["training"]["by_latent"]["20"]]
        for way in ways[:2]
    ]
    assert np.mean(cost[0]) < 1.05 * np.mean(cost[1])


def test_what_chapter_8_says_of_stored_signal_holds():
    """The average grows like √K; plain near a sixteenth at Z = 2, about half at Z = 10."""

    def ratios(latent, way):
        runs = STORED["signal"]["by_latent"][latent]
        found = np.concatenate([[run[count][way] for count in run] for run in runs], 1)
        return np.sqrt(np.clip(found, 0, None))  # [K, digits]

    for latent in ("2", "10"):
        plain, doubly, average = (ratios(latent, way) for way in ("plain", "doubly", "elbo"))
        assert plain.shape == (9, 30)
        assert (np.median(doubly, 1) > np.median(plain, 1)).all()
        assert (doubly > plain).all() == (latent == "10")  # at Z = 2 not for each digit
        assert abs(np.median(average[-1] / average[0]) - 16) < 0.5
        assert np.median(average[-1]) > np.median(doubly[-1]) > np.median(plain[-1])
        fall, gain = np.median(plain[-1] / plain[0]), np.median(doubly[-1] / doubly[0])
        assert (1 / 16 < fall < 0.12) if latent == "2" else (0.5 < fall < 0.65 and gain < 0.75)
    count = ratios("2", "effective")[-1] ** 2
    doubly = ratios("2", "doubly")
    many, ratio = count > np.median(count), doubly[-1] / doubly[0]
    assert np.median(ratio[many]) > 5 > 1 > np.median(ratio[~many])
    assert (ratios("10", "effective")[-1] ** 2).max() < 20
