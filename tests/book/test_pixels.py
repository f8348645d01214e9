"""Rulers for grey images against the package, numerical integrals and sums over 256 levels."""

import math

import pytest
import torch
from torch.distributions import Normal

from deeper.pixels import dequantise, log_slope, logit, score, unlogit
from vae_core import DiscretizedGaussian, load_digits

LEVELS = (torch.arange(256, dtype=torch.float64) / 255)[:, None]  # as 256 images of one pixel


def gaussians(seed=0, pixels=784):
    generator = torch.Generator().manual_seed(seed)
    loc = 1.4 * torch.rand(20, pixels, generator=generator, dtype=torch.float64) - 0.2
    return loc, 0.003 + torch.rand(20, pixels, generator=generator, dtype=torch.float64)


def test_open_bins_are_the_likelihood_of_the_package():
    x = load_digits("test").images[::25].double()
    loc, scale = gaussians()
    theirs = DiscretizedGaussian(loc, scale).log_prob(x)
    assert torch.allclose(score(loc, scale, x, draws=1).opened, theirs, rtol=1e-10)


@pytest.mark.parametrize("stretched", [False, True])
@pytest.mark.parametrize(("loc", "scale"), [(0.5, 0.2), (-3.0, 1.0), (0.001, 0.001), (1.0, 30.0)])
def test_levels_have_probability_one_in_open_bins_and_their_mass_in_closed_ones(
    stretched, loc, scale
):
    loc, scale = (torch.full((256, 1), v, dtype=torch.float64) for v in (loc, scale))
    found = score(loc, scale, LEVELS, stretched, draws=1)
    ends = torch.tensor([-0.5, 255.5], dtype=torch.float64) / 255
    low, high = Normal(loc[0], scale[0]).cdf(logit(ends) if stretched else ends)
    assert found.opened.exp().sum().item() == pytest.approx(1, abs=1e-9)
    assert found.closed.exp().sum().item() == pytest.approx((high - low).item(), abs=1e-9)


@pytest.mark.parametrize("stretched", [False, True])
def test_the_density_averages_over_the_bin_and_lies_below_its_mass(stretched):
    x = LEVELS[[0, 3, 120, 255]]
    loc = torch.tensor([[0.1], [-0.2], [0.4], [0.9]], dtype=torch.float64)
    scale = torch.tensor([[0.2], [0.002], [0.1], [0.01]], dtype=torch.float64)
    if stretched:
        loc, scale = 3 * loc, 10 * scale
    offsets = (torch.arange(20_000, dtype=torch.float64) + 0.5) / 20_000 - 0.5
    y = x + offsets / 255  # [4, 20000]: the middle of each part of the bin
    log_p = Normal(loc, scale).log_prob(logit(y) if stretched else y)
    log_p = log_p + log_slope(y) if stretched else log_p
    expected = log_p.mean(1) - math.log(255)
    mass = log_p.exp().mean(1) / 255
    found = score(loc, scale, x, stretched, 4_000, torch.Generator().manual_seed(0))
    spread = log_p.std(1) / 4_000**0.5
    assert ((found.density - expected).abs() < 5 * spread + 1e-9).all()
    assert torch.allclose(found.closed.exp(), mass, rtol=1e-4)
    assert (expected <= found.closed + 1e-9).all()


def test_a_mass_far_from_the_mean_is_finite_and_right():
    x, loc = LEVELS[[255]], torch.zeros(1, 1, dtype=torch.float64)
    found = score(loc, torch.full_like(loc, 0.01), x, draws=1)
    edge = 254.5 / 255 / 0.01
    tail = -0.5 * edge**2 - math.log(edge * math.sqrt(2 * math.pi))
    assert found.opened.item() == pytest.approx(tail, abs=1e-3)
    assert found.closed.item() == pytest.approx(tail, abs=1e-3)


def test_the_logit_is_undone_and_its_slope_is_its_derivative():
    y = torch.linspace(-0.5 / 255, 1 + 0.5 / 255, 1_000, dtype=torch.float64, requires_grad=True)
    t = logit(y)
    assert torch.allclose(unlogit(t), y, atol=1e-12)
    (slope,) = torch.autograd.grad(t.sum(), y)
    assert torch.allclose(log_slope(y).exp(), slope, rtol=1e-9)


def test_dequantised_levels_fill_their_bins_evenly():
    x = LEVELS[:, 0].expand(2_000, -1)
    off = 255 * (dequantise(x, torch.Generator().manual_seed(0)) - x)
    assert off.min() >= -0.5 - 1e-9 and off.max() <= 0.5 + 1e-9
    assert off.mean().abs() < 0.002 and off.var().item() == pytest.approx(1 / 12, rel=0.01)


def test_bad_arguments_are_refused():
    loc, scale = gaussians()
    x = load_digits("test").images[:20]
    with pytest.raises(ValueError, match="shapes"):
        score(loc[:, :5], scale[:, :5], x)
    with pytest.raises(ValueError, match="draws"):
        score(loc, scale, x, draws=0)
    with pytest.raises(ValueError, match="grey values"):
        dequantise(x + 1)
