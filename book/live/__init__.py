"""Figures that answer without a kernel: on a page opened from disk, in JupyterLab, anywhere."""

from live.figures import (
    draw_a_digit,
    explore_latent_plane,
    move_q,
    rain_of_codes,
    sampling_step,
)
from live.page import LiveFigure

__all__ = [
    "LiveFigure",
    "draw_a_digit",
    "explore_latent_plane",
    "move_q",
    "rain_of_codes",
    "sampling_step",
]
