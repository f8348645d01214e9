"""Figures. Each function draws one figure of the book and returns it; none computes a result."""

from vae_core.plots.decoders import (
    plot_density_climb,
    plot_density_trap,
    plot_latent_plane,
    plot_remedies,
    plot_units,
    show_manifold,
)
from vae_core.plots.diagrams import draw_derivation, draw_generative_model, draw_pipeline, draw_reparameterization
from vae_core.plots.gradients import (
    plot_gradient_estimates,
    plot_gradient_noise,
    plot_ratio_by_epoch,
    plot_signal_to_noise,
    plot_training_by_estimator,
)
from vae_core.plots.images import show_images, show_three_terms
from vae_core.plots.posteriors import (
    plot_bounds,
    plot_gap_split,
    plot_grid_price,
    plot_posteriors,
    plot_posteriors_on_line,
    plot_third_term,
)
from vae_core.plots.results import plot_by_class, plot_by_samples, plot_likelihoods, plot_scaling
from vae_core.plots.style import COLORS, LABELS
from vae_core.plots.terms import (
    plot_decompositions,
    plot_derivation_lines,
    plot_history,
    plot_terms_along,
    plot_terms_by_epoch,
)

__all__ = [
    "COLORS",
    "LABELS",
    "draw_derivation",
    "draw_generative_model",
    "draw_pipeline",
    "draw_reparameterization",
    "plot_bounds",
    "plot_by_class",
    "plot_by_samples",
    "plot_decompositions",
    "plot_density_climb",
    "plot_density_trap",
    "plot_derivation_lines",
    "plot_gap_split",
    "plot_gradient_estimates",
    "plot_gradient_noise",
    "plot_grid_price",
    "plot_history",
    "plot_latent_plane",
    "plot_likelihoods",
    "plot_posteriors",
    "plot_posteriors_on_line",
    "plot_ratio_by_epoch",
    "plot_remedies",
    "plot_scaling",
    "plot_signal_to_noise",
    "plot_terms_along",
    "plot_terms_by_epoch",
    "plot_third_term",
    "plot_training_by_estimator",
    "plot_units",
    "show_images",
    "show_manifold",
    "show_three_terms",
]
