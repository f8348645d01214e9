"""Do the claims of a chapter hold for other seeds? `make seeds`.

Or `python book/_tools/seeds.py [--seeds 10] [book/name.ipynb ...]`. Executes each chapter once for
every seed, in place of the one that its first cell sets, and tells which asserts failed. What the
cells print is not compared, and nothing is stored.
"""

import argparse
import re
import sys
from pathlib import Path

BOOK = Path(__file__).resolve().parent.parent
SEED = re.compile(r"torch\.manual_seed\(0\)")


def reseeded(notebook, seed):
    """The same notebook with another seed; it must set one in exactly one place."""
    cells = [
        cell for cell in notebook.cells if cell.cell_type == "code" and SEED.search(cell.source)
    ]
    found = sum(len(SEED.findall(cell.source)) for cell in cells)
    if found != 1:
        raise ValueError(f"expected one torch.manual_seed(0), found {found}")
    cells[0].source = SEED.sub(f"torch.manual_seed({seed})", cells[0].source)
    return notebook


def failure(notebook, folder):
    """Execute every cell; give the first line of the first one that failed and why, or None."""
    from nbclient import NotebookClient
    from nbclient.exceptions import CellExecutionError

    client = NotebookClient(
        notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    try:
        client.execute()
    except CellExecutionError as error:
        (cell,) = [
            cell
            for cell in notebook.cells
            if cell.cell_type == "code"
            and any(output.output_type == "error" for output in cell.outputs)
        ]
        asserted = re.findall(r"-+> *\d+ (.*)", re.sub(r"\x1b\[[0-9;]*m", "", error.traceback))
        where = (asserted or cell.source.strip().split("\n"))[-1].strip()
        return (
            f"{error.ename}: {error.evalue} ({where})"
            if error.evalue
            else f"{error.ename} ({where})"
        )
    return None


def main(arguments):
    import nbformat

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=10, help="how many: 1, 2, 3 ... (default: 10)")
    parser.add_argument("chapters", type=Path, nargs="*")
    given = parser.parse_args(arguments)
    chapters = given.chapters or [
        path
        for path in sorted(BOOK.glob("*.ipynb"))
        if SEED.search(path.read_text(encoding="utf-8"))
    ]
    failed = 0
    for path in chapters:
        for seed in range(1, given.seeds + 1):
            problem = failure(
                reseeded(nbformat.read(path, as_version=4), seed), path.resolve().parent
            )
            failed += problem is not None
            print(f"{path.name}, seed {seed}: {problem or 'every assert holds'}", flush=True)
    if failed:
        sys.exit(f"{failed} of {len(chapters) * given.seeds} runs failed.")


if __name__ == "__main__":
    main(sys.argv[1:])
