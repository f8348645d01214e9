"""The variational autoencoder: an encoder, a decoder and a prior, any of them yours."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from vae_core.data import PIXELS, Rng, check_images, expect
from vae_core.distributions import DiagonalGaussian, draw, seeded
from vae_core.likelihoods import BernoulliImage, DiscretizedGaussian

LIKELIHOODS = ("gaussian", "bernoulli")


class VAE(nn.Module):
    """A variational autoencoder: three modules that give a `torch.distributions.Distribution`.

    The encoder turns images x, `[B, D]` or `[B, C, H, W]`, into q(z|x), batch `[B]`, event `[Z]`;
    the decoder codes z, `[B, Z]`, into p(x|z), batch `[B]`, event `[D]` or `[C, H, W]`; the prior,
    called without arguments, gives p(z), no batch, event `[Z]`. `VAE.mlp` and `VAE.convolutional`
    make the usual ones. Raises `ValueError`: another prior. Chapter 3; Kingma & Welling 2014.
    """

    def __init__(self, encoder: nn.Module, decoder: nn.Module, prior: nn.Module):
        super().__init__()
        self.encoder, self.decoder, self.prior = encoder, decoder, prior
        p = prior()
        fits = isinstance(p, Distribution) and not p.batch_shape and len(p.event_shape) == 1
        expect(fits, "a prior that gives a distribution with event [Z] and no batch", p)
        self.latent = int(p.event_shape[0])
        self.config: dict[str, Any] | None = None  # how `mlp` or `convolutional` made it
        self.image_shape: tuple[int, ...] | None = None  # of one image, where it is known

    @classmethod
    def mlp(
        cls, latent: int = 20, hidden: Sequence[int] = (256,), likelihood: str = "gaussian",
        pixels: int = PIXELS, generator: Rng = None,
    ) -> "VAE":  # fmt: skip
        """Make a VAE of two multilayer perceptrons for images `[B, D]`: diagonal q, prior N(0, I).

        `latent` is Z, `hidden` the widths of the encoder's hidden layers (the decoder has them in
        reverse), `pixels` D. The likelihood is `"gaussian"` for 8-bit images, `"bernoulli"` for
        black-and-white ones. SiLU is smooth, so that log p(x) can be integrated. Raises
        `ValueError`: a size below 1 or an unknown likelihood.
        """
        config = {"latent": latent, "hidden": tuple(hidden), "pixels": pixels}
        _check_sizes(**config)
        outputs = pixels if likelihood == "bernoulli" else 2 * pixels
        with torch.random.fork_rng([]):  # only the generator counts
            encoder = _perceptron(pixels, *hidden, 2 * latent)
            decoder = [*_perceptron(latent, *reversed(hidden), outputs), ImageHead(likelihood)]
        config["likelihood"] = likelihood
        return cls._made(encoder, decoder, {"mlp": config}, (pixels,), generator)

    @classmethod
    def convolutional(
        cls, latent: int = 20, channels: int = 1, size: tuple[int, int] = (28, 28),
        likelihood: str = "gaussian", generator: Rng = None,
    ) -> "VAE":  # fmt: skip
        """Make a VAE of small convolutional networks for images `[B, C, H, W]`; else as `VAE.mlp`.

        `channels` is C, `size` H and W, at least 4 each: the encoder halves them twice, the decoder
        doubles them twice.
        """
        config = {"latent": latent, "channels": channels, "size": tuple(size)}
        _check_sizes(**config)
        expect(len(size) == 2 and min(size) >= 4, "images of at least 4 × 4 pixels", size)
        half, quarter = ([(n + step - 1) // step for n in size] for step in (2, 4))
        count, outputs = 64 * quarter[0] * quarter[1], channels * (1 + (likelihood != "bernoulli"))
        with torch.random.fork_rng([]):
            encoder = [nn.Conv2d(channels, 32, 3, 2, 1), nn.SiLU(), nn.Conv2d(32, 64, 3, 2, 1)]
            encoder += [nn.SiLU(), nn.Flatten(), nn.Linear(count, 2 * latent)]
            decoder = [nn.Linear(latent, count), nn.SiLU(), nn.Unflatten(1, (64, *quarter))]
            decoder += [nn.Upsample(tuple(half)), nn.Conv2d(64, 32, 3, 1, 1), nn.SiLU()]
            decoder += [nn.Upsample(tuple(size)), nn.Conv2d(32, outputs, 3, 1, 1)]
        decoder, config["likelihood"] = [*decoder, ImageHead(likelihood, 3)], likelihood
        return cls._made(encoder, decoder, {"convolutional": config}, (channels, *size), generator)

    @classmethod
    def _made(cls, encoder: Any, decoder: Any, config: Any, shape: Any, generator: Rng) -> "VAE":
        """Put the parts together, draw the weights, and note how the model was made."""
        prior = StandardNormal(*(made["latent"] for made in config.values()))
        model = cls(nn.Sequential(*encoder, GaussianHead()), nn.Sequential(*decoder), prior)
        model.config, model.image_shape = config, shape
        for parameter in model.parameters():
            if parameter.ndim > 1:
                nn.init.xavier_uniform_(parameter, generator=generator)
            else:
                nn.init.zeros_(parameter)  # a bias
        return model

    def encode(self, x: Tensor) -> Any:
        """Give q(z|x): batch `[B]`, event `[Z]`, from images x, `[B, D]` or `[B, C, H, W]`.

        Raises `ValueError`: as `check_images`; another dtype or device than the weights; another q.
        """
        check_images(x, self.image_shape)
        weight = next(self.encoder.parameters(), x)
        got = [f"{t.dtype} on {t.device}" for t in (weight, x)]
        expect(got[0] == got[1], "weights and images of one dtype, on one device", got)
        q = self.encoder(x)
        shapes = [q.batch_shape, q.event_shape]
        expect(shapes == [(len(x),), (self.latent,)], "q(z|x) with batch [B] and event [Z]", shapes)
        return q

    def decode(self, z: Tensor) -> Any:
        """Give p(x|z): batch `[B]`, event `[D]` or `[C, H, W]`, from `[B, Z]`, or `ValueError`."""
        fits = z.ndim > 0 and z.shape[-1] == self.latent
        expect(fits, f"z of shape [..., {self.latent}]", list(z.shape))
        return self.decoder(z)

    def log_likelihood(self, x: Tensor, z: Tensor) -> Tensor:
        """log p(x|z) of images x, `[B, ...]`, each given its codes z, `[K, B, Z]`: `[K, B]`, nats.

        Raises `ValueError`: as `decode`, or images that p(x|z) refuses.
        """
        p = self.decode(z.flatten(0, -2))
        expect(p.event_shape == x.shape[1:], f"images {list(p.event_shape)}", list(x.shape[1:]))
        many = x.expand(*z.shape[:-2], *x.shape).flatten(0, z.ndim - 2)
        return p.log_prob(many).unflatten(0, z.shape[:-1])

    def sample(self, n: int, generator: Rng = None) -> Tensor:
        """Draw n ≥ 1 images, `[n, D]` or `[n, C, H, W]`: z ~ p(z), then x ~ p(x|z)."""
        with torch.no_grad(), seeded(generator):
            return self.decode(draw(self.prior(), n)).sample()


class StandardNormal(nn.Module):
    """The prior p(z) = N(0, I), event `[Z]`, as a module. Chapter 1."""

    zeros: Tensor

    def __init__(self, latent: int):
        super().__init__()
        self.register_buffer("zeros", torch.zeros(latent), persistent=False)

    def forward(self) -> DiagonalGaussian:
        """Give p(z)."""
        return DiagonalGaussian(self.zeros, self.zeros)


class GaussianHead(nn.Module):
    """The last layer of an encoder: from μ and log σ² side by side, `[..., 2Z]`, N(μ, diag σ²)."""

    def forward(self, output: Tensor) -> DiagonalGaussian:
        """Give q(z|x)."""
        return DiagonalGaussian(*_full(output).chunk(2, dim=-1))


class ImageHead(nn.Module):
    """The last layer of a decoder: logits, or loc and log scale side by side, become p(x|z).

    That is a `"bernoulli"` or `"gaussian"` likelihood of images `[D]` or, with 3 `event_dims`,
    `[C, H, W]`; loc and log scale are halves of the first axis of these.
    """

    def __init__(self, likelihood: str, event_dims: int = 1):
        super().__init__()
        fits = likelihood in LIKELIHOODS
        expect(fits, f"likelihood to be one of {LIKELIHOODS}", repr(likelihood))
        self.likelihood, self.event_dims = likelihood, event_dims

    def forward(self, output: Tensor) -> BernoulliImage | DiscretizedGaussian:
        """Give p(x|z)."""
        if self.likelihood == "bernoulli":
            return BernoulliImage(_full(output), self.event_dims)
        loc, log_scale = _full(output).chunk(2, dim=-self.event_dims)
        return DiscretizedGaussian(loc, log_scale.exp(), self.event_dims)


def _full(output: Tensor) -> Tensor:
    """In autocast the layers give less precision than densities need."""
    kind = output.device.type
    on = torch.amp.is_autocast_available(kind) and torch.is_autocast_enabled(kind)
    return output.float() if on else output


def _perceptron(*sizes: int) -> list[nn.Module]:
    """Linear layers of the given sizes with SiLU between them."""
    layers: list[nn.Module] = [n for a, b in pairwise(sizes) for n in (nn.Linear(a, b), nn.SiLU())]
    return layers[:-1]


def _check_sizes(**sizes: Any) -> None:
    for name, value in sizes.items():
        values = value if isinstance(value, tuple) else (value,)
        fits = bool(values) and all(isinstance(n, int) and n >= 1 for n in values)
        expect(fits, f"{name} to be whole numbers of at least 1", value)
