"""vae_core: each idea of the book once. The chapters import it and show its source."""

# A table of names, by module, is read more easily than a column of seventy lines.
# fmt: off
# ruff: noqa: I001, RUF022
from vae_core.checkpoint import History, load_checkpoint
from vae_core.data import Digits, binarize, check_images, load_digits, load_mnist
from vae_core.distributions import DiagonalGaussian, draw, from_noise, gaussian_kl, reparameterize
from vae_core.grid import decompose_on_grid, log_joint
from vae_core.likelihoods import BernoulliImage, DiscretizedGaussian
from vae_core.model import VAE, GaussianHead, ImageHead, StandardNormal
from vae_core.objective import (
    Decomposition, ElboTerms, ImportanceElbo, elbo, importance_elbo, importance_log_likelihood,
)
from vae_core.pretrained import Pretrained, load_pretrained
from vae_core.settings import Settings
from vae_core.training import fit

__version__ = "0.1.0"
__all__ = [
    "BernoulliImage", "Decomposition", "DiagonalGaussian", "Digits", "DiscretizedGaussian",
    "ElboTerms", "GaussianHead", "History", "ImageHead", "ImportanceElbo", "Pretrained",
    "Settings", "StandardNormal", "VAE", "binarize", "check_images", "decompose_on_grid", "draw",
    "elbo", "fit", "from_noise", "gaussian_kl", "importance_elbo", "importance_log_likelihood",
    "load_checkpoint", "load_digits", "load_mnist", "load_pretrained", "log_joint",
    "reparameterize",
]
