"""Checkpoints: what a run needs to go on, written whole or not at all, read without its code."""

import io
import os
import pickle
import zipfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch

from vae_core.model import VAE
from vae_core.settings import Settings

_FORMAT = "vae_core checkpoint 2"
_KEYS = {"format", "run", "config", "model", "optimizer", "generator", "history"}
_BROKEN = (pickle.UnpicklingError, zipfile.BadZipFile, EOFError, RuntimeError, LookupError)


@dataclass
class History:
    """Means over images of both terms, in nats: entry 0 before training, entry e of epoch e.

    Those of training are means over an epoch's batches, each measured before its step; those of
    validation, if any, are measured at the epoch's end, with the same noise each time. The KL is
    not weighted by β; `kl_exact` is as in `ElboTerms`.
    """

    train_reconstruction: list[float] = field(default_factory=list)
    train_kl: list[float] = field(default_factory=list)
    validation_reconstruction: list[float] = field(default_factory=list)
    validation_kl: list[float] = field(default_factory=list)
    kl_exact: bool = True

    @property
    def epochs(self) -> int:
        """How many epochs are finished."""
        return max(len(self.train_kl) - 1, 0)

    @property
    def train_elbo(self) -> list[float]:
        """Mean ELBO by epoch, training images."""
        return [r - k for r, k in zip(self.train_reconstruction, self.train_kl, strict=True)]

    @property
    def validation_elbo(self) -> list[float]:
        """Mean ELBO by epoch, validation images."""
        terms = zip(self.validation_reconstruction, self.validation_kl, strict=True)
        return [r - k for r, k in terms]


def write_checkpoint(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values to a file beside `path`, then rename it: whole or not at all.

    The next write replaces what a killed one left there. Raises `OSError`: it cannot be written.
    """
    draft = path.with_name(f".{path.name}.part")
    try:
        with draft.open("wb") as file:
            torch.save({"format": _FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(draft, path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def read_checkpoint(path: str | Path, run: dict[str, Any] | None = None) -> dict[str, Any]:
    """Read what `fit` wrote, of the same run if one is given; raises as `load_checkpoint`."""
    if not Path(path).is_file():
        raise FileNotFoundError(f"no checkpoint at {path}")
    content = io.BytesIO(Path(path).read_bytes())
    try:
        damaged = zipfile.ZipFile(content).testzip()  # torch does not look at the checksums
        content.seek(0)
        state = torch.load(content, weights_only=True, map_location="cpu")
        if damaged or set(state) != _KEYS or state["format"] != _FORMAT:
            raise LookupError(f"expected {_FORMAT!r}, whole")
    except (*_BROKEN, ValueError, TypeError) as error:
        hint = f"is truncated or is not a checkpoint of vae_core ({error}): delete it to start anew"
        raise ValueError(f"{path} {hint}") from error
    there, here = state["run"], run or state["run"]
    differing = [n for n in there | here if there.get(n) != here.get(n)]
    if differing:
        got = "; ".join(f"{n}: {there.get(n)!r} there, {here.get(n)!r} here" for n in differing)
        raise ValueError(f"{path} was made by another run ({got}): delete it or name another file")
    return state


def load_checkpoint(path: str | Path, model: VAE | None = None) -> tuple[VAE, History]:
    """Load a model and its history from a file of `fit`, without running any code from it.

    A model of your own, made as the one that was trained, gets the weights; without one, what
    `VAE.mlp` or `VAE.convolutional` made is made anew. Raises `FileNotFoundError` (no such file) or
    `ValueError` (truncated, no checkpoint of ours, or it does not fit the model).
    """
    state = read_checkpoint(path)
    if model is None:
        if state["config"] is None:
            raise ValueError(f"{path} holds a model of your own: load_checkpoint(path, model)")
        ((kind, config),) = state["config"].items()
        model = getattr(VAE, kind)(**config, generator=torch.Generator())
        model.to(next(iter(state["model"].values())).dtype)
    return put_weights(path, state["model"], model), History(**state["history"])


def put_weights(path: str | Path, weights: dict[str, torch.Tensor], model: VAE) -> VAE:
    """Load a checkpoint's weights into a model, all or none; a `ValueError` names what differs."""
    there, here = ({k: tuple(w.shape) for k, w in d.items()} for d in (weights, model.state_dict()))
    differing = sorted(there.items() ^ here.items())
    if differing:
        raise ValueError(f"the weights of {path} do not fit the model: {differing[:2]}")
    model.load_state_dict(weights)
    return model


def identity(model: VAE, settings: Settings, parts: dict[str, torch.Tensor]) -> dict[str, Any]:
    """Tell what may not change when a run goes on; epochs may, if no setting refers to them."""
    ((kind, made),) = (model.config or {"your own": {}}).items()
    images = {"images": len(parts["train"]), "validation": len(parts.get("validation", ()))}
    run = {"kind": kind, **made, **asdict(settings), **images}
    if settings.schedule == "constant" and settings.importance_from == 0:
        del run["epochs"]
    return run
