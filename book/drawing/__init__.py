"""Figures. Each function draws one figure of the book and returns it; none computes a result.

Where a notebook imports this, all its figures are shown as SVG with a light and a dark scheme.
"""

from drawing.decoders import (
    plot_density_trap,
    plot_latent_plane,
    plot_units,
)
from drawing.diagrams import draw_derivation, draw_reparameterization
from drawing.gradients import (
    plot_added_constant,
    plot_ratio_by_epoch,
    plot_signal_to_noise,
    plot_variance_by_draws,
)
from drawing.images import draw_image, show_images, show_manifold
from drawing.pipeline import draw_pipeline
from drawing.posteriors import (
    GridPosterior,
    draw_posterior,
    draw_q,
    plot_posteriors,
    posterior_on_grid,
)
from drawing.results import (
    plot_by_class,
    plot_by_samples,
    plot_likelihoods,
    plot_lost,
    plot_scaling,
)
from drawing.slips import plot_run
from drawing.source import show_source
from drawing.style import COLORS, INK, LABELS, OTHERS, WIDTH
from drawing.survivors import plot_survivors
from drawing.svg import show_figures_as_svg, to_svg
from drawing.terms import plot_terms, show_three_terms
from drawing.third_term import (
    plot_bounds,
    plot_gap_split,
    plot_grid_price,
    plot_posteriors_on_line,
    plot_third_term,
)
from drawing.training import plot_history, plot_terms_by_epoch

__all__ = [
    "COLORS",
    "INK",
    "LABELS",
    "OTHERS",
    "WIDTH",
    "GridPosterior",
    "draw_derivation",
    "draw_image",
    "draw_pipeline",
    "draw_posterior",
    "draw_q",
    "draw_reparameterization",
    "plot_added_constant",
    "plot_bounds",
    "plot_by_class",
    "plot_by_samples",
    "plot_density_trap",
    "plot_gap_split",
    "plot_grid_price",
    "plot_history",
    "plot_latent_plane",
    "plot_likelihoods",
    "plot_lost",
    "plot_posteriors",
    "plot_posteriors_on_line",
    "plot_ratio_by_epoch",
    "plot_run",
    "plot_scaling",
    "plot_signal_to_noise",
    "plot_survivors",
    "plot_terms",
    "plot_terms_by_epoch",
    "plot_third_term",
    "plot_units",
    "plot_variance_by_draws",
    "posterior_on_grid",
    "show_images",
    "show_manifold",
    "show_source",
    "show_three_terms",
    "to_svg",
]

show_figures_as_svg()
