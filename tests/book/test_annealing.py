"""Bounds on log p(x), held against the grid, which knows the answer for two latent dimensions."""

import math

import pytest
import torch
from helpers import z_scores

from deeper import annealed_log_likelihood, best_gaussian
from vae_core import (
    VAE,
    DiagonalGaussian,
    Settings,
    binarize,
    decompose_on_grid,
    elbo,
    fit,
    importance_log_likelihood,
    load_digits,
    load_pretrained,
)


@pytest.fixture(scope="module")
def model():
    return load_pretrained().model.double()


@pytest.fixture(scope="module")
def drawn(model):
    """Thirty images that the model drew, `[30, D]`, and the codes they came from."""
    generator = torch.Generator().manual_seed(3)
    true_z = model.prior().sample((30,), generator)
    x = model.decode(true_z).sample(generator=generator)
    return x, true_z


@pytest.fixture(scope="module")
def exact(model, drawn):
    """log p(x) of the thirty images."""
    return decompose_on_grid(model, drawn[0]).log_likelihood


def test_one_sample_is_the_elbo_with_the_sampled_kl(model, drawn, gen):
    x, _ = drawn
    q = model.encode(x)
    z = q.sample((1,), gen(0))[0]
    log_ratio = model.prior().log_prob(z) - torch.distributions.Independent(
        torch.distributions.Normal(q.mean, q.stddev), 1
    ).log_prob(z)
    by_hand = model.decode(z).log_prob(x) + log_ratio
    torch.testing.assert_close(importance_log_likelihood(model, x, 1, generator=gen(0)), by_hand)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_mean_weight_is_the_likelihood(model, drawn, exact, gen, seed):
    """E[exp(estimate)] = p(x) for every K: a forgotten log K would show as a factor K."""
    x, _ = drawn
    easy = decompose_on_grid(model, x).kl_posterior < 0.5
    generator = gen(seed)
    for samples in (1, 5):
        estimates = torch.stack(
            [
                importance_log_likelihood(model, x[easy], samples, generator=generator)
                for _ in range(400)
            ]
        )
        assert (z_scores((estimates - exact[easy]).exp(), 1.0).abs() < 5).all()


@pytest.mark.slow
def test_bounds_tighten_from_both_sides(model, drawn, exact, gen):
    x, true_z = drawn
    generator = gen(1)

    def mean(samples, code=None):
        bounds = [
            importance_log_likelihood(model, x, samples, generator=generator, true_z=code)
            for _ in range(20)
        ]
        return (torch.stack(bounds) - exact).mean()

    below, above = [mean(k) for k in (1, 5, 50)], [mean(k, true_z) for k in (1, 5, 50)]
    assert below == sorted(below) and below[-1] < 0
    assert above == sorted(above)[::-1] and above[-1] > 0


@pytest.mark.slow
def test_estimates_are_rarely_much_too_high(model, drawn, exact, gen):
    x, _ = drawn
    generator = gen(2)
    over = (
        torch.stack(
            [importance_log_likelihood(model, x, 2, generator=generator) for _ in range(200)]
        )
        - exact
    )
    for b in (0.5, 1.0, 2.0):
        assert (over > b).double().mean() <= math.exp(-b)


@pytest.mark.parametrize("true", [False, True])
def test_rows_decoded_at_once_are_bounded_by_chunk(model, drawn, gen, monkeypatch, true):
    x, true_z = drawn
    rows = []
    decode = VAE.decode

    def counting(self, z):
        rows.append(z.shape[:-1].numel())
        return decode(self, z)

    monkeypatch.setattr(VAE, "decode", counting)
    for samples, chunk in ((7, 100), (3, 8), (1, 30)):
        rows.clear()
        bound = importance_log_likelihood(
            model, x, samples, chunk, gen(0), true_z if true else None
        )
        assert bound.shape == (30,) and max(rows) <= chunk and sum(rows) == 30 * samples


@pytest.mark.slow
def test_chunk_changes_nothing_but_memory(model, drawn, gen):
    x, _ = drawn
    means = []
    for chunk in (7, 10_000):
        generator = gen(4)
        means.append(
            torch.stack(
                [importance_log_likelihood(model, x, 20, chunk, generator) for _ in range(50)]
            )
        )
    error = (means[0].var(0) / 50 + means[1].var(0) / 50).sqrt()
    assert ((means[0].mean(0) - means[1].mean(0)).abs() < 5 * error).all()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_annealing_brackets_the_likelihood(model, drawn, exact, gen, seed):
    x, true_z = drawn
    bracket = annealed_log_likelihood(model, x, true_z, temperatures=30, generator=gen(seed))
    # unbiased for 1, each
    forward, reverse = (
        (bracket.lower - exact).exp(),
        (exact - bracket.upper).exp(),
    )
    for weight in (forward, reverse):
        assert (weight.mean() - 1).abs() < 5 * weight.std() / len(x) ** 0.5
    assert (bracket.upper - bracket.lower).mean() < 0.3
    assert (importance_log_likelihood(model, x, 1, generator=gen(0)) - exact).mean() < (
        bracket.lower - exact
    ).mean()


@pytest.mark.slow
def test_annealing_at_twenty_dimensions_closes_the_bracket(gen):
    """A hundred digits, so that chance, 0.04 nat, is small beside the width promised, 0.15 nat."""
    large = VAE.mlp(20, (100,), "bernoulli", generator=gen(0))
    settings = Settings(epochs=30, learning_rate=2e-3)
    fit(large, load_digits("train").images, settings, transform=binarize, generator=gen(1))
    true_z = large.prior().sample((100,), gen(2))
    x = large.decode(true_z).sample(generator=gen(3))
    start = best_gaussian(large, x, large.encode(x), steps=150, generator=gen(4))
    below, above = annealed_log_likelihood(
        large, x, true_z, temperatures=120, leapfrogs=4, generator=gen(5), start=start
    )
    assert -0.15 < (above - below).mean() < 0.15
    single = [
        importance_log_likelihood(large, x, 100, generator=gen(6), true_z=code)
        for code in (None, true_z)
    ]
    assert (single[0] - below).mean() < 0 < (single[1] - above).mean()


@pytest.mark.slow
def test_own_gaussian_comes_nearer_to_the_posterior(model, gen):
    x = binarize(load_digits("test").images[::25], gen(0)).double()
    before = decompose_on_grid(model, x)
    q = best_gaussian(model, x, model.encode(x), steps=150, generator=gen(1))
    after = decompose_on_grid(model, x, q)
    assert after.kl_posterior.median() < 0.5 * before.kl_posterior.median()
    assert (after.kl_posterior < before.kl_posterior + 0.02).all()
    torch.testing.assert_close(after.log_likelihood, before.log_likelihood, atol=2e-6, rtol=0)
    assert not q.mean.requires_grad


def test_extremes_stay_finite(gen):
    model = VAE.mlp(2, (4,), "bernoulli", generator=gen(0))
    x = binarize(torch.rand(3, 784, generator=gen(1)), gen(2))
    with torch.no_grad():
        model.decoder[-2].bias.fill_(1e4)
    bound = importance_log_likelihood(model, x, 3, generator=gen(0))
    assert bound.isfinite().all() and (bound < -1e5).all()


@pytest.mark.parametrize(
    ("arguments", "came"),
    [
        ({"samples": 0}, r"\[0, 4000\]"),
        ({"chunk": 0}, r"\[1000, 0\]"),
        ({"true_z": torch.zeros(30, 3).double()}, "30, 3"),
        ({"true_z": torch.zeros(2, 2).double()}, "2, 2"),
    ],
)
def test_bad_requests_are_refused(model, drawn, arguments, came):
    with pytest.raises(ValueError, match=f"expected.*{came}"):
        importance_log_likelihood(model, drawn[0], **arguments)


def test_impossible_images_and_broken_decoders_are_named(model, drawn, gen):
    x = drawn[0]
    with pytest.raises(ValueError, match="0 or 1"):
        importance_log_likelihood(model, x * 0.5)
    broken = VAE.mlp(2, (4,), "bernoulli", generator=gen(0))
    with torch.no_grad():
        broken.decoder[-2].bias.fill_(math.nan)
    with pytest.raises(ValueError, match="NaN"):
        importance_log_likelihood(broken, x.float(), 3)
    with torch.no_grad():
        broken.decoder[-2].bias.fill_(math.inf)
    with pytest.raises(ValueError, match="probability above 0"):
        importance_log_likelihood(broken, x.float(), 3)


@pytest.mark.parametrize("name", ["temperatures", "chains", "leapfrogs"])
def test_annealing_needs_positive_numbers(model, drawn, name):
    with pytest.raises(ValueError, match="at least 1"):
        annealed_log_likelihood(model, drawn[0], drawn[1], **{name: 0})


@pytest.mark.slow
def test_elbo_is_the_bound_with_one_sample_on_average(model, drawn, gen):
    x, _ = drawn
    with torch.no_grad():
        direct = elbo(model, x, samples=400, generator=gen(0)).elbo
    generator = gen(1)
    single = torch.stack(
        [importance_log_likelihood(model, x, 1, generator=generator) for _ in range(400)]
    )
    assert ((single.mean(0) - direct).abs() < 6 * single.std(0) / 20 + 1e-9).all()


def test_annealing_refuses_codes_and_starts_of_another_shape(model, drawn):
    x, true_z = drawn
    q = model.encode(x)
    for codes in (true_z[:5], true_z[:, :1], true_z[None], torch.zeros(30, 3).double()):
        shape = ", ".join(map(str, codes.shape))
        with pytest.raises(ValueError, match=rf"expected codes.*\[30, 2\], got \[{shape}\]"):
            annealed_log_likelihood(model, x, codes, temperatures=2)
    few = DiagonalGaussian(q.mean[:3], q.log_var[:3])
    with pytest.raises(ValueError, match=r"expected codes and a start.*\[30, 2\], got \[3, 2\]"):
        annealed_log_likelihood(model, x, true_z, temperatures=2, start=few)
