"""What chapters print: numbers with their errors, no thresholds, and ≈ where machines differ."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_output
from nbval.plugin import get_sanitize_patterns

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = sorted((ROOT / "book").glob("*.ipynb"))


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def start(cell):
    return cell.source.strip().split("\n")[0]


def sanitized(text):
    """What nbval compares, by our file and its own functions."""
    # as nbval reads it where no UTF-8 is set: anything but ASCII would be an error
    patterns = get_sanitize_patterns((ROOT / "tests" / "sanitize.cfg").read_text(encoding="ascii"))
    for pattern, replacement in dict(patterns).items():
        text = re.sub(pattern, replacement, text)
    return text


@pytest.mark.parametrize(
    ("stored", "now"),
    [
        ("≈ 2.5 nats", "≈ 2.7 nats"),
        ("≈ 2.5 nats", "≈ -2.5 nats"),
        ("≈ 2.5 nats", "≈ −2.5 nats"),
        ("≈ 9.98 nats", "≈ 10.02 nats"),
        ("≈  9.98 nats", "≈ 10.02 nats"),
        ("≈9.98", "≈\u00a010.02"),
        ("≈ 998 steps", "≈ 1,002 steps"),
        ("≈ 9.8e-16", "≈ 1.1e-15"),
        ("≈ 0.0001", "≈ 9.8e-05"),
        ("≈ 1e−3", "≈ 1.2e−3"),
        ("≈ 2.5 ± 0.3 nats", "≈ 2.7 ± 0.25 nats"),
        ("≈ 2.5 ± 0.3", "≈ 12.5±1.5"),
        ("≈ 2.5 +/- 0.3", "≈ 2.6 +/- 0.31"),
        ("**≈ 2.5** nats | ≈ 3", "**≈ 2.6** nats | ≈ 4"),
        (r"$\approx 2.5 \pm 0.3$", r"$\approx 2.4 \pm 0.2$"),
        ("<td>≈ 2.5 ± 0.3</td>", "<td>≈ 2.6 ± 0.2</td>"),
    ],
)
def test_a_measured_number_may_be_another(stored, now):
    assert sanitized(stored) == sanitized(now) != stored


@pytest.mark.parametrize(
    ("stored", "now"),
    [
        ("≈ 2.5 nats", "≈ 2.5 bits"),
        ("≈ 2.5 nats, in all", "≈ 2.5 nats in all"),
        ("first ≈ 2.5", "second ≈ 2.5"),
        ("≈ 2.5", "≈ nan"),
        ("≈ 2.5", "≈ inf"),
        ("≈ 2.5", "≈ 2.5 ± nan"),
        ("≈ 2.5 ± 0.3", "≈ 2.5"),
        ("2.5 nats", "2.6 nats"),
        ("≈ 2.5 of 100", "≈ 2.5 of 101"),
        ("≈ 2.5 to 3.5", "≈ 2.5 to 3.6"),
        ("≈ 2.5-3.5", "≈ 2.5-3.6"),
        ("≈ 2.5", "2.5"),
        ("2.5 ± 0.3", "2.5 ± 0.4"),
    ],
)
def test_anything_else_may_not(stored, now):
    assert sanitized(stored) != sanitized(now)


# A number, or a word that stands for one. "Than a nat", but not "within a batch".
NUMBER = (
    r"(?:(?:about|roughly|some|only|just|the) )?(?:[-+−≈~]?\s?\.?\d|(?:an? )?(?:half|third|quarter|"
    r"tenth|hundredth|thousandth|millionth|billionth|percent|nats?|dozen|hundred|thousand|million|"
    r"one|two|three|four|five|six|seven|eight|nine|ten|twelve|twenty|fifty|twice|once)\b)"
)
THRESHOLD = re.compile(
    rf"\b(?:more|less|fewer|higher|lower|under|over|below|above) than (?:an? |{NUMBER})"
    rf"|\b(?:\w+er|worse) than {NUMBER}"
    rf"|\bat (?:least|most) (?:an? |{NUMBER})"
    # "above 100: 9.43 ± 1.91 nats" names a group, of which the number is printed
    rf"|\b(?:within|below|above|beyond|exceeds?|exceeding) {NUMBER}(?![\d.,]*: )",
    re.I,
)
SIGN = re.compile(r"(?<![-=<>])[<>≤≥]=?\s?[-+−]?\.?\d")


def texts(cell):
    """What a reader sees as text below a cell; scripts and the pictures of figures are none."""
    for output in cell.outputs:
        yield output.get("text", "")
        data = output.get("data", {})
        if any(mime.startswith("image/") for mime in data):
            continue  # its text/plain is <Figure size 490x300>, which no page shows
        yield data.get("text/plain", "")
        yield data.get("text/markdown", "")
        markup = data.get("text/html", "")
        if "<script" not in markup and 'class="vae-' not in markup:
            yield re.sub("<[^>]*>", " ", markup)


def literals(source):
    """The strings of a cell, with 0 for what an f-string puts in.

    No docstrings and no messages of asserts: nobody sees them.
    """

    def strings(node):
        if isinstance(node, ast.Assert):
            yield from strings(node.test)
        elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return
        elif isinstance(node, ast.JoinedStr):
            parts = [part.value if isinstance(part, ast.Constant) else "0" for part in node.values]
            yield "".join(parts)
            for part in node.values:
                if isinstance(part, ast.FormattedValue):
                    yield from strings(part.value)
        elif isinstance(node, ast.Constant):
            if isinstance(node.value, str):
                yield node.value
        else:
            for child in ast.iter_child_nodes(node):
                yield from strings(child)

    yield from strings(ast.parse(source))


def thresholds(cell):
    """The thresholds that this cell prints, or would print."""
    if "shows-source" in tags(cell):
        return []  # it shows a function's code, with what that says when it refuses
    shown = " \n".join(texts(cell))
    found = [*THRESHOLD.finditer(shown), *SIGN.finditer(shown)]
    found += [match for text in literals(cell.source) for match in THRESHOLD.finditer(text)]
    return [match[0] for match in found]


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_a_number_is_printed_where_a_threshold_could_stand(path):
    found = {start(cell): thresholds(cell) for cell in code_cells(path)}
    assert {first: said for first, said in found.items() if said} == {}


def prints(text):
    return new_code_cell("run()", outputs=[new_output("stream", name="stdout", text=text)])


@pytest.mark.parametrize(
    "text",
    [
        "the gap is more than 3 times as large",
        "more than a nat",
        "less than 1e-12 of the largest term",
        "fewer than one in ten",
        "larger than 0.5",
        "at least 2 nats",
        "at least half a nat",
        "at most ≈ 3 nats",
        "at most a tenth of a nat",
        "Within 5 standard errors",
        "within four standard errors",
        "within a millionth of a nat",
        "all below 0.01",
        "above half a nat",
        "p < 0.01",
        "differ by ≤ 1e-6",
    ],
)
def test_a_threshold_is_recognised(text):
    assert thresholds(prints(text))
    table = new_output("display_data", data={"text/html": f"<table><td>{text}</td></table>"})
    if "<" not in text:
        assert thresholds(new_code_cell("run()", outputs=[table]))
        assert THRESHOLD.search(text) is None or thresholds(new_code_cell(f"print({text!r})"))


def test_a_threshold_is_recognised_in_what_a_cell_would_print():
    assert thresholds(new_code_cell('print(f"at most {worst:.1e} nats")'))
    assert thresholds(new_code_cell('print("more than", 3)')) == []  # its output has it
    assert thresholds(new_code_cell('if bad:\n    print("over than 2")'))


@pytest.mark.parametrize(
    "cell",
    [
        prints("third term 0.51 -> 0.23 nats, −2.5 ± 0.3"),
        prints("mean over 500 test digits: 2.51 nats, 12 of 500 under the grid"),
        prints("e^KL up to 100: 0.64 ± 0.21 nats\nabove 1,000: 9.43 ± 1.91 nats"),
        prints("more than the prior, within a batch, above the line, less than usual"),
        new_code_cell('assert error < 4, "more than 4 standard errors"'),
        new_code_cell('def f():\n    """At least 2 draws."""'),
        new_code_cell('print(f"{value:>8.2f} nats")  # at most 8'),
        new_code_cell("show_source(elbo)", metadata={"tags": ["shows-source"]}),
    ],
)
def test_other_words_are_free(cell):
    assert thresholds(cell) == []


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
def test_at_most_one_cell_in_five_prints_a_number_that_is_not_compared(path):
    cells = code_cells(path)
    printing = [start(cell) for cell in cells if re.search(r"≈|\\approx", " ".join(texts(cell)))]
    assert len(printing) <= len(cells) / 5, printing
