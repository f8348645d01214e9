"""Execute chapters and store them clean: `make notebooks`.

Or `python book/_tools/store.py [book/name.ipynb ...]`. Every chapter is executed before any is
written, so a failure or an interrupt changes nothing. What would differ on another machine or day
is not stored: the cell is named, and nothing is written.
"""

import os
import re
import sys
import time
from pathlib import Path

BOOK = Path(__file__).resolve().parent.parent
NEVER = {  # what a stored output may not hold
    "a memory address": re.compile(r"\b0x[0-9a-fA-F]{6,}\b"),
    "a path of this machine": re.compile(
        r"(?<![\w.:/])/(?:home|Users|root|tmp|work|opt|usr|var|mnt|private)/|site-packages|\b[A-Z]:\\|ipykernel_\d"
    ),
    "a warning": re.compile(r"\b\w*Warning\b: "),
    "a time of day": re.compile(r"\b\d{1,2}:[0-5]\d:[0-5]\d\b"),
    "a zero whose sign is chance": re.compile(r"(?<![\w.])[-−]0(?:\.0*)?(?![\w.])"),
}
# A picture, or the numbers that a live figure carries: by chance they may hold any of these.
PACKED = re.compile(r'base64,[A-Za-z0-9+/=]+|data:image/svg\+xml,[^"]*|:"[^"\s]{40,}"')
WIDGET = "application/vnd.jupyter.widget-view+json"


def texts(output):
    """The pieces of text of one output; pictures are left out."""
    if output.output_type == "stream":
        return [output.text]
    return [
        str(value)
        for mime, value in output.get("data", {}).items()
        if not mime.startswith("image/")
    ]


def problems(notebook):
    """Why this executed notebook cannot be stored: one line for each cell at fault."""
    found = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type != "code":
            continue
        for output in cell.outputs:
            reasons = []
            if output.output_type == "error":
                reasons.append(f"an error ({output.ename}: {output.evalue})")
            elif output.get("name") == "stderr":
                reasons.append(f"text on stderr ({output.text.strip()[:120]})")
            else:
                text = PACKED.sub("", "\n".join(texts(output)))
                reasons += [
                    f"{what} ({match[0]})"
                    for what, pattern in NEVER.items()
                    if (match := pattern.search(text))
                ]
            first = cell.source.strip().split("\n")[0][:60]
            found += [f"cell {number} ({first!r}) holds {reason}" for reason in reasons]
    return found


def clean(notebook):
    """Leave out what says nothing about the chapter.

    Kernel names, versions, times, tools, widget state and random ids.
    """
    for key in ("widgets", "jupytext"):
        notebook.metadata.pop(key, None)
    notebook.metadata["kernelspec"] = {
        "display_name": "Python 3",
        "language": "python",
        "name": "python3",
    }
    notebook.metadata.get("language_info", {}).pop("version", None)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.metadata.pop("execution", None)
            for output in cell.outputs:
                output.get("data", {}).pop(WIDGET, None)
    return notebook


def execute(path):
    """The chapter, executed in its own folder by the Python that runs this script."""
    import nbformat
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    cells = sum(cell.cell_type == "code" for cell in notebook.cells)
    done = 0

    def progress(cell, cell_index, **rest):
        nonlocal done
        done += cell.cell_type == "code"
        if sys.stdout.isatty():
            print(f"\r{path.name}: cell {done} of {cells} ", end="", flush=True)

    resources = {"metadata": {"path": str(path.parent)}}
    NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        record_timing=False,
        coalesce_streams=True,  # how often the kernel flushes must not change what is stored
        resources=resources,
        on_cell_start=progress,
    ).execute()
    return clean(notebook)


def main(names):
    import nbformat

    paths = [Path(name).resolve() for name in names] or sorted(BOOK.glob("*.ipynb"))
    executed, refused = {}, []
    for path in paths:
        start = time.perf_counter()
        executed[path] = execute(path)
        print(f"\r{path.name}: executed in {time.perf_counter() - start:.0f} s", flush=True)
        refused += [f"{path.name}: {problem}" for problem in problems(executed[path])]
    if refused:
        sys.exit("\n".join([*refused, "Nothing was stored."]))
    for path, notebook in executed.items():
        draft = path.with_suffix(".ipynb.part")
        draft.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
        os.replace(draft, path)
    print(f"{len(executed)} chapters stored.")


if __name__ == "__main__":
    main(sys.argv[1:])
