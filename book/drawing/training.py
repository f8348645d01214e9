"""How the terms change by epoch."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
from matplotlib.figure import Figure

from drawing.style import COLORS, LABELS, WIDTH
from vae_core import Decomposition, History

TITLES = {
    "reconstruction": "first: reconstruction",
    "kl_prior": "second: KL to the prior",
    "kl_posterior": "third: KL to the posterior",
}


def plot_terms_by_epoch(epochs: Sequence[int], stages: Sequence[Decomposition]) -> Figure:
    """Draw the mean of each of the three terms by epoch, and of log p(x) with the ELBO below it.

    Args:
        epochs: n numbers of epochs; at the first, before training, only both KLs are drawn.
        stages: n decompositions of the same images.
    """
    figure, axes = plt.subplots(2, 2, figsize=(WIDTH, 4.6), layout="constrained", sharex=True)
    for ax, (key, title) in zip(axes.flat, TITLES.items(), strict=False):
        first = 1 if key == "reconstruction" else 0  # before training it is off the scale
        means = [getattr(stage, key).mean().item() for stage in stages[first:]]
        ax.plot(epochs[first:], means, "o-", color=COLORS[key], markersize=4)
        ax.set_title(title.replace(": ", ":\n"))
    means = [stage.log_likelihood.mean().item() for stage in stages[1:]]
    elbos = [stage.elbo.mean().item() for stage in stages[1:]]
    ink = {"color": COLORS["likelihood"], "markersize": 4}
    axes[1, 1].plot(epochs[1:], means, "o-", label=LABELS["likelihood"], **ink)
    axes[1, 1].plot(epochs[1:], elbos, "s--", fillstyle="none", label="ELBO", **ink)
    axes[1, 1].set_title("sum, and without\nthe third")
    axes[1, 1].legend()
    for row in axes:
        row[0].set_ylabel("nats per image")
    for ax in axes[1]:
        ax.set_xlabel("epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
    return figure


def plot_history(history: History) -> Figure:
    """Draw both terms and the ELBO by epoch, training dashed and validation solid.

    The KL is drawn from before training on, the others from the first epoch.
    """
    figure, axes = plt.subplots(3, figsize=(WIDTH, 5.6), layout="constrained", sharex=True)
    panels = {
        "reconstruction": (TITLES["reconstruction"], COLORS["reconstruction"]),
        "kl": (TITLES["kl_prior"], COLORS["kl_prior"]),
        "elbo": ("ELBO: first minus second", COLORS["likelihood"]),
    }
    for ax, (name, (title, color)) in zip(axes, panels.items(), strict=True):
        for part, line in (("train", "--"), ("validation", "-")):
            values = getattr(history, f"{part}_{name}")
            first = 0 if name == "kl" else 1  # before training, reconstruction is off the scale
            if values:
                ax.plot(range(first, len(values)), values[first:], line, color=color, label=part)
        ax.set(title=title, ylabel="nats")
    axes[2].set_xlabel("epoch")
    axes[0].legend()
    return figure
