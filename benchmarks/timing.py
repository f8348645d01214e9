"""What `speed.py` and `scaling.py` share: how they measure, when they refuse to, what they store.

Rounds are interleaved: each round takes every measurement once, in a process of its own with a
fixed number of threads, and begins with another one. All values are stored, with their median and
range (least and most). Measurements are compared by the ratio of their medians, with the range of
the ratios within single rounds; that range always holds the ratio of medians.

A machine that does other work gives no times. The share of a core that others use is all time in
which the processors were not idle (/proc/stat, with what the host of a virtual machine took), less
what this process and its children used. It is taken for some seconds before the first round and
after the last, and during each measurement. Where it is more than `OTHERS`, or the load average
before is more than `LOAD`, the script stops and writes nothing. `--anyway` measures and prints, and
never writes. Where there is no /proc/stat, the load averages before and after have to do.
"""

import argparse
import hashlib
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from datetime import date
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).resolve().parent
IMAGES = 60_000  # a record is made with all of them
THREADS = 2  # for every measurement but those of single threads, on whatever machine
LOAD = 0.5  # processes that run or wait, mean of the last minute
OTHERS = 0.05  # of one core
WATCHED = 5.0  # seconds of looking, before and after
ROUNDS = 5
SETTINGS = ("OMP_", "MKL_", "KMP_", "GOMP_", "OPENBLAS_", "ATEN_", "TORCH_", "MALLOC_")


class BusyError(RuntimeError):
    """The machine does other work."""


@dataclass(frozen=True)
class Job:
    """One measurement: `arguments` for the script, and what is said of it."""

    group: str  # what it is compared with
    name: str
    what: str
    arguments: tuple[str, ...]
    threads: int = THREADS
    processes: int = 1
    start: tuple[str, ...] = (sys.executable,)  # what the script is given to


def arguments(description, output):
    """The command line that both scripts have."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--root", type=Path, default=Path("data"), help="folder of MNIST (default: data)")
    add("--rounds", type=int, default=ROUNDS, help=f"at least {ROUNDS} for a record")
    add("--images", type=int, default=IMAGES, help="fewer, to try the script: nothing is written")
    add("--output", type=Path, default=output)
    add("--anyway", action="store_true", help="on a busy machine too: nothing is written")
    add("--wait", type=float, default=0, metavar="MINUTES", help="for an idle machine, at most")
    return parser


def cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def load_average():
    """Processes that run or wait, mean of the last minute; None where nobody counts them."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def processor_seconds():
    """Seconds that all processors worked since they started, and that have passed for them."""
    try:
        with open("/proc/stat", encoding="ascii") as file:
            spent = [
                int(ticks) / os.sysconf("SC_CLK_TCK") for ticks in file.readline().split()[1:9]
            ]
    except (OSError, ValueError):
        return 0.0, 0.0
    return sum(spent) - spent[3] - spent[4], sum(spent)  # idle, and idle while a disk works


def own_seconds():
    """Seconds of processor time that this process and its finished children used."""
    used = os.times()
    return used.user + used.system + used.children_user + used.children_system


class Watch:
    """The share of one core that others use, from now on."""

    def __init__(self):
        self.start = time.perf_counter(), *processor_seconds(), own_seconds()

    def others(self):
        """Give the share until now; None where the system does not tell."""
        now = time.perf_counter(), *processor_seconds(), own_seconds()
        wall, busy, passed, own = (b - a for a, b in zip(self.start, now, strict=True))
        return round(max(0.0, busy - own) / wall, 3) if passed > 0 else None


def look():
    """How busy the machine is while this process only looks."""
    watch = Watch()
    time.sleep(WATCHED)
    return {"average": load_average(), "others": watch.others()}


def refuse(state, when, own=0):
    """Raise `BusyError` where others work; `own` is how many threads of ours the average holds."""
    average, others = state["average"], state["others"]
    if others is not None and others > OTHERS:
        raise BusyError(f"{when} other processes used {others:.2f} of a core (limit {OTHERS})")
    # after our own work the average says nothing, where others can be told from us
    told = own and others is not None
    if average is not None and not told and average > LOAD + own:
        raise BusyError(f"{when} the load average was {average:.2f} (limit {LOAD + own})")


def environment(threads):
    """The caller's environment, with this number of threads and no other setting of them."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(SETTINGS)}
    return kept | {"OMP_NUM_THREADS": str(threads), "MKL_NUM_THREADS": str(threads)}


def measure(job, script, number):
    """Run one measurement: a dict with `value`, `threads` and `train_elbo`, as its process says."""
    command = [*job.start, str(script), *job.arguments, "--seed", str(number)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment(job.threads))
    if done.returncode:
        sys.exit(f"{job.group}, {job.name} failed:\n{done.stderr[-2000:]}")
    result = json.loads(done.stdout.strip().splitlines()[-1])
    if result["threads"] != job.threads:
        sys.exit(f"{job.group}, {job.name}: {result['threads']} threads in place of {job.threads}")
    return result


def wait_until_idle(minutes):
    """Give the state of an idle machine, or raise `BusyError` when so many minutes have passed."""
    until = time.monotonic() + 60 * minutes
    while True:
        state = look()
        try:
            refuse(state, "before the first round")
        except BusyError:
            if time.monotonic() > until:
                raise
            time.sleep(WATCHED)
        else:
            return state


def run(jobs, script, given):
    """Take all rounds: the results of each job, in order, and the load before and after."""
    if cores() < max(job.threads * job.processes for job in jobs):
        sys.exit(f"this needs {THREADS} cores, and there are {cores()}")
    before = look() if given.anyway else wait_until_idle(given.wait)
    found = {job: [] for job in jobs}
    for number in range(given.rounds):
        first = number % len(jobs)
        for job in jobs[first:] + jobs[:first]:
            watch = Watch()
            result = measure(job, script, number)
            others = watch.others()
            when = f"round {number + 1} of {given.rounds}, {job.group}, {job.name}"
            print(f"{when}: {result['value']:.3f}, others {others} of a core", flush=True)
            if not given.anyway:
                refuse({"average": None, "others": others}, f"{when}:")
            found[job].append(result | {"others": others})
    after = look()
    if not given.anyway:
        refuse(after, "after the last round", own=THREADS)
    return found, {"before": before, "after": after}


def summary(values):
    """Median and range."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def ratio(values, base):
    """Median over median, with the range of the ratios within rounds."""
    pairs = [value / other for value, other in zip(values, base, strict=True)]
    times = statistics.median(values) / statistics.median(base)
    return {"of_medians": round(times, 3), "min": round(min(pairs), 3), "max": round(max(pairs), 3)}


def row(job, results, base):
    """What is stored of a measurement; `base` are the values of what it is compared with."""
    values = [result["value"] for result in results]
    return {
        "what": job.what,
        "threads": job.threads,
        "processes": job.processes,
        **summary(values),
        "times_base": ratio(values, base),
        "values": values,
        "others": [result["others"] for result in results],
        "train_elbo": [result["train_elbo"] for result in results],
    }


def record(command, work, units, found, load, versions=None):
    """What is stored of a script. `units`: group → unit; the first row of a group is its base."""
    groups = {}
    for job, results in found.items():
        group = groups.setdefault(job.group, {"unit": units[job.group], "base": job.name})
        rows = group.setdefault("rows", {})
        values = [result["value"] for result in results]
        rows[job.name] = row(job, results, rows[group["base"]]["values"] if rows else values)
    return {
        "command": command,
        "date": date.today().isoformat(),
        "machine": {"processor": processor(), "cores": cores(), "bfloat16": has_bfloat16()},
        "versions": own_versions() | (versions or {}),
        "code": digest(),
        "work": work,
        "statistic": "median and range over rounds; times_base: median over the base's median, "
        "with the range of the ratios within rounds; others: the share of one core that other "
        "processes used meanwhile",
        "rounds": len(values),
        "load": {"limits": {"average": LOAD, "others": OTHERS}, **load},
        "groups": groups,
    }


def show(made):
    """Print a record as a table."""
    for name, group in made["groups"].items():
        print(f"\n{name}, {group['unit']}; times {group['base']}")
        for key, found in group["rows"].items():
            times = found["times_base"]
            print(
                f"{key:>14}: {found['median']:8.3f} ({found['min']:.3f} to {found['max']:.3f})"
                f"{times['of_medians']:8.2f} ({times['min']:.2f} to {times['max']:.2f})"
            )
    print("\nload:", json.dumps(made["load"]))


def store(made, given):
    """Write a record, if it is one."""
    why = {
        "--anyway": given.anyway,
        f"--rounds below {ROUNDS}": given.rounds < ROUNDS,
        "--images": given.images != IMAGES,
    }
    if any(why.values()):
        print(f"nothing is written: {', '.join(name for name, true in why.items() if true)}")
        return
    given.output.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(f"written: {given.output}")


def digest():
    """SHA-256 of the code that is timed, so that one can see whether it is the present code."""
    package = sorted((HERE.parent / "vae_core").glob("*.py"))
    files = [*package, *(HERE / f"{name}.py" for name in ("scaling", "speed", "timing"))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


def processor():
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


def has_bfloat16():
    """Whether this processor multiplies matrices in bfloat16."""
    flags = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    return "avx512_bf16" in flags or "amx_bf16" in flags


def own_versions():
    own = {name: version(name).split("+")[0] for name in ("torch", "torchvision")}
    return own | {"python": platform.python_version()}
