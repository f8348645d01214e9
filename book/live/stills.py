"""What the live figures show before they move: in print, without scripts, before a cell is run.

Each function gives an SVG that is right on a light page and on a dark one.
"""

import re
from collections.abc import Callable
from functools import wraps
from pathlib import Path

import matplotlib as mpl
import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from matplotlib.patheffects import withStroke
from torch import Tensor

from drawing import COLORS, INK, GridPosterior, draw_image, to_svg
from drawing.style import CLASSES, PAPER
from vae_core import Decomposition, DiagonalGaussian

STYLE = Path(__file__).resolve().parents[1] / "matplotlibrc"
MINUS_ZERO = re.compile(r"(?<![\w.])-0(?:\.0+)?(?![\w.])")
NUMBER = re.compile(r"-?\d+\.\d{3,}")
SIGMAS = (0.39347, 0.86466)  # of a Gaussian's mass in the plane, within 1 and 2 σ


def _still(draw: Callable[..., Figure]) -> Callable[..., str]:
    """Draw in one style, wherever the notebook runs, and give the SVG; the figure is closed."""

    @wraps(draw)
    def drawn(*args) -> str:
        with mpl.rc_context(fname=STYLE):
            figure = draw(*args)
            svg = to_svg(figure, glyphs=False)
        plt.close(figure)
        return _slim(svg)

    return drawn


def _slim(svg: str) -> str:
    """The same picture in fewer bytes: a hundredth of a point is finer than any screen."""
    path = re.compile(r' d="[^"]*"')
    svg = path.sub(lambda found: NUMBER.sub(lambda n: f"{float(n[0]):.2f}", found[0]), svg)
    svg = MINUS_ZERO.sub("0", svg)  # its sign is chance
    return " ".join(svg.split()).replace("> <", "><").replace("'", "").replace('"', "'")


@_still
def still_digit(
    image: Tensor, posterior: GridPosterior, q: DiagonalGaussian, terms: Decomposition
) -> Figure:
    """Draw a digit, its posterior and q on the latent plane, and the three terms as bars.

    Args:
        image: `[784]`.
        posterior: of that image.
        q: batch `[1]`, event `[2]`.
        terms: fields `[1]`, in nats.
    """
    figure, axes = plt.subplot_mosaic(
        "ab;cc", figsize=(4.9, 4.6), height_ratios=(1.4, 1), layout="constrained"
    )
    draw_image(axes["a"], image)
    axes["a"].set_title("x")
    plane = axes["b"]
    _fill(plane, posterior)
    _draw_q(plane, q)
    plane.set(xlabel="z₁", ylabel="z₂", title="p(z|x) filled, q(z|x) dashed", aspect="equal")
    _draw_bars(axes["c"], terms)
    return figure


@_still
def still_plane(means: Tensor, labels: Tensor, point: Tensor, mean: Tensor) -> Figure:
    """Draw the means of q by class, a point of the plane, and what the decoder makes of it.

    Args:
        means: `[n, 2]`.
        labels: `[n]`, 0 to 9.
        point: `[2]`.
        mean: `[784]`, the probability that each pixel is white.
    """
    figure, axes = plt.subplot_mosaic(
        "aab;aac;aad", figsize=(4.9, 3.6), width_ratios=(1, 1, 0.75), layout="constrained"
    )
    plane = axes["a"]
    for digit in labels.unique().tolist():
        own = means[labels == digit]
        dots = {"color": CLASSES[digit], "markersize": 3.5, "label": str(digit)}
        plane.plot(*own.T, ".", **dots, rasterized=True)
    digits = labels.unique()
    middles = torch.stack([means[labels == digit].median(0).values for digit in digits])
    places = _apart(torch.cat([middles, point[None]]), 0.7)[:-1]
    halo = [withStroke(linewidth=2.5, foreground=PAPER)]
    for digit, place in zip(digits.tolist(), places.tolist(), strict=True):
        plane.text(*place, str(digit), ha="center", va="center", weight="bold", path_effects=halo)
    key = {
        "markerscale": 2.5,
        "ncols": 10,
        "fontsize": 9,
        "handlelength": 0.6,
        "handletextpad": 0.3,
    }
    figure.legend(loc="outside lower left", columnspacing=0.9, **key)
    plane.plot(*point, "+", color=INK, markersize=14, markeredgewidth=2.5)
    plane.set(xlim=(-4, 4), ylim=(-4, 4), xlabel="z₁", ylabel="z₂", aspect="equal")
    sample = torch.bernoulli(mean, generator=torch.Generator().manual_seed(0))
    for key, title, values, most in (
        ("b", "mean of p(x|z)", mean, 1),
        ("c", "image drawn", sample, 1),
        ("d", "variance", mean * (1 - mean), 0.25),
    ):
        draw_image(axes[key], values, vmax=most)
        axes[key].set_title(title, fontsize=9)
    return figure


@_still
def still_terms(terms: Decomposition, mean: float, std: float) -> Figure:
    """Draw prior, posterior and a q as wide as the prior over a line, and the three terms as bars.

    Args:
        terms: fields `[1]`, in nats, for q = N(0, 1).
        mean: of the posterior.
        std: of the posterior.
    """
    figure, (top, bottom) = plt.subplots(
        2, figsize=(4.9, 4.2), height_ratios=(1.2, 1), layout="constrained"
    )
    line = torch.linspace(-3.2, 3.2, 160, dtype=torch.float64)
    for centre, width, key, style, name in (
        (0, 1, "prior", ":", "prior p(z)"),
        (mean, std, "posterior", "-", "posterior p(z|x)"),
        (0, 1, "q", "--", "q(z|x)"),
    ):
        height = torch.exp(-0.5 * ((line - centre) / width) ** 2)
        top.plot(line, height, style, color=COLORS[key], label=name, linewidth=2)
        if key == "posterior":
            top.fill_between(line, height, color=COLORS[key], alpha=0.35, linewidth=0)
    top.set(xlabel="z", yticks=[], title="each curve drawn to the same height", xlim=(-3.2, 3.2))
    top.legend(fontsize=9)
    _draw_bars(bottom, terms)
    return figure


@_still
def still_sampling(image: Tensor, q: DiagonalGaussian, z: Tensor, mean: Tensor) -> Figure:
    """Draw a digit, q on the plane with a drawn code, and what the decoder makes of the code.

    Args:
        image: `[784]`.
        q: batch `[1]`, event `[2]`.
        z: `[2]`.
        mean: `[784]`, the probability that each pixel is white.
    """
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(4.9, 2.5), width_ratios=(1, 1.9, 1), layout="constrained"
    )
    draw_image(left, image)
    left.set_title("x")
    _draw_q(middle, q)
    middle.plot(*z, "o", color=INK, markersize=6)
    half = 3 * q.stddev.max().item()
    limits = [(m - half, m + half) for m in q.mean[0].tolist()]
    middle.set(xlabel="z₁", ylabel="z₂", xlim=limits[0], ylim=limits[1], aspect="equal")
    middle.set_title("z = μ + σ ⊙ ε on q(z|x)")
    draw_image(right, mean)
    right.set_title("mean of p(x|z)", fontsize=9)
    return figure


@_still
def still_rain(image: Tensor, thrown: Tensor, kept: Tensor) -> Figure:
    """Draw a digit, codes thrown from the prior, and those that were kept.

    Args:
        image: `[784]`.
        thrown: `[n, 2]`.
        kept: `[k, 2]`.
    """
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(4.9, 3.4), width_ratios=(1, 2.6), layout="constrained"
    )
    draw_image(left, image)
    left.set_title("x")
    right.plot(*thrown.T, ".", color=COLORS["prior"], markersize=2, rasterized=True)
    dots = {"color": COLORS["posterior"], "markersize": 6, "markeredgecolor": "white"}
    right.plot(*kept.T, "o", **dots, markeredgewidth=0.6)
    right.set(xlim=(-3.5, 3.5), ylim=(-3.5, 3.5), xlabel="z₁", ylabel="z₂", aspect="equal")
    right.set_title(f"{len(thrown):,} codes thrown, {len(kept)} kept")
    return figure


def _apart(given: Tensor, least: float) -> Tensor:
    """Places near the given ones, none nearer to another than `least`."""
    places = given.clone()
    for _ in range(50):
        for i in range(len(places)):
            for j in range(i + 1, len(places)):
                away = places[j] - places[i]
                distance = away.norm().clamp(min=1e-6)
                push = (least - distance).clamp(min=0) / (2 * distance) * away
                places[i] -= push
                places[j] += push
    return places


def _fill(ax: Axes, posterior: GridPosterior) -> None:
    """Filled contours that hold as much of the mass as 1 and 2 σ of a Gaussian do."""
    ranked = posterior.density.flatten().sort(descending=True).values
    held = ranked.cumsum(0) / ranked.sum()
    inner, outer = (ranked[(held < share).sum()].item() for share in SIGMAS)
    levels = (outer, inner, 1.01 * ranked[0].item())
    shades = [to_rgba(COLORS["posterior"], alpha) for alpha in (0.35, 0.8)]
    ax.contourf(*posterior.axes, posterior.density.T, levels=levels, colors=shades)


def _draw_q(ax: Axes, q: DiagonalGaussian) -> None:
    """Dashed ellipses of 1 and 2 σ."""
    centre, color = q.mean[0].tolist(), COLORS["q"]
    for width in (1, 2):
        size = (2 * width * q.stddev[0]).tolist()
        line = {"edgecolor": color, "linewidth": 1.8, "linestyle": (0, (4, 2))}
        ax.add_patch(Ellipse(centre, *size, fill=False, **line))
    ax.plot(*centre, "o", color=color, markersize=7)


def _draw_bars(ax: Axes, terms: Decomposition) -> None:
    """Each term as a bar from where the one before it ended, to log p(x)."""
    names = ("reconstruction", "kl_prior", "kl_posterior")
    first, prior, third, last = (
        value.item() for value in (*(getattr(terms, name) for name in names), terms.log_likelihood)
    )
    ends = (first, first - prior, last)
    spread = max(ends) - min(ends)
    low = min(ends) - 0.3 * spread
    bars = ((low, first), (first, first - prior), (first - prior, last))
    signs, hatches, texts = ("first", "− second", "+ third"), ("//", "\\\\", "xx"), []
    for row, name in enumerate(names):
        start, end = bars[row]
        style = {"color": COLORS[name], "hatch": hatches[row], "edgecolor": INK}
        ax.barh(-row, end - start, left=start, **style)
        texts.append(f"{signs[row]} term  {(first, prior, third)[row]:.2f}")
    ax.axvline(last, color=COLORS["likelihood"], linewidth=2)
    ax.set_yticks((0, -1, -2), [text.replace("-", "−") for text in texts])
    ax.set(xlabel=f"nats (axis cut); line: log p(x) = {last:.2f}".replace("-", "−"))
    ax.set(xlim=(low, max(ends) + 0.1 * spread))
    zigzag = [(-0.015, -0.06), (0.015, -0.03), (-0.015, 0.0), (0.015, 0.03), (-0.015, 0.06)]
    across, along = torch.tensor(zigzag).T
    ax.plot(across, along, color=INK, transform=ax.transAxes, clip_on=False, linewidth=1.5)
