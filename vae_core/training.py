"""Training: `fit` maximises the ELBO, records both terms, and loses no finished epoch."""

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from vae_core.checkpoint import History, resume, save_checkpoint
from vae_core.data import check_images
from vae_core.model import VAE
from vae_core.objective import elbo, importance_elbo

Transform = Callable[[Tensor, torch.Generator | None], Tensor]


@dataclass(frozen=True)
class Cosine:
    """A learning rate that rises from `peak`/1000 to `peak` in the first tenth of the steps, then falls to `peak`/100.

    η(s) = peak (0.001 + 9.99 s) while the share s of all steps that are done is below 0.1, and then
    η(s) = peak (0.01 + 0.495 (1 + cos π(s − 0.1)/0.9)).
    """

    peak: float
    "The largest learning rate."

    def __call__(self, share: float) -> float:
        """Give the learning rate when `share` of all steps are done, 0 ≤ `share` < 1."""
        if share < 0.1:
            return self.peak * (0.001 + 0.999 * share / 0.1)
        return self.peak * (0.01 + 0.495 * (1 + math.cos(math.pi * (share - 0.1) / 0.9)))


def fit(
    model: VAE,
    images: Tensor,
    epochs: int = 30,
    batch_size: int = 100,
    learning_rate: float | Cosine = 1e-3,
    validation: Tensor | None = None,
    transform: Transform | None = None,
    generator: torch.Generator | None = None,
    checkpoint: str | Path | None = None,
    progress: bool | None = None,
    samples: int = 1,
    importance_from: float = 0.0,
    precision: torch.dtype = torch.float32,
    beta: float = 1.0,
) -> History:
    """Train the model in place by stochastic gradient ascent on the mean ELBO (Adam, Kingma & Ba 2015). Chapter 3.

    Under `torchrun`, with `torch.distributed` initialised, each process computes its share of every batch, the
    gradients are averaged, and the first process shows progress and writes the checkpoint. The result is that of one
    process with the same batches: every process draws the noise of whole batches, so that their number changes nothing.
    All processes need the same images, a generator in the same state, and a checkpoint that all of them can read.

    Args:
        model: the VAE, trained in place.
        images: training images, `[N, D]`, in [0, 1].
        epochs: passes over the images, in all: a continued run counts those it finds done.
        batch_size: B, images a step, over all processes.
        learning_rate: of Adam; a number, or a schedule over the whole run.
        validation: images that are measured after each epoch and never trained on.
        transform: called as `transform(batch, generator)` on each batch: `binarize` for a Bernoulli decoder.
        generator: source of the order of the images and of all noise. Without one, a generator of its own is seeded
            from the global state.
        checkpoint: file written after each epoch, whole or not at all. If it is there, training goes on from it, as
            if it had not been interrupted.
        progress: show a progress bar; by default only on a terminal.
        samples: K. With more than 1 the importance-weighted bound is maximised in place of the ELBO (Burda et al. 2016).
        importance_from: share of the epochs that are done with K = 1, the ELBO, before K samples are taken.
        precision: of the matrix products: `torch.float32`, or `torch.bfloat16`, which is faster where the processor
            has instructions for it, and less exact. Weights, both terms and all sums stay as they are.
        beta: β, weight of the KL to the prior in what is maximised, with K = 1 (Higgins et al. 2017). With β > 1
            that is a looser bound on log p(x) than the ELBO, with β < 1 none. The history holds both terms unweighted.

    Returns:
        Both terms by epoch.

    Raises:
        ValueError: images that do not suit the model, more validation than training images, an impossible number, or
            a checkpoint that is broken or was made by another run.
        FileNotFoundError: the folder of the checkpoint does not exist or cannot be written.
        FloatingPointError: training diverged: the ELBO became NaN or infinite, or a standard deviation 0. The
            checkpoint still holds the last good epoch.
    """
    _check_run(model, images, validation, epochs, batch_size, learning_rate, checkpoint, samples, importance_from, beta)
    generator = generator or _own_generator(images.device)
    transform = transform or (lambda batch, generator: batch)
    schedule = learning_rate if callable(learning_rate) else lambda share: learning_rate
    optimizer = torch.optim.Adam(model.parameters(), lr=schedule(0.0), fused=True)
    settings = {**model.config, "images": len(images), "validation": 0 if validation is None else len(validation)}
    settings |= {"batch_size": batch_size, "learning_rate": learning_rate, "samples": samples, "precision": str(precision), "beta": beta}
    if callable(learning_rate) or importance_from > 0:  # then the end of the run matters from its beginning
        settings |= {"learning_rate": f"{learning_rate} over {epochs} epochs", "importance_from": importance_from}
    history = History()
    if checkpoint is not None and Path(checkpoint).exists():
        history = resume(Path(checkpoint), model, optimizer, generator, settings)
    _check_together(history)
    parts = {"train": images} if validation is None else {"train": images, "validation": validation}
    if not history.train_kl:
        for name, part in parts.items():
            _record(history, name, *_measure(model, part, transform))
    else:  # what elbo says of images that do not suit the model must not be taken for divergence
        with torch.no_grad():
            elbo(model, transform(images[:batch_size], torch.Generator(images.device).manual_seed(0)))

    terms = _Terms(model, samples, precision, beta)
    net = DistributedDataParallel(terms) if _world() > 1 else terms
    quiet = _rank() > 0 or (None if progress is None else not progress)
    with tqdm(total=epochs, initial=history.epochs, unit="epoch", disable=quiet) as bar:
        while history.epochs < epochs:
            rates = [schedule((history.epochs + share) / epochs) for share in _shares(len(images), batch_size)]
            terms.samples = samples if history.epochs >= importance_from * epochs else 1
            means = _train_epoch(net, terms, images, batch_size, transform, optimizer, generator, rates, history.epochs + 1)
            _record(history, "train", *means)
            probe = images[:batch_size] if validation is None else validation
            with _divergence(f"after epoch {history.epochs}"):  # of the last step, before anything is saved
                means = _measure(model, probe, transform)
            if validation is not None:
                _record(history, "validation", *means)
            if checkpoint is not None and _rank() == 0:
                save_checkpoint(checkpoint, model, optimizer, generator, history, settings)
            last = (history.validation_elbo or history.train_elbo)[-1]
            bar.set_postfix_str(f"{'validation' if validation is not None else 'train'} ELBO {last:.1f} nats")
            bar.update()
    return history


class _Terms(nn.Module):
    """The objective as a module: what is maximised and both terms, `[B]` each, from images and noise."""

    def __init__(self, model: VAE, samples: int, precision: torch.dtype, beta: float):
        super().__init__()
        self.model, self.samples, self.precision, self.beta = model, samples, precision, beta

    def forward(self, x: Tensor, noise: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Give the bound, the reconstruction and the KL to the prior."""
        full = self.precision == torch.float32
        with nullcontext() if full else torch.autocast(x.device.type, self.precision):
            if self.samples == 1:
                terms = elbo(self.model, x, noise=noise)
                return terms.reconstruction - self.beta * terms.kl, *terms
            return importance_elbo(self.model, x, noise=noise)


def _train_epoch(net, terms, images, batch_size, transform, optimizer, generator, rates, epoch) -> tuple[float, float]:
    """One pass over the images in random order; means of both terms. `net` is `terms`, shared between processes."""
    rank, world, latent = _rank(), _world(), terms.model.config["latent"]
    totals = [torch.zeros((), dtype=images.dtype, device=images.device) for _ in range(2)]
    order = torch.randperm(len(images), generator=generator, device=images.device)
    for step, rows in enumerate(order.split(batch_size)):
        batch = transform(images.index_select(0, rows), generator)
        shape = (terms.samples, len(rows), latent)
        noise = torch.randn(shape, generator=generator, dtype=images.dtype, device=images.device)
        share = slice(rank * len(rows) // world, (rank + 1) * len(rows) // world)
        with _divergence(f"at step {step} of epoch {epoch}"):
            bound, reconstruction, kl = net(batch[share], noise[:, share])
            loss = -bound.sum() * (world / len(rows))  # the one place where a sign is turned and a mean is taken
            worst = loss.detach()
            if world > 1:  # all stop, not one alone for which the others would wait
                worst = worst.nan_to_num(torch.inf, torch.inf, torch.inf)
                dist.all_reduce(worst, dist.ReduceOp.MAX)
            if not worst.isfinite():
                raise ValueError(f"the ELBO is {-loss.item()}")
        for group in optimizer.param_groups:
            group["lr"] = rates[step]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for total, term in zip(totals, (reconstruction, kl)):
            total += term.detach().sum()
    if world > 1:
        for total in totals:
            dist.all_reduce(total)
    return totals[0].item() / len(images), totals[1].item() / len(images)


def _shares(count: int, batch_size: int) -> list[float]:
    """Which share of an epoch is done before each of its steps."""
    steps = math.ceil(count / batch_size)
    return [step / steps for step in range(steps)]


def _rank() -> int:
    """Number of this process under `torchrun`; 0 without it."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def _world() -> int:
    """How many processes train together; 1 without `torchrun`."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def _check_together(history: History) -> None:
    """Raise a `ValueError` if the processes do not go on from the same epoch."""
    if _world() > 1:
        first = torch.tensor(history.epochs, device="cuda" if dist.get_backend() == "nccl" else "cpu")
        dist.broadcast(first, 0)
        if first.item() != history.epochs:
            raise ValueError(f"the first process goes on from epoch {first.item()}, number {_rank()} from {history.epochs}")


def _own_generator(device: torch.device) -> torch.Generator:
    """A generator seeded from the global state, the same in every process."""
    seed = torch.randint(2**62, ())
    if _world() > 1:
        seed = seed.to(device)
        dist.broadcast(seed, 0)
    return torch.Generator(device).manual_seed(int(seed))


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
    """Say that training diverged. Images were measured before it began, so they are not to blame."""
    try:
        yield
    except ValueError as error:
        raise FloatingPointError(f"training diverged {when} ({error}): try a smaller learning_rate") from error


def _record(history: History, part: str, reconstruction: float, kl: float) -> None:
    getattr(history, f"{part}_reconstruction").append(reconstruction)
    getattr(history, f"{part}_kl").append(kl)


def _check_run(model, images, validation, epochs, batch_size, learning_rate, checkpoint, samples, importance_from, beta) -> None:
    """Raise a `ValueError` before any work is done."""
    pixels = model.config["pixels"]
    check_images(images, pixels)
    if validation is not None:
        check_images(validation, pixels)
        if len(validation) > len(images):
            raise ValueError(f"expected less validation than training images, got {len(validation)} and {len(images)}")
    rate = learning_rate.peak if isinstance(learning_rate, Cosine) else learning_rate
    if epochs < 0 or batch_size < 1 or samples < 1 or not rate > 0 or not 0 <= importance_from < 1:
        raise ValueError(
            "expected epochs >= 0, batch_size >= 1, samples >= 1, learning_rate > 0 and 0 <= importance_from < 1, "
            f"got {epochs}, {batch_size}, {samples}, {learning_rate} and {importance_from}"
        )
    if not 0 <= beta < math.inf or (beta != 1 and samples > 1):
        raise ValueError(f"expected beta >= 0, and beta = 1 with more than one sample, got {beta} with {samples}")
    smallest = min(len(images), (len(images) - 1) % batch_size + 1)  # the last batch of an epoch
    if smallest < _world():
        raise ValueError(f"expected every batch to have an image for each of {_world()} processes, got one of {smallest}")
    if checkpoint is not None and not os.access(Path(checkpoint).parent, os.W_OK | os.X_OK):
        raise FileNotFoundError(f"the folder of the checkpoint {checkpoint} does not exist or cannot be written")


if __name__ == "__main__":
    from vae_core.__main__ import main

    main()
