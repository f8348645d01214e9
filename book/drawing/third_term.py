"""The third term: how large it is, of what it is made, what it costs; and bounds on log p(x)."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from drawing.images import draw_image
from drawing.style import COLORS, FAINT, INK, LABELS, OTHERS, SOFT, WIDTH


def plot_posteriors_on_line(
    images: Tensor, names: Sequence[str], line: Tensor, posterior: Tensor, guess: Tensor
) -> Figure:
    """Draw for each image the true posterior over a latent line, filled, and q dashed.

    Args:
        images: `[n, 784]`.
        names: n titles.
        line: `[G]`, codes.
        posterior: `[n, G]`, density of p(z|x).
        guess: `[n, G]`, density of q(z|x).
    """
    size = (WIDTH, 1.3 * len(names) + 0.8)
    figure, panels = plt.subplots(
        len(names), 2, figsize=size, width_ratios=(1, 3.2), layout="constrained", squeeze=False
    )
    for row, (image, name) in enumerate(zip(images, names, strict=True)):
        draw_image(panels[row, 0], image)
        ax = panels[row, 1]
        purple = {"facecolor": COLORS["posterior"], "alpha": 0.45}
        ax.fill_between(line, posterior[row], **purple, label="true posterior p(z|x)")
        ax.plot(line, guess[row], "--", color=COLORS["q"], label="the encoder's q(z|x)")
        heights = [curve[row] / curve[row].max() for curve in (posterior, guess)]
        seen = line[torch.maximum(*heights) > 1e-3]
        margin = 0.25 * (seen[-1] - seen[0]).item()
        limits = (seen[0].item() - margin, seen[-1].item() + margin)
        ax.set(yticks=[], xlim=limits, ylim=(0, None), title=name)
    ax.set_xlabel("$z$")
    handles = panels[0, 1].get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, columnspacing=1)
    return figure


def plot_third_term(kl_posterior: Tensor) -> Figure:
    """Draw the third term over images: a histogram with median and mean, and its sum by rank.

    Args:
        kl_posterior: `[n]`, KL(q(z|x) ‖ p(z|x)) in nats.
    """
    figure, (top, bottom) = plt.subplots(2, figsize=(WIDTH, 5), layout="constrained")
    low, high = kl_posterior.min().log10().item(), kl_posterior.max().log10().item()
    bins = np.logspace(low - 1e-6, high + 1e-6, 40)
    top.hist(kl_posterior.numpy(), bins=bins, color=COLORS["kl_posterior"])
    for value, name, style in (
        (kl_posterior.median(), "median", "--"),
        (kl_posterior.mean(), "mean", "-"),
    ):
        top.axvline(value.item(), color=INK, linestyle=style, linewidth=1.4, label=name)
    top.set(xscale="log", xlabel="third term of an image, nats", ylabel="images")
    top.legend()
    ranked = kl_posterior.sort(descending=True).values.cumsum(0) / kl_posterior.sum()
    share = 100 * torch.arange(1, len(ranked) + 1) / len(ranked)
    bottom.plot(share, 100 * ranked, color=COLORS["kl_posterior"])
    bottom.axvline(5, color=FAINT, linewidth=1)
    bottom.set(xlabel="worst images, %", ylabel="share of the sum, %", ylim=(0, 102))
    return figure


def plot_gap_split(
    names: Sequence[str],
    family: Sequence[float],
    sharing: Sequence[float],
    family_errors: Sequence[float] = (),
    sharing_errors: Sequence[float] = (),
) -> Figure:
    """Draw the mean third term as a bar in two parts: approximation gap and amortization gap.

    Args:
        names: what each bar is for.
        family: what the Gaussian family costs, in nats.
        sharing: what one encoder for all images costs, in nats.
        family_errors: standard errors of the first, drawn around the end of that part.
        sharing_errors: of the second; drawn a little lower.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 0.75 * len(names) + 1.6), layout="constrained")
    place = range(len(names))
    green = {"color": COLORS["kl_posterior"]}
    ax.barh(place, family, 0.4, **green, label="approximation gap: the Gaussian family")
    pale = {"facecolor": "none", "edgecolor": COLORS["kl_posterior"], "hatch": "////"}
    ax.barh(place, sharing, 0.4, left=family, **pale, label="amortization gap: one encoder for all")
    ends = [sum(parts) for parts in zip(family, sharing, strict=True)]
    for across, errors, down in ((family, family_errors, -0.08), (ends, sharing_errors, 0.08)):
        if len(errors):
            line = {"fmt": "none", "ecolor": INK, "elinewidth": 1.6, "capsize": 4}
            ax.errorbar(across, [i + down for i in place], xerr=errors, **line)
    for i, name in enumerate(names):
        ax.text(0, i - 0.28, name, va="bottom")
    ax.set(xlabel="mean third term, nats", yticks=[], ylim=(len(names) - 0.5, -0.8))
    ax.spines["left"].set_visible(False)
    figure.legend(loc="outside upper left")
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
    figure, ax = plt.subplots(figsize=(WIDTH, 3.8), layout="constrained")
    ax.semilogx(samples, lower, "o-", color=OTHERS[0], label="from below: K codes from q")
    if len(upper):
        above = "from above: the true code among them"
        ax.semilogx(samples, upper, "s--", color=OTHERS[1], label=above)
    if len(annealed):
        between = {"color": OTHERS[3], "alpha": 0.6, "label": "between both ways of annealing"}
        ax.axhspan(*annealed, **between)
    if level == level:
        name = LABELS["likelihood"] + ", on the grid"
        ax.axhline(level, color=COLORS["likelihood"], linestyle=":", label=name)
    ax.set(xlabel="K", ylabel="nats per image")
    figure.legend(loc="outside upper left")
    return figure


def plot_grid_price(points_per_axis: int, points_per_second: float, most: int = 20) -> Figure:
    """Draw how long one image takes on a grid of n^Z points, against Z."""
    figure, ax = plt.subplots(figsize=(WIDTH, 3.2), layout="constrained")
    latents = np.arange(1, most + 1)
    seconds = float(points_per_axis) ** latents / points_per_second
    ax.semilogy(latents, seconds, "o-", color=COLORS["kl_posterior"])
    for height, name in ((1, "a second"), (3.15e7, "a year"), (4.35e17, "the age of the universe")):
        ax.axhline(height, color=FAINT, linewidth=1)
        crossed = np.log(height * points_per_second) / np.log(points_per_axis)  # at this Z
        place = {"xy": (most, height), "xytext": (0, -4), "ha": "right", "va": "top"}
        if crossed > (1 + most) / 2:  # the line is below it on the left, else above on the right
            place = {"xy": (1, height), "xytext": (0, 3), "ha": "left", "va": "bottom"}
        ax.annotate(name, textcoords="offset points", size=11, color=SOFT, **place)
    ax.set(xlabel="latent dimensions Z", ylabel="seconds for one image")
    ax.set_xticks(latents[1::2] if most < 25 else latents[4::5])
    return figure
