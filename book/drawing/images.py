"""Images, and images beside their numbers."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from drawing.style import COLORS, LABELS, WIDTH
from vae_core import Decomposition


def show_images(
    rows: Sequence[Tensor],
    labels: Sequence[str],
    titles: Sequence[str] = (),
    height: float = 0.75,
) -> Figure:
    """Draw rows of 28×28 images on one grey scale from 0 (black) to 1 (white), as one picture.

    Args:
        rows: each `[N, 784]`, all of the same N.
        labels: what each row is, written above it: say whether it shows data, a mean, a sample or
            a parameter. A row with an empty label stands close to the one above.
        titles: over the columns.
        height: of an image in inches, at most; many columns make it smaller.

    Raises:
        ValueError: rows of different lengths, or as many labels as rows are not given.
    """
    if len({len(row) for row in rows}) != 1 or len(labels) != len(rows):
        given = f"{[len(row) for row in rows]} and {len(labels)} labels"
        raise ValueError(f"expected rows of one length and a label each, got {given}")
    gap, columns = 2, len(rows[0])
    pixels = columns * (28 + gap) - gap
    scale = min(WIDTH / pixels, height / 28)  # inches a pixel
    line = math.ceil(0.26 / scale)  # pixels that a line of text takes
    tops, bottom = [], -gap
    for i, label in enumerate(labels):
        tops.append(bottom + gap + (line if label else 0) + (line if titles and not i else 0))
        bottom = tops[-1] + 28
    picture = np.full((bottom, pixels), np.nan)  # what holds no image shows the page
    for top, row in zip(tops, rows, strict=True):
        for column, image in enumerate(row):
            left = column * (28 + gap)
            picture[top : top + 28, left : left + 28] = image.reshape(28, 28).float().numpy()
    figure = plt.figure(figsize=(pixels * scale, bottom * scale))
    ax = figure.add_axes((0, 0, 1, 1))
    _show(ax, picture, vmin=0, vmax=1)
    for i, (top, label) in enumerate(zip(tops, labels, strict=True)):
        ax.text(-0.5, top - 0.5 - (line if titles and not i else 0), label, va="bottom")
    for column, title in enumerate(titles):
        ax.text(column * (28 + gap) + 13.5, tops[0] - 0.5, title, ha="center", va="bottom")
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
    _show(ax, image.reshape(28, 28).float().numpy(), **({"vmin": 0, "vmax": 1} | scale))


def _show(ax: Axes, picture: np.ndarray, **scale) -> None:
    """Pixel for pixel, as sharp squares; what is not a number stays transparent."""
    ax.imshow(picture, **({"cmap": "gray", "interpolation": "none"} | scale))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
