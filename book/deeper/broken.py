"""Slips of one line, planted into `deeper.plain`; and what each of them costs.

A slip is a line of that file and the line that takes its place: `plant` compiles the changed text,
so a case differs from the sound code in that line and in nothing else.
"""

import copy
import math
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from deeper.checks import load_digits
from vae_core import VAE, GaussianHead, ImageHead, StandardNormal, binarize, log_joint
from vae_core.data import expect

EPOCHS = 8


class Slip(NamedTuple):
    """A line of the sound code, and what stands in its place."""

    name: str
    sound: str
    faulty: str


_STD = "std = (0.5 * log_var).exp()"
_SECOND = "second = 0.5 * (mean**2 + log_var.exp() - log_var - 1).sum(1)"
CASES = {
    1: Slip(
        "the graph is cut", "return mean + std * noise", "return (mean + std * noise).detach()"
    ),
    2: Slip("noise scaled by the variance", _STD, "std = log_var.exp()"),
    3: Slip(
        "sigmoid twice",
        "self.decoder = nn.Sequential(body, nn.SiLU(), out)",
        "self.decoder = nn.Sequential(body, nn.SiLU(), out, nn.Sigmoid())",
    ),
    4: Slip(
        "test digits in training",
        'splits = ("train", "validation")',
        'splits = ("train", "test")',
    ),
    5: Slip("mean over pixels", "first = -loss.sum(1)", "first = -loss.mean(1)"),
    6: Slip("log σ² taken for σ", _STD, "std = log_var"),
    7: Slip("no ½ in the KL", _SECOND, _SECOND.replace("0.5 * ", "")),
    8: Slip("the KL's sign", "return -(first - second).mean()", "return -(first + second).mean()"),
    9: Slip(
        "the KL the other way round",
        _SECOND,
        "second = 0.5 * ((mean**2 + 1) / log_var.exp() + log_var - 1).sum(1)",
    ),
}


def plant(case: int = 0) -> ModuleType:
    """Give the module `deeper.plain` with the slip of a case in it; case 0 is the sound code.

    Raises `ValueError`: an unknown case, or a line that is not there exactly once.
    """
    expect(case in (0, *CASES), f"a case from 0 to {len(CASES)}", case)
    text = Path(__file__).with_name("plain.py").read_text(encoding="utf-8")
    if case:
        slip = CASES[case]
        found = text.count(f"{slip.sound}\n")
        expect(found == 1, f"the line {slip.sound!r} once", f"it {found} times")
        text = text.replace(f"{slip.sound}\n", f"{slip.faulty}\n")
    module = ModuleType(f"case_{case}")
    exec(compile(text, f"<case {case}>", "exec"), module.__dict__)
    return module


def run(case: int = 0, seed: int = 0, epochs: int = EPOCHS) -> Any:
    """Train a case from a seed: a `deeper.plain.Run`."""
    with torch.random.fork_rng([]):
        return plant(case).train(epochs, torch.Generator().manual_seed(seed))


def show(case: int) -> None:
    """Print the faulty line of a case, and the mended one."""
    slip = CASES[case]
    print(f"{slip.name}:\n- {slip.faulty}\n+ {slip.sound}")


class Size(NamedTuple):
    """What a model is worth on the test digits, in nats, `[500]` each."""

    log_likelihood: Tensor  #: log p(x), by the sound code, on a grid.
    elbo: Tensor  #: first minus second term, by the sound code with the same weights.
    claim: Tensor  #: first minus second term, by the model's own code.
    finer: Tensor  #: log p(x) on a second grid, half a step aside.


def mend(model: Any) -> Any:
    """Give the sound model with the weights of this one, in float64."""
    mended = plant().PlainVAE()
    mended.load_state_dict(model.state_dict())
    return mended.double()


@torch.no_grad()
def bound(model: Any, split: str = "test", draws: int = 50) -> Tensor:
    """Give first minus second term by the model's own code, in nats: `[500]`.

    The digits of a split are binarised once; each has 50 draws of noise, the same for any model.
    """
    x = binarize(load_digits(split).images, torch.Generator().manual_seed(1)).double()
    noise = torch.randn(draws, len(x), 2, generator=torch.Generator().manual_seed(2)).double()
    model = copy.deepcopy(model).double()
    pairs = [model.terms(x, part) for part in noise]
    return torch.stack([first - second for first, second in pairs]).mean(0)


@torch.no_grad()
def sigma(model: Any) -> float:
    """Give the median of σ = exp(½ log σ²) over test digits, as the sound code reads it."""
    log_var = mend(model).encode(load_digits("test").images.double())[1]
    return float((0.5 * log_var).exp().median())


@torch.no_grad()
def measure(model: Any) -> Size:
    """Mend the code, keep the weights, and measure on test digits, in float64.

    log p(x) is a sum over squares of side 0.08 that cover [−8, 8)².
    """
    mended = mend(model)
    vae = VAE(
        nn.Sequential(mended.encoder, GaussianHead()),
        nn.Sequential(*mended.decoder, ImageHead("bernoulli")),
        StandardNormal(2),
    ).double()
    x = binarize(load_digits("test").images, torch.Generator().manual_seed(1)).double()
    on_grids = [_log_likelihood(vae, x, shift) for shift in (0.0, 0.5)]
    return Size(on_grids[0], bound(mended), bound(model), on_grids[1])


def _log_likelihood(vae: VAE, x: Tensor, shift: float, step: float = 0.08) -> Tensor:
    """log p(x) by adding up p(x, z) on squares of the plane: `[B]`, in nats."""
    axis = (torch.arange(-100, 100).to(x) + shift) * step
    parts = torch.cartesian_prod(axis, axis).split(20_000)
    sums = [log_joint(vae, x, z).logsumexp(1) for z in parts]
    return torch.stack(sums).logsumexp(0) + 2 * math.log(step)
