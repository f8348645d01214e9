"""Checkpoints: all that a run needs to go on, written whole or not at all, and read without executing code."""

import io
import os
import pickle
import tempfile
import zipfile
from dataclasses import dataclass, field
from pathlib import Path

import torch

from vae_core.model import VAE

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


def resume(path: Path, model, optimizer, generator, settings: dict) -> History:
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
