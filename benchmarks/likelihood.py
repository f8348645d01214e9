"""How likely does a VAE make the test digits of MNIST?

On the data and with the estimate of Burda et al. 2016.

Data, binarisation, latent size and K are theirs; the network (SiLU, layers of 500 and 400), the
schedule, and the products in bfloat16 while training are not. Goal one maximises the ELBO, goal two
in its last quarter the importance-weighted bound with K = 8. Trained on all 60,000 training digits,
binarised anew for every batch. The weights are rounded to half precision, as they are stored, and
then −log p(x) of the 10,000 test digits, binarised once with a stored seed, is estimated with K =
5,000 samples from q(z|x), in float32. The sizes were chosen on 5,000 training digits held out
(`--choose`). Three seeds for each goal. The learning rate, the batch, the schedule, and K = 8 with
its start come from an earlier trial of another network, which had been scored on test digits, and
were not tuned. The numbers of epochs are such that training takes ten and forty minutes at most on
two busy cores. The test digits are looked at once for each row, at the end.

    python benchmarks/likelihood.py --goal one --seed 0      train, evaluate, store a row
    python benchmarks/likelihood.py --evaluate FILE          evaluate a stored model again
"""

import argparse
import hashlib
import json
import os
import platform
import time
from datetime import date
from pathlib import Path

import timing
import torch
from safetensors.torch import load_file, save_file

from vae_core import VAE, Settings, binarize, elbo, fit, importance_log_likelihood, load_mnist

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "likelihood.json"
# load_pretrained("mnist") loads this one, so its weights are in the package and nowhere else
SHIPPED = {("two", 2): "../vae_core/weights/mnist.safetensors"}
TEST_SEED = 2016
COMMON = {
    "hidden": (500, 400),
    "latent": 50,
    "batch_size": 250,
    "peak": 2e-3,
    "precision": "bfloat16",
}
GOALS = {
    "one": COMMON | {"epochs": 160, "samples": 1, "importance_from": 0.0},
    "two": COMMON | {"epochs": 240, "samples": 8, "importance_from": 0.75},
}


def binarized_test(root, seed=TEST_SEED):
    """The test digits, binarised once: images `[10000, 784]`, labels, the SHA-256 of the pixels."""
    digits = load_mnist(root, "test")
    x = binarize(digits.images, torch.Generator().manual_seed(seed))
    return x, digits.labels, hashlib.sha256(x.bool().numpy().tobytes()).hexdigest()


def train(settings, images, seed, validation=None, checkpoint=None):
    """Train a model; also the seconds that it took."""
    generator = torch.Generator().manual_seed(seed)
    model = VAE.mlp(settings["latent"], settings["hidden"], "bernoulli", generator=generator)
    start = time.perf_counter()
    kept = ("epochs", "batch_size", "samples", "importance_from", "precision")
    how = Settings(
        **{name: settings[name] for name in kept},
        learning_rate=settings["peak"],
        schedule="cosine",
    )
    history = fit(model, images, how, validation, binarize, generator, checkpoint)
    return model, history, time.perf_counter() - start


def evaluate(model, x, samples, seed=0, chunk=1000):
    """−log p(x) of each image in nats, from K samples; a line of progress for every thousand."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for part in x.split(1000):
        # few images at a time: what one chunk decodes then stays in the processor's cache
        parts += [
            -importance_log_likelihood(model, few, samples, chunk, generator)
            for few in part.split(20)
        ]
        print(f"{sum(map(len, parts)):6,} digits: {torch.cat(parts).mean():.3f} nats", flush=True)
    return torch.cat(parts)


def measure(model, root):
    """What is reported of a model: log p(x) and the ELBO by class and by K, and chance errors."""
    x, labels, digest = binarized_test(root)
    start = time.perf_counter()
    nll = evaluate(model, x, 5000).double()
    seconds = time.perf_counter() - start
    with torch.no_grad():
        bound = torch.cat([elbo(model, part, 20, seeded(1)).elbo for part in x.split(500)]).double()
    by_samples = {1: -bound.mean().item()}
    for count in (5, 50, 500):
        by_samples[count] = nll_of(model, x, count)
    others = [nll_of(model, binarized_test(root, TEST_SEED + i)[0], 50) for i in range(3)]
    seen = binarize(load_mnist(root, "train").images[:2000], seeded(3))  # as drawn for no batch
    splits = {"train": seen, "test": x[:2000]}
    with torch.no_grad():
        splits = {
            name: {
                "elbo": elbo(model, part, 20, seeded(4)).elbo.mean().item(),
                "nll": nll_of(model, part, 500),
            }
            for name, part in splits.items()
        }
    return {
        "nll": nll.mean().item(),
        "standard_error": (nll.std() / len(nll) ** 0.5).item(),
        "elbo": bound.mean().item(),
        "elbo_standard_error": (bound.std() / len(bound) ** 0.5).item(),
        "nll_by_class": [nll[labels == c].mean().item() for c in range(10)],
        "elbo_by_class": [bound[labels == c].mean().item() for c in range(10)],
        "nll_by_samples": by_samples | {5000: nll.mean().item()},
        "binarisations": {"samples": 50, "nll": others},
        "first_2000": {"samples": 500, **splits},
        "test_binarisation": {"seed": TEST_SEED, "sha256": digest},
        "samples": 5000,
        "evaluation_seconds": round(seconds),
    }


def seeded(seed):
    """A generator of its own for each number, so that each can be computed again alone."""
    return torch.Generator().manual_seed(seed)


def nll_of(model, x, samples):
    """Mean of −log p(x), in nats, from K samples."""
    return -importance_log_likelihood(model, x, samples, 1000, seeded(2)).double().mean().item()


def rounded(value):
    """The same, with numbers at four decimals."""
    if isinstance(value, dict):
        return {str(key): rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return round(value, 4) if isinstance(value, float) else value


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", type=Path, default=Path("data"), help="folder of MNIST (default: data)"
    )
    parser.add_argument("--goal", choices=GOALS, default="one")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--choose",
        action="store_true",
        help="hold 5,000 training digits out and measure those; no test digit is read",
    )
    parser.add_argument("--epochs", type=int, help="instead of the goal's, to try something")
    parser.add_argument("--evaluate", type=Path, help="a stored model, instead of training one")
    parser.add_argument("--checkpoint", type=Path, help="file to go on from after an interruption")
    given = parser.parse_args()
    if given.epochs and not given.choose:
        parser.error("--epochs needs --choose: what is trained for the table has the goal's number")
    settings = GOALS[given.goal] | ({"epochs": given.epochs} if given.epochs else {})
    if given.evaluate:
        model = VAE.mlp(settings["latent"], settings["hidden"], "bernoulli")
        model.load_state_dict(load_file(given.evaluate))
        print(json.dumps(rounded(measure(model, given.root)), indent=1))
        return
    images = load_mnist(given.root, "train").images
    if given.choose:
        images = images[torch.randperm(len(images), generator=torch.Generator().manual_seed(7))]
        images, held_out = images[:55_000], images[55_000:]
        model, history, seconds = train(settings, images, given.seed, checkpoint=given.checkpoint)
        x = binarize(held_out, torch.Generator().manual_seed(1))
        print(
            f"{seconds:.0f} s; held-out digits, K = 500: {evaluate(model, x, 500).mean():.2f} nats"
        )
        return
    # recorded, not refused: a run may share the machine, and then its seconds are no claim
    average = {"before": timing.load_average()}
    went_on = given.checkpoint is not None and given.checkpoint.exists()
    model, history, seconds = train(settings, images, given.seed, checkpoint=given.checkpoint)
    print(f"trained in {seconds:.0f} s{', the last part of it' if went_on else ''}", flush=True)
    average["after training"] = timing.load_average()
    this = given.goal, given.seed
    file = SHIPPED.get(this, f"models/{given.goal}-{given.seed}.safetensors")
    path = HERE / file
    path.parent.mkdir(exist_ok=True)
    state = {name: tensor.half() for name, tensor in model.state_dict().items()}
    save_file(state, path, {"trained on": "MNIST, train"})
    model.load_state_dict(state)  # what is measured is what is stored
    row = {
        "goal": given.goal,
        "seed": given.seed,
        "command": f"python benchmarks/likelihood.py --goal {given.goal} --seed {given.seed}",
        "settings": {
            **settings,
            "hidden": list(settings["hidden"]),
            "parameters": sum(p.numel() for p in model.parameters()),
        },
        "training_seconds": None if went_on else round(seconds),
        "threads": torch.get_num_threads(),
        "train_elbo": history.train_elbo[-1],
        **measure(model, given.root),
        "model": {
            "file": file,
            "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        },
        "date": date.today().isoformat(),
        "versions": {"torch": torch.__version__.split("+")[0], "python": platform.python_version()},
        "cores": os.cpu_count(),
        "load_average": average,
        "code": timing.digest(),
    }
    rows = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else []
    rows = [other for other in rows if (other["goal"], other["seed"]) != this]
    rows.append(rounded(row))
    rows.sort(key=lambda other: (other["goal"], other["seed"]))
    RESULTS.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    error = f"± {row['standard_error']:.2f} by the choice of digits alone"
    print(f"−log p(x) of the test digits: {row['nll']:.2f} nats ({error})")
    if this in SHIPPED:
        print(
            'now run make pretrained ARGS="--model mnist", which notes where the weights came from'
        )


if __name__ == "__main__":
    main()
