"""Execute a chapter on one core, and say what it took: for `make times` and `make binder`."""

import os
import subprocess
import sys
import time
from dataclasses import dataclass

# It runs what it is given and prints, as its last line, what all its processes took: seconds of
# processor time, and the most memory of one of them in KiB (macOS: bytes).
RUN = """import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
print()
print(used.ru_utime + used.ru_stime, used.ru_maxrss)
sys.exit(code)"""
# nbclient comes with Jupyter Book; nbconvert does not.
NOTEBOOK = """import pathlib, sys, nbclient, nbformat
path = pathlib.Path(sys.argv[1])
notebook = nbformat.read(path, as_version=4)
nbclient.NotebookClient(notebook, resources={"metadata": {"path": path.parent}}).execute()"""
UNIT = 2**30 if sys.platform == "darwin" else 2**20


@dataclass(frozen=True)
class Cost:
    """What one chapter took; `error` is the end of what was said when it failed, else empty.

    `seconds` passed on the clock; `processor` are the seconds in which a core worked for it, which
    other programs on the machine change little; `gibibytes` is the most memory of one process.
    """

    seconds: float
    processor: float
    gibibytes: float
    error: str = ""


def first_core():
    """Leave this process, and what it starts, one core; macOS cannot."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1])


def execute(path, python="python", environment=None):
    """Execute a notebook by this Python, with one thread, and store nothing: its Cost."""
    run = [python, "-c", NOTEBOOK, str(path)]
    start = time.perf_counter()
    done = subprocess.run(
        [python, "-c", RUN, *run],
        capture_output=True,
        text=True,
        env={**os.environ, **(environment or {}), "OMP_NUM_THREADS": "1"},
        preexec_fn=first_core,
    )
    seconds = time.perf_counter() - start
    try:
        processor, memory = map(float, done.stdout.splitlines()[-1].split())
    except (IndexError, ValueError):  # Python itself did not start
        processor = memory = 0.0
    error = (done.stderr[-1000:] or f"exit status {done.returncode}") if done.returncode else ""
    return Cost(seconds, processor, memory / UNIT, error)
