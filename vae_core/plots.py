"""Figures. Each function draws one figure of the book and returns it; none computes a result."""

from collections.abc import Sequence

import daft
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Ellipse, FancyArrowPatch, Patch
from torch import Tensor

from vae_core.checkpoint import History
from vae_core.data import check_images
from vae_core.distributions import DiagonalGaussian
from vae_core.exact import Decomposition, GridPosterior
from vae_core.model import VAE

COLORS = {"reconstruction": "#0072b2", "kl_prior": "#d55e00", "kl_posterior": "#009e73", "likelihood": "#333333"}
LABELS = {
    "reconstruction": r"$\mathbb{E}_q[\log\,p(x|z)]$",
    "kl_prior": r"$\mathrm{KL}(q(z|x)\,\Vert\,p(z))$",
    "kl_posterior": r"$\mathrm{KL}(q(z|x)\,\Vert\,p(z|x))$",
    "likelihood": r"$\log\,p(x)$",
}
FORWARD, GRADIENT, BOX = "#333333", "#cc3311", "#f2f2f2"


def show_images(rows: Sequence[Tensor], labels: Sequence[str], titles: Sequence[str] = (), height: float = 0.62) -> Figure:
    """Draw rows of 28×28 images on one grey scale from 0 (black) to 1 (white).

    Args:
        rows: each `[N, 784]`, all of the same N.
        labels: what each row is: say whether it shows data, a mean, a sample or a parameter.
        titles: over the columns.
        height: of a row, in inches.

    Raises:
        ValueError: rows of different lengths, or as many labels as rows are not given.
    """
    if len({len(row) for row in rows}) != 1 or len(labels) != len(rows):
        raise ValueError(f"expected rows of one length and a label each, got {[len(r) for r in rows]} and {len(labels)} labels")
    columns = len(rows[0])
    size = (min(6.9, 1.5 + columns * height), height * len(rows) + 0.3)
    figure, axes = plt.subplots(len(rows), columns, figsize=size, squeeze=False, layout="constrained")
    for row, line, label in zip(rows, axes, labels):
        for image, ax in zip(row, line):
            _image(ax, image)
        line[0].set_ylabel(label, rotation=0, ha="right", va="center")
    for ax, title in zip(axes[0], titles):
        ax.set_title(title, fontsize="small")
    return figure


def _image(ax: Axes, image: Tensor, **scale) -> None:
    ax.imshow(image.reshape(28, 28).float().numpy(), **({"cmap": "gray", "vmin": 0, "vmax": 1} | scale))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)


def draw_generative_model() -> Figure:
    """Draw the graphical model: p(z) p(x|z) with solid arrows, the approximate posterior q(z|x) dashed."""
    pgm = daft.PGM(shape=(4.4, 2.2), origin=(0, 0), node_unit=1.1)
    pgm.add_node("z", r"$z$", 1.0, 1.1)
    pgm.add_node("x", r"$x$", 3.0, 1.1, observed=True)
    pgm.add_edge("z", "x")
    ax = _render(pgm)
    centre = [2 * 1.0, 2 * 1.1], [2 * 3.0, 2 * 1.1]
    dashed = dict(arrowstyle="-|>", linestyle="--", mutation_scale=14, color=COLORS["kl_posterior"], linewidth=1.2)
    ax.add_patch(FancyArrowPatch(centre[1], centre[0], connectionstyle="arc3,rad=0.45", shrinkA=24, shrinkB=24, **dashed))
    ax.text(4, 2.55, r"$p(x|z)$", ha="center", fontsize=12)
    ax.text(4, 3.55, r"$q(z|x)$", ha="center", fontsize=12, color=COLORS["kl_posterior"])
    ax.text(2, 1.1, r"$p(z)$", ha="center", fontsize=12)
    return ax.figure


def _render(pgm: daft.PGM) -> Axes:
    """Draw a graph; daft divides by zero on the way to the side of a box, and mends it afterwards."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return pgm.render()


def draw_derivation() -> Figure:
    """Draw the derivation of the three terms, line by line, each step named at the right."""
    lines = [
        (r"$\log\,p(x)\;=\;\mathbb{E}_{q(z|x)}\left[\log\,p(x)\right]$", r"$p(x)$ does not depend on $z$"),
        (r"$=\;\mathbb{E}_q\left[\log\,\frac{p(x|z)\,p(z)}{p(z|x)}\right]$", "Bayes' rule"),
        (r"$=\;\mathbb{E}_q\left[\log\,\frac{p(x|z)\,p(z)}{p(z|x)}\,\frac{q(z|x)}{q(z|x)}\right]$", "multiply by one"),
        (
            r"$=\;\mathbb{E}_q\left[\log\,p(x|z)\right]-\mathbb{E}_q\left[\log\,\frac{q(z|x)}{p(z)}\right]"
            r"+\mathbb{E}_q\left[\log\,\frac{q(z|x)}{p(z|x)}\right]$",
            "rules of logarithms",
        ),
    ]
    figure, ax = plt.subplots(figsize=(6.9, 4.0))
    ax.set(xlim=(0, 10), ylim=(-0.2, 6.2))
    ax.axis("off")
    for number, (formula, why) in enumerate(lines):
        height = 5.7 - 1.15 * number
        ax.text(0.1 if number == 0 else 1.0, height, formula, fontsize=12, va="center")
        ax.text(9.9, height, why, fontsize=9.5, va="center", ha="right", style="italic", color="#555555")
    last = [
        ("reconstruction", "=", 1.0, "reconstruct"),
        ("kl_prior", "-", 3.6, "stay near the prior"),
        ("kl_posterior", "+", 6.7, "intractable, never negative"),
    ]
    for name, sign, left, what in last:
        ax.text(left, 1.1, f"${sign}$", fontsize=12, va="center")
        ax.text(left + 0.35, 1.1, LABELS[name], fontsize=12, va="center", color=COLORS[name])
        ax.text(left + 0.35, 0.45, what, fontsize=9, va="center", color=COLORS[name])
    return figure


def draw_pipeline(model: VAE, x: Tensor, generator: torch.Generator | None = None) -> Figure:
    """Draw the pipeline for one image: x, encoder, mean and standard deviation of z, a sample z, decoder, mean and
    standard deviation of x, a sample x. Everything shown is what the model gives.

    Args:
        model: a VAE with a Gaussian decoder.
        x: one image, `[1, 784]`.
        generator: source of both samples.
    """
    check_images(x, model.config["pixels"])
    if model.config["decoder"] != "gaussian":
        raise ValueError(f"expected a model with a Gaussian decoder, got a {model.config['decoder']} one")
    with torch.no_grad():
        q = model.encode(x)
        z = q.sample(generator=generator)
        p = model.decode(z)
        sample = p.sample(generator=generator)
    figure = plt.figure(figsize=(6.9, 2.5))
    boxes = {"encoder": (0.19, "encoder\n" + r"$\phi$"), "decoder": (0.565, "decoder\n" + r"$\theta$")}
    for left, text in boxes.values():
        ax = figure.add_axes((left, 0.36, 0.095, 0.36))
        ax.set(xticks=[], yticks=[], facecolor=BOX)
        ax.spines[:].set_visible(True)
        ax.text(0.5, 0.5, text, ha="center", va="center", fontsize=9)
    latents = range(z.shape[-1])
    for bottom, values, name, color in (
        (0.60, q.mean[0], r"$\mu_{z|x}$", COLORS["reconstruction"]),
        (0.14, q.stddev[0], r"$\sigma_{z|x}$", COLORS["reconstruction"]),
    ):
        ax = figure.add_axes((0.33, bottom, 0.085, 0.24))
        ax.bar(latents, values.numpy(), color=color)
        ax.set(xticks=[], yticks=[], title=name)
    ax = figure.add_axes((0.445, 0.37, 0.085, 0.24))
    ax.bar(latents, z[0].numpy(), color=GRADIENT)
    ax.set(xticks=[], yticks=[], title=r"sample $z$")
    pictures = (
        ((0.0, 0.34, 0.16, 0.4), x[0], r"image $x$", {}),
        ((0.69, 0.56, 0.12, 0.3), p.loc[0], r"$\mu_{x|z}$", {}),
        ((0.69, 0.10, 0.12, 0.3), p.scale[0], r"$\sigma_{x|z}$", {"cmap": "viridis", "vmin": 0, "vmax": None}),
        ((0.84, 0.34, 0.16, 0.4), sample[0], r"sample $x$", {}),
    )
    for place, image, title, scale in pictures:
        ax = figure.add_axes(place)
        _image(ax, image, **scale)
        ax.set_title(title, fontsize=10)
    overlay = figure.add_axes((0, 0, 1, 1), facecolor="none")
    overlay.set(xlim=(0, 1), ylim=(0, 1))
    overlay.axis("off")
    style = dict(arrowstyle="-|>", mutation_scale=9, color=FORWARD)
    joints = [((0.155, 0.54), (0.19, 0.54)), ((0.285, 0.58), (0.33, 0.68)), ((0.285, 0.5), (0.33, 0.3)),
              ((0.415, 0.68), (0.445, 0.55)), ((0.415, 0.3), (0.445, 0.43)), ((0.53, 0.52), (0.565, 0.53)),
              ((0.66, 0.58), (0.70, 0.7)), ((0.66, 0.5), (0.70, 0.28)), ((0.80, 0.7), (0.845, 0.6)), ((0.80, 0.28), (0.845, 0.46))]  # fmt: skip
    for start, end in joints:
        overlay.add_patch(FancyArrowPatch(start, end, **style))
    return figure


def draw_reparameterization() -> Figure:
    """Draw the graph before and after the trick, with the path of the gradient from the reconstruction term."""
    pgm = daft.PGM(shape=(9.6, 4.4), origin=(0, 0), grid_unit=2.0, node_unit=1.0)
    box = {"shape": "rectangle", "plot_params": {"fc": BOX}}
    for row, name in ((3.05, "before"), (1.0, "after")):
        pgm.add_node(f"x {name}", r"$x$", 0.6, row, observed=True)
        pgm.add_node(f"encoder {name}", r"encoder $\phi$", 2.1, row, aspect=2.3, **box)
        pgm.add_node(f"moments {name}", r"$\mu,\ \sigma$", 3.8, row, aspect=1.5, **box)
        if name == "before":
            pgm.add_node(f"z {name}", r"$z\sim q$", 5.6, row, scale=1.25)
        else:
            pgm.add_node(f"z {name}", r"$z=\mu+\sigma\odot\epsilon$", 5.6, row, aspect=2.8, **box)
            pgm.add_node("noise", r"$\epsilon$", 5.6, row + 0.95)
            pgm.add_edge("noise", f"z {name}")
        pgm.add_node(f"term {name}", r"$\log\,p_\theta(x|z)$", 8.1, row, aspect=2.8, **box)
        chain = ("x", "encoder", "moments", "z", "term")
        for start, end in zip(chain, chain[1:]):
            pgm.add_edge(f"{start} {name}", f"{end} {name}")
    ax = _render(pgm)
    curve = dict(arrowstyle="-|>", mutation_scale=12, color=GRADIENT, linewidth=1.6, linestyle="--")
    bend = "arc3,rad=-0.18"
    for height, ends in ((5.35, (16.2, 11.5)), (1.25, (16.2, 11.5, 7.7, 4.2))):
        for start, end in zip(ends, ends[1:]):
            ax.add_patch(FancyArrowPatch((start, height), (end + 0.1, height), connectionstyle=bend, **curve))
    ax.text(11.2, 5.1, "×", color=GRADIENT, fontsize=20, ha="center", va="center")
    ax.text(10.7, 4.85, "no gradient passes the draw", color=GRADIENT, fontsize=9, ha="right", va="center")
    ax.text(0.5, 7.3, "before: the draw stands between encoder and decoder", fontsize=10)
    ax.text(0.5, 3.3, "after: the noise comes in from the side", fontsize=10)
    return ax.figure


def plot_derivation_lines(lines: dict[str, float], exact: float, spread: dict[str, Tensor]) -> Figure:
    """Draw the value of each line of the derivation, all at the height of log p(x), and what is averaged over codes.

    Args:
        lines: name → value in nats, from the first line to the last.
        exact: log p(x) in nats.
        spread: name → `[K]` values in nats at K codes, to show how much they vary.
    """
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.8), layout="constrained")
    left.axhline(exact, color=COLORS["likelihood"], linewidth=1, linestyle=":", label=LABELS["likelihood"])
    left.plot(range(1, len(lines) + 1), list(lines.values()), "o", color=COLORS["reconstruction"])
    left.set(xticks=range(1, len(lines) + 1), xlabel="line of the derivation", ylabel="nats", ylim=(exact - 5, exact + 5))
    for (name, values), color in zip(spread.items(), (COLORS["reconstruction"], COLORS["likelihood"])):
        right.plot(values[:200].numpy(), ".", color=color, markersize=4, label=name)
    right.set(xlabel="code drawn from q, the first 200", title="what is averaged", ylim=(None, 1.6 * exact))
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
    signed = {"reconstruction": terms.reconstruction, "kl_prior": -terms.kl_prior, "kl_posterior": terms.kl_posterior}
    for shift, (key, values) in zip((-0.3, -0.1, 0.1), signed.items()):
        sign = "−" if key == "kl_prior" else ""
        ax.bar(place + shift, values.numpy(), 0.2, color=COLORS[key], label=sign + LABELS[key])
    ax.bar(place + 0.3, sum(signed.values()).numpy(), 0.2, color=COLORS["likelihood"], label="sum of the three")
    level = terms.log_likelihood[0].item()
    ax.axhline(level, color=COLORS["likelihood"], linewidth=1, linestyle=":", label=LABELS["likelihood"])
    ax.axhline(0, color="#999999", linewidth=0.6)
    ax.set_xticks(place, names)
    ax.set_yscale("symlog", linthresh=10)
    ax.set_yticks([-1e9, -1e6, -1e3, 0, 1e3, 1e6, 1e9])
    ax.set_ylabel("nats")
    ax.legend(fontsize="small", ncols=2)
    return figure


def plot_history(history: History) -> Figure:
    """Draw both terms and the ELBO by epoch, training dashed and validation solid; the KL from before training on."""
    figure, axes = plt.subplots(1, 3, figsize=(6.9, 2.5), layout="constrained")
    for ax, name, title in zip(axes, ("reconstruction", "kl", "elbo"), ("reconstruction", "KL to the prior", "ELBO")):
        color = {"reconstruction": COLORS["reconstruction"], "kl": COLORS["kl_prior"], "elbo": COLORS["likelihood"]}[name]
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
    figure, panels = plt.subplots(2, len(names), figsize=(6.9, 3.9), height_ratios=(1, 3), layout="constrained")
    for column, (image, name) in enumerate(zip(images, names)):
        _image(panels[0, column], image)
        panels[0, column].set_title(name)
        ax = panels[1, column]
        density = posteriors[column].density
        levels = density.max() * torch.logspace(-2, 0, 11)  # so that a second, lower peak is seen
        ax.contourf(*posteriors[column].axes, density.T, levels=levels.tolist(), cmap="Greens", norm="log", extend="max")
        centre, std = q.mean[column].tolist(), q.stddev[column]
        for width in (1, 2):
            size = (2 * width * std).tolist()
            ax.add_patch(Ellipse(centre, *size, fill=False, color=COLORS["kl_prior"], linewidth=1.4))
        ax.set(xlabel="$z_1$")
    panels[1, 0].set_ylabel("$z_2$")
    handles = [Patch(color="#74c476", label="true posterior p(z|x)"), Patch(fill=False, edgecolor=COLORS["kl_prior"], label="the encoder's q(z|x), 1σ and 2σ")]
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
    figure, panels = plt.subplots(2, len(names), figsize=(6.9, 3.5), height_ratios=(1, 2.2), layout="constrained")
    for column, (image, name) in enumerate(zip(images, names)):
        _image(panels[0, column], image)
        panels[0, column].set_title(name)
        ax = panels[1, column]
        ax.fill_between(line, posterior[column], color="#74c476", label="true posterior p(z|x)")
        ax.plot(line, guess[column], color=COLORS["kl_prior"], linewidth=1.4, label="the encoder's q(z|x)")
        seen = line[torch.maximum(posterior[column] / posterior[column].max(), guess[column] / guess[column].max()) > 1e-3]
        margin = 0.25 * (seen[-1] - seen[0]).item()
        ax.set(xlabel="$z$", yticks=[], xlim=(seen[0].item() - margin, seen[-1].item() + margin), ylim=(0, None))
    panels[1, 0].set_ylabel("density")
    figure.legend(*panels[1, 0].get_legend_handles_labels(), loc="outside lower center", ncols=2, fontsize="small")
    return figure


def plot_gap_split(names: Sequence[str], family: Sequence[float], sharing: Sequence[float]) -> Figure:
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


def plot_third_term(kl_posterior: Tensor) -> Figure:
    """Draw the distribution of KL(q(z|x) ‖ p(z|x)) over images: a histogram, and the share of the sum by rank."""
    figure, (left, right) = plt.subplots(1, 2, figsize=(6.9, 2.7), layout="constrained")
    low, high = kl_posterior.min().log10().item(), kl_posterior.max().log10().item()
    left.hist(kl_posterior.numpy(), bins=np.logspace(low - 1e-6, high + 1e-6, 40), color=COLORS["kl_posterior"])
    for value, name, line in ((kl_posterior.median(), "median", "--"), (kl_posterior.mean(), "mean", "-")):
        left.axvline(value.item(), color=COLORS["likelihood"], linestyle=line, linewidth=1.2, label=name)
    left.set(xscale="log", xlabel=LABELS["kl_posterior"] + ", nats", ylabel="images")
    left.legend(fontsize="small")
    ranked = kl_posterior.sort(descending=True).values.cumsum(0) / kl_posterior.sum()
    share = 100 * torch.arange(1, len(ranked) + 1) / len(ranked)
    right.plot(share, 100 * ranked, color=COLORS["kl_posterior"])
    right.axvline(5, color="#999999", linewidth=0.7)
    right.set(xlabel="worst images, %", ylabel="share of the whole third term, %", ylim=(0, 102))
    return figure


def plot_terms_by_epoch(epochs: Sequence[int], stages: Sequence[Decomposition]) -> Figure:
    """Draw the mean of each of the three terms by epoch, and of log p(x) with the ELBO below it.

    Args:
        epochs: n numbers of epochs; the first, before training, is left out of the right panel.
        stages: n decompositions of the same images.
    """
    means = {field: [getattr(stage, field).mean().item() for stage in stages] for field in Decomposition._fields}
    elbos = [stage.elbo.mean().item() for stage in stages]
    figure, axes = plt.subplots(1, 4, figsize=(6.9, 2.4), layout="constrained")
    titles = {"reconstruction": "reconstruction", "kl_prior": "KL to the prior", "kl_posterior": "KL to the posterior"}
    for ax, (field, title) in zip(axes, titles.items()):
        first = 1 if field == "reconstruction" else 0  # before training it is off the scale
        ax.plot(epochs[first:], means[field][first:], "o-", color=COLORS[field], markersize=4)
        ax.set(title=title, xlabel="epoch")
    axes[0].set_ylabel("nats per image")
    axes[3].plot(epochs[1:], means["log_likelihood"][1:], "o-", color=COLORS["likelihood"], markersize=4, label=LABELS["likelihood"])
    axes[3].plot(epochs[1:], elbos[1:], "o--", color=COLORS["reconstruction"], markersize=4, label="ELBO")
    axes[3].set(title="sum, and bound", xlabel="epoch")
    axes[3].legend(fontsize="small")
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


def plot_density_trap(std: Tensor, density: Tensor, probability: Tensor) -> Figure:
    """Draw the log-density of a black pixel at its own mean, which has no upper limit, and its log-probability.

    Args:
        std: `[n]`, standard deviations of the decoder.
        density: `[n]`, log-density in nats of a pixel that is exactly at its mean.
        probability: `[n]`, log-probability in nats of the same pixel, observed as an 8-bit value.
    """
    figure, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
    ax.semilogx(std, density, color=COLORS["kl_prior"], label="log-density: no limit as σ → 0")
    ax.semilogx(std, probability, color=COLORS["reconstruction"], label="log-probability of the 8-bit value: at most 0")
    ax.axhline(0, color="#999999", linewidth=0.7)
    ax.set(xlabel="standard deviation σ that the decoder gives", ylabel="nats for one pixel")
    ax.invert_xaxis()
    ax.legend(fontsize="small")
    return figure


def plot_gradient_estimates(estimates: dict[str, Tensor], exact: float) -> Figure:
    """Draw histograms of gradient estimates from single draws, on one axis, and the exact gradient.

    Args:
        estimates: name → `[K]` values of one component.
        exact: the same component, exactly.
    """
    figure, ax = plt.subplots(figsize=(6, 2.8), layout="constrained")
    widest = max(values.std().item() for values in estimates.values())
    bins = np.linspace(exact - 3 * widest, exact + 3 * widest, 121)
    for (name, values), color in zip(estimates.items(), (COLORS["reconstruction"], COLORS["kl_prior"])):
        ax.hist(values.numpy(), bins=bins, density=True, color=color, alpha=0.7, label=name)
    ax.axvline(exact, color=COLORS["likelihood"], linestyle=":", linewidth=1.2, label="exact")
    ax.set(xlabel="estimate of one component from a single draw", ylabel="density", yscale="log")
    ax.legend(fontsize="small")
    return figure


def show_three_terms(images: Tensor, terms: Decomposition) -> Figure:
    """Draw each image beside its equation: reconstruction − KL to the prior + KL to the posterior = log p(x).

    Args:
        images: `[n, 784]`.
        terms: fields `[n]`, in nats.
    """
    figure, axes = plt.subplots(len(images), 2, figsize=(6.9, 0.75 * len(images) + 0.5), width_ratios=(1, 9))
    keys = ("reconstruction", "kl_prior", "kl_posterior", "likelihood")
    places, signs = (0.02, 0.27, 0.52, 0.80), ("", "−", "+", "=")
    for row, image in enumerate(images):
        _image(axes[row, 0], image)
        axes[row, 1].axis("off")
        values = (terms.reconstruction, terms.kl_prior, terms.kl_posterior, terms.log_likelihood)
        for key, place, sign, value in zip(keys, places, signs, values):
            text = f"{sign} {value[row].item():.2f}".replace("-", "−")
            axes[row, 1].text(place, 0.5, text, color=COLORS[key], fontsize=13, va="center")
    for key, place in zip(keys, places):
        axes[0, 1].text(place, 1.25, LABELS[key], color=COLORS[key], fontsize=9.5, va="center")
    figure.subplots_adjust(hspace=0.15, wspace=0.05)
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
    for ax, (coordinate, terms), name in zip(axes, paths, names):
        total = terms.elbo + terms.kl_posterior
        ax.plot(coordinate, total, color=COLORS["likelihood"], linewidth=2.5, label="sum of the three")
        prior = {"color": "#f2b48c", "label": "−" + LABELS["kl_prior"]}
        ax.fill_between(coordinate, terms.elbo, terms.reconstruction, **prior)
        posterior = {"facecolor": "none", "edgecolor": COLORS["kl_posterior"], "hatch": "////"}  # it may lie on the other
        ax.fill_between(coordinate, terms.elbo, total, linewidth=0, **posterior, label="+" + LABELS["kl_posterior"])
        ax.plot(coordinate, terms.reconstruction, color=COLORS["reconstruction"], label=LABELS["reconstruction"])
        ax.set(xlabel=name)
        if (coordinate > 0).all():
            ticks = [tick for tick in (0.1, 0.2, 0.5, 1, 2, 5, 10) if coordinate.min() <= tick <= coordinate.max()]
            ax.set_xscale("log")
            ax.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
            ax.set_xticks([], minor=True)
    axes[0].set_ylabel("nats")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize="small")
    return figure


def plot_bounds(samples: Sequence[int], lower: Sequence[float], level: float, upper: Sequence[float] = (), annealed: Sequence[float] = ()) -> Figure:
    """Draw mean bounds on log p(x) against the number K of samples.

    Args:
        samples: values of K.
        lower: mean lower bound for each K, in nats.
        level: mean log p(x), if it is known; NaN if not.
        upper: mean upper bound for each K.
        annealed: mean lower and upper bound by annealing.
    """
    figure, ax = plt.subplots(figsize=(6, 2.9), layout="constrained")
    ax.semilogx(samples, lower, "o-", color=COLORS["reconstruction"], label="from below: K codes from q")
    if len(upper):
        ax.semilogx(samples, upper, "o-", color=COLORS["kl_prior"], label="from above: the true code among them")
    if len(annealed):
        ax.axhspan(*annealed, color=COLORS["kl_posterior"], alpha=0.6, label="between both directions of annealing")
    if level == level:
        ax.axhline(level, color=COLORS["likelihood"], linestyle=":", label=LABELS["likelihood"] + ", on the grid")
    ax.set(xlabel="K", ylabel="nats per image")
    figure.legend(loc="outside upper center", ncols=2, fontsize="small")
    return figure
