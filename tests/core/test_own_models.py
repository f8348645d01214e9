"""The open model: parts of one's own are trained, stored, loaded, measured, or refused by name."""

import copy
import inspect

import own_models
import pytest
import torch
from torch import nn
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
    TransformedDistribution,
    kl_divergence,
)

from deeper import annealed_log_likelihood, best_gaussian
from vae_core import (
    VAE,
    DiagonalGaussian,
    GaussianHead,
    Settings,
    StandardNormal,
    binarize,
    decompose_on_grid,
    draw,
    elbo,
    fit,
    importance_elbo,
    importance_log_likelihood,
    load_checkpoint,
    load_digits,
    load_pretrained,
    log_joint,
)


def grey(digits):
    """96 colour images, 32 × 32, of 8 bits: a digit in each channel, with a frame around it."""
    return nn.functional.pad(digits[:288].reshape(96, 3, 28, 28), (2, 2, 2, 2))


MODELS = {
    "convolutional decoder": (
        own_models.with_convolutional_decoder,
        lambda digits: digits[:200].reshape(-1, 1, 28, 28),
        binarize,
    ),
    "full covariance": (own_models.with_full_covariance, lambda digits: digits[:200], binarize),
    "flow as prior": (own_models.with_flow_as_prior, lambda digits: digits[:200], binarize),
    "colour images": (own_models.of_colour_images, grey, None),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_own_models_are_trained_stored_loaded_and_measured(name, gen, digits, tmp_path):
    make, images, transform = MODELS[name]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model, other = make(), make()
    images = images(digits)
    path = tmp_path / "run.pt"
    history = fit(
        model,
        images,
        Settings(epochs=3, batch_size=32, learning_rate=3e-3),
        transform=transform,
        generator=gen(0),
        checkpoint=path,
    )
    assert history.train_elbo[-1] > history.train_elbo[0] + 10
    assert history.kl_exact == (name != "flow as prior")

    loaded, again = load_checkpoint(path, other)
    assert loaded is other and again == history
    x = (transform or (lambda batch, generator: batch))(images[:20], gen(1))
    bound = importance_log_likelihood(model, x, 50, generator=gen(2))
    assert bound.shape == (20,) and torch.equal(
        importance_log_likelihood(loaded, x, 50, generator=gen(2)), bound
    )
    with torch.no_grad():
        assert bound.mean() > elbo(model, x, 50, gen(3)).elbo.mean()
    assert model.sample(3, gen(0)).shape == (3, *images.shape[1:])

    whole = fit(
        make_again(make),
        images,
        Settings(epochs=3, batch_size=32, learning_rate=3e-3),
        transform=transform,
        generator=gen(0),
    )
    assert whole == history  # the same seed, the same run, checkpoint or not


def make_again(make):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return make()


def test_each_takes_fewer_than_25_lines_of_a_readers_code():
    parts = [
        (own_models.with_convolutional_decoder,),
        (own_models.FullCovariance, own_models.with_full_covariance),
        (own_models.Coupling, own_models.Flow, own_models.with_flow_as_prior),
        (own_models.of_colour_images,),
    ]
    for group in parts:
        lines = [
            line for part in group for line in inspect.getsource(part).splitlines() if line.strip()
        ]
        assert len(lines) < 25, group


class Gives(nn.Module):
    """An encoder that gives whatever it is told to make of a mean and a spread of its own."""

    def __init__(self, kind, pixels=784, latent=2):
        super().__init__()
        self.kind, self.network = kind, nn.Linear(pixels, 2 * latent)
        nn.init.normal_(self.network.weight, std=0.02, generator=torch.Generator().manual_seed(0))

    def forward(self, x):
        mean, log_std = self.network(x).chunk(2, -1)
        return self.kind(mean, log_std)


def spread(mean, log_std):
    return torch.diag_embed(log_std.exp()) + 0.3 * torch.ones(2, 2).to(mean).tril(-1)


KINDS = {
    "diagonal": lambda mean, log_std: DiagonalGaussian(mean, 2 * log_std),
    "independent normal": lambda mean, log_std: Independent(Normal(mean, log_std.exp()), 1),
    "full covariance": lambda mean, log_std: MultivariateNormal(
        mean, scale_tril=spread(mean, log_std)
    ),
    "flow": lambda mean, log_std: TransformedDistribution(
        DiagonalGaussian(mean, 2 * log_std),
        [own_models.Coupling(torch.sin), own_models.Coupling(torch.cos)],
    ),
    "mixture": lambda mean, log_std: MixtureSameFamily(
        Categorical(torch.ones(len(mean), 2).to(mean)),
        Independent(Normal(torch.stack([mean, mean + 1], 1), 1.0), 1),
    ),
}


class Mixture(nn.Module):
    """A prior of two modes."""

    def __init__(self):
        super().__init__()
        self.means = nn.Parameter(torch.tensor([[-1.0, 0.0], [1.0, 0.5]]))

    def forward(self):
        return MixtureSameFamily(
            Categorical(torch.ones(2).to(self.means)), Independent(Normal(self.means, 1.0), 1)
        )


PRIORS = {"standard": lambda: StandardNormal(2), "mixture": Mixture}


@pytest.fixture(scope="module")
def some():
    return binarize(load_digits("test").images[::25], torch.Generator().manual_seed(0)).double()


def model_with(kind, prior):
    decoder = copy.deepcopy(load_pretrained().model.decoder)
    return VAE(Gives(KINDS[kind]), decoder, PRIORS[prior]()).double()


@pytest.mark.slow
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", KINDS)
def test_terms_of_any_q_and_prior_add_up_on_the_grid(kind, prior, some):
    model, x = model_with(kind, prior), some[:3]
    tolerance = 1e-6 if kind == "full covariance" else 1e-4
    terms = decompose_on_grid(model, x, tolerance=tolerance)
    assert terms.residual.abs().max() < tolerance
    with torch.no_grad():
        draws = model.encode(x).sample((20_000,))
        log_ratio = model.encode(x).log_prob(draws) - model.prior().log_prob(draws)
    assert ((log_ratio.mean(0) - terms.kl_prior).abs() < 5 * log_ratio.std(0) / 20_000**0.5).all()
    assert (terms.kl_prior > 0).all() and (terms.kl_posterior > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "mixture"])
def test_elbo_and_bound_of_any_q_and_prior_are_those_of_the_grid(kind, prior, some, gen):
    model, x = model_with(kind, prior), some[:3]
    exact = decompose_on_grid(model, x, tolerance=1e-4)
    draws = [elbo(model, x, 50, gen(seed)) for seed in range(100)]
    bounds = torch.stack([draw.elbo for draw in draws])
    assert draws[0].kl_exact == (prior == "standard" and kind != "flow")
    assert ((bounds.mean(0) - exact.elbo).abs() < 5 * bounds.std(0) / 10).all()
    weighted = torch.stack([importance_elbo(model, x, 50, gen(seed)).bound for seed in range(100)])
    assert (weighted.mean(0) > bounds.mean(0)).all() and (
        weighted.mean(0) < exact.log_likelihood + 0.1
    ).all()
    gradients = torch.autograd.grad(draws[0].elbo.sum(), list(model.encoder.parameters()))
    assert all(gradient.abs().max() > 0 for gradient in gradients)


@pytest.mark.slow
def test_a_q_without_a_gradient_is_measured_and_not_trained(some, gen):
    model = model_with("mixture", "standard")
    exact = decompose_on_grid(model, some[:6], tolerance=1e-4)
    bound = torch.stack(
        [importance_log_likelihood(model, some[:6], 200, generator=gen(seed)) for seed in range(20)]
    )
    assert (bound.mean(0) < exact.log_likelihood + 0.1).all() and (bound.mean(0) > exact.elbo).all()
    with torch.no_grad():
        assert not elbo(model, some[:6], 5, gen(0)).kl_exact
    with pytest.raises(TypeError, match=r"rsample.*got MixtureSameFamily"):
        elbo(model, some[:6])
    before = copy.deepcopy(model.state_dict())
    with pytest.raises(TypeError, match=r"rsample.*got MixtureSameFamily"):
        fit(model, some)
    assert all(torch.equal(weight, before[name]) for name, weight in model.state_dict().items())
    with pytest.raises(ValueError, match="Gaussian q, got MixtureSameFamily"):
        annealed_log_likelihood(model, some[:6], None)
    with pytest.raises(ValueError, match="Gaussian q, got MixtureSameFamily"):
        best_gaussian(model, some[:6], model.encode(some[:6]))


@pytest.mark.slow
@pytest.mark.parametrize(("prior", "full"), [("mixture", False), ("standard", True)])
def test_annealing_brackets_log_p_for_any_gaussian_start_and_prior(prior, full, gen):
    usual = load_pretrained().model
    model = VAE(usual.encoder, usual.decoder, PRIORS[prior]()).double()
    with torch.no_grad():
        true_z = draw(model.prior(), 20, gen(0))
        x = model.decode(true_z).sample(generator=gen(1))
        q = model.encode(x)
    exact = decompose_on_grid(model, x, tolerance=1e-4).log_likelihood
    start = (
        MultivariateNormal(q.mean, torch.diag_embed(q.variance))
        if full
        else Independent(Normal(q.mean, q.stddev), 1)
    )
    start = best_gaussian(model, x, start, 100, generator=gen(2))
    assert isinstance(start, MultivariateNormal) == full
    lower, upper = annealed_log_likelihood(model, x, true_z, 50, start=start, generator=gen(3))
    for weight in ((lower - exact).exp(), (exact - upper).exp()):  # unbiased for 1, each
        assert (weight.mean() - 1).abs() < 4 * weight.std() / 20**0.5 and weight.std() < 1
    assert (
        annealed_log_likelihood(model, x, None, 2, start=start, generator=gen(3))
        .upper.isinf()
        .all()
    )


KL_PAIRS = [
    ("diagonal", "full"),
    ("full", "diagonal"),
    ("independent", "full"),
    ("full", "independent"),
    ("diagonal", "diagonal"),
    ("full", "full"),
]


@pytest.mark.parametrize(("first", "second"), KL_PAIRS)
def test_kls_that_torch_lacks_are_those_of_full_gaussians(first, second, gen):
    def make(kind, seed):
        mean, log_std = torch.randn(2, 5, 3, generator=gen(seed), dtype=torch.float64)
        lower = torch.randn(5, 3, 3, generator=gen(seed + 9), dtype=torch.float64).tril(-1)
        factor = torch.diag_embed(log_std.exp()) + (lower if kind == "full" else 0)
        given = {
            "diagonal": DiagonalGaussian(mean, 2 * log_std),
            "independent": Independent(Normal(mean, log_std.exp()), 1),
        }
        full = MultivariateNormal(mean, scale_tril=factor)
        return given.get(kind, full), full

    (q, q_full), (p, p_full) = make(first, 0), make(second, 1)
    torch.testing.assert_close(kl_divergence(q, p), kl_divergence(q_full, p_full))
    assert (kl_divergence(q, p) > 0).all() and kl_divergence(q, q).abs().max() < 1e-12


def moments(model, x):
    """Mean and covariance of the true posteriors, from sums over a grid: `[B, 2]`, `[B, 2, 2]`."""
    axis = torch.arange(-6, 6, 1 / 16, dtype=x.dtype)
    plane = torch.cartesian_prod(axis, axis)
    weight = log_joint(model, x, plane).softmax(1)
    mean = weight @ plane
    return mean, torch.einsum("bg,gi,gj->bij", weight, plane, plane) - mean[:, :, None] * mean[
        :, None
    ]


@pytest.mark.slow
def test_full_covariance_closes_more_of_the_gap_than_a_diagonal_one(gen):
    """On the shipped decoder, q climbed for each of 100 test digits from its moments."""
    model = load_pretrained().model
    x = binarize(load_digits("test").images[::5], gen(0))
    mean, covariance = (part.float() for part in moments(model.double(), x.double()))
    model = model.float()
    own = best_gaussian(
        model,
        x,
        DiagonalGaussian(mean, covariance.diagonal(dim1=1, dim2=2).log()),
        150,
        16,
        generator=gen(1),
    )
    third = []
    for start in (
        own,
        MultivariateNormal(own.mean, scale_tril=torch.diag_embed(own.stddev)),
    ):  # as many steps each
        terms = decompose_on_grid(
            model, x, best_gaussian(model, x, start, 150, 16, 0.02, generator=gen(2))
        )
        assert terms.residual.abs().max() < 1e-6
        third.append(terms.kl_posterior)
    gained = third[0] - third[1]
    assert gained.mean() > 3 * gained.std() / len(gained) ** 0.5
    assert third[1].mean() < 0.04 and 0.05 < third[0].mean() < 0.1  # seen: 0.026 and 0.072


class Shapes(nn.Module):
    def __init__(self, give):
        super().__init__()
        self.give = give

    def forward(self, *x):
        return self.give(*x)


def test_parts_that_do_not_fit_are_refused_by_name(gen):
    usual = VAE.mlp(2, (4,), "bernoulli", pixels=9, generator=gen(0))
    x = torch.zeros(3, 9)
    forgotten = VAE(
        Shapes(lambda x: Normal(torch.zeros(len(x), 2), 1.0)), usual.decoder, usual.prior
    )  # no Independent
    with pytest.raises(ValueError, match=r"q\(z\|x\) with batch \[B\] and event \[Z\].*\[3, 2\]"):
        elbo(forgotten, x)
    for prior in (
        lambda: Normal(torch.zeros(2), 1.0),
        lambda: DiagonalGaussian(torch.zeros(1, 2), torch.zeros(1, 2)),
        lambda: torch.zeros(2),
    ):
        with pytest.raises(ValueError, match="expected a prior"):
            VAE(usual.encoder, usual.decoder, Shapes(prior))
    other = VAE(
        nn.Sequential(nn.Linear(9, 4), GaussianHead()),
        VAE.mlp(2, (4,), "bernoulli", pixels=8).decoder,
        usual.prior,
    )
    with pytest.raises(ValueError, match=r"expected images \[8\], got \[9\]"):
        elbo(other, x)
    with pytest.raises(ValueError, match=r"one dtype.*float32.*float64"):
        usual.encode(x.double())
    with pytest.raises(ValueError, match="at least 4 × 4"):
        VAE.convolutional(2, size=(3, 8))
    with pytest.raises(ValueError, match="channels"):
        VAE.convolutional(2, channels=0)


@pytest.mark.parametrize("size", [(28, 28), (5, 7), (4, 4), (33, 18)])
@pytest.mark.parametrize("likelihood", ["gaussian", "bernoulli"])
def test_convolutions_keep_the_shape_of_images(size, likelihood, gen):
    model = VAE.convolutional(3, 2, size, likelihood, gen(0))
    x = model.sample(4, gen(1))
    terms = elbo(model, x, 2, gen(2))
    assert x.shape == (4, 2, *size) and terms.elbo.shape == (4,) and terms.elbo.isfinite().all()
    assert model.decode(torch.zeros(5, 3)).mean.shape == (5, 2, *size)
    before = torch.get_rng_state()
    again = VAE.convolutional(3, 2, size, likelihood, gen(0))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(
        torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True)
    )
