"""The derivation, the graphical models and the pipeline, drawn."""

import itertools

import daft
import matplotlib.pyplot as plt
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch
from torch import Tensor

from drawing.images import draw_image
from drawing.style import BOX, COLORS, INK, LABELS
from vae_core import VAE, DiscretizedGaussian, check_images


def draw_generative_model() -> Figure:
    """Draw the graphical model: p(z) p(x|z) with solid arrows, the approximate posterior q(z|x) dashed."""
    pgm = daft.PGM(shape=(4.4, 2.2), origin=(0, 0), node_unit=1.1)
    pgm.add_node("z", r"$z$", 1.0, 1.1)
    pgm.add_node("x", r"$x$", 3.0, 1.1, observed=True)
    pgm.add_edge("z", "x")
    ax = _render(pgm)
    centre = [2 * 1.0, 2 * 1.1], [2 * 3.0, 2 * 1.1]
    dashed = {
        "arrowstyle": "-|>",
        "linestyle": "--",
        "mutation_scale": 14,
        "color": COLORS["kl_posterior"],
        "linewidth": 1.2,
    }
    ax.add_patch(
        FancyArrowPatch(
            centre[1], centre[0], connectionstyle="arc3,rad=0.45", shrinkA=24, shrinkB=24, **dashed
        )
    )
    ax.text(4, 2.55, r"$p(x|z)$", ha="center", fontsize=12)
    ax.text(4, 3.55, r"$q(z|x)$", ha="center", fontsize=12, color=COLORS["kl_posterior"])
    ax.text(2, 1.1, r"$p(z)$", ha="center", fontsize=12)
    return ax.figure


def draw_derivation() -> Figure:
    """Draw the derivation of the three terms, line by line, each step named at the right."""
    lines = [
        (
            r"$\log\,p(x)\;=\;\mathbb{E}_{q(z|x)}\left[\log\,p(x)\right]$",
            r"$p(x)$ does not depend on $z$",
        ),
        (r"$=\;\mathbb{E}_q\left[\log\,\frac{p(x|z)\,p(z)}{p(z|x)}\right]$", "Bayes' rule"),
        (
            r"$=\;\mathbb{E}_q\left[\log\,\frac{p(x|z)\,p(z)}{p(z|x)}\,\frac{q(z|x)}{q(z|x)}\right]$",
            "multiply by one",
        ),
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
        ax.text(
            9.9, height, why, fontsize=9.5, va="center", ha="right", style="italic", color="#555555"
        )
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
    """Draw the pipeline for one image, with what the model gives.

    That is x, encoder, mean and standard deviation of z, a sample z, decoder, mean and standard deviation of x, a sample x.

    Args:
        model: a VAE with a Gaussian decoder.
        x: one image, `[1, 784]`.
        generator: source of both samples.
    """
    check_images(x, model.image_shape)
    if not isinstance(model.decode(torch.zeros(1, model.latent).to(x)), DiscretizedGaussian):
        raise ValueError("expected a model with a Gaussian decoder, got another one")
    with torch.no_grad():
        q = model.encode(x)
        z = q.sample(generator=generator)
        p = model.decode(z)
        sample = p.sample(generator=generator)
    figure = plt.figure(figsize=(6.9, 2.5))
    boxes = {
        "encoder": (0.19, "encoder\n" + r"$\phi$"),
        "decoder": (0.565, "decoder\n" + r"$\theta$"),
    }
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
    ax.bar(latents, z[0].numpy(), color=COLORS["gradient"])
    ax.set(xticks=[], yticks=[], title=r"sample $z$")
    pictures = (
        ((0.0, 0.34, 0.16, 0.4), x[0], r"image $x$", {}),
        ((0.69, 0.56, 0.12, 0.3), p.loc[0], r"$\mu_{x|z}$", {}),
        (
            (0.69, 0.10, 0.12, 0.3),
            p.scale[0],
            r"$\sigma_{x|z}$",
            {"cmap": "viridis", "vmin": 0, "vmax": None},
        ),
        ((0.84, 0.34, 0.16, 0.4), sample[0], r"sample $x$", {}),
    )
    for place, image, title, scale in pictures:
        ax = figure.add_axes(place)
        draw_image(ax, image, **scale)
        ax.set_title(title, fontsize=10)
    overlay = figure.add_axes((0, 0, 1, 1), facecolor="none")
    overlay.set(xlim=(0, 1), ylim=(0, 1))
    overlay.axis("off")
    style = {"arrowstyle": "-|>", "mutation_scale": 9, "color": INK}
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
        for start, end in itertools.pairwise(chain):
            pgm.add_edge(f"{start} {name}", f"{end} {name}")
    ax = _render(pgm)
    curve = {
        "arrowstyle": "-|>",
        "mutation_scale": 12,
        "color": COLORS["gradient"],
        "linewidth": 1.6,
        "linestyle": "--",
    }
    bend = "arc3,rad=-0.18"
    for height, ends in ((5.35, (16.2, 11.5)), (1.25, (16.2, 11.5, 7.7, 4.2))):
        for start, end in itertools.pairwise(ends):
            ax.add_patch(
                FancyArrowPatch((start, height), (end + 0.1, height), connectionstyle=bend, **curve)
            )
    ax.text(11.2, 5.1, "×", color=COLORS["gradient"], fontsize=20, ha="center", va="center")
    ax.text(
        10.7,
        4.85,
        "no gradient passes the draw",
        color=COLORS["gradient"],
        fontsize=9,
        ha="right",
        va="center",
    )
    ax.text(0.5, 7.3, "before: the draw stands between encoder and decoder", fontsize=10)
    ax.text(0.5, 3.3, "after: the noise comes in from the side", fontsize=10)
    return ax.figure


def _render(pgm: daft.PGM) -> Axes:
    """Draw a graph; daft divides by zero on the way to the side of a box, and mends it afterwards."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return pgm.render()
