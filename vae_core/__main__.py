"""The command line: `python -m vae_core train | evaluate | sample`, alone or under `torchrun`."""

import argparse
import json
import tempfile
from contextlib import suppress
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

import vae_core as core
from vae_core import data, processes


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    top = argparse.ArgumentParser(prog="python -m vae_core", description=__doc__)
    commands, made = top.add_subparsers(required=True), {}
    for run in (train, evaluate, sample):
        made[run] = commands.add_parser(run.__name__, description=run.__doc__)
        made[run].formatter_class = argparse.ArgumentDefaultsHelpFormatter
        made[run].add_argument("--seed", type=int, default=0)
        made[run].add_argument("--device", help="as torch names it; a GPU where there is one")
        made[run].set_defaults(run=run)
    for add in (made[train].add_argument, made[evaluate].add_argument):
        add("--data", choices=("digits", "mnist"), default="digits")
        add("--root", type=Path, default=Path("data"), help="folder of MNIST")
        add("--download", action="store_true", help="fetch MNIST if need be")
        add("--images", type=int, help="only the first so many of a split")
        add("--no-progress", action="store_true", help="no progress bar")
    for add in (made[evaluate].add_argument, made[sample].add_argument):
        add("checkpoint", type=Path, help="a file that train has written")
    add = made[train].add_argument
    add("--output", type=Path, required=True, help="a folder, made if need be")
    add("--resume", action="store_true", help="go on from the folder's checkpoint")
    add("--model", choices=("mlp", "convolutional"), default="mlp")
    add("--likelihood", choices=core.model.LIKELIHOODS, default="bernoulli")
    add("--latent", type=int, default=20, help="Z")
    add("--hidden", type=int, nargs="+", default=[256], help="widths, of an mlp")
    for setting in fields(core.Settings):
        name, usual = f"--{setting.name.replace('_', '-')}", setting.default
        add(name, type=type(usual), default=usual, help="see vae_core.Settings")
    add = made[evaluate].add_argument
    add("--split", choices=data.SPLITS, default="test")
    add("--samples", type=int, default=1000, help="K of the importance-weighted bound")
    add("--json", type=Path, help="a file for the same numbers")
    made[sample].add_argument("--output", type=Path, default=Path("sample.png"))
    made[sample].add_argument("--rows", type=int, default=8, help="of as many images")
    return top


def main(argv: list[str] | None = None) -> None:
    """Do what the command line says. A failure is one sentence and code 2, Ctrl-C is code 130."""
    given = parser().parse_args(argv)
    try:
        with processes.joined(given.device) as given.device:
            given.run(given)
    except (ValueError, OSError, ArithmeticError, ImportError, RuntimeError) as error:
        parser().exit(2, f"error: {error}\n")
    except KeyboardInterrupt:
        parser().exit(130, "interrupted: train --resume goes on from the last finished epoch\n")


def train(given: argparse.Namespace) -> None:
    """Train. The folder gets a checkpoint, history and curves; Ctrl-C keeps finished epochs."""
    settings = core.Settings(**{f.name: getattr(given, f.name) for f in fields(core.Settings)})
    how: dict[str, Any] = {"hidden": given.hidden} if given.model == "mlp" else {}
    how |= {"likelihood": given.likelihood, "generator": torch.Generator().manual_seed(given.seed)}
    model = getattr(core.VAE, given.model)(given.latent, **how)
    path = given.output / "checkpoint.pt"
    given.output.mkdir(parents=True, exist_ok=True)
    tempfile.TemporaryFile(dir=given.output).close()  # before any time is spent
    if path.exists() and not given.resume:
        raise ValueError(f"{path} is there: --resume goes on from it; or name another folder")
    images, validation = (_images(given, split, model) for split in data.SPLITS[:2])
    transform = data.binarize if given.likelihood == "bernoulli" else None
    rng = torch.Generator(given.device).manual_seed(given.seed + 1)
    how = {"checkpoint": path, "progress": False if given.no_progress else None}
    try:
        core.fit(model.to(given.device), images, settings, validation, transform, rng, **how)
    finally:
        if processes.place()[0] == 0 and path.exists():
            _write(given.output, core.load_checkpoint(path)[1])


def _write(folder: Path, history: core.History) -> None:
    """Write the history as numbers and, where matplotlib is installed, as curves."""
    (folder / "history.json").write_text(json.dumps(vars(history), indent=1), encoding="utf-8")
    print(f"{history.epochs} epochs, validation ELBO {history.validation_elbo[-1]:.2f} nats")
    with suppress(ModuleNotFoundError):
        from matplotlib.figure import Figure

        axes = (figure := Figure(figsize=(9, 3), layout="constrained")).subplots(1, 3)
        for ax, name in zip(axes, ("reconstruction", "kl", "elbo"), strict=True):
            curves = [getattr(history, f"{part}_{name}") for part in ("train", "validation")]
            ax.plot(list(zip(*curves, strict=True)), label=["train", "validation"])
            ax.set(title=name, xlabel="epoch", ylabel="nats")
            ax.legend()
        figure.savefig(folder / "curves.png", dpi=150)


def _images(given: argparse.Namespace, split: str, model: core.VAE) -> Tensor:
    """A split, in the model's shape."""
    images = data.load_split(given.data, split, given.root, given.download).images
    data.expect(given.images is None or given.images > 0, "--images of at least 1", given.images)
    return images[: given.images].reshape(-1, *(model.image_shape or ())).to(given.device)


@torch.no_grad()
def evaluate(given: argparse.Namespace) -> None:
    """Measure a checkpoint, nats per image: ELBO, log p(x), and all three terms if Z is 1 or 2."""
    model, K = core.load_checkpoint(given.checkpoint)[0].to(given.device), given.samples
    x = _images(given, given.split, model)
    rng = torch.Generator(given.device).manual_seed(given.seed)
    x = data.binarize(x, rng) if "bernoulli" in str(model.config) else x
    found = {"ELBO": torch.cat([core.elbo(model, part, 20, rng).elbo for part in x.split(500)])}
    bar = tqdm(x.split(20), disable=given.no_progress or None)
    bound = [core.importance_log_likelihood(model, part, K, generator=rng) for part in bar]
    found[f"log p(x), K = {K}"] = torch.cat(bound)
    found |= core.decompose_on_grid(model, x)._asdict() if model.latent <= 2 else {}
    about = {"checkpoint": str(given.checkpoint), "data": given.data, "split": given.split}
    rows = about | {"images": len(x), "seed": given.seed}
    print(f"{len(x)} images, {given.split} split of {given.data}; nats per image:")
    for name, v in found.items():
        rows[name] = {"mean": v.mean().item(), "standard_error": (v.std() / len(v) ** 0.5).item()}
        print(f"{name:24} {rows[name]['mean']:10.3f} ± {rows[name]['standard_error']:.3f}")
    if given.json:
        given.json.write_text(json.dumps(rows, indent=1), encoding="utf-8")


@torch.no_grad()
def sample(given: argparse.Namespace) -> None:
    """Draw codes from the prior, and write the means of their images as one PNG (needs Pillow)."""
    from PIL import Image

    model, n = core.load_checkpoint(given.checkpoint)[0].to(given.device), given.rows
    rng = torch.Generator(given.device).manual_seed(given.seed)
    images = model.decode(core.draw(model.prior(), n**2, rng)).mean.cpu()
    images = images if images.ndim == 4 else images.unflatten(1, (1, 28, -1))
    tiles = images.unflatten(0, (n, n)).permute(0, 3, 1, 4, 2).flatten(2, 3).flatten(0, 1)
    pixels = (255 * tiles.clamp(0, 1)).round().byte().squeeze(-1).numpy()
    Image.fromarray(pixels).save(given.output)


if __name__ == "__main__":
    main()
