"""The three terms of log p(x): as bars that add up, as an equation beside its image."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from drawing.diagrams import canvas
from drawing.images import draw_image
from drawing.style import COLORS, HATCHES, LABELS, PAPER, WIDTH
from vae_core import Decomposition

SIGNS = {"reconstruction": "", "kl_prior": "−", "kl_posterior": "+"}
WORDS = {
    "reconstruction": "reconstruct",
    "kl_prior": "stay near\nthe prior",
    "kl_posterior": "what the\nencoder\nmisses",
    "likelihood": LABELS["likelihood"],
}
BEFORE = SIGNS | {"likelihood": "="}
RIGHTS = (1.7, 2.62, 3.64, 4.87)  # of the columns of numbers, in inches
SPACE = {"reconstruction": 0, "kl_prior": 0.72, "kl_posterior": 0.78, "likelihood": 0.98}


def plot_terms(terms: Decomposition, names: Sequence[str]) -> Figure:
    """Draw the three terms as bars that add up to log p(x), three bars for each name.

    The first leads from far to the left (the axis is cut there) to its value, the second back from
    there, the third on to log p(x), which is the line. Chapter 1, equation (three-terms).

    Args:
        terms: fields `[n]`, in nats.
        names: n names: of q, or of images.
    """
    size = (WIDTH, 1.35 * len(names) + 1.35)
    figure, ax = plt.subplots(figsize=size, layout="constrained")
    draw_terms(ax, terms, names)
    labels = [f"{SIGNS[key]} {LABELS[key]}".strip() for key in SIGNS]
    figure.legend(ax.containers[:3], labels, loc="outside upper left")
    return figure


def draw_terms(ax: Axes, terms: Decomposition, names: Sequence[str]) -> None:
    """Draw the bars of `plot_terms` on axes that are there already."""
    ends = (terms.reconstruction, terms.elbo, terms.elbo + terms.kl_posterior)
    least, most = min(e.min().item() for e in ends), max(e.max().item() for e in ends)
    low, high = least - 0.3 * (most - least), most + 0.35 * (most - least)
    starts = (torch.full_like(ends[0], low), *ends[:2])
    cut = {"ha": "left", "weight": "bold", "size": 17}
    for i, name in enumerate(names):
        top = 4 * i  # three bars, and the name above them
        total = terms.log_likelihood[i].item()
        ax.text(low, top - 0.55, name, va="bottom")
        for row, (key, start, end) in enumerate(zip(SIGNS, starts, ends, strict=True)):
            style = {"facecolor": COLORS[key], "edgecolor": PAPER, "hatch": HATCHES[key]}
            left, width = start[i].item(), (end - start)[i].item()
            ax.barh(top + row, width, 0.86, left=left, linewidth=0, **style)
            value = f"{SIGNS[key]} {getattr(terms, key)[i].item():.2f}".strip().replace("-", "−")
            place = max(left, left + width)
            if 0 < total - place < 0.15 * (high - low):  # else the line runs through the number
                place = total
            ax.annotate(
                value, (place, top + row), (5, 0), textcoords="offset points", va="center", size=11
            )
        ax.text(low, top, " //", va="center", color=PAPER, **cut)
        ax.plot([total] * 2, (top - 0.5, top + 2.5), color=COLORS["likelihood"], linewidth=2.5)
    ax.set(yticks=[], xlim=(low, high), ylim=(4 * len(names) - 1.3, -1.5))
    ax.set_xlabel("nats; the upright line is " + LABELS["likelihood"])
    ax.text(0, 0, "//", transform=ax.transAxes, va="center", **cut)
    ax.spines["left"].set_visible(False)


def show_three_terms(images: Tensor, terms: Decomposition) -> Figure:
    """Draw each image beside its equation: the three terms and log p(x), in numbers.

    Under both KLs stands a bar of so many nats, on one scale.

    Args:
        images: `[n, 784]`.
        terms: fields `[n]`, in nats.
    """
    step, head = 0.88, 0.65
    figure, ax = canvas(WIDTH, step * len(images) + head)
    longest = max(terms.kl_prior.max().item(), terms.kl_posterior.max().item())
    values = (terms.reconstruction, terms.kl_prior, terms.kl_posterior, terms.log_likelihood)
    for row, image in enumerate(images):
        bottom = step * (len(images) - 1 - row)
        draw_image(ax.inset_axes((0, bottom, 0.72, 0.72), transform=ax.transData), image)
        for (key, words), right, value in zip(WORDS.items(), RIGHTS, values, strict=True):
            style = {"color": COLORS[key], "ha": "right"}
            if row == 0:
                ax.text(right, step * len(images), words, va="bottom", size=11, **style)
            text = f"{value[row].item():.2f}".replace("-", "−")
            ax.text(right, bottom + 0.4, text, va="center", size=13, **style)
            ax.text(
                right - SPACE[key], bottom + 0.4, BEFORE[key], ha="center", va="center", size=13
            )
            if key.startswith("kl"):
                length = 0.7 * value[row].item() / longest
                bar = {"facecolor": COLORS[key], "edgecolor": PAPER, "hatch": HATCHES[key]}
                ax.barh(bottom + 0.12, length, 0.16, left=right - 0.7, linewidth=0, **bar)
    return figure
