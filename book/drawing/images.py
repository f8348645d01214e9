"""Images, in rows and in a square."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from drawing.style import WIDTH


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


def show_manifold(images: Tensor) -> Figure:
    """Draw a square of images without gaps, the first row at the top.

    Args:
        images: `[n², 784]`, row by row.

    Raises:
        ValueError: the number of images is not a square.
    """
    side = math.isqrt(len(images))
    if side**2 != len(images):
        raise ValueError(f"expected a square number of images, got {len(images)}")
    figure, ax = plt.subplots(figsize=(WIDTH, WIDTH), layout="constrained")
    picture = images.reshape(side, side, 28, 28).transpose(1, 2).reshape(28 * side, 28 * side)
    _show(ax, picture.float().numpy(), vmin=0, vmax=1)
    ax.set(xlabel="quantiles of $z_1$", ylabel="quantiles of $z_2$")
    return figure


def draw_image(ax: Axes, image: Tensor, **scale) -> None:
    """Draw one 28×28 image on axes of its own; `scale` goes to `imshow`."""
    _show(ax, image.reshape(28, 28).float().numpy(), **({"vmin": 0, "vmax": 1} | scale))


def _show(ax: Axes, picture: np.ndarray, **scale) -> None:
    """Pixel for pixel, as sharp squares; what is not a number stays transparent."""
    ax.imshow(picture, **({"cmap": "gray", "interpolation": "none"} | scale))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
