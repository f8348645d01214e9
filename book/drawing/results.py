"""Stored results: how likely models make the test digits, and how long training takes."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from drawing.style import COLORS, LABELS, with_styles


def plot_likelihoods(names: Sequence[str], nll: Sequence[float], ours: Sequence[bool]) -> Figure:
    """Draw −log p(x) of several models, a row each, the best at the top; ours filled.

    Args:
        names: n names.
        nll: n means over the test digits, in nats.
        ours: which of them were trained here.
    """
    figure, ax = plt.subplots(figsize=(6.7, 0.36 * len(names) + 0.9), layout="constrained")
    order = sorted(range(len(names)), key=lambda i: nll[i])
    for place, i in enumerate(order):
        ax.plot(
            nll[i],
            place,
            "o",
            color=COLORS["reconstruction"],
            fillstyle="full" if ours[i] else "none",
        )
        ax.annotate(
            f"{nll[i]:.2f}",
            (nll[i], place),
            (7, 0),
            textcoords="offset points",
            va="center",
            fontsize="small",
        )
    ax.set_yticks(range(len(names)), [names[i] for i in order])
    ax.set(
        xlabel="−log p(x) of a test digit, nats (to the left is better)",
        ylim=(len(names) - 0.5, -0.5),
    )
    ax.margins(x=0.15)
    return figure


def plot_by_samples(bounds: Mapping[str, Mapping[int, float]]) -> Figure:
    """Draw the importance-weighted bound by its number of samples K, on a logarithmic axis.

    Args:
        bounds: name of a model → K → mean bound on log p(x), in nats. K = 1 is the ELBO.
    """
    figure, ax = plt.subplots(figsize=(6.0, 2.9), layout="constrained")
    for (name, by_samples), line in with_styles(bounds, ("-", "--", ":")):
        ax.plot(
            list(by_samples),
            list(by_samples.values()),
            "o" + line,
            color=COLORS["likelihood"],
            label=name,
        )
    ax.set(xscale="log", xlabel="samples K", ylabel="bound on " + LABELS["likelihood"] + ", nats")
    ax.set_xticks(list(by_samples), [f"{count:,}" for count in by_samples])
    ax.set_xticks([], minor=True)
    ax.legend(fontsize="small")
    return figure


def plot_by_class(nll: Sequence[float], gap: Sequence[float]) -> Figure:
    """Draw −log p(x), and what the ELBO misses of it, for each class of digits.

    Args:
        nll: ten means, in nats.
        gap: ten means of the third term, in nats.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.7), layout="constrained")
    left.bar(range(10), nll, color=COLORS["likelihood"])
    left.set(xlabel="digit", ylabel="−" + LABELS["likelihood"] + ", nats", xticks=range(10))
    right.bar(range(10), gap, color=COLORS["kl_posterior"])
    right.set(
        xlabel="digit", ylabel="at least " + LABELS["kl_posterior"] + ", nats", xticks=range(10)
    )
    return figure


def plot_scaling(
    by_images: Mapping[int, float], by_processes: Mapping[str, Mapping[int, float]]
) -> Figure:
    """Draw the seconds of an epoch by the number of images, and by the number of processes.

    Args:
        by_images: number of images → seconds.
        by_processes: name of a setting → number of processes → seconds.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.7), layout="constrained")
    left.plot(list(by_images), list(by_images.values()), "o", color=COLORS["likelihood"])
    most, seconds = max(by_images.items())
    left.plot(
        [0, most], [0, seconds], ":", color=COLORS["likelihood"], linewidth=1, label="proportional"
    )
    left.set(xlabel="images", ylabel="seconds an epoch", xticks=list(by_images))
    left.legend(fontsize="small")
    for (name, times), line in with_styles(by_processes, ("-", "--", ":")):
        right.plot(
            list(times),
            list(times.values()),
            "o" + line,
            color=COLORS["reconstruction"],
            label=name,
        )
        right.set_xticks(list(times))
    right.set(xlabel="processes, one core each")
    right.legend(fontsize="small")
    for ax in (left, right):
        ax.set_ylim(0)
    return figure
