"""The small VAEs that ship, so that numbers and figures are the same on every machine."""

import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from vae_core.data import expect
from vae_core.model import VAE

WEIGHTS = Path(str(files("vae_core") / "weights"))
NAMES = ("bernoulli", "gaussian", "mnist")


class Pretrained(NamedTuple):
    """A model with fixed weights, and where they came from."""

    model: VAE  #: float32; its weights are whole numbers of half precision.
    origin: dict[str, Any]  #: Command, settings, data and torch that made it, its ELBO in nats.


def load_pretrained(name: str = "bernoulli", folder: Path = WEIGHTS) -> Pretrained:
    """Load a VAE that ships. Chapters 1 to 4.

    `"bernoulli"`, Z = 2, and `"gaussian"`, for 8-bit images, Z = 20, saw the training split of
    `load_digits`; `"mnist"`, Bernoulli, Z = 50, all of MNIST's. All of `load_digits` is in there:
    **never score it on those**, only on `load_mnist(root, "test")`. Raises `ValueError` (another
    name; truncated or other weights) or `FileNotFoundError`.
    """
    expect(name in NAMES, f"name to be one of {NAMES}", repr(name))
    path, origins = folder / f"{name}.safetensors", folder / "origin.json"
    hint = f'install vae_core again, or run make pretrained ARGS="--model {name}"'
    for missing in (file for file in (path, origins) if not file.is_file()):
        raise FileNotFoundError(f"no file {missing}: {hint}")
    try:
        origin = json.loads(origins.read_text(encoding="utf-8"))[name]
        ((kind, config),) = origin["model"].items()
        model = getattr(VAE, kind)(**config, generator=torch.Generator())
        model.load_state_dict({key: weight.float() for key, weight in load_file(path).items()})
        if digest(model) != origin["sha256"]:
            raise LookupError("sha256")
    except (SafetensorError, AttributeError, LookupError, RuntimeError, TypeError, ValueError) as e:
        raise ValueError(f"{path} is truncated or not what {origins} describes: {hint}") from e
    return Pretrained(model.requires_grad_(False).eval(), origin)


def digest(model: VAE) -> str:
    """Give the SHA-256 of all weights, so that a damaged file is noticed."""
    weights = (weight.numpy().tobytes() for weight in model.state_dict().values())
    return hashlib.sha256(b"".join(weights)).hexdigest()
