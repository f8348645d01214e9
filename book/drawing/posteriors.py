"""Posteriors, how far q is from them, and bounds on log p(x)."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, Patch
from torch import Tensor

from drawing.images import draw_image
from drawing.style import COLORS, LABELS
from vae_core import VAE, DiagonalGaussian, log_joint
from vae_core.data import expect


class GridPosterior(NamedTuple):
    """The true posterior of one image on a window of the latent plane, for a picture."""

    axes: Tensor
    "`[2, G]`: coordinates along both latent dimensions."
    density: Tensor
    "`[G, G]`: p(z|x), first index along the first latent dimension."


@torch.no_grad()
def posterior_on_grid(
    model: VAE, x: Tensor, q: DiagonalGaussian, points: int = 120
) -> GridPosterior:
    """Compute p(z|x) of one image where it has its mass, on a window that shows q (to 2.5 σ) too. Chapter 2.

    For a picture: p(x) comes from one fixed grid, [−6, 6]² with step 1/16, and nothing is refined. Mass outside that
    square, or modes much narrower than the step, would be missed: for numbers use `decompose_on_grid`.

    Args:
        model: the VAE, Z = 2.
        x: one image, `[1, D]` or `[1, C, H, W]`.
        q: batch `[1]`, event `[2]`.
        points: G, along each axis of the window.

    Raises:
        ValueError: Z other than 2, or more images than one.
    """
    fits = model.latent == 2 and len(x) == 1 and q.batch_shape == (1,)
    expect(fits, "Z = 2 and one image with its q", [model.latent, len(x), list(q.batch_shape)])
    axis = torch.arange(-6, 6, 1 / 16, dtype=x.dtype, device=x.device)
    plane = torch.cartesian_prod(axis, axis)
    joint = log_joint(model, x, plane)[0]
    log_px = joint.logsumexp(0) - 2 * math.log(16)
    heavy = plane[joint > joint.max() - 8]
    seen = torch.cat([heavy, q.mean + 2.5 * q.stddev, q.mean - 2.5 * q.stddev])
    low, high = seen.amin(0) - 0.05, seen.amax(0) + 0.05
    axes = low[:, None] + (high - low)[:, None] * torch.linspace(
        0, 1, points, dtype=x.dtype, device=x.device
    )
    density = (log_joint(model, x, torch.cartesian_prod(*axes))[0] - log_px).exp()
    return GridPosterior(axes, density.reshape(points, points))


def plot_posteriors(
    images: Tensor, names: Sequence[str], posteriors: Sequence[GridPosterior], q: DiagonalGaussian
) -> Figure:
    """Draw for each image the true posterior on its grid, as filled contours, and q as ellipses of 1 and 2 σ.

    Args:
        images: `[n, 784]`.
        names: n titles.
        posteriors: n of them.
        q: batch `[n]`, event `[2]`.
    """
    figure, panels = plt.subplots(
        2, len(names), figsize=(6.9, 3.9), height_ratios=(1, 3), layout="constrained"
    )
    for column, (image, name) in enumerate(zip(images, names, strict=True)):
        draw_image(panels[0, column], image)
        panels[0, column].set_title(name)
        ax = panels[1, column]
        density = posteriors[column].density
        levels = density.max() * torch.logspace(-2, 0, 11)  # so that a second, lower peak is seen
        ax.contourf(
            *posteriors[column].axes,
            density.T,
            levels=levels.tolist(),
            cmap="Greens",
            norm="log",
            extend="max",
        )
        centre, std = q.mean[column].tolist(), q.stddev[column]
        for width in (1, 2):
            size = (2 * width * std).tolist()
            ax.add_patch(
                Ellipse(centre, *size, fill=False, color=COLORS["kl_prior"], linewidth=1.4)
            )
        ax.set(xlabel="$z_1$")
    panels[1, 0].set_ylabel("$z_2$")
    handles = [
        Patch(color="#74c476", label="true posterior p(z|x)"),
        Patch(fill=False, edgecolor=COLORS["kl_prior"], label="the encoder's q(z|x), 1σ and 2σ"),
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, fontsize="small")
    return figure


def plot_posteriors_on_line(
    images: Tensor, names: Sequence[str], line: Tensor, posterior: Tensor, guess: Tensor
) -> Figure:
    """Draw for each image the true posterior on a one-dimensional latent, filled, and q as a line.

    Args:
        images: `[n, 784]`.
        names: n titles.
        line: `[G]`, codes.
        posterior: `[n, G]`, density of p(z|x).
        guess: `[n, G]`, density of q(z|x).
    """
    figure, panels = plt.subplots(
        2, len(names), figsize=(6.9, 3.5), height_ratios=(1, 2.2), layout="constrained"
    )
    for column, (image, name) in enumerate(zip(images, names, strict=True)):
        draw_image(panels[0, column], image)
        panels[0, column].set_title(name)
        ax = panels[1, column]
        ax.fill_between(line, posterior[column], color="#74c476", label="true posterior p(z|x)")
        ax.plot(
            line,
            guess[column],
            color=COLORS["kl_prior"],
            linewidth=1.4,
            label="the encoder's q(z|x)",
        )
        seen = line[
            torch.maximum(
                posterior[column] / posterior[column].max(), guess[column] / guess[column].max()
            )
            > 1e-3
        ]
        margin = 0.25 * (seen[-1] - seen[0]).item()
        ax.set(
            xlabel="$z$",
            yticks=[],
            xlim=(seen[0].item() - margin, seen[-1].item() + margin),
            ylim=(0, None),
        )
    panels[1, 0].set_ylabel("density")
    figure.legend(
        *panels[1, 0].get_legend_handles_labels(),
        loc="outside lower center",
        ncols=2,
        fontsize="small",
    )
    return figure


def plot_third_term(kl_posterior: Tensor) -> Figure:
    """Draw the distribution of KL(q(z|x) ‖ p(z|x)) over images: a histogram, and the share of the sum by rank."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.7), layout="constrained")
    low, high = kl_posterior.min().log10().item(), kl_posterior.max().log10().item()
    left.hist(
        kl_posterior.numpy(),
        bins=np.logspace(low - 1e-6, high + 1e-6, 40),
        color=COLORS["kl_posterior"],
    )
    for value, name, line in (
        (kl_posterior.median(), "median", "--"),
        (kl_posterior.mean(), "mean", "-"),
    ):
        left.axvline(
            value.item(), color=COLORS["likelihood"], linestyle=line, linewidth=1.2, label=name
        )
    left.set(xscale="log", xlabel=LABELS["kl_posterior"] + ", nats", ylabel="images")
    left.legend(fontsize="small")
    ranked = kl_posterior.sort(descending=True).values.cumsum(0) / kl_posterior.sum()
    share = 100 * torch.arange(1, len(ranked) + 1) / len(ranked)
    right.plot(share, 100 * ranked, color=COLORS["kl_posterior"])
    right.axvline(5, color="#999999", linewidth=0.7)
    right.set(xlabel="worst images, %", ylabel="share of the whole third term, %", ylim=(0, 102))
    return figure


def plot_gap_split(
    names: Sequence[str], family: Sequence[float], sharing: Sequence[float]
) -> Figure:
    """Draw the mean third term as a bar in two parts: the price of the Gaussian family, and of one shared encoder.

    Args:
        names: what each bar is for.
        family: in nats.
        sharing: in nats.
    """
    figure, ax = plt.subplots(figsize=(6.5, 0.5 * len(names) + 1.2), layout="constrained")
    ax.barh(names, family, 0.55, color=COLORS["kl_posterior"], label="the Gaussian family")
    ax.barh(names, sharing, 0.55, left=family, color="#b2dfd0", label="one encoder for all images")
    ax.set(xlabel=LABELS["kl_posterior"] + ", mean, nats")
    ax.invert_yaxis()
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    return figure


def plot_bounds(
    samples: Sequence[int],
    lower: Sequence[float],
    level: float,
    upper: Sequence[float] = (),
    annealed: Sequence[float] = (),
) -> Figure:
    """Draw mean bounds on log p(x) against the number K of samples.

    Args:
        samples: values of K.
        lower: mean lower bound for each K, in nats.
        level: mean log p(x), if it is known; NaN if not.
        upper: mean upper bound for each K.
        annealed: mean lower and upper bound by annealing.
    """
    figure, ax = plt.subplots(figsize=(6, 2.9), layout="constrained")
    ax.semilogx(
        samples, lower, "o-", color=COLORS["reconstruction"], label="from below: K codes from q"
    )
    if len(upper):
        ax.semilogx(
            samples,
            upper,
            "o-",
            color=COLORS["kl_prior"],
            label="from above: the true code among them",
        )
    if len(annealed):
        ax.axhspan(
            *annealed,
            color=COLORS["kl_posterior"],
            alpha=0.6,
            label="between both directions of annealing",
        )
    if level == level:
        ax.axhline(
            level,
            color=COLORS["likelihood"],
            linestyle=":",
            label=LABELS["likelihood"] + ", on the grid",
        )
    ax.set(xlabel="K", ylabel="nats per image")
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    return figure


def plot_grid_price(points_per_axis: int, points_per_second: float, most: int = 20) -> Figure:
    """Draw how long one image takes on a grid of n^Z points, against Z."""
    figure, ax = plt.subplots(figsize=(6, 3), layout="constrained")
    latents = np.arange(1, most + 1)
    seconds = float(points_per_axis) ** latents / points_per_second
    ax.semilogy(latents, seconds, "o-", color=COLORS["kl_posterior"])
    for height, name in ((1, "a second"), (3.15e7, "a year"), (4.35e17, "the age of the universe")):
        ax.axhline(height, color="#999999", linewidth=0.7)
        ax.text(most, height * 3, name, fontsize="small", ha="right", color="#555555")
    ax.set(xlabel="latent dimensions Z", ylabel="seconds for one image", xticks=latents[::2])
    return figure
