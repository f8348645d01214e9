"""Estimates of gradients: their spread, and how a model trains on them."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from drawing.style import INK, OTHERS, WIDTH, with_styles

RATIO = "variance,\nscore function / pathwise"
ESTIMATORS = tuple(zip(OTHERS, ("o-", "s--", "^:"), strict=False))  # pathwise first


def plot_gradient_estimates(estimates: dict[str, Tensor], exact: float) -> Figure:
    """Draw histograms of gradient estimates from single draws, on one axis, and the exact gradient.

    Args:
        estimates: name → `[K]` values of one component.
        exact: the same component, exactly.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.4), layout="constrained")
    widest = max(values.std().item() for values in estimates.values())
    bins = np.linspace(exact - 3 * widest, exact + 3 * widest, 121)
    outlines = ({"alpha": 0.6}, {"histtype": "step", "linestyle": "--", "linewidth": 1.6})
    for (name, values), (color, style) in with_styles(
        estimates, tuple(zip(OTHERS, outlines, strict=False))
    ):
        ax.hist(values.numpy(), bins=bins, density=True, color=color, label=name, **style)
    ax.axvline(exact, color=INK, linestyle=":", linewidth=1.2, label="exact")
    ax.set(xlabel="one component, from a single draw", ylabel="density", yscale="log")
    figure.legend(loc="outside upper left", ncols=2, columnspacing=1)
    return figure


def plot_gradient_noise(
    ratios: Mapping[str, Mapping[int, float]], by_draws: Mapping[str, Mapping[int, float]]
) -> Figure:
    """Draw how noisy the score function is beside the pathwise estimator, by latent size.

    Below, both by number of draws.

    Args:
        ratios: name of a stage of training → Z → variance of the score function's estimate over
            the pathwise one's.
        by_draws: name of an estimator → K → variance of the mean of K draws.
    """
    figure, (left, right) = plt.subplots(2, figsize=(WIDTH, 6), layout="constrained")
    for (name, values), line in with_styles(ratios, (":", "-", "--")):
        left.plot(list(values), list(values.values()), "o" + line, color=INK, label=name)
    left.set(xlabel="latent dimensions Z", ylabel=RATIO, yscale="log")
    _plain_ticks(left.xaxis, list(next(iter(ratios.values()))))
    _plain_ticks(left.yaxis, [1, 2, 5, 10, 20, 50, 100])
    left.set_ylim(0.8 * min(min(values.values()) for values in ratios.values()))
    for (name, values), (color, line) in with_styles(by_draws, ESTIMATORS[:2]):
        right.plot(list(values), list(values.values()), line, color=color, label=name)
    one = next(iter(by_draws.values()))
    right.axhline(one[1], color=OTHERS[0], linestyle=":", linewidth=1)
    right.set(xlabel="draws K", ylabel="variance of the mean", xscale="log", yscale="log")
    _plain_ticks(right.xaxis, list(one))
    left.legend(loc="lower right")
    right.legend(loc="lower left")
    return figure


def plot_ratio_by_epoch(ratios: Mapping[int, float]) -> Figure:
    """Draw how noisy the score function is beside the pathwise estimator, by epochs of training.

    Args:
        ratios: epochs → variance of the score function's estimate over the pathwise one's.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3), layout="constrained")
    ax.plot(list(ratios), list(ratios.values()), "o-", color=INK)
    ax.set(xlabel="epochs of training", ylabel=RATIO, ylim=(0, None), xticks=list(ratios))
    return figure


def _plain_ticks(axis, ticks: Sequence[float]) -> None:
    """Put ticks at these values alone, written as they are."""
    axis.set_ticks(ticks, [f"{tick:g}" for tick in ticks])
    axis.set_ticks([], minor=True)


def plot_training_by_estimator(curves: Mapping[str, Sequence[float]]) -> Figure:
    """Draw the ELBO by epoch of runs that differ in the estimator of the encoder's gradient.

    Below, the first two alone.

    Args:
        curves: name of an estimator → mean ELBO in nats after each epoch.
    """
    figure, axes = plt.subplots(2, figsize=(WIDTH, 6), layout="constrained", sharex=True)
    for (name, values), (color, line) in with_styles(curves, ESTIMATORS):
        for ax in axes:
            epochs = range(1, len(values) + 1)
            ax.plot(epochs, values, line, markersize=4, color=color, label=name)
            ax.set_ylabel("ELBO, nats")
    first, second, *_ = curves.values()
    axes[1].set_xlabel("epoch")
    axes[1].set_ylim(min(*first, *second) - 5, max(*first, *second) + 5)
    axes[1].set_title("nearer")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left")
    return figure


def plot_signal_to_noise(by_latent: Mapping[int, Mapping[str, Mapping[int, float]]]) -> Figure:
    """Draw signal over noise of the encoder's gradient by the number of draws K, a panel a Z.

    Args:
        by_latent: Z → name of an estimator → K → signal over noise.
    """
    size = {"figsize": (WIDTH, 3.4), "layout": "constrained"}
    figure, axes = plt.subplots(1, len(by_latent), sharey=True, squeeze=False, **size)
    for ax, (latent, by_name) in zip(axes[0], by_latent.items(), strict=False):
        for (name, values), (color, line) in with_styles(by_name, ESTIMATORS[:2]):
            ax.plot(list(values), list(values.values()), line, color=color, label=name)
        ax.set(title=f"Z = {latent}", xlabel="draws K", xscale="log", ylim=(0, None))
        _plain_ticks(ax.xaxis, list(values))
    axes[0, 0].set_ylabel("signal / noise")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left")
    return figure
