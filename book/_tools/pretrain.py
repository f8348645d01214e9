"""Train the small model that ships with vae_core: `make pretrained`.

Or `python book/_tools/pretrain.py [--output FILE]`.
"""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file

from vae_core import VAE, binarize, elbo, fit, load_digits
from vae_core.pretrained import CONFIG, SEED, SETTINGS, WEIGHTS, digest


def train(settings=SETTINGS, seed=SEED, progress=None):
    """Train the model that ships, and round its weights to half precision."""
    generator = torch.Generator().manual_seed(seed)
    model = VAE.mlp(**CONFIG, generator=generator)
    images, validation = load_digits("train").images, load_digits("validation").images
    fit(model, images, settings, validation, binarize, generator, progress=progress)
    return model.half().float()


def validation_elbo(model, samples=100):
    """Mean ELBO in nats of the 500 validation digits.

    They are binarised once, and the noise is always the same.
    """
    generator = torch.Generator().manual_seed(1)
    x = binarize(load_digits("validation").images, generator)
    with torch.no_grad():
        return elbo(model, x, samples, generator).elbo.mean().item()


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    path = parser.parse_args(arguments).output
    model = train()
    origin = {
        "command": "make pretrained",
        "data": "the training split of load_digits, binarised anew for every batch",
        "settings": {**asdict(SETTINGS), "seed": SEED},
        "validation_elbo": round(validation_elbo(model), 2),
        "sha256": digest(model),
        "torch": torch.__version__.split("+")[0],
    }
    weights = {name: weight.half() for name, weight in model.state_dict().items()}
    save_file(weights, path, metadata={"origin": json.dumps(origin)})
    path.chmod(0o644)  # the library makes it readable by its owner alone
    print(f"wrote {path}: validation ELBO {origin['validation_elbo']} nats")


if __name__ == "__main__":
    main()
