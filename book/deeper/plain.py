"""A whole VAE in plain torch, for the page on slips: this file is the sound one.

`deeper.broken` changes one line of this text at a time. Nothing here reads a distribution of
`vae_core` or of torch: they are what these lines are checked against.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from deeper.checks import load_digits
from vae_core import binarize


class PlainVAE(nn.Module):
    """A VAE of black-and-white digits with Z numbers to a code, in methods of a line or two."""

    def __init__(self, hidden: int = 100, latent: int = 2):
        super().__init__()
        into, out = nn.Linear(784, hidden), nn.Linear(hidden, 784)
        codes, body = nn.Linear(hidden, 2 * latent), nn.Linear(latent, hidden)
        self.encoder = nn.Sequential(into, nn.SiLU(), codes)
        self.decoder = nn.Sequential(body, nn.SiLU(), out)

    def encode(self, x: Tensor) -> tuple[Tensor, ...]:
        """Give μ and log σ² of q(z|x), `[B, Z]` each, from images, `[B, D]`."""
        return self.encoder(x).chunk(2, dim=1)  # μ and log σ², [B, Z] each

    def draw(self, mean: Tensor, log_var: Tensor, noise: Tensor) -> Tensor:
        """Give z = μ + σ ⊙ ε, `[B, Z]`, from noise ε ~ N(0, I)."""
        std = (0.5 * log_var).exp()
        return mean + std * noise

    def decode(self, z: Tensor) -> Tensor:
        """Give the logits of p(x|z), `[B, D]`, from codes, `[B, Z]`."""
        return self.decoder(z)  # the logits of p(x|z), [B, D]

    def terms(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        """Give log p(x|z) of a drawn z, and KL(q(z|x) ‖ p(z)): `[B]` each, in nats."""
        mean, log_var = self.encode(x)
        logits = self.decode(self.draw(mean, log_var, noise))
        loss = F.binary_cross_entropy_with_logits(logits, x, reduction="none")
        first = -loss.sum(1)
        second = 0.5 * (mean**2 + log_var.exp() - log_var - 1).sum(1)
        return first, second  # [B] each, in nats

    def loss(self, first: Tensor, second: Tensor) -> Tensor:
        """Give what is minimised."""
        return -(first - second).mean()


def training_digits() -> Tensor:
    """Give the grey digits to train on, `[4500, D]`."""
    splits = ("train", "validation")
    return torch.cat([load_digits(split).images for split in splits])


class Run(NamedTuple):
    """A trained model, and the means of both terms, as its own code gives them."""

    model: PlainVAE
    train: Tensor  #: `[epochs, 2]`: on the digits that it is trained on, during each epoch.
    test: Tensor  #: `[epochs, 2]`: on the test digits, after each epoch.


def train(epochs: int, generator: torch.Generator) -> Run:
    """Train with Adam, batches of 100, on digits binarised anew for each batch."""
    torch.set_rng_state(generator.get_state())  # the weights that a model begins with
    model, curves = PlainVAE(), []
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3, fused=True)
    grey, held = training_digits(), binarize(load_digits("test").images, generator)
    for _ in range(epochs):
        batches = []
        for rows in torch.randperm(len(grey), generator=generator).split(100):
            x = binarize(grey[rows], generator)
            first, second = model.terms(x, torch.randn(len(x), 2, generator=generator))
            loss = model.loss(first, second)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            batches.append(torch.stack([first.mean(), second.mean()]).detach())
        with torch.no_grad():
            both = model.terms(held, torch.randn(len(held), 2, generator=generator))
        after = torch.stack([term.mean() for term in both])
        curves.append(torch.stack([torch.stack(batches).mean(0), after]))
    return Run(model, *torch.stack(curves, 1))
