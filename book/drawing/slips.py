"""A training run beside the sound one: its curves, what it rebuilds, what it makes up."""

from collections.abc import Mapping

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from drawing.style import COLORS, INK, WIDTH

TERMS = {"first term": "reconstruction", "second term": "kl_prior"}


def plot_run(run, sound, rows: Mapping[str, Tensor]) -> Figure:
    """Draw both terms by epoch above rows of images.

    Coloured lines with dots are the run's, thin ones in ink the sound run's; on the digits of
    training they are solid, on test digits dashed. The first epoch is left out: it would set the
    scale.

    Args:
        run: has `train` and `test`, `[epochs, 2]` each, the terms as the run's own code gives them.
        sound: the same of the sound run; None draws the run alone.
        rows: label → images, `[N, 784]` each, on one grey scale from 0 (black) to 1 (white).
    """
    figure = plt.figure(figsize=(WIDTH, 2.4 + 0.5 * len(rows)), layout="constrained")
    grid = figure.add_gridspec(2, 2, height_ratios=[1.9, 0.5 * len(rows)])
    for column, (title, key) in enumerate(TERMS.items()):
        ax = figure.add_subplot(grid[0, column])
        for each, style in ((sound, {"color": INK, "linewidth": 1}), (run, {"marker": "."})):
            if each is None:
                continue
            style = {"color": COLORS[key]} | style
            for part, line in (("train", "-"), ("test", "--")):
                values = getattr(each, part)[1:, column]
                ax.plot(range(2, len(values) + 2), values, line, **style)
        ax.set_title(title, loc="right")  # at the left a power of ten may stand
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    figure.axes[0].set_ylabel("nats")
    ax = figure.add_subplot(grid[1, :])
    picture = np.full((30 * len(rows) - 2, 30 * len(next(iter(rows.values()))) - 2), np.nan)
    for i, images in enumerate(rows.values()):
        for j, image in enumerate(images):
            square = image.reshape(28, 28).float().numpy()
            picture[30 * i : 30 * i + 28, 30 * j : 30 * j + 28] = square
    ax.imshow(picture, cmap="gray", interpolation="none", vmin=0, vmax=1)
    ax.set_yticks([30 * i + 13.5 for i in range(len(rows))], list(rows))
    ax.tick_params(length=0)
    ax.set_xticks([])
    ax.spines[:].set_visible(False)
    return figure
