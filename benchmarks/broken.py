"""What does each slip of the page "What is wrong with this VAE?" cost, over three seeds?

This stores broken.json. The sound VAE and the nine with a slip are trained from the same seeds and
measured on the same 500 test digits, with log p(x) on a grid (`deeper.broken.measure`). Every
difference is taken digit by digit. Its error over digits is that of the mean over 500 digits of the
differences averaged over the seeds; its error over seeds that of the mean of the seeds' means.

Case 4 trains on as many digits as the sound code, but on test digits in place of validation digits.
What it gains on test digits, less what it gains on validation digits, is twice the optimism of a
bound that is measured on digits that were trained on: whichever run found the better model by
chance has no part in it. That is done for runs of a hundred epochs, too.

    python benchmarks/broken.py                 about eight minutes on one core
    python benchmarks/broken.py --part long     the runs of a hundred epochs alone
"""

import argparse
import json
import math
import sys
from datetime import date
from pathlib import Path

import torch
from timing import cores, processor

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "book"))

from deeper import broken  # noqa: E402

FILE = HERE / "broken.json"
SEEDS = (0, 1, 2)
LONG = {"epochs": 100, "cases": (0, 4)}


def summary(values):
    """Mean and both standard errors of `[seeds, digits]`."""
    by_digit, by_seed = values.mean(0), values.mean(1)
    return {
        "mean": values.mean().item(),
        "digits": (by_digit.std() / math.sqrt(len(by_digit))).item(),
        "seeds": (by_seed.std() / math.sqrt(len(by_seed))).item() if len(by_seed) > 1 else None,
    }


def measured(case, epochs):
    """The runs of a case, one for each seed: sizes `[seeds, 500]`, and last values of its terms."""
    runs = [broken.run(case, seed, epochs) for seed in SEEDS]
    sizes = [broken.measure(run.model) for run in runs]
    print(f"case {case}, {epochs} epochs", flush=True)
    return broken.Size(*map(torch.stack, zip(*sizes, strict=True))), runs


def compare(cases, epochs):
    """The rows of some cases, the sound one first."""
    rows, sound, sound_runs = {}, None, None
    for case in cases:
        size, runs = measured(case, epochs)
        if case == 0:
            sound, sound_runs = size, runs
        rows[str(case)] = {
            "log_likelihood": summary(size.log_likelihood),
            "elbo": summary(size.elbo),
            "claim": summary(size.claim),
            "lost_log_likelihood": summary(sound.log_likelihood - size.log_likelihood),
            "lost_elbo": summary(sound.elbo - size.elbo),
            "overstated": summary(size.claim - size.elbo),
            "claim_above_log_likelihood": summary(size.claim - size.log_likelihood),
            "claim_above_sound": summary(size.claim - sound.claim),
            "grids_apart": (size.finer - size.log_likelihood).abs().max().item(),
            "sigma": [broken.sigma(run.model) for run in runs],
            "train": torch.stack([run.train[-1] for run in runs]).tolist(),
            "test": torch.stack([run.test[-1] for run in runs]).tolist(),
        }
        if case == 4:
            rows["4"]["optimism"] = optimism(runs, sound_runs)
    return rows


def optimism(runs, sound_runs):
    """Half of what the runs of case 4 gain on test digits and lose on validation digits."""
    gains = []
    for split in ("test", "validation"):
        pairs = zip(runs, sound_runs, strict=True)
        gains.append(
            torch.stack(
                [broken.bound(a.model, split) - broken.bound(b.model, split) for a, b in pairs]
            )
        )
    by_split = [summary(gain) for gain in gains]
    by_seed = (gains[0].mean(1) - gains[1].mean(1)) / 2
    return {
        "mean": by_seed.mean().item(),
        "digits": math.hypot(*(part["digits"] for part in by_split)) / 2,
        "seeds": (by_seed.std() / math.sqrt(len(by_seed))).item(),
    }


def rounded(value):
    """Floats at four decimals, or at four digits where they are larger than a million."""
    if isinstance(value, float):
        return float(f"{value:.4g}") if abs(value) > 1e6 else round(value, 4)
    if isinstance(value, dict):
        return {key: rounded(entry) for key, entry in value.items()}
    return [rounded(entry) for entry in value] if isinstance(value, list) else value


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=["all", "short", "long"], default="all")
    given = parser.parse_args()
    record = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else {}
    record |= {
        "command": "python benchmarks/broken.py",
        "date": date.today().isoformat(),
        "machine": {"processor": processor(), "cores": cores()},
        "versions": {"python": sys.version.split()[0], "torch": torch.__version__},
        "units": "nats, means over 500 test digits and the seeds; errors over digits, over seeds",
        "seeds": list(SEEDS),
        "epochs": broken.EPOCHS,
        "long_epochs": LONG["epochs"],
    }
    if given.part in ("all", "short"):
        record["cases"] = compare((0, *broken.CASES), broken.EPOCHS)
    if given.part in ("all", "long"):
        record["long"] = compare(LONG["cases"], LONG["epochs"])
    FILE.write_text(json.dumps(rounded(record), indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
