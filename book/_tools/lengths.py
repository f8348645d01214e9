"""How long each chapter is on its page: `make lengths`, or `lengths.py [FILE ...]`.

Words are those of the text, without mathematics and markup. Lines of code are those that a reader
sees, blank ones left out: of cells that are not folded, and of what `show_source` prints. Cells
are those with such lines, and a cell's length is that of its own code. A chapter beyond one of its
limits is named, and the exit status is 1.
"""

import argparse
import json
import re
import sys
from dataclasses import dataclass
from pathlib import Path
from statistics import mean, median

BOOK = Path(__file__).resolve().parent.parent
FOLDED = {"check", "hide-input", "hide-cell", "remove-input", "remove-cell"}
MARKUP = re.compile(r"^(?:```|:).*", re.M)
MATHS = re.compile(r"\$\$.*?\$\$.*|\{\w+\}`[^`]*`|\$[^$]*\$|`[^`]*`", re.S)
WORD = re.compile(r"[A-Za-z][\w’'-]*")


@dataclass(frozen=True)
class Limits:
    """The most that a page may hold; one cell tagged `whole` may be longer than the others."""

    words: int = 1300
    lines: int = 80
    cell: int = 20
    mean: float = 8.0
    whole: str | None = None
    whole_cell: int = 30


PART_ONE = {
    "likelihood_decomposition": Limits(),
    "intractable_posterior": Limits(),
    "training_pipeline": Limits(lines=110, whole="whole-vae"),
    "reparameterization": Limits(),
}
DEEPER = Limits(words=2500, lines=180)
PART_TWO = dict.fromkeys(
    (
        "linear_decoder",
        "bounds",
        "image_likelihoods",
        "gradient_estimators",
        "evaluation",
        "broken",
        "larger_runs",
    ),
    DEEPER,
)
LIMITS = PART_ONE | PART_TWO


@dataclass(frozen=True)
class Length:
    """What one page holds; `cells` are the lines of each visible cell, `whole` of those tagged."""

    words: int
    lines: int
    cells: tuple[int, ...]
    whole: tuple[int, ...] = ()


def lines_of(text):
    return sum(bool(line.strip()) for line in text.splitlines())


def text_of(value):
    """A notebook keeps text as one string or as a list of lines."""
    return value if isinstance(value, str) else "".join(value)


def words_of(text):
    return len(WORD.findall(MATHS.sub(" x ", MARKUP.sub("", text))))


def length(notebook, whole=None):
    """Measure a notebook, as `json.load` gives it; cells tagged `whole` are kept apart."""
    words, lines, cells, apart = 0, 0, [], []
    for cell in notebook["cells"]:
        tags = set(cell["metadata"].get("tags", []))
        source = text_of(cell["source"])
        if cell["cell_type"] == "markdown":
            words += words_of(source)
        elif cell["cell_type"] == "code" and not tags & FOLDED:
            own = lines_of(source)
            lines += own
            if "shows-source" in tags:
                shown = [output.get("data", {}) for output in cell["outputs"]]
                lines += sum(
                    lines_of(text_of(data["text/plain"]))
                    for data in shown
                    if "text/markdown" in data and "text/plain" in data
                )
            if own:
                (apart if whole in tags else cells).append(own)
    return Length(words, lines, tuple(cells), tuple(apart))


def beyond(found, limits):
    """What of a page is beyond its limits: one line each."""
    every = found.cells + found.whole
    average = mean(every) if every else 0.0
    said = []
    if found.words > limits.words:
        said.append(f"{found.words} words; at most {limits.words}")
    if found.lines > limits.lines:
        said.append(f"{found.lines} lines of code on the page; at most {limits.lines}")
    if any(cell > limits.cell for cell in found.cells):
        said.append(f"a visible cell of {max(found.cells)} lines; at most {limits.cell}")
    if len(found.whole) > 1:
        said.append(f"{len(found.whole)} cells tagged {limits.whole}; at most one")
    if any(cell > limits.whole_cell for cell in found.whole):
        tagged = f"the cell tagged {limits.whole} has {max(found.whole)} lines"
        said.append(f"{tagged}; at most {limits.whole_cell}")
    if average > limits.mean:
        said.append(f"{average:.1f} lines a cell in the mean; at most {limits.mean:g}")
    return said


def measure(path):
    """The length of a chapter, and what is beyond its limits."""
    limits = LIMITS.get(path.stem)
    notebook = json.loads(path.read_text(encoding="utf-8"))
    found = length(notebook, limits and limits.whole)
    return found, beyond(found, limits) if limits else []


def main(arguments):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("chapters", type=Path, nargs="*")
    chapters = parser.parse_args(arguments).chapters
    failed = 0
    print(f"{'chapter':26} {'words':>6} {'lines':>6} {'cells':>6} {'median':>7} {'mean':>6}")
    for path in chapters or sorted(BOOK.glob("*.ipynb")):
        found, said = measure(path)
        every = found.cells + found.whole or (0,)
        counts = f"{found.words:6} {found.lines:6} {len(found.cells + found.whole):6}"
        print(f"{path.stem:26} {counts} {median(every):7.1f} {mean(every):6.1f}")
        for line in said:
            print(f"  beyond its limit: {line}")
        failed += bool(said)
    if failed:
        sys.exit(f"{failed} chapters are too long.")


if __name__ == "__main__":
    main(sys.argv[1:])
