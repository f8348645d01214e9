"""Distributions and draws, against scipy, mpmath, torch and numpy."""

import mpmath
import numpy as np
import pytest
import torch
from helpers import z_scores
from scipy import stats

from deeper import add_pixel_noise
from vae_core import (
    VAE,
    BernoulliImage,
    DiagonalGaussian,
    DiscretizedGaussian,
    binarize,
    reparameterize,
)

LEVELS = torch.arange(256, dtype=torch.float64) / 255
SCALES = (1e-5, 1e-3, 0.02, 0.5, 3.0, 1e4)
LOCS = (-0.5, 0.0, 0.3, 1.0, 1.7)


def test_reparameterize_is_mean_plus_std_times_noise():
    mean, std = (
        torch.tensor([1.0, -2.0], requires_grad=True),
        torch.tensor([3.0, 0.5], requires_grad=True),
    )
    noise = torch.tensor([[1.0, 1.0], [-2.0, 4.0]])
    z = reparameterize(mean, std, noise)
    assert z.tolist() == [[4.0, -1.5], [-5.0, 0.0]]
    by_mean, by_std = torch.autograd.grad(z[1].sum(), (mean, std))
    assert by_mean.tolist() == [1.0, 1.0] and by_std.tolist() == [-2.0, 4.0]


BAD_DRAWS = {
    "zero std": (torch.zeros(2), torch.tensor([1.0, 0.0]), torch.zeros(2), "std > 0.*0"),
    "negative std": (torch.zeros(2), torch.tensor([1.0, -3.0]), torch.zeros(2), "std > 0.*-3"),
    "NaN": (torch.zeros(2), torch.tensor([1.0, float("nan")]), torch.zeros(2), "std > 0.*nan"),
    "std of another shape": (torch.zeros(2), torch.ones(1), torch.zeros(2), r"\[2\].*\[1\].*\[2\]"),
    "noise of another shape": (torch.zeros(3, 2), torch.ones(3, 2), torch.zeros(2, 3), r"\[2, 3\]"),
    "noise with fewer axes": (torch.zeros(3, 2), torch.ones(3, 2), torch.zeros(2), r"\[2\]"),
    "another dtype": (
        torch.zeros(2),
        torch.ones(2),
        torch.zeros(2, dtype=torch.float64),
        "float32.*float64",
    ),
}


@pytest.mark.parametrize("what", BAD_DRAWS)
def test_reparameterize_refuses(what):
    *arguments, came = BAD_DRAWS[what]
    with pytest.raises(ValueError, match=f"expected.*got.*{came}|expected.*{came}"):
        reparameterize(*arguments)


def test_diagonal_gaussian_density_is_scipys(gen):
    mean, log_var, z = torch.randn(3, 4, generator=gen(0), dtype=torch.float64)
    ours = DiagonalGaussian(mean, log_var).log_prob(z).item()
    assert ours == pytest.approx(
        stats.multivariate_normal(mean.numpy(), np.diag(np.exp(log_var.numpy()))).logpdf(z.numpy())
    )


@pytest.mark.parametrize("seed", range(3))
def test_diagonal_gaussian_draws_have_its_moments(seed, gen):
    mean, log_var = torch.tensor([[0.0, 2.0], [-3.0, 1.0]]), torch.tensor([[0.0, -4.0], [3.0, 1.0]])
    var = log_var.exp()
    z = DiagonalGaussian(mean, log_var).rsample((40_000,), gen(seed))
    assert z.shape == (40_000, 2, 2)
    assert z_scores(z, mean, var.sqrt()).abs().max() < 4
    assert z_scores((z - mean) ** 2, var, 2**0.5 * var).abs().max() < 4
    assert np.abs(np.corrcoef(z.reshape(-1, 4).T) - np.eye(4)).max() < 4 / 40_000**0.5


def test_rsample_has_a_gradient_and_sample_has_none(gen):
    mean, log_var = (
        torch.zeros(3, 2, requires_grad=True),
        torch.full((3, 2), -1.0, requires_grad=True),
    )
    q = DiagonalGaussian(mean, log_var)
    z = q.rsample((5,), gen(0))
    by_mean, by_log_var = torch.autograd.grad(z.sum(), (mean, log_var))
    assert torch.equal(by_mean, torch.full((3, 2), 5.0))
    assert torch.allclose(by_log_var, 0.5 * z.sum(0))  # d/dlog σ² of σ ε
    draw = q.sample((5,), gen(0))
    assert not draw.requires_grad and torch.equal(draw, z)


SMALL_VAE = VAE.mlp(2, (5,), generator=torch.Generator().manual_seed(0))
SAMPLERS = {
    "DiagonalGaussian.sample": lambda g: DiagonalGaussian(torch.zeros(9), torch.zeros(9)).sample(
        (3,), g
    ),
    "DiagonalGaussian.rsample": lambda g: DiagonalGaussian(torch.zeros(9), torch.zeros(9)).rsample(
        (3,), g
    ),
    "BernoulliImage.sample": lambda g: BernoulliImage(torch.zeros(99)).sample((3,), g),
    "DiscretizedGaussian.sample": lambda g: DiscretizedGaussian(
        torch.zeros(99), torch.ones(99)
    ).sample((3,), g),
    "VAE": lambda g: VAE.mlp(2, (5,), generator=g).decoder[0].weight,
    "VAE.sample": lambda g: SMALL_VAE.sample(3, g),
    "binarize": lambda g: binarize(torch.full((3, 99), 0.5), g),
    "add_pixel_noise": lambda g: add_pixel_noise(torch.zeros(3, 9), generator=g),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_draws_follow_their_generator_and_leave_the_global_one_alone(name, gen):
    before = torch.get_rng_state()
    draw = SAMPLERS[name](gen(1))
    assert torch.equal(draw, SAMPLERS[name](gen(1))) and not torch.equal(
        draw, SAMPLERS[name](gen(2))
    )
    assert torch.equal(torch.get_rng_state(), before)


def test_bernoulli_density_is_scipys(gen):
    logits = 4 * torch.randn(3, 50, generator=gen(0), dtype=torch.float64)
    x = torch.randint(2, (3, 50), generator=gen(1)).double()
    expected = stats.bernoulli.logpmf(x.numpy(), 1 / (1 + np.exp(-logits.numpy()))).sum(-1)
    assert np.allclose(BernoulliImage(logits).log_prob(x), expected, rtol=1e-12)
    torchs = torch.distributions.Bernoulli(logits=logits).log_prob(x).sum(-1)
    assert torch.allclose(BernoulliImage(logits).log_prob(x), torchs, rtol=1e-12)


def test_bernoulli_extremes_are_finite_with_finite_gradients():
    logits = torch.tensor([1e4, -1e4, 1e4, -1e4], requires_grad=True)
    log_prob = BernoulliImage(logits).log_prob(torch.tensor([1.0, 0.0, 0.0, 1.0]))
    log_prob.backward()
    assert log_prob.item() == -2e4 and logits.grad.tolist() == [0, 0, -1, 1]


@pytest.mark.parametrize("pixels", [1, 99, 100, 101, 784])
def test_bernoulli_gradient_is_that_of_finite_differences(pixels, gen):
    logits = (4 * torch.randn(2, pixels, generator=gen(0), dtype=torch.float64)).requires_grad_()
    value = torch.bernoulli(torch.full((3, 1, pixels), 0.5, dtype=torch.float64), generator=gen(1))
    assert torch.autograd.gradcheck(
        lambda t: BernoulliImage(t).log_prob(value), logits, fast_mode=True
    )
    assert torch.autograd.gradgradcheck(
        lambda t: BernoulliImage(t).log_prob(value), logits, fast_mode=True
    )
    value = value[0, 0].requires_grad_()
    (slope,) = torch.autograd.grad(BernoulliImage(logits[0]).log_prob(value), value)
    assert torch.equal(slope, logits[0])


@pytest.mark.parametrize("value", [0.5, -1.0, 2.0, 1 / 255, float("nan")])
def test_bernoulli_refuses_pixels_that_are_not_0_or_1(value):
    with pytest.raises(ValueError, match=r"0 or 1.*binarize"):
        BernoulliImage(torch.zeros(2, 3)).log_prob(
            torch.tensor([[0.0, 1.0, 0.0], [0.0, value, 1.0]])
        )


@pytest.mark.parametrize("seed", range(3))
def test_bernoulli_draws_have_its_mean(seed, gen):
    logits = torch.tensor([[-4.0, 0.0], [1.0, 3.0]])
    x = BernoulliImage(logits).sample((40_000,), gen(seed))
    p = 1 / (1 + torch.exp(-logits))
    assert (
        x.shape == (40_000, 2, 2) and set(x.unique().tolist()) == {0.0, 1.0} and not x.requires_grad
    )
    assert z_scores(x, p, (p * (1 - p)).sqrt()).abs().max() < 4
    assert np.abs(np.corrcoef(x.reshape(-1, 4).T) - np.eye(4)).max() < 4 / 40_000**0.5


def exact(loc, scale, k):
    """log P(x = k/255) and its derivatives with respect to loc and log scale, at 60 digits."""
    with mpmath.workdps(60):
        low = -mpmath.inf if k == 0 else ((mpmath.mpf(k) - 0.5) / 255 - loc) / scale
        high = mpmath.inf if k == 255 else ((mpmath.mpf(k) + 0.5) / 255 - loc) / scale
        # where Φ does not cancel against 1
        left, right = (low, high) if low + high <= 0 else (-high, -low)
        mass = mpmath.ncdf(right) - mpmath.ncdf(left)
        slopes = [mpmath.npdf(low), mpmath.npdf(high)]
        turns = [
            0 if mpmath.isinf(edge) else edge * slope for edge, slope in zip((low, high), slopes)
        ]
        return [
            float(v)
            for v in (
                mpmath.log(mass),
                (slopes[0] - slopes[1]) / mass / scale,
                (turns[0] - turns[1]) / mass,
            )
        ]


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("loc", LOCS)
@pytest.mark.parametrize(("dtype", "rtol"), [(torch.float64, 1e-9), (torch.float32, 2e-3)])
def test_discretized_gaussian_and_its_gradient_are_exact(dtype, rtol, loc, scale):
    levels = torch.tensor([0, 1, 2, 76, 77, 128, 200, 254, 255])
    locs = torch.full((9, 1), loc, dtype=dtype, requires_grad=True)
    log_scales = torch.full((9, 1), scale, dtype=dtype).log().requires_grad_()
    p = DiscretizedGaussian(locs, log_scales.exp())
    log_prob = p.log_prob((levels / 255).to(dtype)[:, None])
    slopes = torch.autograd.grad(log_prob.sum(), (locs, log_scales))
    truth = [exact(p.loc[0, 0].item(), p.scale[0, 0].item(), k) for k in levels.tolist()]
    for ours, expected, unit in zip((log_prob, *slopes), zip(*truth), (1.0, 1 / scale, 1.0)):
        expected = torch.tensor(expected, dtype=torch.float64)
        assert (
            (ours.squeeze().double() - expected).abs() <= rtol * (expected.abs() + unit)
        ).all(), (ours, expected)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("loc", LOCS)
def test_discretized_gaussian_adds_up_to_one(loc, scale):
    p = DiscretizedGaussian(
        *torch.tensor([loc, scale], dtype=torch.float64).expand(256, 2).T[:, :, None]
    )
    log_prob = p.log_prob(LEVELS[:, None])
    assert log_prob.max() <= 0
    assert log_prob.exp().sum().item() == pytest.approx(1, abs=1e-9)


def test_discretized_gaussian_sums_over_pixels(gen):
    loc, x = (
        torch.rand(3, 2, 4, generator=gen(0), dtype=torch.float64),
        torch.tensor([0, 9, 128, 255]).double() / 255,
    )
    expected = [
        [sum(exact(m, 0.2, k)[0] for m, k in zip(row, (0, 9, 128, 255))) for row in rows]
        for rows in loc.tolist()
    ]
    assert np.allclose(
        DiscretizedGaussian(loc, torch.full_like(loc, 0.2)).log_prob(x), expected, rtol=1e-9
    )


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("loc", LOCS)
def test_discretized_gaussian_moments_are_sums_over_levels(loc, scale):
    edges = stats.norm.cdf((np.arange(1, 256) - 0.5) / 255, loc, scale)
    probs = np.diff(edges, prepend=0, append=1)
    mean = (probs * LEVELS.numpy()).sum()
    p = DiscretizedGaussian(*torch.tensor([[loc], [scale]], dtype=torch.float64))
    assert p.mean.item() == pytest.approx(mean, abs=1e-12)
    assert p.variance.item() == pytest.approx(
        (probs * (LEVELS.numpy() - mean) ** 2).sum(), abs=1e-12
    )


@pytest.mark.parametrize("seed", range(3))
def test_discretized_gaussian_draws_follow_its_probabilities(seed, gen):
    loc, scale = torch.tensor([0.0, 0.01, 0.5, 0.98]), torch.tensor([0.004, 0.01, 0.3, 0.02])
    x = DiscretizedGaussian(loc, scale).sample((20_000,), gen(seed))
    levels = (255 * x.double()).round()
    assert torch.equal(x, (levels / 255).float()) and not x.requires_grad
    for d in range(4):
        probs = np.diff(
            stats.norm.cdf((np.arange(1, 256) - 0.5) / 255, loc[d].item(), scale[d].item()),
            prepend=0,
            append=1,
        )
        counts = np.bincount(levels[:, d].int().numpy(), minlength=256)
        common = probs * len(x) >= 5
        seen, expected = (
            np.append(counts[common], counts[~common].sum()),
            len(x) * np.append(probs[common], probs[~common].sum()),
        )
        keep = expected > 1e-3
        assert (
            stats.chisquare(
                seen[keep], expected[keep] * seen[keep].sum() / expected[keep].sum()
            ).pvalue
            > 1e-4
        )
    assert np.abs(np.corrcoef(x.T) - np.eye(4)).max() < 4 / len(x) ** 0.5


@pytest.mark.parametrize(
    ("loc", "log_var"),
    [(m, v) for m in (-10.0, 0.0, 0.5, 1.0, 10.0) for v in (-50.0, 50.0)]
    + [(1e4, 0.0), (-1e4, 0.0)],
)
def test_discretized_gaussian_extremes_are_finite_with_finite_gradients(loc, log_var):
    locs, log_vars = (
        torch.full((256,), loc, requires_grad=True),
        torch.full((256,), log_var, requires_grad=True),
    )
    log_prob = DiscretizedGaussian(locs, (0.5 * log_vars).exp()).log_prob(LEVELS.float())
    log_prob.backward()
    assert log_prob.isfinite() and log_prob <= 0
    assert locs.grad.isfinite().all() and log_vars.grad.isfinite().all()


def test_discretized_gaussian_gradient_is_that_of_finite_differences(gen):
    loc = torch.rand(2, 6, generator=gen(0), dtype=torch.float64, requires_grad=True)
    log_scale = torch.linspace(-5, 1, 12, dtype=torch.float64).reshape(2, 6).requires_grad_()
    x = torch.tensor([0, 3, 77, 128, 254, 255]).double() / 255
    assert torch.autograd.gradcheck(
        lambda m, s: DiscretizedGaussian(m, s.exp()).log_prob(x), (loc, log_scale)
    )


@pytest.mark.parametrize("value", [0.5, -1 / 255, 256 / 255, float("nan")])
def test_discretized_gaussian_refuses_values_between_the_levels(value):
    p = DiscretizedGaussian(torch.zeros(2, 3), torch.ones(2, 3))
    with pytest.raises(ValueError, match="k/255"):
        p.log_prob(torch.tensor([[0.0, 1.0, 0.2], [0.0, value, 1.0]]))


@pytest.mark.parametrize(
    "scale", [torch.zeros(3), -torch.ones(3), torch.full((3,), float("nan")), torch.ones(1)]
)
def test_discretized_gaussian_refuses_bad_scales(scale):
    with pytest.raises(ValueError, match=r"expected.*scale.*got"):
        DiscretizedGaussian(torch.zeros(3), scale)


@pytest.mark.parametrize(
    "make", [BernoulliImage, lambda t: DiscretizedGaussian(t, torch.ones_like(t))]
)
@pytest.mark.parametrize("pixels", [1, 5])
def test_image_of_another_size_has_no_probability(make, pixels):
    with pytest.raises(ValueError, match=r"expected.*4.*got"):
        make(torch.zeros(3, 4)).log_prob(torch.zeros(3, pixels))


def expandable():
    """One of each distribution, batch `[3, 1]`, and values for it."""
    gen = torch.Generator().manual_seed(0)
    a, b = torch.randn(2, 3, 1, 4, generator=gen, dtype=torch.float64)
    x = torch.randint(256, (2, 3, 5, 4), generator=gen).double() / 255
    image = x.reshape(2, 3, 5, 2, 1, 2)
    return {
        "DiagonalGaussian": (DiagonalGaussian(a, b), x),
        "BernoulliImage": (BernoulliImage(a), x.round()),
        "BernoulliImage, [C, H, W]": (BernoulliImage(a.reshape(3, 1, 2, 1, 2), 3), image.round()),
        "DiscretizedGaussian": (DiscretizedGaussian(a, b.exp()), x),
        "DiscretizedGaussian, [C, H, W]": (
            DiscretizedGaussian(a.reshape(3, 1, 2, 1, 2), b.exp().reshape(3, 1, 2, 1, 2), 3),
            image,
        ),
    }


@pytest.mark.parametrize("name", expandable())
def test_expanded_distributions_give_the_same_with_another_batch_shape(name):
    p, x = expandable()[name]
    for shape in ((3, 5), (2, 3, 5), torch.Size([2, 3, 1])):
        wide = p.expand(shape)
        assert type(wide) is type(p)
        assert wide.batch_shape == tuple(shape) and wide.event_shape == p.event_shape
        assert torch.equal(wide.log_prob(x), p.log_prob(x))
        assert torch.equal(wide.mean, p.mean.expand(*shape, *p.event_shape))
        assert wide.sample((7,)).shape == (7, *shape, *p.event_shape)


@pytest.mark.parametrize("loc", [-0.3, 0.0, 77 / 255, 0.5, 1.0, 40.0])
def test_discretized_gaussian_of_a_tiny_scale_is_finite(loc):
    """In float32, (x − loc) / scale overflows, or its square does."""
    locs = torch.full((256,), loc, requires_grad=True)
    for scale in (1e-30, 1e-37):
        scales = torch.full((256,), scale, requires_grad=True)
        log_prob = DiscretizedGaussian(locs[:, None], scales[:, None]).log_prob(
            LEVELS.float()[:, None]
        )
        slopes = torch.autograd.grad(log_prob.sum(), (locs, scales))
        assert log_prob.isfinite().all() and (log_prob <= 0).all()
        assert all(slope.isfinite().all() for slope in slopes)
        nearest = round(255 * min(max(loc, 0), 1))
        assert log_prob[nearest] == log_prob.max() > -1
        assert (log_prob < -1e6).sum() == 255 - (loc == 0.5)  # ½ is an edge between two levels


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_discretized_gaussian_refuses_a_loc_that_is_no_number(value):
    with pytest.raises(ValueError, match=r"expected a finite loc.*NaN"):
        DiscretizedGaussian(torch.tensor([0.5, value]), torch.ones(2))
