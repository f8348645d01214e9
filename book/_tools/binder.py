"""Make an environment from Binder's files alone, and run every chapter in it: `make binder`.

One core, the Python of this script, JupyterLab as repo2docker adds it, and binder/requirements.txt
without the index of CPU builds where that cannot be reached (--no-index-of-cpu-builds): pip then
takes the larger build of torch. For each chapter the seconds and the most memory of one process are
printed; above 60 s or 1.2 GiB it fails.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import venv
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SECONDS, GIBIBYTES = 60, 1.2
RUN = """import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)"""


def requirements(keep_index):
    """Binder's list, with paths that hold from anywhere."""
    lines = (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    for line in lines:
        if line.startswith("--extra-index-url") and not keep_index:
            continue
        yield line.replace("-c ..", f"-c {ROOT}").replace("-e .", f"-e {ROOT}")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--no-index-of-cpu-builds", action="store_true")
    parser.add_argument(
        "--environment",
        type=Path,
        help="make it here and keep it; one that is there is used as it is",
    )
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        place = given.environment or Path(folder) / "environment"
        if not place.exists():
            venv.create(place, with_pip=True)
            listed = Path(folder) / "requirements.txt"
            listed.write_text(
                "\n".join(requirements(not given.no_index_of_cpu_builds)), encoding="utf-8"
            )
            subprocess.run(
                [place / "bin" / "pip", "install", "--quiet", "jupyterlab", "-r", listed],
                check=True,
            )
        cores = sorted(os.sched_getaffinity(0))[:1]
        environment = {
            **os.environ,
            "PATH": f"{place / 'bin'}:{os.environ['PATH']}",
            "OMP_NUM_THREADS": "1",
        }
        failed = []
        for path in sorted((ROOT / "book").glob("*.ipynb")):
            command = [
                "python",
                "-c",
                RUN,
                "python",
                "-m",
                "nbconvert",
                "--to",
                "notebook",
                "--execute",
                "--stdout",
                str(path),
            ]
            start = time.perf_counter()
            done = subprocess.run(
                command,
                capture_output=True,
                text=True,
                env=environment,
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
            seconds = time.perf_counter() - start
            memory = int(done.stdout.splitlines()[-1]) / 2**20 if done.stdout.strip() else 0.0
            ran = "ran" if done.returncode == 0 else "FAILED"
            print(f"{path.name}: {seconds:.0f} s, {memory:.2f} GiB, {ran}", flush=True)
            if done.returncode or seconds > SECONDS or memory > GIBIBYTES:
                failed.append(path.name)
                print(
                    done.stderr[-1000:]
                    if done.returncode
                    else f"more than {SECONDS} s or {GIBIBYTES} GiB"
                )
    sys.exit(f"{len(failed)} chapters would not do on Binder" if failed else 0)


if __name__ == "__main__":
    main()
