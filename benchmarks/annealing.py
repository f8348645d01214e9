"""How far below log p(x) are the bounds of the large MNIST models (Z = 50)?

For models of `likelihood.py`, in float32, on two sets of digits:

- real: the first test digits of MNIST of each class in turn, binarised once with the seed that
  `likelihood.py` uses. Lower bounds only: L_5000 from the encoder's q, and annealing from a q of
  its own for each digit (`best_gaussian`).
- drawn: digits that the model drew from codes of the prior. The codes are known, so there are upper
  bounds too: with K = 5,000 codes, the true one among them, and by annealing backwards.

Each bound holds in expectation. What is stored is one estimate per digit, the decodes that it
took per digit (each both ways if there are two; annealing's pilot run and the climb to the q
counted) and the CPU seconds for all digits. A decode in annealing includes, in four of five cases,
its gradient.

    python benchmarks/annealing.py --root FOLDER             FOLDER holds MNIST as torchvision does
    python benchmarks/annealing.py --models two-2 --sets drawn    one part; the others are kept
"""

import json
import sys
import time
from pathlib import Path

import torch
from record import arguments, circumstances
from safetensors.torch import load_file

from vae_core import VAE, binarize, elbo, importance_log_likelihood, load_mnist, load_pretrained

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "annealing.json"
sys.path.insert(0, str(HERE.parent / "book"))  # annealing is the book's
TEST_SEED = 2016  # as in likelihood.py
MODELS = ("one-0", "one-1", "one-2", "two-0", "two-1", "two-2")
SETTINGS = {
    "real": 100,
    "drawn": 50,
    "samples": 5000,
    "climb": {"steps": 200, "samples": 8, "learning_rate": 0.03},
    "annealing": {"temperatures": 100, "chains": 8, "leapfrogs": 3},
}


def seeded(seed):
    return torch.Generator().manual_seed(seed)


def stored_model(name):
    """A model of likelihood.py; the last one ships with the package."""
    if name == "two-2":
        return load_pretrained("mnist").model
    model = VAE.mlp(50, (500, 400), "bernoulli")
    state = load_file(HERE / "models" / f"{name}.safetensors")
    model.load_state_dict({key: value.float() for key, value in state.items()})
    return model.requires_grad_(False)


def real_digits(root, count):
    """Test digits, the same number of each class, binarised."""
    digits = load_mnist(root, "test")
    x = binarize(digits.images, seeded(TEST_SEED))
    per_class = [(digits.labels == c).nonzero()[:, 0][: count // 10] for c in range(10)]
    return x[torch.cat(per_class)]


def timed(function):
    start = time.process_time()
    return function(), round(time.process_time() - start, 1)


def bounds(model, x, true_z=None):
    """Per digit: the ELBO, L_K and annealing, with upper bounds where the true codes are known."""
    from deeper import annealed_log_likelihood, best_gaussian

    count, climb, path = (SETTINGS[key] for key in ("samples", "climb", "annealing"))
    ways = 1 if true_z is None else 2

    def weighted():
        generator, sides = seeded(3), []
        for codes in [None] if true_z is None else [None, true_z]:
            parts = [None] * len(x) if codes is None else codes.split(20)
            # few images at a time: what one chunk decodes then stays in the processor's cache
            sides.append(
                torch.cat(
                    [
                        importance_log_likelihood(model, few, count, 1000, generator, code)
                        for few, code in zip(x.split(20), parts, strict=False)
                    ]
                )
            )
        return sides

    def annealed():
        own_q = best_gaussian(model, x, model.encode(x), generator=seeded(4), **climb)
        pairs = annealed_log_likelihood(model, x, true_z, generator=seeded(5), start=own_q, **path)
        return own_q, pairs

    with torch.no_grad():
        encoder = elbo(model, x, 1000, seeded(1)).elbo
    sides, seconds = timed(weighted)
    (own_q, bracket), annealing_seconds = timed(annealed)
    with torch.no_grad():
        z = own_q.sample((1000,), seeded(2))
        log_px = model.log_likelihood(x, z).mean(0)
        own = log_px - torch.distributions.kl_divergence(own_q, model.prior())
    moves = path["temperatures"] * path["chains"] * (path["leapfrogs"] + 2)
    result = {
        "elbo": encoder,
        "own_elbo": own,
        "weighted_lower": sides[0],
        "annealed_lower": bracket.lower,
    }
    if true_z is not None:
        result |= {"weighted_upper": sides[1], "annealed_upper": bracket.upper}
    result = {key: [round(v, 4) for v in values.tolist()] for key, values in result.items()}
    cost = {
        "weighted": {"decodes": ways * count, "cpu_seconds": seconds},
        "annealed": {
            "decodes": (ways + 1) * moves + climb["steps"] * climb["samples"],
            "cpu_seconds": annealing_seconds,
        },
    }
    return result | {"cost": cost}


def run(name, kind, root):
    """The bounds of one model for one set of digits."""
    model, true_z = stored_model(name), None
    if kind == "real":
        x = real_digits(root, SETTINGS["real"])
    else:
        true_z = model.prior().sample((SETTINGS["drawn"],), seeded(6))
        x = model.decode(true_z).sample(generator=seeded(7))
    row = {"model": name, "set": kind} | bounds(model, x, true_z)
    means = {key: sum(row[key]) / len(row[key]) for key in row if key.endswith(("er", "elbo"))}
    print(name, kind, {key: round(v, 2) for key, v in means.items()}, row["cost"], flush=True)
    return row


def main():
    parser = arguments(__doc__, root=True)
    parser.add_argument("--models", choices=MODELS, nargs="+", default=MODELS)
    parser.add_argument("--sets", choices=("real", "drawn"), nargs="+", default=("real", "drawn"))
    given = parser.parse_args()
    stored = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    rows = {(row["model"], row["set"]): row for row in stored.get("rows", [])}
    for name in given.models:
        for kind in given.sets:
            rows[name, kind] = run(name, kind, given.root)
            result = {
                "command": "python benchmarks/annealing.py --root FOLDER",
                "settings": SETTINGS,
                "test_binarisation": TEST_SEED,
                **circumstances(),
                "rows": [rows[key] for key in sorted(rows)],
            }
            RESULTS.write_text(json.dumps(result) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
