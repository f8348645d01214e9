"""What the live figures show before they move: in print, without scripts, and before a cell is run."""

import math

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse
from torch import Tensor

from drawing.images import draw_image
from drawing.posteriors import GridPosterior
from drawing.style import CLASSES, COLORS, LABELS
from vae_core import Decomposition, DiagonalGaussian


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
        "ab;cc", figsize=(6.9, 4.4), height_ratios=(1.9, 1), layout="constrained"
    )
    draw_image(axes["a"], image)
    axes["a"].set_title("x")
    plane = axes["b"]
    plane.contourf(*posterior.axes, posterior.density.T, levels=11, cmap="Greens")
    _draw_q(plane, q)
    plane.set(xlabel="$z_1$", ylabel="$z_2$", title="p(z|x) green, q(z|x) orange", aspect="equal")
    _draw_bars(axes["c"], terms)
    return figure


def still_plane(means: Tensor, labels: Tensor, point: Tensor, mean: Tensor) -> Figure:
    """Draw the means of q by class, a point of the plane, and what the decoder makes of it.

    Args:
        means: `[n, 2]`.
        labels: `[n]`, 0 to 9.
        point: `[2]`.
        mean: `[784]`, the probability that each pixel is white.
    """
    panels = plt.subplot_mosaic(
        "aab;aac;aad", figsize=(6.0, 4.2), width_ratios=(1, 1, 0.75), layout="constrained"
    )
    figure, axes = panels
    plane = axes["a"]
    for digit in labels.unique().tolist():
        plane.plot(
            *means[labels == digit].T, ".", color=CLASSES[digit], markersize=4, label=str(digit)
        )
    plane.plot(*point, "+", color="black", markersize=14, markeredgewidth=2)
    plane.set(xlim=(-4, 4), ylim=(-4, 4), xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    plane.legend(
        fontsize="small",
        ncols=5,
        loc="lower center",
        markerscale=2,
        handletextpad=0,
        columnspacing=0.6,
    )
    sample = torch.bernoulli(mean, generator=torch.Generator().manual_seed(0))
    for key, title, values, most in (
        ("b", "mean of p(x|z)", mean, 1),
        ("c", "sample from it", sample, 1),
        ("d", "variance of each pixel", mean * (1 - mean), 0.25),
    ):
        draw_image(axes[key], values, vmax=most)
        axes[key].set_title(title, fontsize="small")
    return figure


def still_terms(terms: Decomposition, mean: float, std: float) -> Figure:
    """Draw prior, posterior and a q as wide as the prior over a line, and the three terms as bars.

    Args:
        terms: fields `[1]`, in nats, for q = N(0, 1).
        mean: of the posterior.
        std: of the posterior.
    """
    figure, (top, bottom) = plt.subplots(
        2, figsize=(6.9, 4.0), height_ratios=(1.3, 1), layout="constrained"
    )
    line = torch.linspace(-3.2, 3.2, 600, dtype=torch.float64)
    for centre, width, color, style, name in (
        (0, 1, "#888888", ":", "prior p(z)"),
        (mean, std, COLORS["kl_posterior"], "-", "posterior p(z|x)"),
        (0, 1, COLORS["kl_prior"], "--", "q(z|x)"),
    ):
        density = torch.exp(-0.5 * ((line - centre) / width) ** 2) / (
            width * math.sqrt(2 * math.pi)
        )
        top.plot(line, density / density.max(), style, color=color, label=name)
    top.set(xlabel="z", yticks=[], title="each curve drawn to the same height", xlim=(-3.2, 3.2))
    top.legend(fontsize="small")
    _draw_bars(bottom, terms)
    return figure


def still_sampling(image: Tensor, q: DiagonalGaussian, z: Tensor, mean: Tensor) -> Figure:
    """Draw a digit, q on the plane with a drawn code on it, and what the decoder makes of the code.

    Args:
        image: `[784]`.
        q: batch `[1]`, event `[2]`.
        z: `[2]`.
        mean: `[784]`, the probability that each pixel is white.
    """
    figure, (left, middle, right) = plt.subplots(
        1, 3, figsize=(6.9, 2.7), width_ratios=(1, 1.6, 1), layout="constrained"
    )
    draw_image(left, image)
    left.set_title("x")
    _draw_q(middle, q)
    middle.plot(*z, "o", color="black", markersize=6)
    half = 3 * q.stddev.max().item()
    (a, b) = q.mean[0].tolist()
    middle.set(
        xlabel="$z_1$",
        ylabel="$z_2$",
        xlim=(a - half, a + half),
        ylim=(b - half, b + half),
        aspect="equal",
    )
    middle.set_title("q(z|x), and z = μ + σε")
    draw_image(right, mean)
    right.set_title("mean of p(x|z)")
    return figure


def _draw_q(ax: Axes, q: DiagonalGaussian) -> None:
    """Ellipses of 1 and 2 σ."""
    for width in (1, 2):
        size = (2 * width * q.stddev[0]).tolist()
        ax.add_patch(
            Ellipse(q.mean[0].tolist(), *size, fill=False, color=COLORS["kl_prior"], linewidth=1.6)
        )
    ax.plot(*q.mean[0].tolist(), "+", color=COLORS["kl_prior"])


def _draw_bars(ax: Axes, terms: Decomposition) -> None:
    """From the reconstruction term back by the KL to the prior, and on by the KL to the posterior, to log p(x)."""
    first, prior, third, last = (
        value.item()
        for value in (
            terms.reconstruction,
            terms.kl_prior,
            terms.kl_posterior,
            terms.log_likelihood,
        )
    )
    ends = (first, first - prior, last)
    spread = max(ends) - min(ends)
    low = min(ends) - 0.25 * spread
    ax.barh(2, first - low, left=low, color=COLORS["reconstruction"])
    ax.barh(1, -prior, left=first, color=COLORS["kl_prior"])
    ax.barh(0, third, left=first - prior, color=COLORS["kl_posterior"])
    ax.axvline(last, color=COLORS["likelihood"], linewidth=2)
    texts = (LABELS["reconstruction"], "− " + LABELS["kl_prior"], "+ " + LABELS["kl_posterior"])
    ax.set_yticks(
        (2, 1, 0),
        [f"{text}  {value:.2f}" for text, value in zip(texts, (first, prior, third), strict=False)],
    )
    ax.set(xlabel=f"nats; the line is log p(x) = {last:.2f}", xlim=(low, max(ends) + 0.1 * spread))
