"""Codes that were thrown from the prior, those that were kept for an image, and q beside them."""

import matplotlib.pyplot as plt
from matplotlib.figure import Figure
from torch import Tensor

from drawing.posteriors import draw_q
from drawing.style import COLORS, WIDTH
from vae_core import DiagonalGaussian

_KEPT = (
    "#a050c8"  # the posterior's purple between its light and its dark twin: pixels have one colour
)
_SHOWN = 4_000  # thrown codes, at most: more would be one grey disc


def plot_survivors(thrown: Tensor, kept: Tensor, q: DiagonalGaussian) -> Figure:
    """Draw thrown codes (grey), kept ones (purple), and q (gold, 1σ and 2σ): far and near.

    Args:
        thrown: codes from the prior, `[K, 2]`; the first 4,000 are drawn.
        kept: the survivors, draws from p(z|x), `[N, 2]`.
        q: the guess for the image, batch `[1]`, event `[2]`.

    Raises:
        ValueError: no survivor, or codes that are not points of a plane.
    """
    if not len(kept) or kept.shape[-1] != 2:
        raise ValueError(f"expected survivors [N, 2] with N of at least 1, got {list(kept.shape)}")
    figure, (far, near) = plt.subplots(1, 2, figsize=(WIDTH, 2.7), layout="constrained")
    for ax in (far, near):
        ax.scatter(*thrown[:_SHOWN].T.numpy(), s=3, lw=0, color=COLORS["prior"], rasterized=True)
        ax.scatter(*kept.T.numpy(), s=6, lw=0, color=_KEPT, rasterized=True)
        draw_q(ax, q)
        ax.set(aspect="equal", xlabel="$z_1$")
    far.set(xlim=(-3, 3), ylim=(-3, 3), ylabel="$z_2$", title="the plane")
    middle = (kept.mean(0) + q.mean[0]) / 2
    reach = 2.6 * q.stddev.max() + (kept.mean(0) - q.mean[0]).abs().max() / 2
    (left, low), (right, top) = (middle - reach).tolist(), (middle + reach).tolist()
    near.set(xlim=(left, right), ylim=(low, top), title="closer")
    return figure
