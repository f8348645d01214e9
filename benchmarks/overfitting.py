"""What do our MNIST models lose on digits they did not see, and how far apart are they?

Every stored model of likelihood.json scores the 10,000 test digits, binarised as there, and the
first 10,000 training digits, binarised once with a stored seed (as drawn for no batch). A score is
two numbers for a digit: the ELBO, with its KL in closed form and 20 codes for the first term, and
the importance-weighted bound L_K on log p(x), K = 50. From them:

- what is lost between training and test digits, by the decoder (L_K) and by the encoder
  (L_K − ELBO, which is the third term as far as L_K shows it), with the standard error of a
  difference of two means of different digits;
- the same relative to a control, a smaller model that saw neither the ones nor the others: each
  score less the control's of the same digit. That takes out how hard the digits are. Where the
  control's scores differ more from digit to digit than the model's, it takes out too much: so the
  decoder's loss also less the control's L_K times the slope of the model's L_K on the control's;
- how the first 2,000 digits of each set split, by L_K here and by K = 500 of likelihood.json, which
  has the same digits in the same pixels: what L_K leaves out is counted as the decoder's;
- the differences of two models on the same test digits, paired: mean and standard error of the
  digit-by-digit difference, and of the mean of each goal over its seeds, and of each model and the
  control;
- L_K and L_K − ELBO on the test digits of each class.

The control is the mean over the models that binarisation.py trained with dynamic binarisation: run
that first; the scores are in its folder of work. This stores overfitting.json. About five minutes
on one core; what is finished is kept in the folder --work, and is not done again.

    python benchmarks/overfitting.py --root FOLDER    FOLDER holds MNIST as torchvision keeps it
"""

import json
import resource
from itertools import combinations
from pathlib import Path

import torch
from record import arguments, circumstances
from safetensors.torch import load_file, save_file
from torch import Tensor

from vae_core import VAE, binarize, elbo, importance_log_likelihood, load_mnist

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "overfitting.json"
TEST_SEED, TRAIN_SEED = 2016, 3  # of the binarisations, as in likelihood.py
SAMPLES, DRAWS, DIGITS = 50, 20, 10_000
Scores = dict[str, Tensor]  # "log_likelihood" and "elbo" of each digit, [N], float64


def seeded(seed: int) -> torch.Generator:
    """A generator of its own for each number, so that each can be computed again alone."""
    return torch.Generator().manual_seed(seed)


@torch.no_grad()
def score(model: VAE, x: Tensor, samples: int = SAMPLES, draws: int = DRAWS) -> Scores:
    """L_K and the ELBO of each image, in nats, from draws of their own."""
    a, b = seeded(2), seeded(4)
    parts = x.split(20)  # few at a time: what one of them decodes then stays in the cache
    return {
        "log_likelihood": torch.cat(
            [importance_log_likelihood(model, part, samples, 1000, a) for part in parts]
        ).double(),
        "elbo": torch.cat([elbo(model, part, draws, b).elbo for part in parts]).double(),
    }


def mean_of(values: Tensor) -> list[float]:
    """The mean and its standard error."""
    return [values.mean().item(), (values.std() / len(values) ** 0.5).item()]


def lost(seen: Tensor, unseen: Tensor) -> list[float]:
    """How much lower the mean of `unseen` is, and its standard error: the digits are different."""
    error = (seen.var() / len(seen) + unseen.var() / len(unseen)) ** 0.5
    return [(seen.mean() - unseen.mean()).item(), error.item()]


def gap(part: Scores) -> Tensor:
    """What L_K shows of the third term of each digit, `[N]`."""
    return part["log_likelihood"] - part["elbo"]


def by_class(part: Scores, labels: Tensor) -> dict[str, list[list[float]]]:
    """L_K and the gap of each of the ten classes."""
    values = {"log_likelihood": part["log_likelihood"], "gap": gap(part)}
    return {
        name: [mean_of(value[labels == digit]) for digit in range(10)]
        for name, value in values.items()
    }


def keep(path: Path, parts: dict[str, Scores]) -> None:
    """Write the scores of several sets of digits."""
    path.parent.mkdir(parents=True, exist_ok=True)
    flat = {f"{name}/{key}": value for name, part in parts.items() for key, value in part.items()}
    save_file(flat, path, {"cpu_seconds": str(round(cpu_seconds()))})


def kept(path: Path) -> dict[str, Scores]:
    """Read them again."""
    parts: dict[str, Scores] = {}
    for name, values in load_file(path).items():
        digits, key = name.split("/")
        parts.setdefault(digits, {})[key] = values
    return parts


def split(seen: Scores, unseen: Scores) -> dict[str, list[float]]:
    """What is lost on unseen digits: by the decoder, by the encoder, and both, of the ELBO."""
    return {
        "decoder": lost(seen["log_likelihood"], unseen["log_likelihood"]),
        "encoder": lost(-gap(seen), -gap(unseen)),  # the gap grows
        "elbo": lost(seen["elbo"], unseen["elbo"]),
    }


def paired(a: Scores, b: Scores) -> dict[str, list[float]]:
    """a − b on the same digits: mean and standard error of each score, the digits paired."""
    return {name: mean_of(a[name] - b[name]) for name in a}


def average(many: list[Scores]) -> Scores:
    """The mean over models, digit by digit."""
    return {name: torch.stack([part[name] for part in many]).mean(0) for name in many[0]}


def compare(models: dict[str, Scores]) -> dict[str, dict[str, list[float]]]:
    """Every two models on the same digits, and every two goals, each the mean of its models."""
    goals = {name.split("-")[0] for name in models}
    means = {
        goal: average([part for name, part in models.items() if name.startswith(f"{goal}-")])
        for goal in sorted(goals)
    }
    groups = (models, means) if len(means) > 1 else (models,)
    return {
        f"{b} less {a}": paired(group[b], group[a])
        for group in groups
        for a, b in combinations(group, 2)
    }


def rounded(value):
    """The same, with numbers at four decimals."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


def stored(row: dict) -> VAE:
    """The model of a row of likelihood.json."""
    model = VAE.mlp(row["settings"]["latent"], tuple(row["settings"]["hidden"]), "bernoulli")
    model.load_state_dict(load_file(HERE / row["model"]["file"]))
    return model.requires_grad_(False)


def cpu_seconds() -> float:
    """The processor's time that this process took."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_utime


def relative(part: Scores, control: Scores) -> Scores:
    """The scores less those of a control, digit by digit."""
    return {name: part[name] - control[name] for name in part}


def slope(model: list[Tensor], control: list[Tensor]) -> float:
    """Of a model's scores on a control's of the same digits, within each set of digits."""
    a, b = (torch.cat([part - part.mean() for part in scores]) for scores in (model, control))
    return (a @ b / (b @ b)).item()


def by_slope(model: dict[str, Scores], control: dict[str, Scores]) -> dict:
    """What the decoder loses relative to the slope on the control, times the control's score."""
    ours, theirs = (
        [part[x]["log_likelihood"] for x in ("seen", "test")] for part in (model, control)
    )
    times = slope(ours, theirs)
    seen, unseen = (a - times * b for a, b in zip(ours, theirs, strict=True))
    return {"slope": times, "decoder": lost(seen, unseen)}


def by_samples(model: dict[str, Scores], row: dict, digits: int = 2000) -> dict:
    """How the loss on the first digits splits, by L_K here and by that of a row's first_2000."""
    first = {x: {name: v[:digits] for name, v in model[x].items()} for x in ("seen", "test")}
    here = {who: value[0] for who, value in split(first["seen"], first["test"]).items()}
    train, test = row["train"], row["test"]
    there = {"decoder": test["nll"] - train["nll"], "elbo": train["elbo"] - test["elbo"]}
    return {
        str(SAMPLES): here,
        str(row["samples"]): there | {"encoder": there["elbo"] - there["decoder"]},
    }


def summarize(models: dict[str, dict[str, Scores]], control: dict[str, Scores], labels: Tensor):
    """All that is stored, from the scores of each model on `seen` and `test`, and a control's."""
    tested = {name: parts["test"] for name, parts in models.items()}
    return {
        "lost_on_test_digits": {
            name: split(parts["seen"], parts["test"]) for name, parts in models.items()
        },
        "lost_by_the_control": split(control["seen"], control["test"]),
        "lost_relative_to_the_control": {
            name: split(*(relative(parts[x], control[x]) for x in ("seen", "test")))
            for name, parts in models.items()
        },
        "lost_relative_to_the_slope_on_the_control": {
            name: by_slope(parts, control) for name, parts in models.items()
        },
        "paired_on_test_digits": compare(tested),
        "paired_with_the_control": {
            name: paired(part, control["test"]) for name, part in tested.items()
        },
        "test_digits_by_class": {name: by_class(part, labels) for name, part in tested.items()},
    }


def main() -> None:
    parser = arguments(__doc__, root=True)
    parser.add_argument("--download", action="store_true", help="fetch MNIST to that folder first")
    parser.add_argument(
        "--work", type=Path, default=Path("data/overfitting"), help="folder of what is finished"
    )
    parser.add_argument(
        "--control", type=Path, default=Path("data/binarisation"), help="binarisation.py's --work"
    )
    given = parser.parse_args()
    grey, labels = load_mnist(given.root, "test", given.download)
    scored = {
        "test": binarize(grey, seeded(TEST_SEED)),
        "seen": binarize(load_mnist(given.root, "train").images[:DIGITS], seeded(TRAIN_SEED)),
    }
    models, first = {}, {}
    for row in json.loads((HERE / "likelihood.json").read_text(encoding="utf-8")):
        path = given.work / f"{row['goal']}-{row['seed']}.safetensors"
        if not path.exists():
            model = stored(row)
            keep(path, {name: score(model, x) for name, x in scored.items()})
            print(f"{path}: {cpu_seconds():.0f} s of CPU", flush=True)
        models[path.stem] = kept(path)
        first[path.stem] = by_samples(models[path.stem], row["first_2000"])
    controls = [kept(path) for path in sorted(given.control.glob("dynamic-*.safetensors"))]
    if not controls:
        parser.exit(1, f"no control in {given.control}: run binarisation.py first\n")
    control = {
        name: average([part[theirs] for part in controls])
        for name, theirs in (("seen", "held out"), ("test", "test"))
    }
    record = {
        "command": "python benchmarks/overfitting.py --root FOLDER",
        "samples": SAMPLES,
        "draws_of_elbo": DRAWS,
        "digits": {name: len(x) for name, x in scored.items()},
        "binarisation_seeds": {"seen": TRAIN_SEED, "test": TEST_SEED},
        "controls": len(controls),
        **summarize(models, control, labels),
        "first_2000": first,
        **circumstances(),
    }
    RESULTS.write_text(json.dumps(rounded(record), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
