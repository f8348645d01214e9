"""The variational autoencoder: an encoder that gives q(z|x), and a decoder that gives p(x|z)."""

import torch
from torch import Tensor, nn

from vae_core.data import PIXELS, check_images
from vae_core.distributions import BernoulliImage, DiagonalGaussian, DiscretizedGaussian


class VAE(nn.Module):
    """A variational autoencoder with prior p(z) = N(0, I). Chapter 3; Kingma & Welling 2014.

    Encoder: x → μ, log σ², so q(z|x) = N(μ, diag σ²). Decoder: z → parameters of p(x|z): mean and diagonal
    covariance of the Gaussian y that is observed as x, or the logits of a Bernoulli. Both are multilayer perceptrons
    with SiLU activations: smooth, so that log p(x) can be integrated numerically.

    Args:
        latent: Z, dimensions of z.
        hidden: widths of the encoder's hidden layers; the decoder has the same in reverse.
        decoder: `"gaussian"` for 8-bit images (`DiscretizedGaussian`) or `"bernoulli"` for black-and-white ones.
        pixels: D.
        generator: source of the random initial weights.

    Raises:
        ValueError: a size below 1 or an unknown decoder.
    """

    def __init__(
        self,
        latent: int = 20,
        hidden: tuple[int, ...] = (256,),
        decoder: str = "gaussian",
        pixels: int = PIXELS,
        generator: torch.Generator | None = None,
    ):
        super().__init__()
        sizes = {"latent": [latent], "hidden": list(hidden), "pixels": [pixels]}
        for name, values in sizes.items():
            if not values or not all(isinstance(n, int) and n >= 1 for n in values):
                raise ValueError(f"expected {name} to be whole numbers of at least 1, got {values}")
        if decoder not in ("gaussian", "bernoulli"):
            raise ValueError(f"expected decoder to be 'gaussian' or 'bernoulli', got {decoder!r}")
        self.config = {"latent": latent, "hidden": tuple(hidden), "decoder": decoder, "pixels": pixels}
        outputs = pixels if decoder == "bernoulli" else 2 * pixels
        self.encoder = _perceptron([pixels, *hidden, 2 * latent])
        self.decoder = _perceptron([latent, *reversed(hidden), outputs])
        for layer in self.modules():
            if isinstance(layer, nn.Linear):
                nn.init.xavier_uniform_(layer.weight, generator=generator)
                nn.init.zeros_(layer.bias)

    def encode(self, x: Tensor) -> DiagonalGaussian:
        """Give q(z|x) = N(μ(x), diag σ²(x)): batch `[B]`, event `[Z]`, from images x `[B, D]`.

        Raises:
            ValueError: as `check_images`.
        """
        check_images(x, self.config["pixels"])
        mean, log_var = self.encoder(x).to(x.dtype).chunk(2, dim=-1)  # in autocast the layers give less precision
        return DiagonalGaussian(mean, log_var)

    def decode(self, z: Tensor) -> DiscretizedGaussian | BernoulliImage:
        """Give p(x|z): batch `[...]`, event `[D]`, from z `[..., Z]`.

        Raises:
            ValueError: the last axis of z is not Z.
        """
        if z.ndim == 0 or z.shape[-1] != self.config["latent"]:
            raise ValueError(f"expected z of shape [..., {self.config['latent']}], got {list(z.shape)}")
        output = self.decoder(z).to(z.dtype)
        if self.config["decoder"] == "bernoulli":
            return BernoulliImage(output)
        loc, log_scale = output.chunk(2, dim=-1)
        return DiscretizedGaussian(loc, torch.exp(log_scale))

    def prior(self) -> DiagonalGaussian:
        """Give p(z) = N(0, I): event `[Z]`."""
        zeros = torch.zeros_like(self.decoder[0].weight[0])
        return DiagonalGaussian(zeros, zeros)

    def sample(self, n: int, generator: torch.Generator | None = None) -> Tensor:
        """Draw n images, `[n, D]`: z ~ p(z), then x ~ p(x|z).

        Raises:
            ValueError: n is below 1.
        """
        if n < 1:
            raise ValueError(f"expected n of at least 1, got {n}")
        with torch.no_grad():
            return self.decode(self.prior().sample((n,), generator)).sample(generator=generator)


def _perceptron(sizes: list[int]) -> nn.Sequential:
    """Linear layers of the given sizes with SiLU between them."""
    layers: list[nn.Module] = []
    for inputs, outputs in zip(sizes, sizes[1:]):
        layers += [nn.utils.skip_init(nn.Linear, inputs, outputs), nn.SiLU()]  # VAE draws the weights
    return nn.Sequential(*layers[:-1])
