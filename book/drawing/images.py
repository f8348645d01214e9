"""Images, and images beside their numbers."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from drawing.style import COLORS, LABELS
from vae_core import Decomposition


def show_images(
    rows: Sequence[Tensor], labels: Sequence[str], titles: Sequence[str] = (), height: float = 0.62
) -> Figure:
    """Draw rows of 28×28 images on one grey scale from 0 (black) to 1 (white).

    Args:
        rows: each `[N, 784]`, all of the same N.
        labels: what each row is: say whether it shows data, a mean, a sample or a parameter.
        titles: over the columns.
        height: of a row, in inches.

    Raises:
        ValueError: rows of different lengths, or as many labels as rows are not given.
    """
    if len({len(row) for row in rows}) != 1 or len(labels) != len(rows):
        raise ValueError(
            f"expected rows of one length and a label each, got {[len(r) for r in rows]} and {len(labels)} labels"
        )
    columns = len(rows[0])
    size = (min(6.9, 1.5 + columns * height), height * len(rows) + 0.3)
    figure, axes = plt.subplots(
        len(rows), columns, figsize=size, squeeze=False, layout="constrained"
    )
    for row, line, label in zip(rows, axes, labels, strict=False):
        for image, ax in zip(row, line, strict=False):
            draw_image(ax, image)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    for ax, title in zip(axes[0], titles, strict=False):
        ax.set_title(title, fontsize="small")
    return figure


def show_three_terms(images: Tensor, terms: Decomposition) -> Figure:
    """Draw each image beside its equation: reconstruction − KL to the prior + KL to the posterior = log p(x).

    Args:
        images: `[n, 784]`.
        terms: fields `[n]`, in nats.
    """
    figure, axes = plt.subplots(
        len(images), 2, figsize=(6.9, 0.75 * len(images) + 0.5), width_ratios=(1, 9)
    )
    keys = ("reconstruction", "kl_prior", "kl_posterior", "likelihood")
    places, signs = (0.02, 0.27, 0.52, 0.80), ("", "−", "+", "=")
    for row, image in enumerate(images):
        draw_image(axes[row, 0], image)
        axes[row, 1].axis("off")
        values = (terms.reconstruction, terms.kl_prior, terms.kl_posterior, terms.log_likelihood)
        for key, place, sign, value in zip(keys, places, signs, values, strict=False):
            text = f"{sign} {value[row].item():.2f}".replace("-", "−")
            axes[row, 1].text(place, 0.5, text, color=COLORS[key], fontsize=13, va="center")
    for key, place in zip(keys, places, strict=False):
        axes[0, 1].text(place, 1.25, LABELS[key], color=COLORS[key], fontsize=9.5, va="center")
    figure.subplots_adjust(hspace=0.15, wspace=0.05)
    return figure


def draw_image(ax: Axes, image: Tensor, **scale) -> None:
    """Draw one 28×28 image on axes of its own; `scale` goes to `imshow`."""
    ax.imshow(
        image.reshape(28, 28).float().numpy(), **({"cmap": "gray", "vmin": 0, "vmax": 1} | scale)
    )
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
