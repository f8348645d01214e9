"""The small VAE that ships, so that numbers and figures are the same on every machine."""

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open

from vae_core.model import VAE
from vae_core.settings import Settings

WEIGHTS = Path(str(files("vae_core") / "pretrained.safetensors"))
SETTINGS, SEED = Settings(epochs=100, batch_size=100, learning_rate=2e-3), 0
CONFIG: dict[str, Any] = {"latent": 2, "hidden": (100,), "likelihood": "bernoulli"}


class Pretrained(NamedTuple):
    """A model with fixed weights, and where they came from."""

    model: VAE  #: Bernoulli, Z = 2, float32; its weights are whole numbers of half precision.
    origin: dict[str, Any]  #: Command, settings, data and torch that made it, its ELBO in nats.


def load_pretrained(path: Path = WEIGHTS) -> Pretrained:
    """Load the VAE with a two-dimensional latent that `make pretrained` trained. Chapter 2.

    It saw the training split of `load_digits`, binarised anew for every batch. Raises
    `FileNotFoundError` (no file of weights) or `ValueError` (truncated, or something else).
    """
    hint = "install vae_core again, or make the file with make pretrained"
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: {hint}")
    model = VAE.mlp(**CONFIG, generator=torch.Generator())
    try:
        with safe_open(path, framework="pt") as file:
            origin = json.loads(file.metadata()["origin"])
            model.load_state_dict({name: file.get_tensor(name).float() for name in file.keys()})  # noqa: SIM118  no mapping
        if digest(model) != origin["sha256"]:
            raise LookupError("sha256")
    except (SafetensorError, LookupError, TypeError, RuntimeError, ValueError) as error:
        raise ValueError(f"{path} is truncated or does not hold the weights: {hint}") from error
    return Pretrained(model.requires_grad_(False).eval(), origin)


def digest(model: VAE) -> str:
    """Give the SHA-256 of all weights, so that a damaged file is noticed."""
    weights = (weight.numpy().tobytes() for weight in model.state_dict().values())
    return hashlib.sha256(b"".join(weights)).hexdigest()
