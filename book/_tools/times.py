"""What each chapter takes on one core, with one thread: `make times`, or `times.py [FILE ...]`.

Executes the chapters one after another and prints, for each, the seconds on the clock, the seconds
in which the core worked for it, and the most memory of one process. Chapters of Part I may take 20
seconds of the core, the others 45, each 1.2 GiB; the start of Jupyter and of PyTorch is part of it.
What is beyond that is named, and the exit status is 1. Nothing is stored.

How fast the core multiplies matrices (1000 x 1000, float32) before and after each chapter stands
beside it: where others share a machine that changes within minutes, and the seconds with it.
"""

import argparse
import sys
import time
from pathlib import Path

import one_core
import torch
from lengths import PART_ONE

BOOK = Path(__file__).resolve().parent.parent
PART_ONE_SECONDS, SECONDS, GIBIBYTES = 20, 45, 1.2


def gflops():
    """What one thread does now: the median of 21 products of two 1000 x 1000 matrices."""
    matrix, seconds = torch.randn(1000, 1000), []
    for _ in range(21):
        start = time.perf_counter()
        matrix @ matrix
        seconds.append(time.perf_counter() - start)
    return 2 / sorted(seconds)[10]


def beyond(name, cost):
    """What of a chapter's cost is beyond its limits: one line each."""
    limit = PART_ONE_SECONDS if name in PART_ONE else SECONDS
    said = []
    if cost.error:
        said.append(f"it failed: {cost.error}")
    if cost.processor > limit:
        said.append(f"{cost.processor:.1f} s of a core; at most {limit}")
    if cost.gibibytes > GIBIBYTES:
        said.append(f"{cost.gibibytes:.2f} GiB; at most {GIBIBYTES}")
    return said


def main(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chapters", type=Path, nargs="*")
    parser.add_argument("--part-one", action="store_true", help="the chapters of Part I alone")
    given = parser.parse_args(arguments)
    chapters = given.chapters or [
        path for path in sorted(BOOK.glob("*.ipynb")) if path.stem in PART_ONE or not given.part_one
    ]
    failed = 0
    print(f"{'chapter':26} {'clock':>8} {'core':>8} {'memory':>10} {'GFLOPS':>7}")
    for path in chapters:
        before = gflops()
        cost = one_core.execute(path, sys.executable)
        speed = (before + gflops()) / 2
        times = f"{cost.seconds:6.1f} s {cost.processor:6.1f} s"
        print(f"{path.stem:26} {times} {cost.gibibytes:6.2f} GiB {speed:7.0f}", flush=True)
        said = beyond(path.stem, cost)
        for line in said:
            print(f"  {line}", flush=True)
        failed += bool(said)
    if failed:
        sys.exit(f"{failed} chapters take too much, or failed.")


if __name__ == "__main__":
    one_core.first_core()
    torch.set_num_threads(1)
    main(sys.argv[1:])
