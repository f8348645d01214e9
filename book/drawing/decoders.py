"""What decoders do to densities, probabilities and codes."""

from collections.abc import Sequence

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


def plot_density_climb(densities: Sequence[float]) -> Figure:
    """Draw the mean log-density of training images by epoch; above 0 no probability can be.

    Args:
        densities: in nats, after epoch 1, 2, …
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 2.8), layout="constrained")
    ax.plot(range(1, len(densities) + 1), densities, "o--", color=OTHERS[0], markersize=4)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.set(xlabel="epoch", ylabel="log-density, nats per image")
    return figure


def plot_remedies(nats: dict[str, float]) -> Figure:
    """Draw one bar for each decoder: the mean bound on log P of the 8-bit image; shorter is better.

    Args:
        nats: name → mean ELBO of an 8-bit image; the best is filled.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 0.62 * len(nats) + 0.8), layout="constrained")
    values = list(nats.values())
    fills = [OTHERS[1] if value == max(values) else "none" for value in values]
    bars = ax.barh(range(len(nats)), values, 0.4, color=fills, edgecolor=OTHERS[1])
    texts = [f"{value:,.0f}".replace("-", "−") for value in values]
    ax.bar_label(bars, texts, padding=3, size=11)
    for i, name in enumerate(nats):
        ax.text(0, i - 0.25, name, va="bottom", ha="right", size=11)
    ax.set(xlabel="nats per 8-bit image (ELBO, held-out digits)", xlim=(1.25 * min(values), 0))
    ax.set(yticks=[], ylim=(len(nats) - 0.5, -0.9))
    ax.spines["left"].set_visible(False)
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
