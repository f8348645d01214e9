"""Models of a reader's own: the package page shows them, and test_own_models.py trains them."""

import torch
from torch import nn
from torch.distributions import (
    AffineTransform,
    MultivariateNormal,
    Transform,
    TransformedDistribution,
    constraints,
)

from vae_core import VAE, GaussianHead, ImageHead, StandardNormal


def with_convolutional_decoder(latent=4):
    encoder = nn.Sequential(nn.Flatten(), nn.Linear(784, 2 * latent), GaussianHead())
    decoder = nn.Sequential(
        *(nn.Linear(latent, 16 * 7 * 7), nn.SiLU(), nn.Unflatten(1, (16, 7, 7))),
        *(nn.ConvTranspose2d(16, 8, 4, 2, 1), nn.SiLU()),
        *(nn.ConvTranspose2d(8, 1, 4, 2, 1), ImageHead("bernoulli", event_dims=3)),
    )
    return VAE(encoder, decoder, StandardNormal(latent))


class FullCovariance(nn.Module):
    """q(z|x) = N(μ, LLᵀ): an encoder that gives a mean and a whole covariance."""

    def __init__(self, latent):
        super().__init__()
        self.sizes = [latent, latent, latent**2]
        self.network = nn.Sequential(nn.Linear(784, 64), nn.SiLU(), nn.Linear(64, sum(self.sizes)))

    def forward(self, x):
        mean, log_std, below = self.network(x).split(self.sizes, -1)
        factor = below.unflatten(-1, (self.sizes[0], -1)).tril(-1) + torch.diag_embed(log_std.exp())
        return MultivariateNormal(mean, scale_tril=factor)


def with_full_covariance(latent=2):
    usual = VAE.mlp(latent, (64,), "bernoulli")
    return VAE(FullCovariance(latent), usual.decoder, usual.prior)


class Coupling(Transform):
    domain, codomain, bijective = constraints.real_vector, constraints.real_vector, True

    def __init__(self, network):
        super().__init__()
        self.network = network

    def _call(self, z):  # one half moves the other, then they change places
        a, b = z.chunk(2, -1)
        return torch.cat([b + self.network(a), a], -1)

    def _inverse(self, moved):
        b, a = moved.chunk(2, -1)
        return torch.cat([a, b - self.network(a)], -1)

    def log_abs_det_jacobian(self, z, moved):
        return z.new_zeros(z.shape[:-1])


class Flow(StandardNormal):
    def __init__(self, latent):
        super().__init__(latent)
        self.networks = nn.ModuleList(nn.Linear(latent // 2, latent // 2) for _ in range(4))
        self.log_scale = nn.Parameter(torch.zeros(latent))

    def forward(self):
        last = AffineTransform(0.0, self.log_scale.exp(), event_dim=1)
        return TransformedDistribution(super().forward(), [*map(Coupling, self.networks), last])


def with_flow_as_prior(latent=4):
    usual = VAE.mlp(latent, (64,), "bernoulli")
    return VAE(usual.encoder, usual.decoder, Flow(latent))


def of_colour_images(latent=4):
    return VAE.convolutional(latent, channels=3, size=(32, 32), likelihood="gaussian")
