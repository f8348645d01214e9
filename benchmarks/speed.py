"""How fast is one epoch of `fit`, beside other libraries?

`make benchmark` runs this and stores speed.json; how it times, and when it refuses to, says
timing.py.

The work: a 784-400-20 VAE with SiLU, 60,000 black-and-white digits (MNIST, threshold ½), batches of
128, fused Adam with rate 1e-3, KL in closed form, two epochs of which the second is timed, two
threads. Every contestant runs in a process of its own; rounds are interleaved, and each has a seed
of its own. All must reach the same training ELBO within one percent. pythae and the loop in the
style of pytorch/examples read the digits as they do by themselves; Pyro, which has no loader, and
the other loops take slices of a tensor. Two rows are no contestants. `by_hand` is the training step
with the same operations written by hand, its derivatives too, without autograd, modules or checks:
one such program, and no bound on what others may reach. `matmuls` is the matrix products of the
steps alone: a floor for steps that compute these products, in this precision, one after the other
with this library; it is no bound on every implementation.
"""

import argparse
import json
import math
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import timing

BATCH, HIDDEN, LATENT, RATE = 128, 400, 20, 1e-3
PEERS = ("pythae", "pyro", "examples")
QUIET = ("-W", "ignore")
NAMES = {
    "ours": "vae_core.fit",
    "ours_bfloat16": "vae_core.fit, matrix products in bfloat16",
    "pythae": "pythae (BaseTrainer)",
    "pyro": "Pyro (SVI, TraceMeanField_ELBO)",
    "examples": "loop in the style of pytorch/examples",
    "plain": "plain loop over a tensor, BCE with logits",
    "by_hand": "the same operations written by hand, without autograd",
    "matmuls": "the matrix products of the steps alone",
}


def digits(root):
    """All training digits, black and white."""
    from vae_core import load_mnist

    return (load_mnist(root, "train").images > 0.5).float()


def networks(seed=0):
    """Encoder and decoder that every contestant of a round is given, with the same weights."""
    import torch

    from vae_core import VAE

    return VAE.mlp(LATENT, (HIDDEN,), "bernoulli", generator=torch.Generator().manual_seed(seed))


def ours(images, root, seed, precision="float32"):
    """Our own `fit`."""
    import torch

    from vae_core import Settings, fit

    model, generator = networks(seed), torch.Generator().manual_seed(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.pt"
        for epochs in (1, 2):  # the second reads the checkpoint, trains an epoch and writes it
            start = time.perf_counter()
            settings = Settings(epochs, BATCH, RATE, precision=precision)
            fit(model, images, settings, generator=generator, checkpoint=path, progress=False)
            seconds = time.perf_counter() - start
    return model, seconds


def ours_bfloat16(images, root, seed):
    """Our own `fit`, with matrix products in bfloat16."""
    return ours(images, root, seed, "bfloat16")


def pythae(images, root, seed):
    """pythae's trainer, with its own data loader."""
    import logging

    import torch
    from pythae.data.datasets import BaseDataset
    from pythae.models import VAE, VAEConfig
    from pythae.models.base.base_utils import ModelOutput
    from pythae.models.nn import BaseDecoder, BaseEncoder
    from pythae.trainers import BaseTrainer, BaseTrainerConfig

    logging.disable(logging.INFO)
    inner = networks(seed)

    class Encoder(BaseEncoder):
        def __init__(self):
            super().__init__()
            self.layers = inner.encoder[:-1]  # without the head, which gives a distribution

        def forward(self, x):
            mean, log_var = self.layers(x.flatten(1)).chunk(2, -1)
            return ModelOutput(embedding=mean, log_covariance=log_var)

    class Decoder(BaseDecoder):
        def __init__(self):
            super().__init__()
            self.layers = inner.decoder[:-1]

        def forward(self, z):
            return ModelOutput(reconstruction=self.layers(z).sigmoid().reshape(-1, 1, 28, 28))

    config = VAEConfig(input_dim=(1, 28, 28), latent_dim=LATENT, reconstruction_loss="bce")
    data = BaseDataset(images.reshape(-1, 1, 28, 28), torch.zeros(len(images)))
    with tempfile.TemporaryDirectory() as folder:
        settings = BaseTrainerConfig(
            output_dir=folder,
            num_epochs=1,
            per_device_train_batch_size=BATCH,
            learning_rate=RATE,
            optimizer_cls="Adam",
            optimizer_params={"fused": True},
            no_cuda=True,
        )
        trainer = BaseTrainer(VAE(config, Encoder(), Decoder()), data, training_config=settings)
        trainer.prepare_training()
        seconds = []
        for epoch in range(2):
            start = time.perf_counter()
            trainer.train_step(epoch + 1)
            seconds.append(time.perf_counter() - start)
    return inner, seconds[-1]


def pyro(images, root, seed):
    """Pyro's stochastic variational inference, from tensors in memory."""
    import pyro as pyro_
    import torch
    from pyro import distributions
    from pyro.infer import SVI, TraceMeanField_ELBO
    from pyro.optim import Adam

    inner = networks(seed)
    encoder, decoder = inner.encoder[:-1], inner.decoder[:-1]

    def model(x):
        pyro_.module("decoder", decoder)
        with pyro_.plate("data", len(x)):
            prior = distributions.Normal(x.new_zeros(len(x), LATENT), 1.0).to_event(1)
            z = pyro_.sample("z", prior)
            pyro_.sample("x", distributions.Bernoulli(logits=decoder(z)).to_event(1), obs=x)

    def guide(x):
        pyro_.module("encoder", encoder)
        with pyro_.plate("data", len(x)):
            mean, log_var = encoder(x).chunk(2, -1)
            pyro_.sample("z", distributions.Normal(mean, (0.5 * log_var).exp()).to_event(1))

    pyro_.clear_param_store()
    inference = SVI(model, guide, Adam({"lr": RATE, "fused": True}), TraceMeanField_ELBO())
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        for rows in torch.randperm(len(images)).split(BATCH):
            inference.step(images[rows])
        seconds.append(time.perf_counter() - start)
    return inner, seconds[-1]


def examples(images, root, seed):
    """A loop as in pytorch/examples: torchvision's data set, a transform for each image, BCE."""
    import torch
    import torch.nn.functional as F
    from torch import nn
    from torch.utils.data import DataLoader
    from torchvision import datasets, transforms

    inner = networks(seed)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.last = inner.encoder[0], inner.decoder[2]
            self.back = inner.decoder[0]
            self.mean, self.log_var = nn.Linear(HIDDEN, LATENT), nn.Linear(HIDDEN, LATENT)
            both = inner.encoder[2]
            parts = zip(both.weight.chunk(2), both.bias.chunk(2), strict=True)
            for head, (weight, bias) in zip((self.mean, self.log_var), parts, strict=True):
                head.weight.data.copy_(weight.data)
                head.bias.data.copy_(bias.data)

        def forward(self, x):
            hidden = F.silu(self.first(x))
            mean, log_var = self.mean(hidden), self.log_var(hidden)
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_var)
            return torch.sigmoid(self.last(F.silu(self.back(z)))), mean, log_var

    net = Net()
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE, fused=True)
    steps = transforms.Compose([transforms.ToTensor(), lambda image: (image > 0.5).float()])
    data = datasets.MNIST(root, train=True, transform=steps)
    data.data, data.targets = data.data[: len(images)], data.targets[: len(images)]
    loader = DataLoader(data, BATCH, shuffle=True)
    seconds = []
    for _ in range(2):
        start, total = time.perf_counter(), 0.0
        for x, _label in loader:
            x = x.view(-1, 784)
            optimizer.zero_grad()
            mean_x, mean, log_var = net(x)
            loss = F.binary_cross_entropy(mean_x, x, reduction="sum")
            loss = loss - 0.5 * torch.sum(1 + log_var - mean.pow(2) - log_var.exp())
            loss.backward()
            total += loss.item()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    with torch.no_grad():
        inner.encoder[2].weight.copy_(torch.cat([net.mean.weight, net.log_var.weight]))
        inner.encoder[2].bias.copy_(torch.cat([net.mean.bias, net.log_var.bias]))
    return inner, seconds[-1]


def plain(images, root, seed):
    """A loop without a library: slices of a tensor, cross-entropy with logits."""
    import torch
    import torch.nn.functional as F

    inner = networks(seed)
    encoder, decoder = inner.encoder[:-1], inner.decoder[:-1]
    optimizer = torch.optim.Adam(inner.parameters(), lr=RATE, fused=True)
    seconds = []
    for _ in range(2):
        start = time.perf_counter()
        for rows in torch.randperm(len(images)).split(BATCH):
            x = images[rows]
            mean, log_var = encoder(x).chunk(2, -1)
            z = mean + torch.randn_like(mean) * torch.exp(0.5 * log_var)
            loss = F.binary_cross_entropy_with_logits(decoder(z), x, reduction="sum")
            loss = (loss - 0.5 * (1 + log_var - mean**2 - log_var.exp()).sum()) / len(x)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    return inner, seconds[-1]


def by_hand(images, root, seed):
    """The same step without autograd: derivatives written out, products into buffers."""
    import torch
    import torch.nn.functional as F

    torch.set_grad_enabled(False)
    inner = networks(seed)
    parameters = [p.data for p in inner.parameters()]
    first, first_bias, heads, heads_bias, back, back_bias, last, last_bias = parameters
    for parameter, tensor in zip(inner.parameters(), parameters, strict=True):
        parameter.grad = torch.zeros_like(tensor)
    gradients = [p.grad for p in inner.parameters()]
    optimizer = torch.optim.Adam(inner.parameters(), lr=RATE, fused=True)

    def layer(number, below, gradient):
        torch.mm(gradient.T, below, out=gradients[number])
        torch.sum(gradient, 0, out=gradients[number + 1])

    def silu_gradient(gradient, before):
        share = torch.sigmoid(before)
        return gradient.mul_(share * (1 + before * (1 - share)))

    seconds = []
    for _ in range(2):
        start, total = time.perf_counter(), 0.0
        for rows in torch.randperm(len(images)).split(BATCH):
            x = images.index_select(0, rows)
            before_x = torch.addmm(first_bias, x, first.T)
            hidden_x = F.silu(before_x)
            mean, log_var = torch.addmm(heads_bias, hidden_x, heads.T).chunk(2, -1)
            std = torch.exp(0.5 * log_var)
            shift = std * torch.randn_like(std)
            z = mean + shift
            before_z = torch.addmm(back_bias, z, back.T)
            hidden_z = F.silu(before_z)
            logits = torch.addmm(last_bias, hidden_z, last.T)
            norm = torch.exp(-logits.abs()).add_(1).unflatten(-1, (16, -1)).prod(-2).log().sum()
            var = std**2
            total += (
                norm
                - (x * logits).sub_(logits.clamp(min=0)).sum()
                + 0.5 * (mean**2 + var - log_var - 1).sum()
            )
            gradient = torch.sigmoid(logits).sub_(x).div_(len(x))
            layer(6, hidden_z, gradient)
            gradient = silu_gradient(gradient @ last, before_z)
            layer(4, z, gradient)
            for_z = gradient @ back
            gradient = torch.cat(
                [for_z + mean / len(x), 0.5 * (for_z * shift + (var - 1) / len(x))], 1
            )
            layer(2, hidden_x, gradient)
            layer(0, x, silu_gradient(gradient @ heads, before_x))
            optimizer.step()
        seconds.append(time.perf_counter() - start)
    return inner, seconds[-1]


def matmuls(images, root, seed):
    """Nothing but the matrix products of one epoch: forward, backward for weights and layers."""
    import torch

    torch.set_grad_enabled(False)
    sizes = [(784, HIDDEN), (HIDDEN, 2 * LATENT), (LATENT, HIDDEN), (HIDDEN, 784)]
    layers = [(torch.randn(BATCH, a), torch.randn(a, b), torch.randn(BATCH, b)) for a, b in sizes]
    for _ in range(2):
        start = time.perf_counter()
        for _step in range(math.ceil(len(images) / BATCH)):
            for i, (x, weight, out) in enumerate(layers):
                x @ weight
                x.T @ out
                if i:  # nobody asks for the gradient of the images
                    out @ weight.T
        seconds = time.perf_counter() - start
    return None, seconds


def run_one(given):
    """Run one contestant; print its seconds and its training ELBO."""
    import torch

    from vae_core import elbo

    torch.manual_seed(given.seed)
    images = digits(given.root)[: given.images]
    model, seconds = globals()[given.one](images, given.root, given.seed)
    reached = None
    if model is not None:
        with torch.no_grad():
            generator = torch.Generator().manual_seed(0)
            parts = [
                elbo(model, part, generator=generator).elbo for part in images[:20_000].split(1000)
            ]
        reached = round(torch.cat(parts).mean().item(), 2)
    found = {"value": round(seconds, 3), "threads": torch.get_num_threads(), "train_elbo": reached}
    print(json.dumps(found))


def jobs(given):
    """All contestants."""
    names = [name for name in NAMES if name != "ours_bfloat16" or timing.has_bfloat16()]
    return [
        timing.Job(
            "one epoch",
            name,
            NAMES[name],
            ("--one", name, "--root", str(given.root), "--images", str(given.images)),
            start=(str(given.peers if name in ("pythae", "pyro") else sys.executable), *QUIET),
        )
        for name in names
    ]


def other_work(rows):
    """Contestants whose training ELBO is not ours within one percent, in the same round."""
    ours = rows["ours"]["train_elbo"]
    return [
        name
        for name, found in rows.items()
        if any(
            value is not None and abs(value / own - 1) > 0.01  # none: of what trains nothing
            for value, own in zip(found["train_elbo"], ours, strict=True)
        )
    ]


def main(argv=None):
    parser = timing.arguments(__doc__, timing.HERE / "speed.json")
    add = parser.add_argument
    add("--peers", type=Path, default=sys.executable, help="the Python that has pythae and Pyro")
    add("--one", choices=NAMES, help=argparse.SUPPRESS)
    add("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.one:
        run_one(given)
        return
    versions = _versions(given.peers)  # before any time is spent: are they there?
    try:
        found, load = timing.run(jobs(given), __file__, given)
    except timing.BusyError as error:
        sys.exit(f"the machine is busy: {error}. Nothing is written.")
    work = " ".join(__doc__.split("The work: ")[1].split())
    made = timing.record(
        "make benchmark", work, {"one epoch": "seconds an epoch"}, found, load, versions
    )
    timing.show(made)
    off = other_work(made["groups"]["one epoch"]["rows"])
    if off and given.images == timing.IMAGES:  # fewer images: too few steps to agree
        sys.exit(f"not the same work: the training ELBO of {', '.join(off)} differs. Not written.")
    timing.store(made, given)


def _versions(peers):
    code = "import importlib.metadata as m; print(m.version('pythae'), m.version('pyro-ppl'))"
    done = subprocess.run([str(peers), "-c", code], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{peers} has no pythae and Pyro: `make benchmark` makes an environment with both")
    return dict(zip(("pythae", "pyro-ppl"), done.stdout.split(), strict=True))


if __name__ == "__main__":
    main()
