"""True posteriors and q on the latent plane."""

import math
import textwrap
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import torch
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Ellipse, Patch
from matplotlib.ticker import MaxNLocator
from torch import Tensor
from torch.distributions import Distribution

from drawing.images import draw_image
from drawing.style import COLORS, WIDTH
from vae_core import VAE, DiagonalGaussian, log_joint
from vae_core.data import expect

ALPHAS = (0.25, 0.6)  # of the outer and the inner region of a posterior


class GridPosterior(NamedTuple):
    """The true posterior of one image on a window of the latent plane, for a picture."""

    axes: Tensor
    "`[2, G]`: coordinates along both latent dimensions."
    density: Tensor
    "`[G, G]`: p(z|x), first index along the first latent dimension."


@torch.no_grad()
def posterior_on_grid(
    model: VAE, x: Tensor, q: DiagonalGaussian, points: int = 120
) -> GridPosterior:
    """Compute p(z|x) of one image where it has its mass, on a window that shows q (to 2.5 σ) too.

    For a picture: a grid over [−6, 6]² with step 1/8 finds the window, whose own grid gives p(x),
    with what the first grid holds outside of it; nothing is refined. Mass outside that square, or
    modes much narrower than the first step, would be missed: for numbers
    use `decompose_on_grid`. Chapter 2.

    Args:
        model: the VAE, Z = 2.
        x: one image, `[1, D]` or `[1, C, H, W]`.
        q: batch `[1]`, event `[2]`.
        points: G, along each axis of the window.

    Raises:
        ValueError: Z other than 2, or more images than one.
    """
    fits = model.latent == 2 and len(x) == 1 and q.batch_shape == (1,)
    expect(fits, "Z = 2 and one image with its q", [model.latent, len(x), list(q.batch_shape)])
    axis = torch.arange(-6, 6, 1 / 8, dtype=x.dtype, device=x.device)
    plane = torch.cartesian_prod(axis, axis)
    joint = log_joint(model, x, plane)[0]
    heavy = plane[joint > joint.max() - 8]
    seen = torch.cat([heavy, q.mean + 2.5 * q.stddev, q.mean - 2.5 * q.stddev])
    low, high = seen.amin(0) - 0.1, seen.amax(0) + 0.1
    axes = low[:, None] + (high - low)[:, None] * torch.linspace(
        0, 1, points, dtype=x.dtype, device=x.device
    )
    inside = log_joint(model, x, torch.cartesian_prod(*axes))[0]
    cell = (axes[:, 1] - axes[:, 0]).log().sum()
    outside = joint[((plane < low) | (plane > high)).any(1)].logsumexp(0) - 2 * math.log(8)
    density = (inside - torch.logaddexp(inside.logsumexp(0) + cell, outside)).exp()
    return GridPosterior(axes, density.reshape(points, points))


def draw_q(ax: Axes, q: Distribution) -> None:
    """Draw a Gaussian q as gold dashed ellipses of 1 and 2 standard deviations, its mean as a plus.

    Args:
        ax: axes of the latent plane.
        q: batch `[1]`, event `[2]`, diagonal or with any covariance.

    Raises:
        ValueError: q is over something else than the plane, or for more than one image.
    """
    covariance = getattr(q, "covariance_matrix", None)
    covariance = torch.diag_embed(q.variance) if covariance is None else covariance
    expect(q.mean.shape == (1, 2), "a q for one image, Z = 2", list(q.mean.shape))
    lengths, axes = torch.linalg.eigh(covariance[0].detach())
    centre = q.mean[0].tolist()
    angle = math.degrees(math.atan2(*axes[:, 0].flip(0).tolist()))
    line = {"edgecolor": COLORS["q"], "linestyle": (0, (4, 2)), "linewidth": 1.8, "fill": False}
    for width in (1, 2):
        size = (2 * width * lengths.sqrt()).tolist()
        ax.add_patch(Ellipse(centre, *size, angle=angle, **line))
    ax.plot(*centre, "+", color=COLORS["q"])


def draw_posterior(ax: Axes, posterior: GridPosterior) -> None:
    """Draw a posterior, purple: the regions that hold 39.3 % and 86.5 % of it, filled in two steps.

    Of a Gaussian these are the ellipses of 1 and 2 standard deviations.
    """
    density = posterior.density.flatten().sort(descending=True).values
    mass = density.cumsum(0) / density.sum()
    one, two = (density[mass >= 1 - math.exp(-(r**2) / 2)][0].item() for r in (1, 2))
    purple = to_rgb(COLORS["posterior"])
    levels = [two, one, density[0].item() * 1.001]
    ax.contourf(*posterior.axes, posterior.density.T, levels, colors=[(*purple, a) for a in ALPHAS])
    ax.contour(*posterior.axes, posterior.density.T, [two, one], colors=[purple], linewidths=0.8)


def plot_posteriors(
    images: Tensor,
    posteriors: Sequence[GridPosterior],
    qs: Sequence[Distribution],
    titles: Sequence[str],
) -> Figure:
    """Draw for each image the true posterior and q, on one plane, in columns of two or three.

    Args:
        images: `[n, 784]`.
        posteriors: n of them.
        qs: n of them, each with batch `[1]`, event `[2]`.
        titles: n of them.
    """
    columns = 3 if len(titles) % 3 == 0 else 2
    rows = math.ceil(len(titles) / columns)
    size, ratios = (WIDTH, rows * (1.3 + 5.4 / columns)), (1, 6 / columns - 0.5) * rows
    figure, panels = plt.subplots(
        2 * rows, columns, figsize=size, height_ratios=ratios, layout="constrained", squeeze=False
    )
    every = zip(images, posteriors, qs, titles, strict=True)
    for number, (image, posterior, q, title) in enumerate(every):
        row, column = divmod(number, columns)
        draw_image(panels[2 * row, column], image)
        panels[2 * row, column].set_title("\n".join(textwrap.wrap(title, 44 // columns)))
        ax = panels[2 * row + 1, column]
        draw_posterior(ax, posterior)
        draw_q(ax, q)
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_major_locator(MaxNLocator(2 if columns == 3 else 4, steps=[1, 2, 5, 10]))
        ax.set(xlabel="$z_1$", aspect="equal", adjustable="datalim")
    for ax in panels.flat[2 * len(titles) :]:
        ax.axis("off")
    for ax in panels[1::2, 0]:
        ax.set_ylabel("$z_2$")
    figure.legend(handles=legend_of_posteriors(), loc="outside lower center")
    return figure


def legend_of_posteriors() -> list[Artist]:
    """What stands for the true posterior p(z|x) and for q(z|x) in a legend."""
    purple, gold = COLORS["posterior"], COLORS["q"]
    return [
        Patch(facecolor=(*to_rgb(purple), ALPHAS[1]), edgecolor=purple, label="p(z|x), 1σ and 2σ"),
        Line2D([], [], color=gold, linestyle=(0, (4, 2)), label="q(z|x), 1σ and 2σ"),
    ]
