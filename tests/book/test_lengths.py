"""How long chapters are, and what they take: the tools count right; chapters keep their limits."""

import json
from dataclasses import replace
from pathlib import Path

import lengths
import one_core
import pytest
import times
from lengths import LIMITS, Length, Limits
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

BOOK = Path(__file__).resolve().parents[2] / "book"
THERE = [BOOK / f"{name}.ipynb" for name in LIMITS]


@pytest.mark.parametrize("path", THERE, ids=lambda path: path.stem)
def test_a_chapter_is_short(path):
    found, said = lengths.measure(path)
    assert said == [] and found.words and found.lines


def cell(source, *tags, outputs=()):
    return new_code_cell(source, metadata={"tags": list(tags)}, outputs=list(outputs))


def test_words_are_those_of_the_text():
    text = """## Five words stand here now

The code $z = x + y$ isn't `code`, {eq}`kl`; see [page two](https://a.org).

$$
a = b
$$ (label)

```{note}
:class: dropdown
Inside.
```
"""
    # five; The code x isn't x x see page two https a org; x; Inside
    assert lengths.words_of(text) == 5 + 11 + 1 + 1
    assert lengths.length(new_notebook(cells=[new_markdown_cell(text)])).words == 18


def test_lines_are_those_that_a_reader_sees():
    shown = {"text/plain": "def f():\n\n    return 1", "text/markdown": "```\ndef f() ...\n```"}
    source = new_output("execute_result", data=shown)
    number = new_output("execute_result", data={"text/plain": "1\n2\n3"})
    notebook = new_notebook(
        cells=[
            cell("a = 1\n\n  \n# a comment\nb = 2", "claim-P3", outputs=[number]),
            cell("show_source(f)", "shows-source", outputs=[source]),
            cell("# Check: a is one\nassert a", "check"),
            cell("draw()\ndraw()", "hide-input"),
            cell("x\n" * 25, "whole"),
            cell(""),
        ]
    )
    assert lengths.length(notebook) == Length(0, 31, (3, 1, 25))
    assert lengths.length(notebook, "whole") == Length(0, 31, (3, 1), (25,))
    # a notebook may keep its text as a list of lines
    lists = json.loads(json.dumps(notebook))
    for each in lists["cells"]:
        each["source"] = each["source"].splitlines(keepends=True)
        for output in each["outputs"]:
            data = output["data"]
            data["text/plain"] = data["text/plain"].splitlines(keepends=True)
    assert lengths.length(lists) == lengths.length(notebook)


LIMITS = Limits(whole="whole-vae")
FITS = Length(1300, 80, (20, 3, 1), (8,))


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (FITS, []),
        (replace(FITS, words=1301), ["1301 words"]),
        (replace(FITS, lines=81), ["81 lines"]),
        (replace(FITS, cells=(21, 3, 0)), ["visible cell of 21"]),
        (replace(FITS, cells=(1, 1, 1, 1), whole=(30,)), []),
        (replace(FITS, cells=(1, 1, 1, 1), whole=(31,)), ["whole-vae has 31"]),
        (replace(FITS, cells=(1, 1), whole=(2, 2)), ["2 cells tagged"]),
        (replace(FITS, cells=(20, 3, 2)), ["8.2 lines a cell"]),
        (Length(0, 0, ()), []),
    ],
)
def test_what_is_beyond_a_limit_is_named(found, said):
    lines = lengths.beyond(found, LIMITS)
    assert len(lines) == len(said) and all(part in line for part, line in zip(said, lines))


def test_the_command_fails_when_a_chapter_is_too_long(tmp_path, capsys):
    path = tmp_path / "reparameterization.ipynb"
    path.write_text(
        json.dumps(new_notebook(cells=[cell("x\n" * 8) for _ in range(10)])), encoding="utf-8"
    )
    lengths.main([str(path)])
    path.write_text(
        json.dumps(new_notebook(cells=[cell("x\n" * 8) for _ in range(11)])), encoding="utf-8"
    )
    with pytest.raises(SystemExit, match="1 chapters are too long"):
        lengths.main([str(path)])
    assert "88 lines of code on the page; at most 80" in capsys.readouterr().out
    # another chapter has no limits yet
    lengths.main([str(path.rename(tmp_path / "bounds.ipynb"))])


def test_what_takes_too_much_is_named():
    cost = one_core.Cost(seconds=90.0, processor=19.9, gibibytes=1.1)
    assert times.beyond("reparameterization", cost) == []
    (said,) = times.beyond("reparameterization", replace(cost, processor=20.1))
    assert said == "20.1 s of a core; at most 20"
    assert times.beyond("bounds", replace(cost, processor=44.9)) == []
    assert len(times.beyond("bounds", replace(cost, processor=46, gibibytes=1.3, error="no"))) == 3


@pytest.mark.slow
def test_the_cost_of_a_notebook_is_measured(tmp_path, capsys):
    path = tmp_path / "reparameterization.ipynb"
    work = "import os, time\nblock = bytearray(300 * 2**20)\nend = time.process_time() + 1\n"
    work += "while time.process_time() < end:\n    pass\n"
    one = "assert os.environ['OMP_NUM_THREADS'] == '1'\n"
    if hasattr(one_core.os, "sched_getaffinity"):
        one += "assert len(os.sched_getaffinity(0)) == 1"
    path.write_text(json.dumps(new_notebook(cells=[cell(work), cell(one)])), encoding="utf-8")
    times.main([str(path)])
    cost = one_core.execute(path, times.sys.executable)
    assert cost.error == "" and cost.seconds > 1 < cost.processor and cost.gibibytes > 0.3
    path.write_text(json.dumps(new_notebook(cells=[cell("1 / 0")])), encoding="utf-8")
    with pytest.raises(SystemExit):
        times.main([str(path)])
    assert "ZeroDivisionError" in capsys.readouterr().out
