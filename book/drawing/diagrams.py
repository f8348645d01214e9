"""The derivation and the graphs, drawn."""

import itertools

import matplotlib.pyplot as plt
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyArrowPatch, FancyBboxPatch

from drawing.style import BOX, COLORS, INK, LABELS, SOFT, WIDTH

STEPS = (  # a line of the derivation, and the reason for it
    (r"\log\,p(x)=\mathbb{E}_q\left[\,\log\,p(x)\,\right]", "$p(x)$ does not depend on $z$"),
    (
        r"=\mathbb{E}_q\left[\,\log\,\dfrac{p(x|z)\,p(z)}{p(z|x)}\,\right]",
        "Bayes' rule",
    ),
    (
        r"=\mathbb{E}_q\left[\,\log\,\dfrac{p(x|z)\,p(z)}{p(z|x)}\;\dfrac{q(z|x)}{q(z|x)}\,\right]",
        "multiply by one",
    ),
    (
        r"=\mathbb{E}_q\left[\log\,p(x|z)\right]-\mathbb{E}_q\left[\log\,\dfrac{q(z|x)}{p(z)}\right]"
        r"+\mathbb{E}_q\left[\log\,\dfrac{q(z|x)}{p(z|x)}\right]",
        "rules of logarithms",
    ),
)
QUESTIONS = {
    "reconstruction": ("=", "does the decoder make this image?"),
    "kl_prior": ("−", "how far is $q$ from the prior?"),
    "kl_posterior": ("+", "how far is $q$ from the true posterior?"),
}


def draw_derivation() -> Figure:
    """Draw the derivation of the three terms, the reason over each line, a question to each term.

    Chapter 1, equation (three-terms).
    """
    figure, ax = canvas(WIDTH, 5.0)
    top = 4.85
    for number, (formula, why) in enumerate(STEPS):
        ax.text(0.3 if number else 0, top, why, color=SOFT, style="italic", va="center", size=12)
        drop = 0.27 if number == 0 else 0.4
        ax.text(
            0 if number == 0 else 0.05,
            top - drop,
            f"${formula}$",
            va="center",
            size=14,
            math_fontfamily="cm",
        )
        top -= 0.68 if number == 0 else 0.93
    ax.text(
        0.3, top, "two of them are divergences", color=SOFT, style="italic", va="center", size=12
    )
    for row, (name, (sign, question)) in enumerate(QUESTIONS.items()):
        height = top - 0.32 - 0.36 * row
        ax.text(0.05, height, sign, va="center", size=14)
        style = {"va": "center", "color": COLORS[name]}
        ax.text(0.3, height, LABELS[name], size=14, math_fontfamily="cm", **style)
        ax.text(2.02, height, question, size=12, **style)
    return figure


def draw_reparameterization() -> Figure:
    """Draw the way from x to the first term before the trick and after it.

    Forward arrows are ink and lead down. The gradient of the first term leads up, red and dashed;
    it stops, crossed out, where the code is drawn. Chapter 4, equation (reparameterization).
    """
    figure, ax = canvas(WIDTH, 4.9)
    rows = {"x": 4.1, "encoder": 3.4, "moments": 2.7, "z": 1.75, "decoder": 0.95, "term": 0.25}
    for left, name in ((0.95, "before"), (3.25, "after")):
        after = name == "after"
        ax.text(left, 4.7, name, ha="center", va="center", weight="bold")
        _node(ax, (left, rows["x"]), "$x$", seen=True, radius=0.2)
        box(ax, (left, rows["encoder"]), "encoder $\\phi$")
        box(ax, (left, rows["moments"]), r"$\mu,\ \sigma$")
        if after:
            box(ax, (left, rows["z"]), r"$z=\mu+\sigma\odot\epsilon$")
            _node(ax, (4.6, rows["z"]), r"$\epsilon$", radius=0.2)
            arrow(ax, (4.4, rows["z"]), (3.97, rows["z"]))
            ax.text(4.6, rows["z"] + 0.36, "random", ha="center", va="center", size=11)
            ax.text(left + 0.8, rows["moments"], "static", va="center", size=11)
            way = (left - 0.57, (rows["decoder"] + rows["term"]) / 2)
            ax.text(*way, "gradient", ha="right", va="center", size=11, color=COLORS["gradient"])
        else:
            _node(ax, (left, rows["z"]), r"$z\sim q$", radius=0.34)
            ax.text(left + 0.42, rows["z"] + 0.32, "random", va="center", size=11)
        box(ax, (left, rows["decoder"]), "decoder $\\theta$")
        box(ax, (left, rows["term"]), r"$\log\,p(x|z)$")
        ends = list(rows.items())
        half = {"x": 0.2, "z": 0.19 if after else 0.34}
        for (start, y0), (end, y1) in itertools.pairwise(ends):
            arrow(ax, (left, y0 - half.get(start, 0.19)), (left, y1 + half.get(end, 0.19)))
        stops = ["term", "decoder", "z", "moments", "encoder"][: 5 if after else 3]
        for start, end in itertools.pairwise(stops):
            x = left - (0.28 if end == "z" and not after else 0.5)
            _gradient(ax, (left - 0.5, rows[start] + 0.21), (x, rows[end] - 0.21))
        if not after:
            red = {"color": COLORS["gradient"], "ha": "center", "va": "center"}
            ax.text(left - 0.42, rows["z"] + 0.42, "×", size=26, **red)
            ax.text(left - 0.5, rows["z"] + 0.66, "cut", size=11, **red)
    return figure


def canvas(width: float, height: float) -> tuple[Figure, Axes]:
    """Axes over a whole figure, measured in inches."""
    figure = plt.figure(figsize=(width, height))
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, width), ylim=(0, height))
    ax.axis("off")
    return figure, ax


def _node(ax: Axes, centre, text: str, seen: bool = False, radius: float = 0.24) -> None:
    """A random variable: a circle, filled where it is observed."""
    ax.add_patch(
        Circle(centre, radius, facecolor=BOX if seen else "none", edgecolor=INK, linewidth=1.2)
    )
    ax.text(*centre, text, ha="center", va="center")


def box(ax: Axes, centre, text: str, width: float = 1.4, height: float = 0.38) -> None:
    """What follows from what is above it, without chance."""
    corner = (centre[0] - width / 2, centre[1] - height / 2)
    style = {"boxstyle": "round,pad=0,rounding_size=0.06", "facecolor": BOX, "edgecolor": INK}
    ax.add_patch(FancyBboxPatch(corner, width, height, linewidth=1.2, **style))
    ax.text(*centre, text, ha="center", va="center")


def arrow(ax: Axes, start, end, bend: float = 0, color: str = INK, **style) -> None:
    """An arrow whose ends are where they are said to be."""
    way = {"connectionstyle": f"arc3,rad={bend}", "shrinkA": 0, "shrinkB": 0, "linewidth": 1.3}
    head = {"arrowstyle": "-|>", "mutation_scale": 13}
    ax.add_patch(FancyArrowPatch(start, end, color=color, **way, **head, **style))


def _gradient(ax: Axes, start, end) -> None:
    arrow(ax, start, end, color=COLORS["gradient"], linestyle=(0, (3, 1.5)))
