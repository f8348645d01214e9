"""Stored results: how likely models make the test digits, and how long training takes."""

import math
from collections.abc import Mapping, Sequence
from statistics import median

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drawing.style import COLORS, FAINT, LABELS, OTHERS, SOFT, WIDTH, with_styles

LINES = tuple(zip(OTHERS, ("o-", "s--", "^:"), strict=False))


def plot_likelihoods(
    names: Sequence[str],
    nll: Sequence[float],
    groups: Sequence[str],
    errors: Sequence[float | None],
    ours: Sequence[bool],
) -> Figure:
    """Draw −log p(x) of several models, a row each, the best at the top; ours filled.

    Args:
        names: n names.
        nll: n means over the test digits, in nats.
        groups: what each belongs to: a marker for each group, of which there may be three.
        errors: half the length of a bar about the mean, in nats, or None.
        ours: which of them were trained here.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 0.36 * len(names) + 1.6), layout="constrained")
    low, high = min(nll), max(nll)
    span = high - low
    left, end, right = low - 1.3 * span, high + 0.06 * span, high + 0.36 * span
    styles = dict(with_styles(dict.fromkeys(groups), tuple(zip(OTHERS, "osD", strict=False))))
    styles = {name: style for (name, _), style in styles.items()}
    for place, i in enumerate(sorted(range(len(names)), key=lambda i: nll[i])):
        color, marker = styles[groups[i]]
        ax.plot([low, end], [place, place], color=FAINT, linewidth=0.6, zorder=0)
        ax.errorbar(
            nll[i], place, xerr=errors[i], color=color, marker=marker, capsize=3,
            fillstyle="full" if ours[i] else "none",
        )  # fmt: skip
        ax.text(right, place, f"{nll[i]:.2f}", size=11, ha="right", va="center")
        weight = "bold" if ours[i] else "normal"
        ax.text(left, place, names[i], size=11, va="center", weight=weight)
    for name, (color, marker) in styles.items():
        ax.plot([], [], color=color, marker=marker, linestyle="", fillstyle="none", label=name)
    ax.legend(loc="upper left", bbox_to_anchor=(0, -0.02), ncols=1)
    ax.set(xlabel="−log p(x) of a test digit, nats (left is better)", yticks=[])
    ax.set(xlim=(left, right), ylim=(len(names) - 0.5, -0.7))
    ax.set_xticks(range(math.ceil(low), math.floor(high) + 1))
    ax.xaxis.set_label_position("top")
    ax.xaxis.tick_top()
    ax.spines[["left", "bottom"]].set_visible(False)
    return figure


def plot_by_samples(bounds: Mapping[str, Mapping[int, float]]) -> Figure:
    """Draw the importance-weighted bound by its number of samples K, on a logarithmic axis.

    Args:
        bounds: name of a model → K → mean bound on log p(x), in nats. K = 1 is the ELBO.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.2), layout="constrained")
    for (name, by_samples), (color, line) in with_styles(bounds, LINES):
        ax.plot(list(by_samples), list(by_samples.values()), line, color=color, label=name)
    ax.set(xscale="log", xlabel="samples K", ylabel="bound on " + LABELS["likelihood"] + ", nats")
    ax.set_xticks(list(by_samples), [f"{count:,}" for count in by_samples])
    ax.set_xticks([], minor=True)
    ax.legend()
    return figure


def plot_by_class(nll: Sequence[Sequence[float]], gap: Sequence[Sequence[float]]) -> Figure:
    """Draw −log p(x), and what the ELBO misses of it, for each class of digits.

    Args:
        nll: ten means, in nats, with their standard errors.
        gap: ten means of the third term, in nats, with their standard errors.
    """
    figure, (top, bottom) = plt.subplots(2, figsize=(WIDTH, 4.8), layout="constrained")
    for ax, values, name in (top, nll, "likelihood"), (bottom, gap, "kl_posterior"):
        heights, errors = zip(*values, strict=True)
        ax.bar(range(10), heights, color=COLORS[name])
        ax.errorbar(range(10), heights, errors, fmt="none", ecolor=SOFT, capsize=3)
    top.set(ylabel="−" + LABELS["likelihood"] + ", nats", xticks=range(10))
    bottom.set(xlabel="digit", ylabel="third term,\nat least, nats", xticks=range(10))
    return figure


def plot_lost(lost: Mapping[str, Mapping[str, Sequence[float]]]) -> Figure:
    """Draw what models lose on digits that they did not see, with two standard errors.

    Args:
        lost: what loses (a part of the model, or all of it) → name of a model → mean and standard
            error, in nats. A panel for each part.
    """
    height = 0.5 + sum(0.75 + 0.3 * len(models) for models in lost.values())
    ratios = [0.75 + 0.3 * len(models) for models in lost.values()]
    figure, axes = plt.subplots(
        len(lost), figsize=(WIDTH, height), layout="constrained", sharex=True, squeeze=False,
        height_ratios=ratios,
    )  # fmt: skip
    for (ax,), (part, models) in zip(axes, lost.items(), strict=True):
        for place, (mean, error) in enumerate(models.values()):
            ax.errorbar(mean, place, xerr=2 * error, fmt="o", color=OTHERS[0], capsize=3)
        ax.axvline(0, color=FAINT, linewidth=0.8)
        ax.set_yticks(range(len(models)), list(models))
        ax.set(ylim=(len(models) - 0.5, -0.5))
        ax.set_title(part, loc="left")
    ax.set(xlabel="nats lost, with two standard errors")
    return figure


def plot_scaling(
    by_images: Mapping[int, Sequence[float]],
    by_processes: Mapping[str, Mapping[int, Sequence[float]]],
) -> Figure:
    """Draw the seconds of an epoch by the number of images, and by the number of processes.

    Each measurement is drawn at its median, with a bar from its least to its most.

    Args:
        by_images: number of images → seconds in each round.
        by_processes: name of a setting → number of processes → seconds in each round.
    """
    figure, (top, bottom) = plt.subplots(2, figsize=(WIDTH, 5.6), layout="constrained")
    _medians(top, by_images, "o", color=OTHERS[0])
    most, seconds = max(by_images), median(by_images[max(by_images)])
    line = {"color": OTHERS[0], "linewidth": 1, "label": "proportional"}
    top.plot([0, most], [0, seconds], ":", **line)
    top.set(xlabel="images", ylabel="seconds an epoch", xticks=list(by_images))
    top.set_xlim(0, 1.05 * most)
    for (name, times), (color, line) in with_styles(by_processes, LINES):
        _medians(bottom, times, line, color=color, label=name)
        bottom.set_xticks(list(times))
    bottom.set(xlabel="processes, one core each", ylabel="seconds an epoch")
    for ax in (top, bottom):
        ax.set_ylim(0)
        ax.legend()
    return figure


def _medians(ax: Axes, rounds: Mapping[int, Sequence[float]], line: str, **style: str) -> None:
    """Draw the median of each series at its number, with a bar over its range."""
    middle = [median(values) for values in rounds.values()]
    below = [m - min(values) for m, values in zip(middle, rounds.values(), strict=True)]
    above = [max(values) - m for m, values in zip(middle, rounds.values(), strict=True)]
    ax.errorbar(list(rounds), middle, [below, above], fmt=line, capsize=4, **style)
