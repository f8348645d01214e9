"""The small VAE that ships with the book, and the command that made it: `python -m vae_core.pretrained`."""

import argparse
import hashlib
import json
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from vae_core.data import binarize, load_digits
from vae_core.model import VAE
from vae_core.objective import elbo
from vae_core.training import fit

SETTINGS = {"epochs": 100, "batch_size": 100, "learning_rate": 2e-3, "seed": 0}
CONFIG = {"latent": 2, "hidden": (100,), "decoder": "bernoulli"}


class Pretrained(NamedTuple):
    """A model with fixed weights, and where they came from."""

    model: VAE
    "A Bernoulli VAE with Z = 2, float32; its weights are whole numbers of half precision."
    origin: dict
    "The command, the settings, the data and the version of torch that made it, and its ELBO in nats."


def load_pretrained() -> Pretrained:
    """Load the shipped VAE with a two-dimensional latent, so that numbers and figures are the same on every machine.

    It was trained on the training split of `load_digits`, binarised anew for every batch. Chapter 2.

    Raises:
        FileNotFoundError: the file of weights is not beside this module.
        ValueError: it is truncated or holds something else.
    """
    return _load(Path(str(files("vae_core") / "pretrained.safetensors")))


def _load(path: Path) -> Pretrained:
    cure = "install vae_core again, or make the file with python -m vae_core.pretrained"
    if not path.is_file():
        raise FileNotFoundError(f"no weights at {path}: {cure}")
    try:
        with safe_open(path, framework="pt") as file:
            origin = json.loads(file.metadata()["origin"])
            weights = {name: file.get_tensor(name).float() for name in file.keys()}
        model = VAE(**CONFIG, generator=torch.Generator())
        model.load_state_dict(weights)
        if _digest(model) != origin["sha256"]:
            raise KeyError("sha256")
    except (SafetensorError, KeyError, TypeError, RuntimeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is truncated or does not hold the expected weights: {cure}") from error
    return Pretrained(model.requires_grad_(False).eval(), origin)


def _digest(model: VAE) -> str:
    """SHA-256 of all weights, so that a damaged file is noticed."""
    return hashlib.sha256(b"".join(weight.numpy().tobytes() for weight in model.state_dict().values())).hexdigest()


def train(epochs: int = SETTINGS["epochs"], seed: int = SETTINGS["seed"], progress: bool | None = None) -> VAE:
    """Train the model that ships, and round its weights to half precision."""
    generator = torch.Generator().manual_seed(seed)
    model = VAE(**CONFIG, generator=generator)
    images, validation = load_digits("train").images, load_digits("validation").images
    fit(
        model,
        images,
        epochs,
        SETTINGS["batch_size"],
        SETTINGS["learning_rate"],
        validation=validation,
        transform=binarize,
        generator=generator,
        progress=progress,
    )
    return model.half().float()


def validation_elbo(model: VAE, samples: int = 100) -> float:
    """Mean ELBO in nats of the 500 validation digits, binarised once and with noise that is always the same."""
    generator = torch.Generator().manual_seed(1)
    x = binarize(load_digits("validation").images, generator)
    with torch.no_grad():
        return elbo(model, x, samples, generator).elbo.mean().item()


def main(argv: list[str] | None = None) -> None:
    """Train the shipped model and write its weights with their origin."""
    parser = argparse.ArgumentParser(prog="python -m vae_core.pretrained", description=main.__doc__)
    parser.add_argument("--output", type=Path, default=Path(__file__).with_suffix(".safetensors"))
    path = parser.parse_args(argv).output
    model = train()
    origin = {
        "command": "python -m vae_core.pretrained",
        "data": "the training split of load_digits, binarised anew for every batch",
        "settings": SETTINGS,
        "validation_elbo": round(validation_elbo(model), 2),
        "sha256": _digest(model),
        "torch": torch.__version__.split("+")[0],
    }
    weights = {name: weight.half() for name, weight in model.state_dict().items()}
    save_file(weights, path, metadata={"origin": json.dumps(origin)})
    path.chmod(0o644)  # the library makes it readable by its owner alone
    print(f"wrote {path}: validation ELBO {origin['validation_elbo']} nats")


if __name__ == "__main__":
    main()
