"""What does it cost to binarise the training digits once for all?

One network (784-200-200-50, SiLU) is trained for the same 30 epochs on the same 50,000 digits of
MNIST, the first 10,000 of the training set held out. In one arm each pixel is drawn anew for every
batch (*dynamic* binarisation), in the other once, before training (*fixed*). Everything else is the
same for a seed: initial weights, the order of the batches, and all the noise, since binarising a
black-and-white digit leaves it as it is and takes as many random numbers. Three seeds; each draws a
fixed binarisation of its own. (The fixed file of Larochelle & Murray 2011, which much of the
literature uses, is one such draw of theirs, for the test digits too; it is not read here.)

Every model scores the same digits, with the ELBO and L_K, K = 50, of overfitting.py: `test`, the
10,000 test digits, binarised once as in likelihood.json; `held out`; `other pixels`, 10,000 digits
of the training set, drawn again; and `as trained`, the same in the pixels of the fixed arm.

This stores binarisation.json, with the digit-by-digit differences. About fifteen minutes on one
core; what is finished is kept in the folder --work, and is not done again.

    python benchmarks/binarisation.py --root FOLDER    FOLDER holds MNIST as torchvision keeps it
"""

import json
from pathlib import Path

from overfitting import (
    DIGITS,
    DRAWS,
    SAMPLES,
    TEST_SEED,
    TRAIN_SEED,
    Scores,
    average,
    cpu_seconds,
    keep,
    kept,
    mean_of,
    paired,
    rounded,
    score,
    seeded,
    split,
)
from record import arguments, circumstances
from torch import Tensor

from vae_core import VAE, Settings, binarize, fit, load_mnist

RESULTS = Path(__file__).resolve().parent / "binarisation.json"
HIDDEN, LATENT = (200, 200), 50
HOW = Settings(epochs=30, batch_size=250, learning_rate=2e-3, schedule="cosine")
ARMS, SEEDS = ("dynamic", "fixed"), (0, 1, 2)


def draw_once(images: Tensor, seed: int) -> Tensor:
    """The fixed binarisation of a seed."""
    return binarize(images, seeded(1000 + seed))


def train(images: Tensor, arm: str, seed: int, how: Settings, hidden: tuple, latent: int) -> VAE:
    """One model. The arms differ in `images` alone: they take the same random numbers."""
    generator = seeded(seed)
    model = VAE.mlp(latent, hidden, "bernoulli", generator=generator)
    given = images if arm == "dynamic" else draw_once(images, seed)
    fit(model, given, how, transform=binarize, generator=generator)
    return model.requires_grad_(False)


def digits_of(root: Path, seed: int, download: bool = False) -> tuple[Tensor, dict[str, Tensor]]:
    """The 50,000 grey digits to train on, and what is scored."""
    grey = load_mnist(root, "train", download).images
    held_out, images = grey[:DIGITS], grey[DIGITS:]
    return images, {
        "test": binarize(load_mnist(root, "test").images, seeded(TEST_SEED)),
        "held out": binarize(held_out, seeded(TRAIN_SEED)),
        "other pixels": binarize(images[:DIGITS], seeded(TRAIN_SEED)),
        "as trained": draw_once(images, seed)[:DIGITS],
    }


def run(root: Path, work: Path, arm: str, seed: int, download: bool) -> dict[str, Scores]:
    """The scores of one model, from the folder of work if they are there."""
    path = work / f"{arm}-{seed}.safetensors"
    if not path.exists():
        images, scored = digits_of(root, seed, download)
        model, start = train(images, arm, seed, HOW, HIDDEN, LATENT), cpu_seconds()
        keep(path, {name: score(model, x) for name, x in scored.items()})
        print(f"{path}: {cpu_seconds():.0f} s of CPU, scoring {cpu_seconds() - start:.0f}")
    return kept(path)


def summarize(runs: dict[str, dict[int, dict[str, Scores]]]) -> dict:
    """Scores of each arm, what is lost from each set of digits to the next, and the differences."""
    each = {
        f"{arm}-{seed}": {
            "scores": {
                name: {key: mean_of(v) for key, v in part.items()} for name, part in parts.items()
            },
            "lost": {
                f"{a} to {b}": split(parts[a], parts[b])
                for a, b in (("other pixels", "held out"), ("held out", "test"))
            },
            "as trained less other pixels": paired(parts["as trained"], parts["other pixels"]),
        }
        for arm, by_seed in runs.items()
        for seed, parts in by_seed.items()
    }
    seeds, names = list(runs[ARMS[0]]), ("test", "held out", "other pixels")
    means = {
        arm: {name: average([parts[name] for parts in by_seed.values()]) for name in names}
        for arm, by_seed in runs.items()
    }
    return {
        "models": each,
        "dynamic less fixed": {
            name: {
                "by_seed": [paired(*(runs[arm][seed][name] for arm in ARMS)) for seed in seeds],
                "mean_of_seeds": paired(*(means[arm][name] for arm in ARMS)),
            }
            for name in names
        },
    }


def main() -> None:
    parser = arguments(__doc__, root=True)
    parser.add_argument("--download", action="store_true", help="fetch MNIST to that folder first")
    parser.add_argument(
        "--work", type=Path, default=Path("data/binarisation"), help="folder of what is finished"
    )
    parser.add_argument("--arm", choices=ARMS, help="one arm alone, and nothing is stored")
    parser.add_argument("--seed", type=int, choices=SEEDS, help="with --arm: one seed alone")
    given = parser.parse_args()
    runs: dict[str, dict[int, dict[str, Scores]]] = {}
    for arm in ARMS if given.arm is None else (given.arm,):
        for seed in SEEDS if given.seed is None else (given.seed,):
            scores = run(given.root, given.work, arm, seed, given.download)
            runs.setdefault(arm, {})[seed] = scores
    if given.arm is not None or given.seed is not None:
        return
    record = {
        "command": "python benchmarks/binarisation.py --root FOLDER",
        "settings": {"hidden": list(HIDDEN), "latent": LATENT, **vars(HOW)},
        "digits": {"trained on": 50_000, "scored": DIGITS},
        "samples": SAMPLES,
        "draws_of_elbo": DRAWS,
        **summarize(runs),
        **circumstances(),
    }
    RESULTS.write_text(json.dumps(rounded(record), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
