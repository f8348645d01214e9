"""vae_core: each idea of the book once. The chapters import it and show its source.

Names are loaded when they are first used, so that `import vae_core` is quick and `python -m vae_core.…` runs clean.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach(
    __name__,
    submod_attrs={
        "data": ["Digits", "binarize", "check_images", "load_digits", "load_mnist"],
        "distributions": ["BernoulliImage", "DiagonalGaussian", "DiscretizedGaussian", "reparameterize"],
        "model": ["VAE"],
        "linear": ["LinearGaussian", "add_pixel_noise", "fit_linear_gaussian"],
        "objective": ["ElboTerms", "ImportanceElbo", "elbo", "gaussian_kl", "importance_elbo"],
        "grid": ["Decomposition", "decompose_linear", "decompose_on_grid", "log_joint", "posterior_on_grid"],
        "annealing": ["Bracket", "annealed_log_likelihood", "best_gaussian", "importance_log_likelihood"],
        "gradients": ["encoder_gram", "encoder_variance", "pathwise_gradient", "score_function_gradient"],
        "checkpoint": ["History", "load_checkpoint"],
        "training": ["Cosine", "fit"],
        "pretrained": ["Pretrained", "load_pretrained"],
    },
)
