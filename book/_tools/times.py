"""What each chapter takes on one core, with one thread: `make times`, or `times.py [FILE ...]`.

Executes the chapters one after another and prints, for each, the seconds on the clock, the seconds
in which the core worked for it, and the most memory of one process. Chapters of Part I may take 20
seconds of the core, the others 45, each 1.2 GiB; the start of Jupyter and of PyTorch is part of it.
What is beyond that is named, and the exit status is 1. Nothing is stored.
"""

import argparse
import sys
from pathlib import Path

import one_core
from lengths import PART_ONE

BOOK = Path(__file__).resolve().parent.parent
PART_ONE_SECONDS, SECONDS, GIBIBYTES = 20, 45, 1.2


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
    print(f"{'chapter':26} {'clock':>8} {'core':>8} {'memory':>10}")
    for path in chapters:
        cost = one_core.execute(path, sys.executable)
        times = f"{cost.seconds:6.1f} s {cost.processor:6.1f} s"
        print(f"{path.stem:26} {times} {cost.gibibytes:6.2f} GiB", flush=True)
        said = beyond(path.stem, cost)
        for line in said:
            print(f"  {line}", flush=True)
        failed += bool(said)
    if failed:
        sys.exit(f"{failed} chapters take too much, or failed.")


if __name__ == "__main__":
    main(sys.argv[1:])
