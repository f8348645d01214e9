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
import venv
from pathlib import Path

import one_core

ROOT = Path(__file__).resolve().parents[2]
SECONDS, GIBIBYTES = 60, 1.2


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
        environment = {"PATH": f"{place / 'bin'}:{os.environ['PATH']}"}
        failed = []
        for path in sorted((ROOT / "book").glob("*.ipynb")):
            cost = one_core.execute(path, str(place / "bin" / "python"), environment)
            ran = "FAILED" if cost.error else "ran"
            taken = f"{cost.seconds:.0f} s, {cost.gibibytes:.2f} GiB"
            print(f"{path.name}: {taken}, {ran}", flush=True)
            if cost.error or cost.seconds > SECONDS or cost.gibibytes > GIBIBYTES:
                failed.append(path.name)
                print(cost.error or f"more than {SECONDS} s or {GIBIBYTES} GiB")
    sys.exit(f"{len(failed)} chapters would not do on Binder" if failed else 0)


if __name__ == "__main__":
    main()
