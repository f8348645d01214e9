"""The VAE against numpy: what its networks give, and how it draws."""

import numpy as np
import pytest
import torch
from helpers import z_scores
from scipy import stats

from vae_core import VAE, elbo, importance_elbo, importance_log_likelihood


def by_hand(layers, values):
    """A multilayer perceptron with SiLU activations, in numpy."""
    weights = [p.detach().double().numpy() for p in layers.parameters()]
    for i in range(0, len(weights), 2):
        values = values / (1 + np.exp(-values)) if i else values
        values = values @ weights[i].T + weights[i + 1]
    return values


@pytest.mark.parametrize("decoder", ["gaussian", "bernoulli"])
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-12)])
def test_vae_gives_distributions_of_the_networks_outputs(decoder, dtype, atol, gen):
    model = VAE.mlp(3, (8, 6), decoder, pixels=10, generator=gen(0)).to(dtype)
    x, z = (
        torch.rand(5, 10, generator=gen(1), dtype=dtype),
        torch.randn(2, 5, 3, generator=gen(2), dtype=dtype),
    )
    q, p = model.encode(x), model.decode(z)
    assert (
        q.batch_shape == (5,)
        and q.event_shape == (3,)
        and p.batch_shape == (2, 5)
        and p.event_shape == (10,)
    )
    first, second = np.split(by_hand(model.encoder, x.double().numpy()), 2, axis=-1)
    got = {
        "mean": (q.mean, first),
        "log_var": (q.log_var, second),
        "var": (q.variance, np.exp(second)),
    }
    output = by_hand(model.decoder, z.double().numpy())
    if decoder == "gaussian":
        first, second = np.split(output, 2, axis=-1)
        got |= {"loc": (p.loc, first), "scale": (p.scale, np.exp(second))}
    else:
        got |= {"p": (p.mean, 1 / (1 + np.exp(-output)))}
    for name, (ours, expected) in got.items():
        assert ours.dtype == dtype and np.allclose(ours.detach(), expected, atol=atol), name


@pytest.mark.parametrize("decoder", ["gaussian", "bernoulli"])
def test_vae_keeps_dtype_and_device(decoder, gen):
    model = VAE.mlp(2, (4,), decoder, pixels=9, generator=gen(0)).double()
    # whatever is made elsewhere than its input lies cannot be computed with
    with torch.device("meta"):
        x = model.sample(3, gen(1))
        q = model.encode(x)
        z = q.rsample((2,), gen(2))
        values = [
            x,
            q.mean,
            z,
            model.decode(z).mean,
            model.decode(z).log_prob(x),
            model.decode(z).sample((1,), gen(3)),
        ]
    assert {(v.dtype, v.device.type) for v in values} == {(torch.float64, "cpu")}


@pytest.mark.parametrize("seed", range(3))
def test_vae_samples_z_from_the_prior_and_x_given_z(seed, gen):
    model = VAE.mlp(1, (1,), "bernoulli", pixels=2)
    with torch.no_grad():  # logits (a silu(z) + b)
        for parameter, value in zip(
            model.decoder.parameters(), ([[1.0]], [0.0], [[40.0], [-2.0]], [-37.0, 0.5])
        ):
            parameter.copy_(torch.tensor(value))
    z = np.linspace(-9, 9, 4001)
    logits = np.outer(z / (1 + np.exp(-z)), [40.0, -2.0]) + np.array([-37.0, 0.5])
    p = 1 / (1 + np.exp(-logits))
    weight = stats.norm.pdf(z) * (z[1] - z[0])
    # P(x_d = 1) and P(x_1 = x_2 = 1), integrated over the prior
    mean, both = (
        weight @ p,
        weight @ p.prod(1),
    )
    x = model.sample(20_000, gen(seed))
    assert x.shape == (20_000, 2) and not x.requires_grad
    assert z_scores(x, torch.tensor(mean), torch.tensor(mean * (1 - mean)).sqrt()).abs().max() < 4
    assert abs(z_scores(x.prod(1), both, (both * (1 - both)) ** 0.5)) < 4
    assert model.prior().mean.tolist() == [0] and model.prior().variance.tolist() == [1]


@pytest.mark.parametrize(
    "bad",
    [
        {"latent": 0},
        {"latent": -1},
        {"latent": 1.5},
        {"hidden": (8, 0)},
        {"hidden": ()},
        {"pixels": 0},
        {"likelihood": "cauchy"},
    ],
)
def test_vae_refuses_impossible_settings(bad):
    ((name, _value),) = bad.items()
    with pytest.raises(ValueError, match=f"expected {name}.*got"):
        VAE.mlp(**bad)


def test_vae_refuses_inputs_of_another_shape():
    model = VAE.mlp(2, (4,), pixels=9)
    for call in (
        lambda: model.encode(torch.rand(3, 8)),
        lambda: model.decode(torch.zeros(3, 3)),
        lambda: model.decode(torch.tensor(0.0)),
    ):
        with pytest.raises(ValueError, match=r"expected.*shape.*got"):
            call()
    with pytest.raises(ValueError, match=r"NaN|nan"):
        model.encode(torch.full((1, 9), float("nan")))
    with pytest.raises(ValueError, match="at least 1, got 0"):
        model.sample(0)


@pytest.mark.parametrize("use", [elbo, importance_elbo, importance_log_likelihood])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_images_of_another_dtype_than_the_weights_are_refused_by_name(use, likelihood, gen):
    model = VAE.mlp(2, (4,), likelihood, pixels=9, generator=gen(0))
    with pytest.raises(ValueError, match=r"expected .*one dtype.*float32.*float64"):
        use(model, torch.zeros(3, 9, dtype=torch.float64))
    with pytest.raises(ValueError, match=r"expected .*one dtype.*float64.*float32"):
        use(model.double(), torch.zeros(3, 9))
