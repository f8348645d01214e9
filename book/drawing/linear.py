"""Terms of the linear decoder: by line of the derivation, by q, along a path of q."""

import textwrap
from collections.abc import Sequence

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from drawing.style import COLORS, FAINT, HATCHES, LABELS, PAPER, WIDTH, with_styles
from vae_core import Decomposition


def plot_derivation_lines(
    lines: dict[str, float], exact: float, spread: dict[str, Tensor]
) -> Figure:
    """Draw the value of each line of the derivation at log p(x), and what is averaged over codes.

    Args:
        lines: name → value in nats, from the first line to the last.
        exact: log p(x) in nats.
        spread: name → `[K]` values in nats at K codes, to show how much they vary.
    """
    figure, (top, bottom) = plt.subplots(2, figsize=(WIDTH, 5.6), layout="constrained")
    level = {"color": COLORS["likelihood"], "linewidth": 1, "linestyle": ":"}
    top.axhline(exact, label=LABELS["likelihood"], **level)
    top.plot(range(1, len(lines) + 1), list(lines.values()), "o", color=COLORS["likelihood"])
    top.set(xticks=range(1, len(lines) + 1), xlabel="line of the derivation", ylabel="nats")
    top.set_ylim(exact - 5, exact + 5)
    styles = ((COLORS["reconstruction"], "o"), (COLORS["likelihood"], "x"))
    for (name, values), (color, marker) in with_styles(spread, styles):
        points = {"color": color, "markersize": 3, "label": name}
        bottom.plot(values[:200].numpy(), marker, **points)
    bottom.set(xlabel="code drawn from q, the first 200", ylabel="what is averaged, nats")
    figure.legend(*bottom.get_legend_handles_labels(), loc="outside lower left")
    return figure


def plot_decompositions(terms: Decomposition, names: Sequence[str]) -> Figure:
    """Draw the three terms of several q for one image, and their sum, log p(x), for each.

    The axis is logarithmic: the lengths of the bars do not add up.

    Args:
        terms: fields `[n]`, one entry for each q.
        names: n names.
    """
    figure, ax = plt.subplots(figsize=(WIDTH, 4.4), layout="constrained")
    place = np.arange(len(names))
    signed = {
        "reconstruction": terms.reconstruction,
        "kl_prior": -terms.kl_prior,
        "kl_posterior": terms.kl_posterior,
    }
    for shift, (key, values) in zip((-0.3, -0.1, 0.1), signed.items(), strict=True):
        name = ("−" if key == "kl_prior" else "") + LABELS[key]
        style = {"facecolor": COLORS[key], "edgecolor": PAPER, "hatch": HATCHES[key]}
        ax.bar(place + shift, values.numpy(), 0.2, linewidth=0, label=name, **style)
    total = sum(signed.values()).numpy()
    ax.bar(place + 0.3, total, 0.2, color=COLORS["likelihood"], label="sum of the three")
    level = {"color": COLORS["likelihood"], "linewidth": 1, "linestyle": ":"}
    ax.axhline(terms.log_likelihood[0].item(), label=LABELS["likelihood"], **level)
    ax.axhline(0, color=FAINT, linewidth=0.8)
    ax.set_xticks(place, ["\n".join(textwrap.wrap(name, 30 // len(names))) for name in names])
    ax.set_yscale("symlog", linthresh=10)
    ax.set_yticks([-1e9, -1e6, -1e3, 0, 1e3, 1e6, 1e9])
    ax.set_ylabel("nats, logarithmic")
    figure.legend(loc="outside upper left", ncols=2, columnspacing=1)
    return figure


def plot_terms_along(paths: Sequence[tuple[Tensor, Decomposition]], names: Sequence[str]) -> Figure:
    """Draw the three terms stacked while q moves along a path, one panel a path: the sum stays.

    From the reconstruction term a band leads down by the KL to the prior, to the ELBO; from there
    an area leads up by the KL to the posterior.

    Args:
        paths: pairs of the coordinate, `[n]`, and the terms at its points, fields `[n]`.
        names: what the coordinate is. A path whose coordinate is positive gets a logarithmic axis.
    """
    size = (WIDTH, 2.7 * len(paths) + 1)
    figure, axes = plt.subplots(len(paths), figsize=size, layout="constrained", squeeze=False)
    for ax, (coordinate, terms), name in zip(axes[:, 0], paths, names, strict=True):
        total = terms.elbo + terms.kl_posterior
        ax.plot(coordinate, total, color=COLORS["likelihood"], linewidth=2.5, label="their sum")
        for key, sign, top in (
            ("kl_prior", "−", terms.reconstruction),
            ("kl_posterior", "+", total),
        ):
            area = {"facecolor": (COLORS[key], 0.3), "edgecolor": COLORS[key], "linewidth": 0}
            area |= {"hatch": HATCHES[key], "label": f"{sign} {LABELS[key]}"}
            ax.fill_between(coordinate, terms.elbo, top, **area)
        line = {"color": COLORS["reconstruction"], "label": LABELS["reconstruction"]}
        ax.plot(coordinate, terms.reconstruction, **line)
        ax.set(xlabel=name, ylabel="nats")
        if (coordinate > 0).all():
            low, high = coordinate.min(), coordinate.max()
            ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10) if low <= tick <= high]
            ax.set_xscale("log")
            ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            ax.set_xticks([], minor=True)
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper left", ncols=2, columnspacing=1)
    return figure
