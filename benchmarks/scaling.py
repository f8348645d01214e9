"""How do time and memory grow with the numbers of images, of processes, and of samples K?

This stores scaling.json.

Training: a 784-400-20 VAE, black-and-white digits (MNIST, threshold ½). An epoch is timed as half
the difference between a run of three epochs and a run of one, so that what is done once does not
count. By images: batches of 128, all cores, one process. By processes (`torchrun`, gloo): one core
each, with batches of 128 and of 1,024. Evaluation: the most memory that a process held while it
estimated log p(x) of 100 images with K samples, less what it held before. Every measurement has a
process of its own; rounds are interleaved, and each round's value is stored. What is reported is
the least of them: whatever else the machine does can only add to it.

    python benchmarks/scaling.py --root FOLDER        FOLDER holds MNIST as torchvision stores it
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from datetime import date
from pathlib import Path

import torch
import torch.distributed as dist
from speed import HERE, cores, digits, networks, processor

from vae_core import Settings, fit, importance_log_likelihood

IMAGES = (5_000, 15_000, 60_000)
BATCHES = (128, 1_024)
SAMPLES = (100, 1_000, 10_000)


def epoch(images, batch_size):
    """Seconds of one epoch."""
    taken = []
    for epochs in (1, 3):
        model, generator = networks(), torch.Generator().manual_seed(0)
        start = time.perf_counter()
        fit(model, images, Settings(epochs, batch_size), generator=generator, progress=False)
        taken.append(time.perf_counter() - start)
    return (taken[1] - taken[0]) / 2


def worker(given):
    """One measurement, in a process of its own; the first process prints it."""
    torch.manual_seed(0)
    if given.worker == "memory":
        model = networks()
        x = torch.bernoulli(torch.full((100, 784), 0.1))  # what is drawn does not change memory
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        importance_log_likelihood(model, x, given.samples)
        print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * rss_unit() / 2**20)
        return
    shared = "WORLD_SIZE" in os.environ
    if shared:
        dist.init_process_group("gloo")
    seconds = epoch(digits(given.root)[: given.images], given.batch_size)
    if not shared or dist.get_rank() == 0:
        print(seconds)
    if shared:
        dist.destroy_process_group()


def rss_unit():
    """Bytes of one unit of `ru_maxrss`."""
    return 1 if sys.platform == "darwin" else 1024


def measure(root, kind, threads, processes=None, **settings):
    """Run one measurement and give its number."""
    start = [sys.executable]
    if processes:
        start += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    command = [*start, __file__, "--root", str(root), "--worker", kind]
    for name, value in settings.items():
        command += [f"--{name.replace('_', '-')}", str(value)]
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    environment.pop("OMP_WAIT_POLICY", None)
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        sys.exit(f"{' '.join(command)} failed:\n{done.stderr[-2000:]}")
    return round(float(done.stdout.strip().splitlines()[-1]), 3)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--root", type=Path, default=Path("data"), help="folder of MNIST (default: data)"
    )
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--output", type=Path, default=HERE / "scaling.json")
    parser.add_argument("--worker", choices=("epoch", "memory"), help=argparse.SUPPRESS)
    parser.add_argument("--images", type=int, default=60_000, help=argparse.SUPPRESS)
    parser.add_argument("--batch-size", type=int, default=128, help=argparse.SUPPRESS)
    parser.add_argument("--samples", type=int, default=100, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.worker:
        worker(given)
        return
    cores_here = cores()
    jobs = {("images", n): {"kind": "epoch", "threads": cores_here, "images": n} for n in IMAGES}
    for batch in BATCHES:
        for processes in range(1, cores_here + 1):
            job = {"kind": "epoch", "threads": 1, "processes": processes, "batch_size": batch}
            jobs[f"processes, batches of {batch}", processes] = job
    jobs |= {
        ("samples", k): {"kind": "memory", "threads": cores_here, "samples": k} for k in SAMPLES
    }
    found = {name: [] for name in jobs}
    for number in range(given.rounds):
        for name, job in jobs.items():
            found[name].append(measure(given.root, **job))
            print(
                f"round {number + 1} of {given.rounds}, {name[0]} {name[1]:,}: {found[name][-1]}",
                flush=True,
            )
    record = {
        "command": "python benchmarks/scaling.py",
        "date": date.today().isoformat(),
        "machine": {"processor": processor(), "cores": cores_here},
        "units": "seconds an epoch; MiB for samples",
    }
    for (what, n), values in found.items():
        record.setdefault(what, {})[str(n)] = values
    given.output.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    for (what, n), values in found.items():
        print(f"{what:30} {n:6,} {min(values):8.3f}")


if __name__ == "__main__":
    main()
