"""What decoders do to densities, probabilities and codes."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch
from matplotlib.patheffects import withStroke
from torch import Tensor

from drawing.style import CLASSES, COLORS, FAINT, OTHERS, PAPER, WIDTH

IN_SIGHT = {  # a letter over a cloud of points, with the page around it
    "size": 15,
    "weight": "bold",
    "ha": "center",
    "va": "center",
    "path_effects": [withStroke(linewidth=3, foreground=PAPER)],
}


def plot_density_trap(std: Tensor, density: Tensor, probability: Tensor) -> Figure:
    """Draw the log-density of a black pixel at its own mean, and its log-probability.

    The density has no upper limit.

    Args:
        std: `[n]`, standard deviations of the decoder.
        density: `[n]`, log-density in nats of a pixel that is exactly at its mean.
        probability: `[n]`, log-probability in nats of the same pixel, observed as an 8-bit value.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    ax.semilogx(std, density, "--", color=OTHERS[0], label="log-density: no limit as σ → 0")
    bounded = "log-probability, 8 bits: at most 0"
    ax.semilogx(std, probability, color=OTHERS[1], label=bounded)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.set(xlabel="standard deviation σ of the decoder", ylabel="nats for one pixel")
    ax.invert_xaxis()
    figure.legend(loc="outside upper left")
    return figure


def plot_latent_plane(codes: Tensor, labels: Tensor) -> Figure:
    """Draw codes on the latent plane by class, with circles of 1 and 2 σ of the prior, dotted.

    The digit of a class stands at the median of its codes.

    Args:
        codes: `[N, 2]`.
        labels: `[N]`, whole numbers from 0 to 9.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 4.6), layout="constrained")
    for digit in range(10):
        of_class = codes[labels == digit]
        many = len(codes) > 500  # then points are a picture: as paths they would be heavy
        points = {"s": 9, "color": CLASSES[digit], "rasterized": many, "label": f"{digit}"}
        ax.scatter(*of_class.T, **points)
        if len(of_class):
            ax.text(*of_class.median(0).values.tolist(), digit, **IN_SIGHT)
    for radius in (1, 2):
        line = {"fill": False, "linestyle": ":", "edgecolor": COLORS["prior"], "linewidth": 1.8}
        ax.add_patch(Circle((0, 0), radius, **line))
        ax.text(0, radius, f"{radius}σ", size=11, ha="center", va="bottom")
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
    return figure


def plot_units(kl: Tensor, active: Tensor) -> Figure:
    """Draw the KL to the prior of each latent dimension, the largest first.

    Args:
        kl: `[Z]`, mean over images, in nats.
        active: `[Z]`, whether the dimension counts as active.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 2.8), layout="constrained")
    order = kl.argsort(descending=True)
    fills = [COLORS["kl_prior"] if active[i] else "none" for i in order]
    ranks = range(1, len(kl) + 1)
    ax.bar(ranks, kl[order].tolist(), color=fills, edgecolor=COLORS["kl_prior"])
    ax.set(xlabel="latent dimension, by rank", ylabel="KL to the prior, nats")
    ax.set_xticks(ranks if len(kl) < 12 else [1, *ranks[4::5]])
    if not active.all():
        handles = [
            Patch(facecolor=COLORS["kl_prior"], edgecolor=COLORS["kl_prior"], label="active"),
            Patch(facecolor="none", edgecolor=COLORS["kl_prior"], label="not active"),
        ]
        ax.legend(handles=handles)
    return figure
