"""How do time and memory grow with the numbers of images, of processes, and of samples K?

`python benchmarks/scaling.py --root FOLDER` stores scaling.json; how it times, and when it refuses
to, says timing.py. FOLDER holds MNIST as torchvision stores it.

The work: training a 784-400-20 VAE, black-and-white digits (MNIST, threshold ½). An epoch is timed
as half the difference between a run of three epochs and a run of one, so that what is done once
does not count. By images: batches of 128, two threads, one process. By processes (`torchrun`,
gloo): one thread each, 60,000 images, with batches of 128 and of 1,024. Evaluation: the most memory
that a process held while it estimated log p(x) of 100 images with K samples, less the most that it
held before. Every measurement has a process of its own; rounds are interleaved, and each has a seed
of its own.
"""

import argparse
import json
import os
import resource
import sys
import time

import timing
import torch
import torch.distributed as dist
from speed import digits, networks

from vae_core import Settings, fit, importance_log_likelihood

FEWER = (12, 4, 1)  # epochs of this part of the images, and of all
PROCESSES = (1, 2)
BATCHES = (128, 1_024)
SAMPLES = (100, 1_000, 10_000)


def epoch(images, batch_size, seed):
    """Seconds of one epoch, and the training ELBO of the last."""
    taken = []
    for epochs in (1, 3):
        model, generator = networks(seed), torch.Generator().manual_seed(seed)
        start = time.perf_counter()
        settings = Settings(epochs, batch_size)
        history = fit(model, images, settings, generator=generator, progress=False)
        taken.append(time.perf_counter() - start)
    return (taken[1] - taken[0]) / 2, history.train_elbo[-1]


def memory(samples, seed):
    """MiB that an estimate with K samples adds to the most that this process has held."""
    model = networks(seed)
    x = torch.bernoulli(torch.full((100, 784), 0.1))  # what is drawn does not change memory
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    importance_log_likelihood(model, x, samples)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * unit / 2**20


def worker(given):
    """One measurement, in a process of its own; the first process prints it."""
    torch.manual_seed(given.seed)
    shared, reached = "WORLD_SIZE" in os.environ, None
    if given.worker == "memory":
        value = memory(given.samples, given.seed)
    else:
        if shared:
            dist.init_process_group("gloo")
        images = digits(given.root)[: given.images]
        value, reached = epoch(images, given.batch_size, given.seed)
    if not shared or dist.get_rank() == 0:
        reached = reached and round(reached, 2)
        found = {"value": round(value, 3), "threads": torch.get_num_threads()}
        print(json.dumps(found | {"train_elbo": reached}))
    if shared:
        dist.destroy_process_group()


def jobs(given):
    """All measurements; the first of a group is what the others are compared with."""
    python = (sys.executable, "-W", "ignore")
    data = ("--root", str(given.root), "--worker", "epoch")
    found = []
    for part in FEWER:
        n = given.images // part
        what = f"{n:,} images, batches of 128"
        how = (*data, "--images", str(n))
        found.append(timing.Job("images", str(n), what, how, start=python))
    for batch in BATCHES:
        for count in PROCESSES:
            shared = ("-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={count}")
            how = (*data, "--images", str(given.images), "--batch-size", str(batch))
            what = f"{count} processes of one thread, batches of {batch:,}"
            group, start = f"processes, batches of {batch}", (*python, *shared)
            found.append(timing.Job(group, str(count), what, how, 1, count, start))
    for count in SAMPLES:
        how = ("--worker", "memory", "--samples", str(count))
        found.append(timing.Job("samples", str(count), f"K = {count:,}", how, start=python))
    return found


def main(argv=None):
    parser = timing.arguments(__doc__, timing.HERE / "scaling.json")
    add = parser.add_argument
    add("--worker", choices=("epoch", "memory"), help=argparse.SUPPRESS)
    add("--batch-size", type=int, default=128, help=argparse.SUPPRESS)
    add("--samples", type=int, default=100, help=argparse.SUPPRESS)
    add("--seed", type=int, default=0, help=argparse.SUPPRESS)
    given = parser.parse_args(argv)
    if given.worker:
        worker(given)
        return
    try:
        found, load = timing.run(jobs(given), __file__, given)
    except timing.BusyError as error:
        sys.exit(f"the machine is busy: {error}. Nothing is written.")
    units = {job.group: "seconds an epoch" for job in found} | {"samples": "MiB"}
    work = " ".join(__doc__.split("The work: ")[1].split())
    command = "python benchmarks/scaling.py"
    made = timing.record(command, work, units, found, load)
    timing.show(made)
    timing.store(made, given)


if __name__ == "__main__":
    main()
