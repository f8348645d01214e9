"""Stored results: how likely models make the test digits, and how long training takes."""

from collections.abc import Mapping, Sequence
from statistics import median

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drawing.style import COLORS, FAINT, LABELS, OTHERS, WIDTH, with_styles

LINES = tuple(zip(OTHERS, ("o-", "s--", "^:"), strict=False))


def plot_likelihoods(names: Sequence[str], nll: Sequence[float], ours: Sequence[bool]) -> Figure:
    """Draw −log p(x) of several models, a row each, the best at the top; ours filled.

    Args:
        names: n names.
        nll: n means over the test digits, in nats.
        ours: which of them were trained here.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 0.55 * len(names) + 0.9), layout="constrained")
    order = sorted(range(len(names)), key=lambda i: nll[i])
    low, high = min(nll), max(nll)
    left, right = low - 0.08 * (high - low), high + 0.08 * (high - low)
    for place, i in enumerate(order):
        ax.axhline(place, color=FAINT, linewidth=0.8)
        fill = "full" if ours[i] else "none"
        ax.plot(nll[i], place, "o", color=OTHERS[0], fillstyle=fill)
        ax.text(right, place - 0.08, f"{nll[i]:.2f}", size=11, ha="right", va="bottom")
        ax.text(left, place - 0.08, names[i], size=11, va="bottom")
    ax.set(xlabel="−log p(x) of a test digit, nats (left is better)", yticks=[])
    ax.set(xlim=(left, right), ylim=(len(names) - 0.5, -0.9))
    ax.spines["left"].set_visible(False)
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


def plot_by_class(nll: Sequence[float], gap: Sequence[float]) -> Figure:
    """Draw −log p(x), and what the ELBO misses of it, for each class of digits.

    Args:
        nll: ten means, in nats.
        gap: ten means of the third term, in nats.
    """
    figure, (top, bottom) = plt.subplots(2, figsize=(WIDTH, 4.8), layout="constrained")
    top.bar(range(10), nll, color=COLORS["likelihood"])
    top.set(ylabel="−" + LABELS["likelihood"] + ", nats", xticks=range(10))
    bottom.bar(range(10), gap, color=COLORS["kl_posterior"])
    bottom.set(xlabel="digit", ylabel="third term,\nat least, nats", xticks=range(10))
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
