"""Training: `fit` maximises the ELBO, records both terms, and loses no finished epoch."""

import io
import math
import os
import pickle
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor
from tqdm import tqdm

from vae_core.data import check_images
from vae_core.model import VAE
from vae_core.objective import elbo

Transform = Callable[[Tensor, torch.Generator | None], Tensor]
_FORMAT = "vae_core checkpoint 1"


@dataclass
class History:
    """Means over images of both terms, in nats. Entry 0 is measured before training, entry e after e epochs.

    `train_reconstruction` and `train_kl` of an epoch are means over its batches as they were trained on, each before
    its step; those of validation are measured at the epoch's end, each time with the same noise.
    """

    train_reconstruction: list[float] = field(default_factory=list)
    "Mean over training images of E_q[log p(x|z)], one sample each."
    train_kl: list[float] = field(default_factory=list)
    "Mean over training images of KL(q(z|x) ‖ p(z))."
    validation_reconstruction: list[float] = field(default_factory=list)
    "As `train_reconstruction`, for the validation images; empty without them."
    validation_kl: list[float] = field(default_factory=list)
    "As `train_kl`, for the validation images; empty without them."

    @property
    def epochs(self) -> int:
        """How many epochs are finished."""
        return max(len(self.train_kl) - 1, 0)

    @property
    def train_elbo(self) -> list[float]:
        """Mean ELBO by epoch, training images."""
        return [r - k for r, k in zip(self.train_reconstruction, self.train_kl)]

    @property
    def validation_elbo(self) -> list[float]:
        """Mean ELBO by epoch, validation images."""
        return [r - k for r, k in zip(self.validation_reconstruction, self.validation_kl)]


def fit(
    model: VAE,
    images: Tensor,
    epochs: int = 30,
    batch_size: int = 100,
    learning_rate: float = 1e-3,
    validation: Tensor | None = None,
    transform: Transform | None = None,
    generator: torch.Generator | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
) -> History:
    """Train the model in place by stochastic gradient ascent on the mean ELBO (Adam, Kingma & Ba 2015). Chapter 3.

    Args:
        model: the VAE, trained in place.
        images: training images, `[N, D]`, in [0, 1].
        epochs: passes over the images, in all: a continued run counts those it finds done.
        batch_size: B, images a step.
        learning_rate: of Adam.
        validation: images that are measured after each epoch and never trained on.
        transform: called as `transform(batch, generator)` on each batch: `binarize` for a Bernoulli decoder.
        generator: source of the order of the images and of all noise. Without one, a generator of its own is seeded
            from the global state.
        checkpoint: file written after each epoch, whole or not at all. If it is there, training goes on from it, as
            if it had not been interrupted.
        progress: show a progress bar; by default only on a terminal.

    Returns:
        Both terms by epoch.

    Raises:
        ValueError: images that do not suit the model, more validation than training images, an impossible number, or
            a checkpoint that is broken or was made by another run.
        FileNotFoundError: the folder of the checkpoint does not exist or cannot be written.
        FloatingPointError: training diverged: the ELBO became NaN or infinite, or a standard deviation 0. The
            checkpoint still holds the last good epoch.
    """
    _check_run(model, images, validation, epochs, batch_size, learning_rate, checkpoint)
    generator = generator or torch.Generator(images.device).manual_seed(int(torch.randint(2**62, ())))
    transform = transform or (lambda batch, generator: batch)
    optimizer = torch.optim.Adam(model.parameters(), lr=learning_rate, fused=True)
    settings = {**model.config, "images": len(images), "validation": 0 if validation is None else len(validation)}
    settings |= {"batch_size": batch_size, "learning_rate": learning_rate}
    history = History()
    if checkpoint is not None and Path(checkpoint).exists():
        history = _resume(Path(checkpoint), model, optimizer, generator, settings)
    parts = {"train": images} if validation is None else {"train": images, "validation": validation}
    if not history.train_kl:
        for name, part in parts.items():
            _record(history, name, *_measure(model, part, transform))

    bar = tqdm(total=epochs, initial=history.epochs, unit="epoch", disable=None if progress is None else not progress)
    with bar:
        while history.epochs < epochs:
            terms = _train_epoch(model, images, batch_size, transform, optimizer, generator, history.epochs + 1)
            _record(history, "train", *terms)
            probe = images[:batch_size] if validation is None else validation
            with _divergence(f"after epoch {history.epochs}"):  # of the last step, before anything is saved
                terms = _measure(model, probe, transform)
            if validation is not None:
                _record(history, "validation", *terms)
            if checkpoint is not None:
                save_checkpoint(checkpoint, model, optimizer, generator, history, settings)
            last = (history.validation_elbo or history.train_elbo)[-1]
            bar.set_postfix_str(f"{'validation' if validation is not None else 'train'} ELBO {last:.1f} nats")
            bar.update()
    return history


def _train_epoch(model, images, batch_size, transform, optimizer, generator, epoch) -> tuple[float, float]:
    """One pass over the images in random order; means of both terms."""
    totals = torch.zeros(2, dtype=images.dtype, device=images.device)
    order = torch.randperm(len(images), generator=generator, device=images.device)
    for step, rows in enumerate(order.split(batch_size)):
        batch = transform(images[rows], generator)
        with _divergence(f"at step {step} of epoch {epoch}"):
            terms = elbo(model, batch, generator=generator)
            loss = -terms.elbo.mean()  # the one place where a sign is turned and a mean is taken
            if not loss.isfinite():
                raise ValueError(f"the ELBO is {-loss.item()}")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        totals += torch.stack([terms.reconstruction.detach().sum(), terms.kl.detach().sum()])
    reconstruction, kl = (totals / len(images)).tolist()
    return reconstruction, kl


@torch.no_grad()
def _measure(model: VAE, images: Tensor, transform: Transform) -> tuple[float, float]:
    """Means of both terms, with noise that is the same each time and leaves the training's generator alone."""
    generator = torch.Generator(images.device).manual_seed(0)
    terms = [elbo(model, transform(batch, generator), generator=generator) for batch in images.split(1000)]
    reconstruction, kl = (torch.cat(term).mean().item() for term in zip(*terms))
    if not math.isfinite(reconstruction - kl):
        raise ValueError(f"the ELBO is {reconstruction - kl}")
    return reconstruction, kl


@contextmanager
def _divergence(when: str) -> Iterator[None]:
    """Say that training diverged. The images were all measured once before it began, so they are not to blame."""
    try:
        yield
    except ValueError as error:
        raise FloatingPointError(f"training diverged {when} ({error}): try a smaller learning_rate") from error


def _record(history: History, part: str, reconstruction: float, kl: float) -> None:
    getattr(history, f"{part}_reconstruction").append(reconstruction)
    getattr(history, f"{part}_kl").append(kl)


def _check_run(model, images, validation, epochs, batch_size, learning_rate, checkpoint) -> None:
    """Raise a `ValueError` before any work is done."""
    pixels = model.config["pixels"]
    check_images(images, pixels)
    if validation is not None:
        check_images(validation, pixels)
        if len(validation) > len(images):
            raise ValueError(f"expected less validation than training images, got {len(validation)} and {len(images)}")
    if epochs < 0 or batch_size < 1 or not learning_rate > 0:
        raise ValueError(
            "expected epochs >= 0, batch_size >= 1 and learning_rate > 0, "
            f"got {epochs}, {batch_size} and {learning_rate}"
        )
    if checkpoint is not None and not os.access(Path(checkpoint).parent, os.W_OK | os.X_OK):
        raise FileNotFoundError(f"the folder of the checkpoint {checkpoint} does not exist or cannot be written")


def save_checkpoint(path, model, optimizer, generator, history: History, settings: dict) -> None:
    """Write all that a run needs to go on, whole or not at all: to a file beside `path`, then renamed.

    Raises:
        OSError: the folder does not exist or cannot be written.
    """
    path = Path(path)
    state = {
        "format": _FORMAT,
        "config": model.config,
        "settings": settings,
        "model": model.state_dict(),
        "optimizer": optimizer.state_dict(),
        "generator": generator.get_state(),
        "history": vars(history),
    }
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def load_checkpoint(path: str | Path) -> tuple[VAE, History]:
    """Load a model and its history from a file of `fit`, without executing any code from it.

    Raises:
        FileNotFoundError: no such file.
        ValueError: the file is truncated or is not a checkpoint of ours.
    """
    state = _read(Path(path))
    dtype = next(iter(state["model"].values())).dtype
    model = VAE(**state["config"], generator=torch.Generator()).to(dtype)
    model.load_state_dict(state["model"])
    return model, History(**state["history"])


def _read(path: Path) -> dict:
    if not path.is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    content = io.BytesIO(path.read_bytes())
    try:
        damaged = zipfile.ZipFile(content).testzip()  # torch does not look at the checksums
        if damaged is not None:
            raise ValueError(f"the checksum of {damaged} is wrong")
        content.seek(0)
        state = torch.load(content, weights_only=True, map_location="cpu")
    except (RuntimeError, pickle.UnpicklingError, EOFError, zipfile.BadZipFile, KeyError, ValueError) as error:
        raise ValueError(f"{path} is truncated or is not a checkpoint of vae_core: delete it to start anew") from error
    if not isinstance(state, dict) or state.get("format") != _FORMAT:
        raise ValueError(f"{path} is not a checkpoint of vae_core: expected format {_FORMAT!r}")
    return state


def _resume(path: Path, model, optimizer, generator, settings: dict) -> History:
    """Put model, optimizer and generator where the checkpoint left them."""
    state = _read(path)
    there = state["settings"]
    differs = [f"{k}: {there.get(k)!r} there, {v!r} here" for k, v in settings.items() if there.get(k) != v]
    if differs:
        raise ValueError(f"{path} was made by another run ({'; '.join(differs)}): delete it or name another file")
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    generator.set_state(state["generator"])
    return History(**state["history"])
