"""The bracket around log p(x) at Z = 20, like for like, and who is to blame for the gap.

A 784-100-20 VAE with Bernoulli pixels, trained for 30 epochs on the training split of `load_digits`
from each of some seeds. For 100 digits that the model drew, lower and upper bounds by importance
sampling with K codes (the true code among them for the upper one) and by annealing there and back,
each from the encoder's q and from `own_q`, a diagonal Gaussian that was climbed for each digit
alone from the encoder's (`best_gaussian`). K = 3,000 both ways takes as many decodes as annealing
with its pilot run. For 100 test digits, binarised once, lower bounds alone. The ELBO of both q's is
the mean over 1,000 fresh codes, with the exact KL to the prior. What is stored is one number per
digit, in nats, and for each way the decodes per digit and the CPU seconds for all digits; four of
five decodes in annealing, and all in the climb, include the gradient.

The part `plane` splits the gap of the shipped model (Z = 2) by the same climb and the same fresh
codes, where the grid knows log p(x): for the 500 test digits and for 100 that the model drew. For
the former it climbs once more, from the mean and the variances of the posterior itself. And it asks
what the encoder misses for not having seen the test digits: with the decoder as it is, the encoder
is trained on for some epochs, once on the training digits, once on as many, of which the test
digits have taken the place of every eighth. The third term of either is the grid's.

    python benchmarks/brackets.py                  the plane and two seeds, some minutes
    python benchmarks/brackets.py --parts 1        one of them; the others are kept
"""

import copy
import json
import sys
import time
from pathlib import Path

import torch
from record import arguments, circumstances
from torch.distributions import kl_divergence

from vae_core import (
    VAE,
    DiagonalGaussian,
    Settings,
    binarize,
    decompose_on_grid,
    elbo,
    fit,
    importance_log_likelihood,
    load_digits,
    load_pretrained,
    log_joint,
)

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "brackets.json"
sys.path.insert(0, str(HERE.parent / "book"))  # annealing is the book's
SETTINGS = {
    "latent": 20,
    "hidden": [100],
    "training": {"epochs": 30, "learning_rate": 2e-3},
    "digits": 100,
    "samples": [300, 3000],
    "climb": {"steps": 200, "samples": 8, "learning_rate": 0.03},
    "annealing": {"temperatures": 50, "chains": 8, "leapfrogs": 3},
    "plane": {"tolerance": 0.001, "more": {"epochs": 30, "learning_rate": 1e-3}},
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


class Guess(torch.nn.Module):
    """An encoder that gives the rows of one q for the images that it was climbed for."""

    def __init__(self, q):
        super().__init__()
        self.q = q

    def forward(self, x):
        return self.q


def ways(model, x, true_z, q, generator):
    """Each way's bounds of each digit and its cost."""
    from deeper import annealed_log_likelihood

    sides = [None] if true_z is None else [None, true_z]
    names, result = ("lower", "upper"), {}
    guessing = VAE(Guess(q), model.decoder, model.prior)
    path = SETTINGS["annealing"]
    moves = path["temperatures"] * path["chains"] * (path["leapfrogs"] + 2)
    for count in [*SETTINGS["samples"], "annealing"]:
        start = time.process_time()
        if count == "annealing":
            pair = annealed_log_likelihood(model, x, true_z, generator=generator, start=q, **path)
            decodes = (len(sides) + 1) * moves
        else:
            pair = [
                importance_log_likelihood(guessing, x, count, 1000, generator, z) for z in sides
            ]
            decodes = len(sides) * count
        seconds = time.process_time() - start
        result[str(count)] = {"decodes": decodes, "cpu_seconds": round(seconds, 1)} | {
            name: [round(v, 3) for v in values.tolist()]
            for name, values in zip(names, pair[: len(sides)], strict=False)
        }
    return result


@torch.no_grad()
def mean_bound(model, x, q):
    """The ELBO of each image under a q of its own, from fresh codes."""
    codes = q.sample((1000,), seeded(2)).split(100)
    log_px = torch.stack([model.log_likelihood(x, z).mean(0) for z in codes]).mean(0)
    return rounded(log_px - kl_divergence(q, model.prior()))


def rounded(values):
    return [round(v, 3) for v in values.tolist()]


@torch.no_grad()
def moments(model, x):
    """The diagonal Gaussian with the mean and the variances of the posterior, on a grid."""
    axis = torch.arange(-72, 73).to(x) / 12
    points = torch.cartesian_prod(axis, axis)
    posterior = log_joint(model, x, points).softmax(1)
    mean = posterior @ points
    return DiagonalGaussian(mean.float(), (posterior @ points**2 - mean**2).log().float())


def third(model, x, q=None):
    """KL(q || p(z|x)) of each image on the grid, in float64; and log p(x)."""
    if q is not None:
        q = DiagonalGaussian(q.mean.double(), q.log_var.double())
    exact, tolerance = copy.deepcopy(model).double(), SETTINGS["plane"]["tolerance"]
    terms = decompose_on_grid(exact, x.double(), q, tolerance=tolerance)
    return rounded(terms.kl_posterior), rounded(terms.log_likelihood)


def plane():
    """The gap of the shipped model with Z = 2, where the grid knows log p(x)."""
    from deeper import best_gaussian

    model, train = load_pretrained().model, load_digits("train").images
    test = load_digits("test").images
    real, result = binarize(test, seeded(1)), {}
    true_z = model.prior().sample((SETTINGS["digits"],), seeded(3))
    drawn = model.decode(true_z).sample(generator=seeded(4))
    for name, x in ("drawn", drawn), ("real", real):
        starts = {"own_q": model.encode(x)}
        if name == "real":
            starts["from_moments"] = moments(copy.deepcopy(model).double(), x.double())
        part = dict(zip(("third", "log_px"), third(model, x), strict=True))
        part["encoder"] = {"elbo": mean_bound(model, x, model.encode(x))}
        for way, start in starts.items():
            q = best_gaussian(model, x, start, generator=seeded(6), **SETTINGS["climb"])
            part[way] = {"elbo": mean_bound(model, x, q), "third": third(model, x, q)[0]}
        result[name] = part
    seen = binarize(train[::8], seeded(2))
    mixed = train.clone()
    mixed[::8] = test
    for name, images in ("control", train), ("taught", mixed):
        more = copy.deepcopy(model)
        more.requires_grad_(False)
        more.encoder.requires_grad_(True)
        how = Settings(**SETTINGS["plane"]["more"])
        fit(more, images, how, transform=binarize, generator=seeded(8))
        result[name] = {"test": third(more, real)[0], "train": third(more, seen)[0]}
    for name in ("drawn", "real"):
        means = {k: sum(v) / len(v) for k, v in result[name].items() if isinstance(v, list)}
        ways = {k: v for k, v in result[name].items() if isinstance(v, dict)}
        print(name, means, {k: sum(v["elbo"]) / len(v["elbo"]) for k, v in ways.items()})
    for name in ("control", "taught"):
        print(name, {k: sum(v) / len(v) for k, v in result[name].items()}, flush=True)
    return result


def run(seed):
    from deeper import best_gaussian

    generator = seeded(seed)
    model = VAE.mlp(SETTINGS["latent"], SETTINGS["hidden"], "bernoulli", generator=generator)
    how = Settings(**SETTINGS["training"])
    fit(model, load_digits("train").images, how, transform=binarize, generator=generator)
    model.requires_grad_(False)
    test = load_digits("test").images
    real = binarize(test[:: len(test) // SETTINGS["digits"]], seeded(1))
    true_z = model.prior().sample((SETTINGS["digits"],), seeded(3))
    drawn = model.decode(true_z).sample(generator=seeded(4))
    row = {"seed": seed, "test_elbo": elbo(model, real, 100, seeded(5)).elbo.mean().item()}
    for name, x, z in ("drawn", drawn, true_z), ("real", real, None):
        start = time.process_time()
        own_q = best_gaussian(model, x, model.encode(x), generator=seeded(6), **SETTINGS["climb"])
        climb = round(time.process_time() - start, 1)
        decodes = SETTINGS["climb"]["steps"] * SETTINGS["climb"]["samples"]
        row[name] = {"climb": {"decodes": decodes, "cpu_seconds": climb}}
        for which, q in ("encoder", model.encode(x)), ("own_q", own_q):
            bounds = ways(model, x, z, q, seeded(7))
            row[name][which] = {"elbo": mean_bound(model, x, q), **bounds}
            for way, part in bounds.items():
                means = {k: sum(v) / len(v) for k, v in part.items() if isinstance(v, list)}
                print(seed, name, which, way, means, part["cpu_seconds"], flush=True)
    return row


def main():
    parser = arguments(__doc__)
    parts = ("plane", "0", "1")
    parser.add_argument("--parts", choices=parts, nargs="+", default=parts)
    given = parser.parse_args()
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    rows = {row["seed"]: row for row in stored.get("rows", [])}
    on_plane = stored.get("plane")
    for part in given.parts:
        if part == "plane":
            on_plane = plane()
        else:
            rows[int(part)] = run(int(part))
        result = {
            "command": "python benchmarks/brackets.py",
            "settings": SETTINGS,
            **circumstances(),
            "plane": on_plane,
            "rows": [rows[key] for key in sorted(rows)],
        }
        RESULTS.write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
