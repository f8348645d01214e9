"""How noisy is the encoder's gradient: by Z, by the number of draws K, and in training?

This stores gradients.json. Chapter 8 reads it.

Small Bernoulli VAEs (784-100-Z-100-784) of 4,000 digits, a batch of 100 a step, Adam with 3e-3,
digits binarised anew at each use. What is measured, each part for several seeds of training:

- `variance`: of one draw's gradient of the reconstruction term, over all weights of the encoder,
  score function with leave-one-out baseline (of 400 draws) and pathwise; 20 test digits; after one
  epoch and after ten.
- `signal`: of the importance-weighted bound's gradient at the encoder's outputs, for K = 1 to 256,
  after ten epochs: squared length of its mean over the sum of its variances, for each of 10 test
  digits, one of each class; other digits for each seed. All K share the same draws, 256 × 500 for
  each digit, in groups of K, the first 4,000 groups at most. As it is (`plain`); doubly
  reparameterized; and the mean of K gradients of the ELBO, for the same number of decodes; beside
  them 1 / E[Σ w̃²], the effective number of draws.
- `training`: the ELBO of the 500 test digits, after every epoch, of models that differ only in how
  the encoder's gradient of the reconstruction term is estimated, from 4 codes an image: pathwise,
  by the score function with leave-one-out baseline, and with none. Paired: same weights, batches
  and noise.

    python benchmarks/gradients.py [--part variance|signal|training]
"""

import argparse
import json
import re
import sys
import time
from datetime import date
from importlib.metadata import version
from pathlib import Path

import torch
from timing import HERE, processor

from vae_core import VAE, DiagonalGaussian, Settings, binarize, elbo, fit, gaussian_kl, load_digits

sys.path.insert(0, str(HERE.parent / "book"))  # the estimators are the book's
RATE = 3e-3
SIZES = {"variance": (2, 10, 20, 50), "signal": (2, 10), "training": (2, 20)}
SEEDS = {"variance": range(3), "signal": range(3), "training": range(4)}
DRAWS, GROUPS, COUNTS = 256 * 500, 4_000, (1, 2, 4, 8, 16, 32, 64, 128, 256)
EPOCHS, CODES = 16, 4


def untrained(latent, seed):
    generator = torch.Generator().manual_seed(seed)
    return VAE.mlp(latent, (100,), "bernoulli", generator=generator), generator


def some_digits(count, start=0):
    """So many test digits, black and white, as many of each class."""
    images = load_digits("test").images[start :: 500 // count]
    return binarize(images, torch.Generator().manual_seed(0))


def variance(latent, seed):
    """Variance of one draw's gradient over all weights of the encoder, mean over the digits."""
    from deeper import encoder_variance, pathwise_gradient, score_function_gradient

    x, found = some_digits(20), {}
    model, generator = untrained(latent, seed)
    for epochs, stage in ((1, "after 1 epoch"), (9, "after 10 epochs")):
        images = load_digits("train").images
        settings = Settings(epochs, learning_rate=RATE)
        fit(model, images, settings, transform=binarize, generator=generator, progress=False)
        noise = torch.randn(400, len(x), latent, generator=generator)
        pair = [
            encoder_variance(model, x, estimate(model, x, noise))
            for estimate in (score_function_gradient, pathwise_gradient)
        ]
        found[stage] = {
            "score_function": pair[0].mean().item(),
            "pathwise": pair[1].mean().item(),
            "ratio_by_digit": rounded(pair[0] / pair[1]),
        }
    return found


def signal(latent, seed):
    """(Signal over noise)² of each digit by K; all K share the same draws.

    Both gradients of the bound have the same mean; that of the doubly reparameterized one, which is
    better known, serves for both. What chance adds to its square is taken away.
    """
    from deeper import (
        WeightGradients,
        bound_gradients,
        squared_signal_to_noise,
        weight_gradients,
    )

    x = some_digits(10, 5 * seed)
    model, generator = untrained(latent, seed)
    settings = Settings(10, learning_rate=RATE)
    images = load_digits("train").images
    fit(model, images, settings, transform=binarize, generator=generator, progress=False)
    with torch.no_grad():
        q = model.encode(x)

    def log_joint(z):
        return model.log_likelihood(x, z) + model.prior().log_prob(z)

    parts = []
    for _ in range(DRAWS // 500):
        noise = torch.randn(500, len(x), latent, generator=generator)
        parts.append(weight_gradients(log_joint, q, noise))
    drawn = [torch.cat(part) for part in zip(*parts, strict=True)]
    found = {}
    for count in COUNTS:
        groups = min(GROUPS, DRAWS // count)
        weights = WeightGradients(*(t[: groups * count].unflatten(0, (count, -1)) for t in drawn))
        plain, doubly, share = bound_gradients(weights)  # [R, B, 2Z], [R, B]
        alone = (weights.path - weights.score).mean(0)  # the ELBO's, mean of K
        found[str(count)] = {
            "effective": rounded(1 / share.mean(0)),
            "plain": rounded(squared_signal_to_noise(plain, doubly)),
            "doubly": rounded(squared_signal_to_noise(doubly)),
            "elbo": rounded(squared_signal_to_noise(alone)),
        }
    return found


def rounded(values):
    return [float(f"{value:.4g}") for value in values.tolist()]


def training(latent, seed):
    """The ELBO by epoch of the three estimators, and the processor's seconds an epoch."""
    images, found = load_digits("train").images, {}
    test = binarize(load_digits("test").images, torch.Generator().manual_seed(0))
    for way in ("pathwise", "score_function", "no_baseline"):
        model, generator = untrained(latent, seed)
        adam = torch.optim.Adam(model.parameters(), lr=RATE)
        curve, seconds = [], 0.0
        for _ in range(EPOCHS):
            start = time.process_time()
            for rows in torch.randperm(len(images), generator=generator).split(100):
                x = binarize(images[rows], generator)
                q = model.encode(x)
                noise = torch.randn(CODES, len(x), latent, generator=generator)
                z = q.mean + q.stddev * noise
                if way != "pathwise":
                    z = z.detach()
                f = model.log_likelihood(x, z)  # [K, B]
                value = f.mean(0)
                if way != "pathwise":
                    baseline = (f.sum(0) - f) / (CODES - 1) if way == "score_function" else 0
                    gain = (f - baseline).detach()
                    log_q = DiagonalGaussian(q.mean, q.log_var).log_prob(z)
                    value = value + (gain * log_q).mean(0)  # its value says nothing, its slope does
                adam.zero_grad()
                (gaussian_kl(q.mean, q.log_var) - value).mean().backward()
                adam.step()
            seconds += time.process_time() - start
            with torch.no_grad():
                score = elbo(model, test, 8, generator=torch.Generator().manual_seed(1)).elbo
            curve.append(round(score.mean().item(), 3))
        found[way] = {"elbo": curve, "processor_seconds_an_epoch": round(seconds / EPOCHS, 3)}
    return found


PARTS = {"variance": variance, "signal": signal, "training": training}


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--part", choices=PARTS, help="only this; the others stay as stored")
    parser.add_argument("--output", type=Path, default=HERE / "gradients.json")
    given = parser.parse_args()
    stored = {}
    if given.part and given.output.exists():
        stored = json.loads(given.output.read_text(encoding="utf-8"))
    for part in [given.part] if given.part else PARTS:
        start, measured = time.process_time(), {}
        for latent in SIZES[part]:
            for seed in SEEDS[part]:
                measured.setdefault(str(latent), []).append(PARTS[part](latent, seed))
                print(f"{part}, Z = {latent}, seed {seed}", flush=True)
        stored[part] = {
            "command": f"python benchmarks/gradients.py --part {part}",
            "date": date.today().isoformat(),
            "machine": {"processor": processor(), "threads": torch.get_num_threads()},
            "versions": {"torch": version("torch").split("+")[0]},
            "seeds": list(SEEDS[part]),
            "processor_seconds": round(time.process_time() - start),
            "by_latent": measured,
        }
    stored = {part: stored[part] for part in PARTS if part in stored}
    text = json.dumps(stored, indent=1)
    text = re.sub(r"\[[^][{}]*\]", lambda numbers: " ".join(numbers[0].split()), text)
    given.output.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
