"""What decoders do to densities, probabilities and codes."""

import math
from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Patch
from torch import Tensor

from drawing.style import COLORS


def plot_density_trap(std: Tensor, density: Tensor, probability: Tensor) -> Figure:
    """Draw the log-density of a black pixel at its own mean, which has no upper limit, and its log-probability.

    Args:
        std: `[n]`, standard deviations of the decoder.
        density: `[n]`, log-density in nats of a pixel that is exactly at its mean.
        probability: `[n]`, log-probability in nats of the same pixel, observed as an 8-bit value.
    """
    figure, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
    ax.semilogx(std, density, color=COLORS["kl_prior"], label="log-density: no limit as σ → 0")
    ax.semilogx(
        std,
        probability,
        color=COLORS["reconstruction"],
        label="log-probability of the 8-bit value: at most 0",
    )
    ax.axhline(0, color="#999999", linewidth=0.7)
    ax.set(xlabel="standard deviation σ that the decoder gives", ylabel="nats for one pixel")
    ax.invert_xaxis()
    ax.legend(fontsize="small")
    return figure


def plot_density_climb(densities: Sequence[float]) -> Figure:
    """Draw the mean log-density of training images by epoch, and the line above which it is that of no probability.

    Args:
        densities: in nats, after epoch 1, 2, …
    """
    figure, ax = plt.subplots(figsize=(6, 2.6), layout="constrained")
    ax.plot(range(1, len(densities) + 1), densities, "o-", color=COLORS["kl_prior"], markersize=4)
    ax.axhline(0, color="#999999", linewidth=0.7)
    ax.set(xlabel="epoch", ylabel="log-density, nats per image")
    return figure


def plot_remedies(nats: dict[str, float]) -> Figure:
    """Draw one horizontal bar for each decoder: the mean bound on log P of the 8-bit image. Shorter is better."""
    figure, ax = plt.subplots(figsize=(6.5, 0.45 * len(nats) + 0.8), layout="constrained")
    colors = [
        COLORS["reconstruction"] if value == max(nats.values()) else "#a6c8e0"
        for value in nats.values()
    ]
    bars = ax.barh(list(nats), list(nats.values()), color=colors)
    ax.bar_label(
        bars,
        [f"{value:,.0f}".replace("-", "−") for value in nats.values()],
        padding=3,
        fontsize="small",
    )
    ax.set(
        xlabel="nats per 8-bit image (ELBO, held-out digits)", xlim=(1.18 * min(nats.values()), 0)
    )
    ax.invert_yaxis()
    return figure


def plot_latent_plane(codes: Tensor, labels: Tensor) -> Figure:
    """Draw codes on the latent plane, coloured by class, with circles of 1 and 2 standard deviations of the prior.

    Args:
        codes: `[N, 2]`.
        labels: `[N]`, whole numbers from 0 to 9.
    """
    figure, ax = plt.subplots(figsize=(5.2, 4.2), layout="constrained")
    points = ax.scatter(*codes.T, c=labels, cmap="tab10", vmin=-0.5, vmax=9.5, s=7)
    for radius in (1, 2):
        ax.add_patch(Circle((0, 0), radius, fill=False, linestyle="--", color=COLORS["likelihood"]))
        ax.text(0, radius, f"{radius}σ", fontsize="small", ha="center", va="bottom")
    figure.colorbar(points, ax=ax, ticks=range(10), label="digit")
    ax.set(xlabel="$z_1$", ylabel="$z_2$", aspect="equal")
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
    figure, ax = plt.subplots(figsize=(4.6, 4.6), layout="constrained")
    picture = images.reshape(side, side, 28, 28).transpose(1, 2).reshape(28 * side, 28 * side)
    ax.imshow(picture.numpy(), cmap="gray", vmin=0, vmax=1, interpolation="none")
    ax.set(xticks=[], yticks=[], xlabel="quantiles of $z_1$", ylabel="quantiles of $z_2$")
    return figure


def plot_units(kl: Tensor, active: Tensor) -> Figure:
    """Draw the KL to the prior of each latent dimension, the largest first.

    Args:
        kl: `[Z]`, mean over images, in nats.
        active: `[Z]`, whether the dimension counts as active.
    """
    figure, ax = plt.subplots(figsize=(6, 2.5), layout="constrained")
    order = kl.argsort(descending=True)
    colors = [COLORS["kl_prior"] if active[i] else "#bbbbbb" for i in order]
    ax.bar(range(1, len(kl) + 1), kl[order].tolist(), color=colors)
    ax.set(
        xlabel="latent dimension, by rank",
        ylabel="KL to the prior, nats",
        xticks=range(1, len(kl) + 1),
    )
    ax.tick_params(axis="x", labelsize="small")
    if not active.all():
        handles = [
            Patch(color=COLORS["kl_prior"], label="active"),
            Patch(color="#bbbbbb", label="not active"),
        ]
        ax.legend(handles=handles, fontsize="small")
    return figure
