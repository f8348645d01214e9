"""Estimates of gradients: their variance, and their signal over noise."""

from collections.abc import Mapping, Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from drawing.style import INK, OTHERS, WIDTH, with_styles

RATIO = "variance,\nscore function / pathwise"
LINES = tuple(zip(OTHERS, ("o-", "s--", "^-.", "D:"), strict=True))


def plot_added_constant(constants: Tensor, curves: Mapping[str, Tensor], lowest: float) -> Figure:
    """Draw the variance of estimators by a constant added to log p(x|z).

    Args:
        constants: `[n]`, in nats.
        curves: name of an estimator → variance of one draw, `[n]`, the pathwise one's as unit.
        lowest: the constant at which the estimator without a baseline is least noisy.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.2), layout="constrained")
    for (name, values), (color, line) in with_styles(curves, LINES):
        ax.plot(constants, values, line[1:], color=color, label=name)
    ax.axvline(lowest, color=INK, linewidth=0.8, alpha=0.5)
    ax.text(lowest, 0.93, " $-c^*$", transform=ax.get_xaxis_transform())
    ax.set(xlabel="constant added to log p(x|z), nats", yscale="log")
    ax.set_ylabel("variance of one draw\n(pathwise = 1)")
    figure.legend(loc="outside upper left")
    return figure


def plot_variance_by_draws(
    counts: Sequence[int], curves: Mapping[str, tuple[Tensor, Tensor]]
) -> Figure:
    """Draw the variance of the mean of K draws by K, for several estimators.

    Args:
        counts: K.
        curves: name of an estimator → variance, its standard error, one value for each K.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 3.6), layout="constrained")
    for (name, (values, errors)), (color, line) in with_styles(curves, LINES):
        style = {"markersize": 4, "capsize": 2, "color": color, "label": name}
        ax.errorbar(counts, values, errors, fmt=line, **style)
    ax.set(xlabel="decodes for each digit, K", xscale="log", yscale="log")
    ax.set_ylabel("variance of the mean\n(one pathwise draw = 1)")
    _plain_ticks(ax.xaxis, counts)
    figure.legend(loc="outside upper left", ncols=2)
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


def plot_signal_to_noise(
    counts: Sequence[int], by_latent: Mapping[int, Mapping[str, tuple[Tensor, Tensor]]]
) -> Figure:
    """Draw signal over noise of the encoder's gradient by the number of codes K, a panel a Z.

    A thin line falls from the first curve's start like 1/√K.

    Args:
        counts: K.
        by_latent: Z → name of an estimator → signal over noise, its error, one value for each K.
    """
    size = {"figsize": (WIDTH, 2.3 * len(by_latent) + 0.8), "layout": "constrained"}
    figure, axes = plt.subplots(len(by_latent), sharex=True, squeeze=False, **size)
    for ax, (latent, by_name) in zip(axes[:, 0], by_latent.items(), strict=True):
        for (name, (values, errors)), (color, line) in with_styles(by_name, LINES[:3]):
            style = {"markersize": 4, "capsize": 2, "color": color, "label": name}
            ax.errorbar(counts, values, errors, fmt=line, **style)
        start = float(next(iter(by_name.values()))[0][0])
        law = [start / (count / counts[0]) ** 0.5 for count in counts]
        ax.plot(counts, law, color=INK, linewidth=0.8, label=r"$1/\sqrt{K}$")
        ax.set(title=f"Z = {latent}", xscale="log", yscale="log", ylabel="signal / noise")
        _plain_ticks(ax.xaxis, counts[::2])
    axes[-1, 0].set_xlabel("codes K")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper left", ncols=2)
    return figure
