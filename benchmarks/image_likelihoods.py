"""What a decoder of grey digits is trained on, and what it is scored on, for chapter 7.

4,000 training and 500 test digits of `load_digits`, networks 784-256-20-256-784 unless said, Adam
with rate 1e-3, batches of 100. Nothing was tuned: sizes are the chapter's, and the test digits are
looked at once for each entry. Values are in nats per test digit, as [mean, standard error].

    python benchmarks/image_likelihoods.py PART --seed 0     train, measure, store under PART/seed

The parts: `matrix` (five trainings, scored in three ways after 6, 30 and 100 epochs, and what a
classifier sees in their samples), `sigma` (a Gaussian with one σ, fixed or learned), `heads` (what
the encoder's second half stands for), `collapse` (three situations, two cures), `longer` (one of
these situations for up to 90 epochs). `--only NAME ...` runs a part of a part. Every part was run
for seeds 0, 1 and 2.
"""

import argparse
import json
import math
import os
import platform
import sys
import time
from datetime import date
from pathlib import Path

import torch
from torch import nn
from torch.distributions import Distribution, Normal
from torch.nn import functional as F

from vae_core import VAE, elbo, gaussian_kl, importance_log_likelihood, load_digits

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book"))

from deeper import pixels

RESULTS = Path(__file__).resolve().with_suffix(".json")
EPOCHS = (6, 30, 100)  # the last for seed 0 alone
FLOOR = 0.05
LOG_LEVELS = 784 * math.log(255)
TRAIN, TEST = load_digits("train"), load_digits("test")


def summary(values):
    """[mean, standard error] over test digits."""
    values = values.double()
    return [values.mean().item(), (values.std() / len(values) ** 0.5).item()]


def epochs_of(model, objective, epochs, images=TRAIN.images, rate=1e-3):
    """Train, and yield the number of epochs after each."""
    optimizer, step = torch.optim.Adam(model.parameters(), rate), 0
    for epoch in range(1, epochs + 1):
        for rows in torch.randperm(len(images)).split(100):
            bound = objective(model, images[rows], step / (epochs * len(images) / 100))
            optimizer.zero_grad()
            (-bound).mean().backward()
            optimizer.step()
            step += 1
        yield epoch


# ------------------------------------------------------------------ matrix


def floored(p):
    """σ that is never below the floor."""
    return (p.scale**2 + FLOOR**2).sqrt()


def of_logit(p, x):
    """Log-density of dequantised pixels whose logit is Gaussian."""
    y = pixels.dequantise(x)
    return (Normal(p.loc, p.scale).log_prob(pixels.logit(y)) + pixels.log_slope(y)).sum(1)


TRAININGS = {
    "raw": lambda p, x: Normal(p.loc, p.scale).log_prob(x).sum(1),
    "density": lambda p, x: Normal(p.loc, p.scale).log_prob(pixels.dequantise(x)).sum(1),
    "floor": lambda p, x: Normal(p.loc, floored(p)).log_prob(pixels.dequantise(x)).sum(1),
    "logit": of_logit,
    "8-bit": lambda p, x: p.log_prob(x),
}


def scores(model, name, draws=3):
    """Bounds on the three scores of each test digit, from codes of q; and the KL."""
    q = model.encode(TEST.images)
    kl, parts = gaussian_kl(q.mean, q.log_var), []
    for _ in range(draws):
        p = model.decode(q.sample())
        scale = floored(p) if name == "floor" else p.scale
        parts.append(pixels.score(p.loc, scale, TEST.images, name == "logit", draws=5))
    means = [torch.stack(values).mean(0) - kl for values in zip(*parts, strict=True)]
    return pixels.Scores(*means), kl


def change(before, after):
    """What the same digits' nats gained on the open ruler: mean, median, and share that gained."""
    gain = after.opened - before.opened
    return {
        "mean": summary(gain), "median": gain.median().item(),
        "better": summary(gain > 0),
    }  # fmt: skip


def drawn(p, name):
    """Images that the model draws, given codes: 8 bits."""
    y = Normal(p.loc, floored(p) if name == "floor" else p.scale).sample()
    y = pixels.unlogit(y) if name == "logit" else y
    return (255 * y).round().clamp(0, 255) / 255


def classifier():
    """A small convolutional network with eleven classes; the last is no digit.

    Its examples of that are training digits with their pixels shuffled, and noise.
    """
    torch.manual_seed(2026)
    net = nn.Sequential(
        nn.Unflatten(1, (1, 28, 28)), nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(),
        nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(32 * 49, 128), nn.ReLU(),
        nn.Linear(128, 11),
    )  # fmt: skip
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(8):
        for rows in torch.randperm(len(TRAIN.images)).split(100):
            x, labels = TRAIN.images[rows], TRAIN.labels[rows]
            shuffled = x[:25][:, torch.randperm(784)]
            noise = torch.rand(25, 784) * torch.rand(25, 1)
            loss = F.cross_entropy(
                net(torch.cat([x, shuffled, noise])), torch.cat([labels, torch.full((50,), 10)])
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


def recognised(net, images, labels=None):
    """Share of images taken for their own digit; or, without labels, for one digit at 0.9."""
    shares = net(images).softmax(1)
    if labels is not None:
        return summary(shares.argmax(1) == labels)
    return summary(shares[:, :10].amax(1) > 0.9)


def matrix(seed, only):
    """Five trainings, three scores, samples."""
    net, found = classifier(), {}
    with torch.no_grad():
        found["real"] = {
            "own": recognised(net, TEST.images, TEST.labels), "sure": recognised(net, TEST.images),
            "noise": recognised(net, torch.rand(500, 784)),
            "shuffled": recognised(net, TEST.images[:, torch.randperm(784)]),
        }  # fmt: skip
    for name in only or TRAININGS:
        torch.manual_seed(seed)
        model, first = VAE.mlp(20, (256,)), TRAININGS[name]

        def bound(model, x, _, first=first):
            q = model.encode(x)
            return first(model.decode(q.rsample()), x) - gaussian_kl(q.mean, q.log_var)

        start, before = time.process_time(), None
        for epoch in epochs_of(model, bound, EPOCHS[1 if seed else 2]):
            if epoch not in EPOCHS:
                continue
            seconds = time.process_time() - start
            torch.save(model.state_dict(), SCRATCH / f"{name}-{seed}-{epoch}.pt")
            with torch.no_grad():
                three, kl = scores(model, name)
                p = model.decode(model.encode(TEST.images).sample())
                prior = model.decode(torch.randn(500, 20))
                found.setdefault(name, {})[str(epoch)] = {
                    key: summary(value) for key, value in three._asdict().items()
                } | {
                    "kl": summary(kl), "jensen": summary(three.closed - three.density),
                    "encoded": recognised(net, drawn(p, name), TEST.labels),
                    "prior": recognised(net, drawn(prior, name)),
                    "narrowest": p.scale.min().item(), "cpu_seconds": seconds,
                }  # fmt: skip
                if before is not None:
                    found[name][str(epoch)]["change"] = change(before, three)
                before = three
                torch.save(three, SCRATCH / f"{name}-{seed}-{epoch}-scores.pt")
    return found


# ------------------------------------------------------------------ one fixed σ


SIGMAS = (0.05, 0.1, 0.2, 0.4, 0.5**0.5, 1.0)


def energy(images):
    """Sum of squared differences of neighbouring pixels of each image, `[B]`."""
    square = images.unflatten(1, (28, 28))
    return (square.diff(dim=1) ** 2).sum((1, 2)) + (square.diff(dim=2) ** 2).sum((1, 2))


def sigma(seed, only):
    """A Gaussian with one σ for all pixels, fixed, or learned as one number.

    The one that learned its σ is also `rescored`: the same codes and means, another σ (`own`: the
    one that it learned, `rms`: its root mean squared error), by density and by open bins, these on
    black pixels and on the others as well. The last, `end`, is fixed where the learned one ended.
    """
    net, found, real = classifier(), {}, energy(TEST.images).mean()
    black = TEST.images == 0
    for name in (*(f"{std:.3g}" for std in SIGMAS), "learned", "end"):
        if only and name not in only:
            continue
        fixed = dict(zip((f"{std:.3g}" for std in SIGMAS), SIGMAS, strict=True))
        std = found["learned"]["sigma"] if name == "end" else fixed.get(name)
        torch.manual_seed(seed)
        model = VAE.mlp(20, (256,))
        log_std = nn.Parameter(torch.tensor(-1.0), requires_grad=std is None)
        model.register_parameter("log_std", log_std)

        def bound(model, x, _, std=std):
            q = model.encode(x)
            loc = model.decode(q.rsample()).loc
            scale = model.log_std.exp() if std is None else torch.tensor(std)
            return Normal(loc, scale).log_prob(x).sum(1) - gaussian_kl(q.mean, q.log_var)

        path = {}
        for epoch in epochs_of(model, bound, 30):
            path[str(epoch)] = log_std.exp().item()
        with torch.no_grad():
            scale = model.log_std.exp().item() if std is None else std
            q = model.encode(TEST.images)
            kl, loc = gaussian_kl(q.mean, q.log_var), model.decode(q.sample()).loc
            prior = model.decode(torch.randn(500, 20)).loc
            nats = pixels.score(loc, torch.full_like(loc, scale), TEST.images).opened
            squares = ((loc - TEST.images) ** 2).sum(1)
            noisy = Normal(loc, scale).sample().clamp(0, 1)
            found[name] = {
                "sigma": scale, "nats": summary(nats - kl), "kl": summary(kl),
                "squares": summary(squares), "rms": (squares.mean() / 784).sqrt().item(),
                "active": int((model.encode(TRAIN.images).mean.var(0) > 0.01).sum()),
                "sharpness": summary(energy(loc.clamp(0, 1)) / real),
                "sharpness_prior": summary(energy(prior.clamp(0, 1)) / real),
                "sharpness_drawn": summary(energy(noisy) / real),
                "encoded": recognised(net, loc.clamp(0, 1), TEST.labels),
                "prior": recognised(net, prior.clamp(0, 1)),
            }  # fmt: skip
            if std is None:
                error = (loc - TEST.images) ** 2
                found[name] |= {
                    "path": {epoch: path[epoch] for epoch in ("10", "20", "30")}, "rescored": {},
                    "rms_black": error[black].mean().sqrt().item(),
                    "rms_others": error[~black].mean().sqrt().item(),
                }  # fmt: skip
                for key, other in {**fixed, "own": scale, "rms": found[name]["rms"]}.items():
                    each, x = loc.reshape(-1, 1), TEST.images.reshape(-1, 1)
                    two = pixels.score(each, torch.full_like(each, other), x)
                    two = [part.view_as(loc) for part in two]  # a value for each pixel
                    density, opened = two[0], two[2]
                    found[name]["rescored"][key] = {
                        "density": summary(density.sum(1) - kl),
                        "opened": summary(opened.sum(1) - kl),
                        "black": summary((opened * black).sum(1)),
                        "others": summary((opened * ~black).sum(1)),
                        "density_black": summary((density * black).sum(1)),
                        "density_others": summary((density * ~black).sum(1)),
                    }  # fmt: skip
    return found


# ------------------------------------------------------------------ the encoder's second half


HEADS = {  # from the numbers of the last layer: σ and log σ²
    "log variance": lambda a: ((a / 2).exp(), a),
    "softplus": lambda a: (F.softplus(a), 2 * F.softplus(a).log()),
    "std": lambda a: (a, 2 * a.abs().log()),
    "std from 1": lambda a: (a + 1, 2 * (a + 1).abs().log()),
    "variance": lambda a: (a.sqrt(), a.log()),
}


def terms(model, x, head):
    """Both terms of black-and-white images x, from one code each."""
    mean, rest = model.encoder[:-1](x).chunk(2, 1)
    std, log_var = HEADS[head](rest)
    z = mean + std * torch.randn_like(mean)
    kl = 0.5 * (mean**2 + std**2 - log_var - 1)  # [B, Z]
    return model.decode(z).log_prob(x), kl


def heads(seed, _):
    """Readings of the same numbers, black-and-white digits, 20 epochs, and the first NaN."""
    found, base = {}, None
    for name in HEADS:
        torch.manual_seed(seed)
        model, steps = VAE.mlp(10, (100,), "bernoulli"), []

        def bound(model, grey, _, name=name, steps=steps):
            first, kl = terms(model, torch.bernoulli(grey), name)
            steps.append(bool((first - kl.sum(1)).isnan().any()))
            return first - kl.sum(1)

        for _epoch in epochs_of(model, bound, 20, rate=2e-3):
            if steps[-1]:
                break
        found[name] = {"steps_to_nan": steps.index(True) if any(steps) else None}
        if not any(steps):
            with torch.no_grad():
                x = torch.bernoulli(TEST.images, generator=torch.Generator().manual_seed(1))
                parts = [terms(model, x, name) for _ in range(20)]
                values = torch.stack([first - kl.sum(1) for first, kl in parts]).mean(0)
                rest = model.encoder[:-1](TRAIN.images).chunk(2, 1)[1]
                std = HEADS[name](rest)[0]
            base = values if base is None else base
            found[name] |= {
                "elbo": summary(values), "difference": summary(values - base),
                "narrowest": std.abs().min().item(),
                "negative": (std < 0).float().mean().item(),
            }  # fmt: skip
    return found


# ------------------------------------------------------------------ collapse


SITUATIONS = {  # hidden layers, weight of the KL, epochs
    "deep": ((200,) * 5, 1.0, 30),
    "shallow": ((200,), 1.0, 30),
    "mean slip": ((200,), 784.0, 30),
}
FREE = 0.25  # nats for each of 20 numbers of a code


def charged(cure, weight):
    """The ELBO of black-and-white images with a weight and a cure."""

    def bound(model, grey, done):
        first, kl = terms(model, torch.bernoulli(grey), "log variance")
        if cure == "warm-up":
            return first - weight * min(1.0, 2 * done) * kl.sum(1)
        if cure == "free bits":
            return first - weight * kl.mean(0).clamp(min=FREE).sum()
        return first - weight * kl.sum(1)

    return bound


def active(model):
    """How many numbers of a code have a mean that varies over images."""
    return int((model.encode(torch.bernoulli(TRAIN.images)).mean.var(0) > 0.01).sum())


def collapse(seed, only):
    """The ELBO; its KL warmed up over half the steps; its KL free of charge below a quarter nat.

    Each other situation differs from "shallow" in one thing.
    """
    found = {}
    for situation, (hidden, weight, epochs) in SITUATIONS.items():
        if only and situation not in only:
            continue
        base = None
        for cure in ("none", "warm-up", "free bits"):
            torch.manual_seed(seed)
            model = VAE.mlp(20, hidden, "bernoulli")
            start = time.process_time()
            for _epoch in epochs_of(model, charged(cure, weight), epochs):
                pass
            seconds = time.process_time() - start
            x = torch.bernoulli(TEST.images, generator=torch.Generator().manual_seed(1))
            with torch.no_grad():
                both, generator = elbo(model, x, 50), torch.Generator().manual_seed(1)
                better = importance_log_likelihood(model, x, 200, generator=generator)
                numbers = active(model)
            base = (both.elbo, better) if base is None else base
            found.setdefault(situation, {})[cure] = {
                "elbo": summary(both.elbo), "kl": summary(both.kl),
                "bound": summary(better), "gap": summary(better - both.elbo),
                "elbo_gain": summary(both.elbo - base[0]), "bound_gain": summary(better - base[1]),
                "active": numbers, "cpu_seconds": seconds,
            }  # fmt: skip
    return found


def longer(seed, _):
    """The deep situation without a cure and with free bits, looked at every 30 epochs up to 90."""
    found, base = {}, {}
    for cure in ("none", "free bits"):
        torch.manual_seed(seed)
        model = VAE.mlp(20, SITUATIONS["deep"][0], "bernoulli")
        for epoch in epochs_of(model, charged(cure, 1.0), 90):
            if epoch % 30:
                continue
            x = torch.bernoulli(TEST.images, generator=torch.Generator().manual_seed(1))
            with torch.random.fork_rng(), torch.no_grad():  # training goes on as if nobody looked
                both = elbo(model, x, 50)
                found.setdefault(cure, {})[str(epoch)] = {
                    "elbo": summary(both.elbo), "kl": summary(both.kl), "active": active(model),
                    "elbo_gain": summary(both.elbo - base.setdefault(epoch, both.elbo)),
                }  # fmt: skip
    return found


PARTS = {
    "matrix": matrix, "sigma": sigma, "heads": heads, "collapse": collapse, "longer": longer,
}  # fmt: skip
SCRATCH = Path(os.environ.get("SCRATCH", "."))


def rounded(value):
    """Six significant digits, all the way down."""
    if isinstance(value, dict):
        return {key: rounded(part) for key, part in value.items()}
    if isinstance(value, list):
        return [rounded(part) for part in value]
    return float(f"{value:.6g}") if isinstance(value, float) else value


def main():
    """Run one part for one seed, and store it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="*")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    Distribution.set_default_validate_args(False)
    found = PARTS[arguments.part](arguments.seed, arguments.only)
    stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    stored |= {
        "command": "python benchmarks/image_likelihoods.py PART --seed SEED",
        "date": f"{date.today()}", "versions": {"torch": torch.__version__},
        "machine": {"processor": platform.machine(), "threads": 1},
        "units": "nats per test digit, [mean, standard error over 500 digits]",
    }  # fmt: skip
    place = stored.setdefault(arguments.part, {}).setdefault(str(arguments.seed), {})
    place |= rounded(found)
    RESULTS.write_text(json.dumps(stored, indent=1) + "\n")


if __name__ == "__main__":
    main()
