"""The training pipeline of one image, with what a model gives."""

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from drawing.diagrams import arrow, box, canvas
from drawing.images import draw_image
from drawing.style import COLORS, INK, WIDTH
from vae_core import VAE, DiscretizedGaussian, check_images


def draw_pipeline(model: VAE, x: Tensor, generator: torch.Generator | None = None) -> Figure:
    """Draw the way of one image through a VAE, there above and back below.

    That is x, encoder, mean and standard deviation of z, a sample z; then decoder, mean and
    standard deviation of x, a sample x. Dashed arrows are draws. Chapter 3, equation (pipeline).

    Args:
        model: a VAE with a Gaussian decoder.
        x: one image, `[1, 784]`.
        generator: source of both samples.

    Raises:
        ValueError: the image is not one that the model takes, or the decoder is another one.
    """
    check_images(x, model.image_shape)
    with torch.no_grad():
        q = model.encode(x)
        z = q.sample(generator=generator)
        p = model.decode(z)
        if not isinstance(p, DiscretizedGaussian):
            raise ValueError("expected a model with a Gaussian decoder, got another one")
        sample = p.sample(generator=generator)
    figure, ax = canvas(WIDTH, 4.3)
    upper, lower = 3.25, 1.05
    box(ax, (1.72, upper), "encoder\n$\\phi$", width=0.86, height=0.9)
    box(ax, (4.3, lower), "decoder\n$\\theta$", width=0.86, height=0.9)
    _picture(ax, (0.5, upper), 1.0, x[0], "image $x$")
    _picture(ax, (0.5, lower), 1.0, sample[0], "sample $x$")
    _bars(ax, (2.92, upper + 0.5), q.mean[0], r"$\mu$ of $z$", COLORS["q"])
    _bars(ax, (2.92, upper - 0.5), q.stddev[0], r"$\sigma$ of $z$", COLORS["q"])
    _bars(ax, (4.4, upper), z[0], "sample $z$", INK)
    _picture(ax, (2.7, lower + 0.56), 0.78, p.loc[0], r"$\mu$ of $x$")
    spread = {"vmax": p.scale.max().item()}
    _picture(ax, (2.7, lower - 0.56), 0.78, p.scale[0], r"$\sigma$ of $x$", **spread)
    draw = {"linestyle": (0, (2.5, 1.5))}
    arrow(ax, (1.05, upper), (1.27, upper))
    arrow(ax, (2.17, upper + 0.15), (2.42, upper + 0.4))
    arrow(ax, (2.17, upper - 0.15), (2.42, upper - 0.4))
    arrow(ax, (3.5, upper + 0.4), (3.83, upper + 0.12), **draw)
    arrow(ax, (3.5, upper - 0.4), (3.83, upper - 0.12), **draw)
    arrow(ax, (4.35, upper - 0.45), (4.35, lower + 0.47))
    arrow(ax, (3.85, lower + 0.15), (3.13, lower + 0.5))
    arrow(ax, (3.85, lower - 0.15), (3.13, lower - 0.5))
    arrow(ax, (2.27, lower + 0.5), (1.05, lower + 0.12), **draw)
    arrow(ax, (2.27, lower - 0.5), (1.05, lower - 0.12), **draw)
    for place in ((3.8, upper - 0.62), (1.62, lower)):
        ax.text(*place, "draw", ha="center", va="center", size=12, style="italic")
    return figure


def _inset(ax: Axes, centre, width: float, height: float, title: str) -> Axes:
    """Axes in inches on a canvas, the title above."""
    corner = (centre[0] - width / 2, centre[1] - height / 2)
    inset = ax.inset_axes((*corner, width, height), transform=ax.transData)
    inset.set_title(title, size=12, pad=3)
    return inset


def _picture(ax: Axes, centre, side: float, image: Tensor, title: str, **scale) -> None:
    draw_image(_inset(ax, centre, side, side, title), image, **scale)


def _bars(ax: Axes, centre, values: Tensor, title: str, color: str) -> None:
    inset = _inset(ax, centre, 1.0, 0.58, title)
    inset.bar(range(len(values)), values.numpy(), color=color)
    inset.axhline(0, color=INK, linewidth=0.8)
    inset.spines[:].set_visible(False)
    inset.set(xticks=[], yticks=[])
