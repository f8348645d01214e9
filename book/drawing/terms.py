"""The terms of log p(x): by line of the derivation, by q, by epoch."""

from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from drawing.style import COLORS, LABELS, with_styles
from vae_core import Decomposition, History


def plot_derivation_lines(
    lines: dict[str, float], exact: float, spread: dict[str, Tensor]
) -> Figure:
    """Draw the value of each line of the derivation, all at the height of log p(x), and what is averaged over codes.

    Args:
        lines: name → value in nats, from the first line to the last.
        exact: log p(x) in nats.
        spread: name → `[K]` values in nats at K codes, to show how much they vary.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.8), layout="constrained")
    left.axhline(
        exact, color=COLORS["likelihood"], linewidth=1, linestyle=":", label=LABELS["likelihood"]
    )
    left.plot(range(1, len(lines) + 1), list(lines.values()), "o", color=COLORS["reconstruction"])
    left.set(
        xticks=range(1, len(lines) + 1),
        xlabel="line of the derivation",
        ylabel="nats",
        ylim=(exact - 5, exact + 5),
    )
    for (name, values), color in with_styles(
        spread, (COLORS["reconstruction"], COLORS["likelihood"])
    ):
        right.plot(values[:200].numpy(), ".", color=color, markersize=4, label=name)
    right.set(
        xlabel="code drawn from q, the first 200",
        title="what is averaged",
        ylim=(None, 1.6 * exact),
    )
    right.legend(fontsize="small", loc="upper left")
    return figure


def plot_decompositions(terms: Decomposition, names: Sequence[str]) -> Figure:
    """Draw the three terms of several q for one image, and the sum, which is log p(x) for each.

    Args:
        terms: fields `[n]`, one entry for each q.
        names: n names.
    """
    figure, ax = plt.subplots(figsize=(6.5, 3.4), layout="constrained")
    place = np.arange(len(names))
    signed = {
        "reconstruction": terms.reconstruction,
        "kl_prior": -terms.kl_prior,
        "kl_posterior": terms.kl_posterior,
    }
    for shift, (key, values) in zip((-0.3, -0.1, 0.1), signed.items(), strict=False):
        sign = "−" if key == "kl_prior" else ""
        ax.bar(place + shift, values.numpy(), 0.2, color=COLORS[key], label=sign + LABELS[key])
    ax.bar(
        place + 0.3,
        sum(signed.values()).numpy(),
        0.2,
        color=COLORS["likelihood"],
        label="sum of the three",
    )
    level = terms.log_likelihood[0].item()
    ax.axhline(
        level, color=COLORS["likelihood"], linewidth=1, linestyle=":", label=LABELS["likelihood"]
    )
    ax.axhline(0, color="#999999", linewidth=0.6)
    ax.set_xticks(place, names)
    ax.set_yscale("symlog", linthresh=10)
    ax.set_yticks([-1e9, -1e6, -1e3, 0, 1e3, 1e6, 1e9])
    ax.set_ylabel("nats")
    ax.legend(fontsize="small", ncols=2)
    return figure


def plot_terms_along(paths: Sequence[tuple[Tensor, Decomposition]], names: Sequence[str]) -> Figure:
    """Draw the three terms stacked while q moves along a path, one panel a path: their sum stays where it is.

    From the reconstruction term a band leads down by the KL to the prior, to the ELBO; from there an area leads up by
    the KL to the posterior.

    Args:
        paths: pairs of the coordinate, `[n]`, and the terms at each of its points, fields `[n]`.
        names: what the coordinate is. A path whose coordinate is positive gets a logarithmic axis.
    """
    figure, axes = plt.subplots(1, len(paths), figsize=(6.9, 3.2), layout="constrained")
    for ax, (coordinate, terms), name in zip(axes, paths, names, strict=True):
        total = terms.elbo + terms.kl_posterior
        ax.plot(
            coordinate, total, color=COLORS["likelihood"], linewidth=2.5, label="sum of the three"
        )
        prior = {"color": "#f2b48c", "label": "−" + LABELS["kl_prior"]}
        ax.fill_between(coordinate, terms.elbo, terms.reconstruction, **prior)
        posterior = {
            "facecolor": "none",
            "edgecolor": COLORS["kl_posterior"],
            "hatch": "////",
        }  # it may lie on the other
        ax.fill_between(
            coordinate,
            terms.elbo,
            total,
            linewidth=0,
            **posterior,
            label="+" + LABELS["kl_posterior"],
        )
        ax.plot(
            coordinate,
            terms.reconstruction,
            color=COLORS["reconstruction"],
            label=LABELS["reconstruction"],
        )
        ax.set(xlabel=name)
        if (coordinate > 0).all():
            ticks = [
                tick
                for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10)
                if coordinate.min() <= tick <= coordinate.max()
            ]
            ax.set_xscale("log")
            ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            ax.set_xticks([], minor=True)
    axes[0].set_ylabel("nats")
    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small"
    )
    return figure


def plot_terms_by_epoch(epochs: Sequence[int], stages: Sequence[Decomposition]) -> Figure:
    """Draw the mean of each of the three terms by epoch, and of log p(x) with the ELBO below it.

    Args:
        epochs: n numbers of epochs; the first, before training, is left out of the right panel.
        stages: n decompositions of the same images.
    """
    means = {
        field: [getattr(stage, field).mean().item() for stage in stages]
        for field in Decomposition._fields
    }
    elbos = [stage.elbo.mean().item() for stage in stages]
    figure, axes = plt.subplots(1, 4, figsize=(6.9, 2.4), layout="constrained")
    titles = {
        "reconstruction": "reconstruction",
        "kl_prior": "KL to the prior",
        "kl_posterior": "KL to the posterior",
    }
    for ax, (field, title) in zip(axes, titles.items(), strict=False):
        first = 1 if field == "reconstruction" else 0  # before training it is off the scale
        ax.plot(epochs[first:], means[field][first:], "o-", color=COLORS[field], markersize=4)
        ax.set(title=title, xlabel="epoch")
    axes[0].set_ylabel("nats per image")
    axes[3].plot(
        epochs[1:],
        means["log_likelihood"][1:],
        "o-",
        color=COLORS["likelihood"],
        markersize=4,
        label=LABELS["likelihood"],
    )
    axes[3].plot(
        epochs[1:], elbos[1:], "o--", color=COLORS["reconstruction"], markersize=4, label="ELBO"
    )
    axes[3].set(title="sum, and bound", xlabel="epoch")
    axes[3].legend(fontsize="small")
    return figure


def plot_history(history: History) -> Figure:
    """Draw both terms and the ELBO by epoch, training dashed and validation solid; the KL from before training on."""
    figure, axes = plt.subplots(1, 3, figsize=(6.9, 2.5), layout="constrained")
    for ax, name, title in zip(
        axes,
        ("reconstruction", "kl", "elbo"),
        ("reconstruction", "KL to the prior", "ELBO"),
        strict=False,
    ):
        color = {
            "reconstruction": COLORS["reconstruction"],
            "kl": COLORS["kl_prior"],
            "elbo": COLORS["likelihood"],
        }[name]
        for part, line in (("train", "--"), ("validation", "-")):
            values = getattr(history, f"{part}_{name}")
            first = 0 if name == "kl" else 1  # before training, reconstruction is off the scale
            if not values:
                continue
            ax.plot(range(first, len(values)), values[first:], line, color=color, label=part)
        ax.set(title=title, xlabel="epoch")
    axes[0].set_ylabel("nats per image")
    axes[0].legend(fontsize="small")
    return figure
