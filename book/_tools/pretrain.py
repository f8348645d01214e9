"""Train the models that ship with vae_core: `make pretrained`, or `python book/_tools/pretrain.py`.

`--model` names one of them, `--output` another folder than the package's.
"""

import argparse
import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file

from vae_core import VAE, Settings, binarize, elbo, fit, load_digits
from vae_core.pretrained import NAMES, WEIGHTS, digest

BENCHMARKS = Path(__file__).resolve().parents[2] / "benchmarks"


class Recipe(NamedTuple):
    """How a model is trained on the training split of `load_digits`, from seed 0."""

    command: str
    latent: int
    hidden: tuple
    settings: Settings
    binarized: bool
    seed: int = 0

    @property
    def transform(self):
        return binarize if self.binarized else None

    @property
    def data(self):
        how = "binarised anew for every batch" if self.binarized else "as 8-bit grey values"
        return f"the training split of load_digits, {how}"

    def untrained(self, generator):
        likelihood = "bernoulli" if self.binarized else "gaussian"
        return VAE.mlp(self.latent, self.hidden, likelihood, generator=generator)


RECIPES = {
    "bernoulli": Recipe(
        "make pretrained",
        2,
        (100,),
        Settings(epochs=100, batch_size=100, learning_rate=2e-3),
        binarized=True,
    ),
    # Chosen on the validation split: 30 epochs end one nat lower, 100 at a constant 1e-3 over-fit.
    "gaussian": Recipe(
        'make pretrained ARGS="--model gaussian"',
        20,
        (256,),
        Settings(epochs=40, batch_size=100, learning_rate=2e-3, schedule="cosine"),
        binarized=False,
    ),
}


def train(recipe, progress=None, checkpoint=None):
    """Train a model, and round its weights to half precision; also its history."""
    generator = torch.Generator().manual_seed(recipe.seed)
    model = recipe.untrained(generator)
    images, validation = (load_digits(split).images for split in ("train", "validation"))
    how = {"transform": recipe.transform, "generator": generator, "checkpoint": checkpoint}
    history = fit(model, images, recipe.settings, validation, progress=progress, **how)
    return model.half().float(), history


def validation_elbo(model, binarized, samples=100):
    """Mean ELBO of the validation digits and its standard error, nats; always the same noise."""
    generator = torch.Generator().manual_seed(1)
    x = load_digits("validation").images
    x = binarize(x, generator) if binarized else x
    with torch.no_grad():
        parts = [elbo(model, x, 20, generator).elbo for _ in range(samples // 20)]
    values = torch.stack(parts).mean(0).double()
    return values.mean().item(), (values.std() / len(values) ** 0.5).item()


def describe(recipe, model, history):
    """All that is told of a model that was trained here."""
    mean, error = validation_elbo(model, recipe.binarized)
    by_epoch = zip(history.validation_reconstruction, history.validation_kl, strict=True)
    return {
        "command": recipe.command,
        "data": recipe.data,
        "model": model.config,
        "settings": {**asdict(recipe.settings), "seed": recipe.seed},
        "validation_elbo": round(mean, 2),
        "validation_error": round(error, 2),
        "validation_elbo_by_epoch": [round(first - second, 1) for first, second in by_epoch],
        "sha256": digest(model),
        "torch": torch.__version__.split("+")[0],
    }


def describe_mnist(path):
    """All that is told of the model that a benchmark trained: from the row of these weights."""
    file_digest = hashlib.sha256(path.read_bytes()).hexdigest()
    rows = json.loads((BENCHMARKS / "likelihood.json").read_text(encoding="utf-8"))
    row = next((row for row in rows if row["model"]["sha256"] == file_digest), None)
    if row is None:
        raise ValueError(f"{path} is the model of no row of benchmarks/likelihood.json")
    settings = {**row["settings"], "seed": row["seed"]}
    model = VAE.mlp(settings.pop("latent"), settings.pop("hidden"), "bernoulli")
    model.load_state_dict(load_file(path))
    return {
        "command": row["command"],
        "data": "all 60,000 training digits of MNIST, binarised anew for every batch; none were"
        " held out, and all of load_digits are among them: never score this model on load_digits",
        "model": model.config,
        "settings": settings,
        "training_seconds": row["training_seconds"],
        "test_elbo": round(row["elbo"], 2),
        "test_error": round(row["elbo_standard_error"], 2),
        "test_data": "the 10,000 test digits of MNIST, binarised once",
        "sha256": digest(model),
        "torch": row["versions"]["torch"],
    }


def save_weights(model, path, recipe):
    weights = {key: weight.half() for key, weight in model.state_dict().items()}
    save_file(weights, path, {"trained on": recipe.data})
    path.chmod(0o644)  # the library makes it readable by its owner alone


def write_origin(folder, name, origin):
    """Put what is told of a model beside its weights."""
    path = folder / "origin.json"
    told = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    told = dict(sorted((told | {name: origin}).items()))
    path.write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")


def main(arguments=None):
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", choices=NAMES, help="default: all that load_digits can train")
    parser.add_argument("--output", type=Path, default=WEIGHTS)
    given = parser.parse_args(arguments)
    given.output.mkdir(exist_ok=True)
    for name in [given.model] if given.model else RECIPES:
        path = given.output / f"{name}.safetensors"
        if name == "mnist":
            origin = describe_mnist(path)
            seconds = origin["training_seconds"]
            print(f"{path} is not trained here. It was made in {seconds} seconds by")
            print(f"  {origin['command']}")
        else:
            model, history = train(RECIPES[name])
            origin = describe(RECIPES[name], model, history)
            save_weights(model, path, RECIPES[name])
            print(f"wrote {path}:")
        write_origin(given.output, name, origin)
        elbos = {key: value for key, value in origin.items() if key.endswith(("_elbo", "_error"))}
        (kind, mean), (_, error) = elbos.items()
        print(f"  {kind.replace('_elbo', '')} ELBO {mean} ± {error} nats")


if __name__ == "__main__":
    main()
