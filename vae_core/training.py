"""Training: `fit` maximises the ELBO, records both terms, and loses no finished epoch."""

import math
import os
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from tqdm import tqdm

from vae_core import checkpoint as checkpoints
from vae_core import processes
from vae_core.data import Rng, check_images, checks_values, expect
from vae_core.distributions import gaussian, randn_like
from vae_core.model import VAE
from vae_core.objective import elbo, importance_elbo
from vae_core.settings import Settings

Transform = Callable[[Tensor, Rng], Tensor]
_USUAL = Settings()


def fit(
    model: VAE, images: Tensor, settings: Settings = _USUAL, validation: Tensor | None = None,
    transform: Transform | None = None, generator: Rng = None, checkpoint: str | Path | None = None,
    progress: bool | None = None, validate_args: bool = True,
) -> checkpoints.History:  # fmt: skip
    """Train the model in place by gradient ascent on the mean ELBO; give both terms by epoch.

    Under `torchrun`, with `torch.distributed` initialised, the processes share each batch. The
    result is that of one process, since each draws the noise of whole batches; for a q that is not
    Gaussian it is not, and a warning says so. All need the same images and generator. Chapter 3.

    Args:
        model: the VAE; it is trained where it and the images are.
        images: `[N, D]` or `[N, C, H, W]`, in [0, 1].
        settings: epochs, batch size, learning rate and what else defines the run.
        validation: images that are measured after each epoch and never trained on.
        transform: called as `transform(batch, generator)`: `binarize` for a Bernoulli likelihood.
        generator: source of all randomness, on the images' device; seeded from torch's if none.
        checkpoint: file written after each epoch, whole or not at all. If it is there, training
            goes on from it as if it had not been interrupted.
        progress: show a progress bar; by default only on a terminal.
        validate_args: check values at every step. Without it no step waits for a GPU, and a run
            that diverges stops at the end of its epoch.

    Raises:
        ValueError: images that do not suit the model; a checkpoint that is broken or another run's.
        FileNotFoundError: the folder of the checkpoint does not exist or cannot be written.
        TypeError: a q whose draws have no gradient.
        FloatingPointError: training diverged. The checkpoint still holds the last good epoch.
    """
    parts = {"train": images} | ({} if validation is None else {"validation": validation})
    path, (rank, world) = None if checkpoint is None else Path(checkpoint), processes.place()
    _check(parts, settings, path, world)
    if generator is None:
        seed = processes.from_first(int(torch.randint(2**62, ())))
        generator = torch.Generator(images.device).manual_seed(seed)
    run = _Run(model, settings, transform or (lambda batch, generator: batch), generator)
    history = run.start(parts, path)
    quiet = rank > 0 or (None if progress is None else not progress)
    bar = tqdm(total=settings.epochs, initial=history.epochs, unit="epoch", disable=quiet)
    name, probe = [*parts.items()][-1]
    checked, record = checks_values(), validation is not None
    try:
        Distribution.set_default_validate_args(validate_args)
        while history.epochs < settings.epochs:
            run.epoch(images)
            with _divergence(f"after epoch {history.epochs}"):  # of the last step, before saving
                last = run.measure(probe if record else probe[: settings.batch_size], name, record)
            if path is not None and rank == 0:
                checkpoints.write_checkpoint(path, run.state())
            bar.set_postfix_str(f"{name} ELBO {last:.1f} nats")
            bar.update()
    finally:
        Distribution.set_default_validate_args(checked)
        bar.close()
    return history


class _Run:
    """A model on its way: how far it has come, and one epoch more."""

    def __init__(self, model: VAE, settings: Settings, transform: Transform, generator: Any):
        self.model, self.settings, self.transform = model, settings, transform
        self.generator, self.history = generator, checkpoints.History()
        self.identity: dict[str, Any] = {}  # of the run: see checkpoint.identity
        fused = generator.device.type in ("cpu", "cuda")
        self.optimizer = torch.optim.Adam(model.parameters(), fused=fused)

    def start(self, parts: dict[str, Tensor], path: Path | None) -> checkpoints.History:
        """Measure the untrained model, or go on from a checkpoint; unsuitable images show here."""
        self.identity = checkpoints.identity(self.model, self.settings, parts)
        if path is not None and path.exists():
            state = checkpoints.read_checkpoint(path, self.identity)
            checkpoints.put_weights(path, state["model"], self.model)
            self.optimizer.load_state_dict(state["optimizer"])
            self.generator.set_state(state["generator"])
            self.history = checkpoints.History(**state["history"])
            self.measure(parts["train"][: self.settings.batch_size], "train", False)
        for name, part in parts.items() if not self.history.train_kl else []:
            self.measure(part, name, True)
        epochs = self.history.epochs
        expect(epochs == processes.from_first(epochs), "all to go on from the same epoch", epochs)
        return self.history

    def state(self) -> dict[str, Any]:
        """Give all that is needed to go on."""
        parts = {"model": self.model.state_dict(), "optimizer": self.optimizer.state_dict()}
        run = {"run": self.identity, "config": self.model.config, "history": vars(self.history)}
        return {**parts, **run, "generator": self.generator.get_state()}

    def loss(self, batch: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        """Give the loss of this process's share of a batch, and the sums of both terms over it."""
        (rank, world), count, noise = processes.place(), len(batch), None
        mine = slice(rank * count // world, (rank + 1) * count // world)
        x, full = batch[mine], self.settings.precision == "float32"
        with nullcontext() if full else torch.autocast(x.device.type, torch.bfloat16):
            if world > 1 and gaussian(self.model.encode(x)) is not None:
                like = x.new_empty(count, self.model.latent)  # each draws the whole batch's noise
                noise = randn_like(like, (samples,), self.generator)[:, mine]
            elif world > 1:
                warnings.warn("q is not Gaussian: the number of processes matters", stacklevel=4)
            if samples > 1:
                bound, terms = importance_elbo(self.model, x, samples, self.generator, noise)
            else:
                terms = elbo(self.model, x, samples, self.generator, noise)
                bound = terms.reconstruction - self.settings.beta * terms.kl
        sums = torch.stack([terms.reconstruction.detach().sum(), terms.kl.detach().sum()])
        return -bound.sum() / count, sums  # the one place where a sign is turned and a mean taken

    def epoch(self, images: Tensor) -> None:
        """Pass over the images once, in random order, and record the means of both terms."""
        settings, epoch = self.settings, self.history.epochs
        samples = settings.samples if epoch >= settings.importance_from * settings.epochs else 1
        order = torch.randperm(len(images), generator=self.generator, device=images.device)
        batches, totals = order.split(settings.batch_size), images.new_zeros(2)
        for step, rows in enumerate(batches):
            batch = self.transform(images.index_select(0, rows), self.generator)
            with _divergence(f"at step {step} of epoch {epoch + 1}"):
                loss, sums = self.loss(batch, samples)
                if checks_values():
                    whole = loss.detach().clone()
                    processes.add_up([whole])  # NaN for all if it is for one: none waits for it
                    expect(bool(whole.isfinite()), "a finite ELBO", -whole.item())
            self.optimizer.zero_grad()
            loss.backward()
            processes.add_up(parameter.grad for parameter in self.model.parameters())
            for group in self.optimizer.param_groups:
                group["lr"] = settings.rate((epoch + step / len(batches)) / settings.epochs)
            self.optimizer.step()
            totals += sums
        processes.add_up([totals])
        with _divergence(f"in epoch {epoch + 1}"):
            self.record("train", *(totals / len(images)).tolist())

    @torch.no_grad()
    def measure(self, images: Tensor, name: str, record: bool) -> float:
        """Give the mean ELBO of images, with the same noise each time; record both its terms."""
        generator, training = torch.Generator(images.device).manual_seed(0), self.model.training
        self.model.eval()
        parts = images.split(1000)
        terms = [elbo(self.model, self.transform(part, generator), 1, generator) for part in parts]
        self.model.train(training)
        self.history.kl_exact = terms[0].kl_exact
        reconstruction = torch.cat([part.reconstruction for part in terms]).mean().item()
        kl = torch.cat([part.kl for part in terms]).mean().item()
        return self.record(name if record else "", reconstruction, kl)

    def record(self, name: str, reconstruction: float, kl: float) -> float:
        """Put both terms into the history, if under a name and finite; give the ELBO."""
        expect(math.isfinite(reconstruction - kl), "a finite ELBO", reconstruction - kl)
        if name:
            getattr(self.history, f"{name}_reconstruction").append(reconstruction)
            getattr(self.history, f"{name}_kl").append(kl)
        return reconstruction - kl


@contextmanager
def _divergence(when: str) -> Iterator[None]:
    """Images were measured before training began, so they are not to blame for an error."""
    try:
        yield
    except ValueError as error:
        when += f" ({error}): try a smaller learning_rate"
        raise FloatingPointError(f"training diverged {when}") from error


def _check(parts: dict[str, Tensor], settings: Settings, path: Path | None, world: int) -> None:
    sizes = [len(check_images(part)) for part in parts.values()]
    expect(sizes[-1] <= sizes[0], "no more validation than training images", sizes[::-1])
    smallest = min(sizes[0], (sizes[0] - 1) % settings.batch_size + 1)  # the last batch of an epoch
    expect(smallest >= world, f"an image of every batch for each of {world} processes", smallest)
    if path is not None and not os.access(path.parent, os.W_OK | os.X_OK):
        raise FileNotFoundError(f"the folder of {path} does not exist or cannot be written")
