"""Both estimators against quadrature and finite differences; the variance against torch.func."""

import numpy as np
import pytest
import torch
from helpers import tiny
from torch import nn

from deeper import encoder_gram, encoder_variance, pathwise_gradient, score_function_gradient
from vae_core import VAE, GaussianHead, ImageHead, StandardNormal, elbo, gaussian_kl

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
