"""The instruments of the deeper chapters: built on vae_core, and nothing in vae_core needs them.

A decoder for which everything has a closed form (`linear`), log p(x) from both sides and a q for
each image alone (`annealing`), estimators of the encoder's gradient (`gradients`), and one
ruler for decoders of grey images (`pixels`, imported by its own name).
"""

from deeper.annealing import Bracket, annealed_log_likelihood, best_gaussian
from deeper.gradients import (
    BoundGradients,
    WeightGradients,
    bound_gradients,
    encoder_gram,
    encoder_variance,
    pathwise_gradient,
    score_function_gradient,
    squared_signal_to_noise,
    weight_gradients,
)
from deeper.linear import LinearGaussian, add_pixel_noise, decompose_linear, fit_linear_gaussian

__all__ = [
    "BoundGradients",
    "Bracket",
    "LinearGaussian",
    "WeightGradients",
    "add_pixel_noise",
    "annealed_log_likelihood",
    "best_gaussian",
    "bound_gradients",
    "decompose_linear",
    "encoder_gram",
    "encoder_variance",
    "fit_linear_gaussian",
    "pathwise_gradient",
    "score_function_gradient",
    "squared_signal_to_noise",
    "weight_gradients",
]
