"""Make each formula of a list wrong, and see that a test, and a chapter, notices: `make mutants`.

The list is tests/mutants.toml: a file, an old text, a new one, and why that is wrong. In a copy of
the working tree, each mutant runs the tests that belong to its file, without the slow ones; if they
stay green, all fast tests; then the slow ones. A mutant of a claim of the post also executes the
chapters of that claim by nbval, without comparing cells that show source (they go red at any edit):
in one of them a cell that computes must go red. First everything is run unchanged and must be
green. The exit status is 1 if a mutant survives, or if something else went wrong.
"""

import argparse
import fnmatch
import os
import queue
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
OWN_TESTS = "tests/book/test_mutants.py"  # one holds that no text of the list has changed
SECONDS = 900  # for one run of pytest; what has not ended by then proves nothing
CELL = re.compile(r"^FAILED (?:.*/)?(\w+)\.ipynb::Cell (\d+)", re.M)


@dataclass(frozen=True)
class Mutant:
    """One formula made wrong; `tests` and `notebooks` are those that should notice."""

    name: str
    file: str
    old: str
    new: str
    why: str
    claim: str | None
    tests: tuple[str, ...]
    notebooks: tuple[str, ...]


@dataclass(frozen=True)
class Verdict:
    """What noticed a mutant among the tests and the chapters; None where nothing did."""

    mutant: Mutant
    tests: str | None
    notebooks: str | None
    seconds: float

    @property
    def red(self):
        return bool(self.tests) and (bool(self.notebooks) or not self.mutant.notebooks)


class Undecided(Exception):
    """A run that is neither green nor red: it did not start, or did not end."""


def read_list(path):
    """The mutants of a list, in its order."""
    given = tomllib.loads(path.read_text(encoding="utf-8"))
    mutants = []
    for entry in given["mutant"]:
        claim = entry.get("claim")
        tests = tuple(entry.pop("tests", given["tests"][entry["file"]]))
        notebooks = tuple(entry.pop("notebooks", given.get("claims", {}).get(claim, ())))
        entry.setdefault("claim", None)
        mutants.append(Mutant(**entry, tests=tests, notebooks=notebooks))
    return mutants


def chosen(mutants, patterns):
    """Those of which the name, the file or the claim fits a pattern; all if there is none."""
    return [
        mutant
        for mutant in mutants
        if not patterns
        or any(
            fnmatch.fnmatch(text, pattern)
            for text in (mutant.name, mutant.file, mutant.claim or "")
            for pattern in patterns
        )
    ]


def copy_tree(root, folder):
    """Copy what git knows, or would add, as it lies in the working tree."""
    command = ["git", "-C", root, "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split("\0")
    for name in filter(None, names):
        if (root / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(root / name, folder / name)


class Copy:
    """A copy of the tree, in which one mutant at a time is at work."""

    def __init__(self, root, folder):
        self.folder = folder
        copy_tree(root, folder)
        paths = [str(folder), os.environ.get("PYTHONPATH", "")]
        self.environment = os.environ | {
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),  # before the installed package
            "PYTHONDONTWRITEBYTECODE": "1",  # else a mutant of the same size might not be noticed
            "OMP_NUM_THREADS": "1",
        }

    def run(self, *arguments):
        """Run pytest: whether it was green, and what it said."""
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
        try:
            done = subprocess.run(
                command,
                cwd=self.folder,
                env=self.environment,
                capture_output=True,
                text=True,
                timeout=SECONDS,
            )
        except subprocess.TimeoutExpired:
            raise Undecided(f"no end within {SECONDS} s: {' '.join(arguments)}") from None
        if done.returncode not in (0, 1, 5):  # 5: there are no such tests
            raise Undecided(f"pytest {' '.join(arguments)}:\n{done.stdout[-2000:]}{done.stderr}")
        return done.returncode != 1, done.stdout

    def tests(self, mutant):
        """The first red test: of the file's own, of all the fast ones, of the slow ones."""
        every = ("tests/core", "tests/book")
        stages = [("fast", "not slow", mutant.tests), ("other fast", "not slow", every)]
        stages += [("slow", "slow", mutant.tests), ("other slow", "slow", every)]
        while stages:
            name, marker, where = stages.pop(0)
            there = [path for path in where if (self.folder / path).exists()]
            if there:
                green, said = self.run("-x", "-m", marker, *there, f"--ignore={OWN_TESTS}")
                if not green:
                    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)", said, re.M)
                    if not failed:
                        raise Undecided(f"no test is named:\n{said[-2000:]}")
                    return name, failed[0]
                if name == "fast" and " passed" not in said:  # the file's own tests are all slow
                    stages.sort(key=lambda stage: stage[0] != "slow")
        return None, None

    def notebook(self, name):
        """The first cell of a chapter that computes and is red; cells that show source do not."""
        path = self.folder / "book" / f"{name}.ipynb"
        if not path.exists():
            raise Undecided(f"there is no chapter {name}")
        code = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        green, said = self.run("--nbval", "--no-source-cells", str(path.relative_to(self.folder)))
        for _, number in [] if green else CELL.findall(said):
            cell = code[int(number)]
            if "shows-source" not in cell.metadata.get("tags", []):
                return f"{name}, cell {number}: {cell.source.strip().splitlines()[0][:50]}"
        return None

    def try_mutant(self, mutant, with_notebooks=True):
        """Apply a mutant, see what notices it, and take it back."""
        start, path = time.perf_counter(), self.folder / mutant.file
        text = path.read_text(encoding="utf-8")
        if text.count(mutant.old) != 1:
            raise Undecided(f"{mutant.file} has the old text {text.count(mutant.old)} times")
        path.write_text(text.replace(mutant.old, mutant.new), encoding="utf-8")
        try:
            (kind, test), notebooks = self.tests(mutant), None
            for name in mutant.notebooks if with_notebooks else ():
                notebooks = notebooks or self.notebook(name)
        finally:
            path.write_text(text, encoding="utf-8")
        # the tests of the file were green before; is it by the mutant that this one is red?
        if kind not in (None, "fast") and not self.run(test)[0]:
            raise Undecided(f"{test} is red without the mutant, too")
        tests = test and f"{kind}: {test}"
        return Verdict(mutant, tests, notebooks, time.perf_counter() - start)

    def baseline(self, mutants, with_notebooks):
        """Raise unless the copy is what runs, and everything is green while nothing is changed."""
        where = (
            "import pathlib, vae_core; print(pathlib.Path(vae_core.__file__).resolve().parents[1])"
        )
        command = [sys.executable, "-c", where]
        ran = subprocess.run(
            command, cwd=self.folder, env=self.environment, capture_output=True, text=True
        )
        if ran.stdout.strip() != str(self.folder.resolve()):
            raise Undecided(f"the package is not imported from the copy: {ran.stdout}{ran.stderr}")
        files = sorted({path for mutant in mutants for path in mutant.tests})
        green, said = self.run("-m", "not slow", *files)
        names = sorted({name for mutant in mutants for name in mutant.notebooks})
        for name in names if green and with_notebooks else ():
            path = f"book/{name}.ipynb"
            if (self.folder / path).exists() and green:
                green, said = self.run("--nbval", "--no-source-cells", path)
        if not green:
            raise Undecided(f"without any mutant a test is red:\n{said[-3000:]}")


def main(arguments, root=ROOT):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=2, help="how many at a time (default: 2)")
    parser.add_argument(
        "--only", action="append", default=[], help="a name, file or claim, * for any; repeatable"
    )
    parser.add_argument("--tests-only", action="store_true", help="leave the chapters out")
    given = parser.parse_args(arguments)
    mutants = chosen(read_list(root / "tests" / "mutants.toml"), given.only)
    if not mutants:
        sys.exit(f"no mutant is called {' or '.join(given.only)}")
    verdicts, undecided, with_notebooks = {}, {}, not given.tests_only
    with tempfile.TemporaryDirectory(prefix="mutants-") as folder:
        copies = queue.Queue()
        for number in range(min(given.jobs, len(mutants))):
            copies.put(Copy(root, Path(folder) / str(number)))
        copy = copies.queue[0]
        print("Everything unchanged ...", flush=True)
        try:
            copy.baseline(mutants, with_notebooks)
        except Undecided as problem:
            sys.exit(str(problem))

        def work(mutant):
            mine = copies.get()
            try:
                verdicts[mutant.name] = mine.try_mutant(mutant, with_notebooks)
            except Undecided as problem:
                undecided[mutant.name] = str(problem)
            finally:
                copies.put(mine)
            done = len(verdicts) + len(undecided)
            print(f"[{done}/{len(mutants)}] {mutant.name}: {said(mutant.name)}", flush=True)

        def said(name):
            if name in undecided:
                return f"UNDECIDED, {undecided[name]}"
            verdict = verdicts[name]
            tests = verdict.tests or "NO TEST NOTICED"
            if not (verdict.mutant.notebooks and with_notebooks):
                return tests
            return f"{tests}; {verdict.notebooks or 'NO CHAPTER NOTICED'}"

        with ThreadPoolExecutor(len(copies.queue)) as pool:
            list(pool.map(work, mutants))
    report(mutants, verdicts, undecided, with_notebooks)


def report(mutants, verdicts, undecided, with_notebooks):
    """Print a table by file, and what survived; exit with 1 if something did."""
    print(f"\n{'file':30} {'mutants':>8} {'tests':>6} {'of claims':>10} {'chapters':>9}")
    for file in dict.fromkeys(mutant.file for mutant in mutants):
        own = [mutant for mutant in mutants if mutant.file == file]
        found = [verdicts[mutant.name] for mutant in own if mutant.name in verdicts]
        tests = sum(verdict.tests is not None for verdict in found)
        claims = sum(mutant.claim is not None for mutant in own)
        chapters = sum(verdict.notebooks is not None for verdict in found)
        print(f"{file:30} {len(own):8} {tests:6} {claims:10} {chapters:9}")
    survivors = [
        verdict.mutant
        for verdict in verdicts.values()
        if not (verdict.red if with_notebooks else verdict.tests)
    ]
    for mutant in survivors:
        print(f"survived: {mutant.name} ({mutant.file}). {mutant.why}")
    for name, problem in undecided.items():
        print(f"undecided: {name}: {problem.splitlines()[0]}")
    if survivors or undecided:
        sys.exit(f"{len(survivors)} mutants survived, {len(undecided)} are undecided.")
    print(f"All {len(mutants)} mutants were noticed.")


if __name__ == "__main__":
    main(sys.argv[1:])
