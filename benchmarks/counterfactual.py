"""Does it cost anything to train on the bound in place of log p(x) itself?

With two latent dimensions log p(x) can be summed over a grid of codes, and a decoder can be trained
on that sum: no encoder, no bound. This is done beside the usual training on the ELBO, from the same
first weights, on the same batches, binarised alike, for the same number of steps of Adam. The grid,
[−6, 6]² with step 1/6, is shifted at random at each step: so its sum has the expectation ∫ p(x, z)
dz over the square, and its logarithm errs downwards in expectation. Two more runs lie between: the
ELBO averaged over twenty codes an image, which is the same bound with less noise, and the
importance-weighted bound of twenty codes, a tighter one. At the end log p(x) of the 500 test digits
and of 500 training digits, binarised once with stored seeds, is computed by `decompose_on_grid` to
a hundredth of a nat. How far one run is from another of its kind is seen from repeats of the usual
run of seed 0: the same first weights, batches and binarisation, other draws of the codes.

    python benchmarks/counterfactual.py                  three seeds, some minutes each, and repeats
    python benchmarks/counterfactual.py --seeds 1        one of them; the others' rows are kept
    python benchmarks/counterfactual.py --objectives elbo evidence    two of the four
    python benchmarks/counterfactual.py --repeats        the repeats alone, a quarter minute each
"""

import copy
import json
import math
import time
from pathlib import Path

import torch
from record import arguments, circumstances

from vae_core import (
    VAE,
    binarize,
    decompose_on_grid,
    elbo,
    importance_elbo,
    load_digits,
    log_joint,
)

RESULTS = Path(__file__).resolve().parent / "counterfactual.json"
SETTINGS = {
    "latent": 2,
    "hidden": [100],
    "epochs": 40,
    "batch_size": 100,
    "learning_rate": 2e-3,
    "samples": 20,
    "half_width": 6,
    "points_per_axis": 72,
    "tolerance": 0.01,
    "repeats": 5,
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def evidence(model, x, generator):
    """log p(x) of each image from a grid that is shifted at random, with a gradient."""
    step = 2 * SETTINGS["half_width"] / SETTINGS["points_per_axis"]
    count = SETTINGS["points_per_axis"] // 2
    shift = torch.rand(2, generator=generator)
    axes = [(torch.arange(-count, count) + part) * step for part in shift]
    joint = log_joint(model, x, torch.cartesian_prod(*axes))
    return joint.logsumexp(1) + 2 * math.log(step)


def bound(model, x, generator):
    """The ELBO of each image from one code, with a gradient."""
    return elbo(model, x, 1, generator).elbo


def averaged(model, x, generator):
    """The ELBO of each image as the mean over more codes, with a gradient."""
    return elbo(model, x, SETTINGS["samples"], generator).elbo


def weighted(model, x, generator):
    """The importance-weighted bound of as many codes, with a gradient."""
    return importance_elbo(model, x, SETTINGS["samples"], generator).bound


OBJECTIVES = {"elbo": bound, "averaged": averaged, "weighted": weighted, "evidence": evidence}


def measured(model, splits):
    """log p(x) of each image, and what the model's own encoder misses of it, by split."""
    terms = {
        name: decompose_on_grid(model, x, tolerance=SETTINGS["tolerance"])
        for name, x in splits.items()
    }
    return {
        name: {"log_px": part.log_likelihood, "third": part.kl_posterior}
        for name, part in terms.items()
    }


def train(model, objective, images, seed, draws=None):
    """Raise the mean objective over the images; the mean of its estimates in each epoch.

    `draws` seeds the codes (or the shifts of the grid), and changes nothing else.
    """
    order, noise = seeded(seed + 100), seeded(seed + 200 if draws is None else draws)
    optimizer = torch.optim.Adam(model.parameters(), SETTINGS["learning_rate"])
    course = []
    for _ in range(SETTINGS["epochs"]):
        total = 0.0
        for rows in torch.randperm(len(images), generator=order).split(SETTINGS["batch_size"]):
            batch = binarize(images[rows], order)
            value = objective(model, batch, noise)
            optimizer.zero_grad()
            (-value.mean()).backward()
            optimizer.step()
            total += value.detach().sum().item()
        course.append(total / len(images))
    return course


def run(seed, names, draws=None):
    """Train copies of one model, one for each named objective, and measure them."""
    train_images = load_digits("train").images
    splits = {
        "test": binarize(load_digits("test").images, seeded(1)),
        "train": binarize(train_images[::8], seeded(2)),  # 50 of each class
    }
    first = VAE.mlp(SETTINGS["latent"], SETTINGS["hidden"], "bernoulli", generator=seeded(seed))
    row = {}
    for name in names:
        model, start = copy.deepcopy(first), time.process_time()
        course = train(model, OBJECTIVES[name], train_images, seed, draws)
        row[name] = {
            "cpu_seconds": round(time.process_time() - start),
            "course": [round(value, 2) for value in course],
        }
        for split, values in measured(model, splits).items():
            keep = ("log_px",) if name == "evidence" else ("log_px", "third")
            row[name][split] = {key: [round(v, 3) for v in values[key].tolist()] for key in keep}
        means = {s: torch.tensor(row[name][s]["log_px"]).mean().item() for s in splits}
        print(f"seed {seed}, {name}: {means}, {row[name]['cpu_seconds']} s", flush=True)
    return row


def repeated():
    """The usual run of seed 0 with other draws of the codes, as often as the settings say."""
    seeds = range(1000, 1000 + SETTINGS["repeats"])
    rows = [{"draws": draws} | run(0, ["elbo"], draws)["elbo"] for draws in seeds]
    return {"seed": 0, "objective": "elbo", **circumstances(), "rows": rows}


def main():
    parser = arguments(__doc__)
    parser.add_argument("--seeds", type=int, nargs="+", default=[])
    parser.add_argument("--objectives", choices=OBJECTIVES, nargs="+", default=list(OBJECTIVES))
    parser.add_argument("--repeats", action="store_true", help="repeat the usual run of seed 0")
    given = parser.parse_args()
    everything = not given.seeds and not given.repeats
    result = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    rows = {row["seed"]: row for row in result.get("rows", [])}
    for seed in [0, 1, 2] if everything else given.seeds:
        rows[seed] = rows.get(seed, {"seed": seed}) | run(seed, given.objectives)
        result |= circumstances() | {"rows": [rows[key] for key in sorted(rows)]}
        write(result)
    if everything or given.repeats:
        write(result | {"repeats": repeated()})


def write(result):
    about = {"command": "python benchmarks/counterfactual.py", "settings": SETTINGS}
    RESULTS.write_text(json.dumps(result | about) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
