"""The stored chapters: executed, compared, described, and every claim of the post asserted."""

import ast
import configparser
import re
from pathlib import Path

import nbformat
import pytest
from helpers import load
from lengths import LIMITS

ROOT = Path(__file__).resolve().parents[2]
BOOK = ROOT / "book"
CHAPTERS = sorted(BOOK.glob("*.ipynb"))
NOT_COMPARED = {"nbval-ignore-output", "nbval-skip"}
CLAIMS = {  # the claims of the post, and the chapters that may hold their cell
    "P1": ["likelihood_decomposition"],
    "P2": ["likelihood_decomposition"],
    "P3": ["likelihood_decomposition"],
    "P4": ["likelihood_decomposition", "training_pipeline"],
    "P5": ["likelihood_decomposition", "training_pipeline"],
    "P6": ["intractable_posterior"],
    "P7": ["intractable_posterior"],
    "P8": ["training_pipeline"],
    "P9": ["training_pipeline"],
    "P10": ["training_pipeline"],
    "P11": ["reparameterization"],
    "P12": ["reparameterization"],
}

store = load("book/_tools/store")


def code_cells(path):
    return [cell for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def tags(cell):
    return set(cell.metadata.get("tags", []))


def pictures(cell):
    return [mime for o in cell.outputs for mime in o.get("data", {}) if mime.startswith("image/")]


def start(cell):
    return cell.source.strip().split("\n")[0]


def asserts(cell):
    """Whether it asserts something, at any depth; a comment or a string that says so does not."""
    return any(isinstance(node, ast.Assert) for node in ast.walk(ast.parse(cell.source)))


def is_sentence(text):
    return bool(re.match(r"[A-Z0-9“\"].*[.?!]$", text, re.S)) and len(text.split()) >= 6


def test_there_are_chapters():
    assert {name for names in CLAIMS.values() for name in names} <= {path.stem for path in CHAPTERS}


@pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)
class TestStoredChapter:
    def test_every_code_cell_was_executed_in_order(self, path):
        # nbval runs a cell without a count and compares nothing
        assert [cell.execution_count for cell in code_cells(path)] == list(
            range(1, len(code_cells(path)) + 1)
        )

    def test_at_most_one_cell_in_ten_is_not_compared(self, path):
        cells = code_cells(path)
        skipped = [start(cell) for cell in cells if tags(cell) & NOT_COMPARED]
        assert len(skipped) <= len(cells) / 10, skipped

    def test_nbval_is_told_by_tags_not_by_comments(self, path):
        # a comment is printed in the book, and test_at_most_one_cell_in_ten counts tags
        assert not [
            start(cell)
            for cell in code_cells(path)
            if re.search(r"^\s*#\s*(NBVAL|PYTEST_VALIDATE)_", cell.source, re.M)
        ]

    def test_outputs_are_the_same_on_any_machine(self, path):
        assert store.problems(nbformat.read(path, as_version=4)) == []

    def test_it_is_stored_by_make_notebooks(self, path):
        stored = path.read_text(encoding="utf-8")
        assert stored == nbformat.writes(store.clean(nbformat.read(path, as_version=4))) + "\n"

    def test_every_figure_is_described(self, path):
        told = []
        for cell in code_cells(path):
            if pictures(cell):
                alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
                assert is_sentence(alt), (
                    f"{start(cell)!r} draws a figure; its mystnb.image.alt is {alt!r}"
                )
                told.append(alt)
        assert len(told) == len(set(told)), "two figures with the same description"

    def test_a_check_cell_says_what_it_verifies_asserts_and_draws_nothing(self, path):
        for cell in code_cells(path):
            if "check" in tags(cell):
                assert re.fullmatch(r"# Check: \S+( \S+){3,}", start(cell)), (
                    f"the first line of a check cell is {start(cell)!r}, "
                    "and not '# Check: <what it verifies, a full clause>'"
                )
                assert asserts(cell), f"{start(cell)!r} asserts nothing"
                assert not pictures(cell), f"{start(cell)!r} draws a figure, which nobody would see"
            else:
                assert not start(cell).startswith("# Check"), f"{start(cell)!r} lacks the tag check"

    def test_one_cell_seeds_the_global_generator_and_it_is_the_first_that_computes(self, path):
        # the first cell of all may draw the chapter's picture
        seeds = [
            i for i, cell in enumerate(code_cells(path)) if "torch.manual_seed(" in cell.source
        ]
        assert seeds in ([], [0], [1])


def test_figures_are_sanitized_before_they_are_compared():
    settings = configparser.RawConfigParser()
    settings.read(ROOT / "tests" / "sanitize.cfg", encoding="utf-8")
    section = settings["figures"]
    drawn = '<svg width="1"><path d="M 1\n2"/></svg>'
    told = re.sub(section["regex"], section["replace"], f"before {drawn} between {drawn}")
    assert told == "before (a figure) between (a figure)"


def test_the_text_of_a_figure_is_no_output_that_must_not_be_stored():
    data = {"image/svg+xml": "<svg>-0.0 /tmp/a 12:00:00</svg>", "text/plain": "a figure"}
    output = nbformat.v4.new_output("display_data", data)
    cell = nbformat.v4.new_code_cell("draw()", outputs=[output])
    assert store.problems(nbformat.v4.new_notebook(cells=[cell])) == []
    output.data["text/plain"] = "-0.0"
    assert len(store.problems(nbformat.v4.new_notebook(cells=[cell]))) == 1


@pytest.mark.parametrize("claim", CLAIMS)
def test_claim_is_asserted(claim):
    cells = [
        cell
        for path in CHAPTERS
        if path.stem in CLAIMS[claim]
        for cell in code_cells(path)
        if f"claim-{claim}" in tags(cell)
    ]
    assert cells, f"no cell of {CLAIMS[claim]} is tagged claim-{claim}"
    assert any(map(asserts, cells)), f"the cells tagged claim-{claim} assert nothing"


def test_docstrings_name_equations_that_the_chapters_have():
    """Docstrings say "Chapter 1, equation (elbo)": an equation of that chapter has that label."""
    names = [name for name in LIMITS if name != "larger_runs"]
    chapters = dict(enumerate(names, 1))
    there = {}
    for number, name in chapters.items():
        text = (BOOK / f"{name}.ipynb").read_text(encoding="utf-8")
        there[number] = set(re.findall(r"\$\$ \(([\w-]+)\)", text))
    folders = [ROOT / "vae_core", BOOK, *(BOOK / name for name in ("deeper", "drawing", "live"))]
    named = [
        (path.name, int(chapter), label)
        for path in sorted(path for folder in folders for path in folder.glob("*.py"))
        for chapter, labels in re.findall(
            r"Chapter (\d+), equations? ((?:\([\w-]+\)(?: and )?)+)",
            " ".join(path.read_text(encoding="utf-8").split()),
        )
        for label in re.findall(r"\(([\w-]+)\)", labels)
    ]
    assert len(named) >= 12
    assert [entry for entry in named if entry[2] not in there[entry[1]]] == []
