"""The list of formulas made wrong fits the code, and the tool tells what notices them."""

import ast
import json
import shutil
import subprocess
from pathlib import Path

import mutants
import pytest
from nbformat.v4 import new_code_cell, new_notebook, new_output

ROOT = Path(__file__).resolve().parents[2]
LISTED = mutants.read_list(ROOT / "tests" / "mutants.toml")
CLAIMS = {f"P{number}" for number in range(1, 13)}


@pytest.mark.parametrize("mutant", LISTED, ids=lambda mutant: mutant.name)
def test_a_mutant_fits_its_file(mutant):
    text = (ROOT / mutant.file).read_text(encoding="utf-8")
    assert text.count(mutant.old) == 1, f"{mutant.file} has {mutant.old!r} not exactly once"
    changed = text.replace(mutant.old, mutant.new)
    if mutant.file.endswith(".py"):  # it says something else, and not by a comment or a docstring
        assert ast.dump(ast.parse(changed)) != ast.dump(ast.parse(text))
    assert changed != text and len(mutant.why.split()) >= 5 and mutant.why.endswith(".")
    assert mutant.claim is None or mutant.notebooks
    assert mutant.tests and all((ROOT / path).exists() for path in mutant.tests)


def test_the_list_covers_the_formulas_and_the_claims():
    names = [mutant.name for mutant in LISTED]
    assert len(names) >= 36 and len(set(names)) == len(names)
    assert {mutant.claim for mutant in LISTED if mutant.claim} == CLAIMS
    files = {mutant.file for mutant in LISTED}
    core = ("distributions", "likelihoods", "model", "objective", "grid", "training", "checkpoint")
    deeper = ("annealing", "linear", "gradients")
    assert files >= {f"vae_core/{name}.py" for name in core}
    assert files >= {f"book/deeper/{name}.py" for name in deeper}


def test_mutants_are_chosen_by_name_file_and_claim():
    def names(*patterns):
        return {mutant.name for mutant in mutants.chosen(LISTED, patterns)}

    assert names() == {mutant.name for mutant in LISTED}
    assert names("kl-without-half") == {"kl-without-half"}
    assert "kl-without-half" in names("P5") and "noise-by-variance" not in names("P5")
    assert names("*/grid.py") == {m.name for m in LISTED if m.file == "vae_core/grid.py"}
    assert names("nothing") == set()


LIST = """
[tests]
"vae_core/sums.py" = ["tests/core/test_sums.py"]
[claims]
P1 = ["first", "second"]

[[mutant]]
name = "minus"
file = "vae_core/sums.py"
old = "return a + b"
new = "return a - b"
why = "It takes away and does not add."
claim = "P1"

[[mutant]]
name = "other-file-notices"
file = "vae_core/sums.py"
old = "return 2 * a"
new = "return 3 * a"
why = "It is not noticed by the file's own tests."

[[mutant]]
name = "slow-one-notices"
file = "vae_core/sums.py"
old = "return 4 * a"
new = "return 5 * a"
why = "It is noticed by a slow test alone."

[[mutant]]
name = "nobody-notices"
file = "vae_core/sums.py"
old = "return 6 * a"
new = "return 7 * a"
why = "It is noticed by no test at all."
"""
MODULE = """def add(a, b):
    return a + b


def twice(a):
    return 2 * a


def four_times(a):
    return 4 * a


def six_times(a):
    return 6 * a
"""
OWN = """import pytest
from vae_core.sums import add, four_times

def test_add():
    assert add(2, 3) == 5

@pytest.mark.slow
def test_four_times():
    assert four_times(1) == 4
"""


@pytest.fixture
def tree(tmp_path, monkeypatch):
    """A small package with tests, and a list of mutants of it."""
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)
    files = {
        "vae_core/__init__.py": "",
        "vae_core/sums.py": MODULE,
        "tests/core/test_sums.py": OWN,
        "tests/core/test_others.py": "from vae_core.sums import twice\n\n"
        "def test_twice():\n    assert twice(2) == 4\n",
        "tests/sanitize.cfg": "",
        "tests/mutants.toml": LIST,
        "pyproject.toml": '[tool.pytest.ini_options]\nmarkers = ["slow: slow"]\n'
        'addopts = ["--nbval-current-env"]\npythonpath = ["."]\n',
        ".gitignore": "_build\n",
        "_build/large": "not copied",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text, encoding="utf-8")
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "book").mkdir()
    subprocess.run(["git", "init", "-q", tmp_path], check=True)
    return tmp_path


def write_chapter(tree, name, *cells):
    """A chapter whose cells are pairs: source and tags; each has printed 5."""
    five = new_output("stream", name="stdout", text="5\n")
    written = [
        new_code_cell(source, metadata={"tags": tags}, execution_count=1, outputs=[five])
        for source, tags in cells
    ]
    path = tree / "book" / f"{name}.ipynb"
    path.write_text(json.dumps(new_notebook(cells=written)), encoding="utf-8")


SHOWS = (
    "import inspect\nfrom vae_core.sums import add\n"
    "print(5 if 'a + b' in inspect.getsource(add) else 6)",
    ["shows-source"],
)
BLIND = ("print(5)", [])
COMPUTES = ("from vae_core.sums import add\nprint(add(2, 3))", [])


def test_what_is_ignored_is_not_copied(tree, tmp_path_factory):
    folder = tmp_path_factory.mktemp("copy")
    mutants.copy_tree(tree, folder)
    assert (folder / "vae_core" / "sums.py").read_text(encoding="utf-8") == MODULE
    assert not (folder / "_build").exists() and not (folder / ".git").exists()


@pytest.mark.slow
def test_survivors_are_named_and_the_tree_stays_as_it_was(tree, capsys):
    with pytest.raises(SystemExit, match="1 mutants survived, 0 are undecided"):
        mutants.main(["--tests-only", "--jobs", "1"], tree)
    said = capsys.readouterr().out
    assert "minus: fast: tests/core/test_sums.py::test_add" in said
    assert "other-file-notices: other fast: tests/core/test_others.py::test_twice" in said
    assert "slow-one-notices: slow: tests/core/test_sums.py::test_four_times" in said
    assert "nobody-notices: NO TEST NOTICED" in said
    assert "survived: nobody-notices" in said and said.count("survived: ") == 1
    assert (tree / "vae_core" / "sums.py").read_text(encoding="utf-8") == MODULE


@pytest.mark.slow
def test_a_claim_needs_a_chapter_that_computes(tree, capsys):
    write_chapter(tree, "first", SHOWS, BLIND)  # it shows another source, and proves nothing
    write_chapter(tree, "second", BLIND, COMPUTES)
    mutants.main(["--only", "P1"], tree)
    said = capsys.readouterr().out
    assert "test_add; second, cell 1: from vae_core.sums import add" in said
    assert "All 1 mutants were noticed." in said


def stubbed(monkeypatch, answers):
    """No pytest is run: for what contains a text, its answer is given; all else is green."""

    def run(copy, *arguments):
        changed = (copy.folder / "vae_core" / "sums.py").read_text(encoding="utf-8") != MODULE
        called = " ".join(["changed" if changed else "as it was", *arguments])
        for text, answer in answers.items():
            if text in called:
                return False, answer
        return True, ""

    monkeypatch.setattr(mutants.Copy, "run", run)


def test_a_claim_that_no_chapter_notices_is_a_survivor(tree, monkeypatch, capsys):
    write_chapter(tree, "first", SHOWS, BLIND)
    write_chapter(tree, "second", BLIND, SHOWS)
    nbval = "changed --nbval --no-source-cells book"
    red = {
        "changed -x": "FAILED tests/core/test_sums.py::test_add - assert",
        f"{nbval}/first.ipynb": "FAILED book/first.ipynb::Cell 0 - differ",
        f"{nbval}/second.ipynb": "FAILED book/second.ipynb::Cell 1 - differ",
    }
    stubbed(monkeypatch, red)
    with pytest.raises(SystemExit, match="1 mutants survived, 0 are undecided"):
        mutants.main(["--only", "P1"], tree)
    assert "test_sums.py::test_add; NO CHAPTER NOTICED" in capsys.readouterr().out
    (tree / "book" / "second.ipynb").unlink()
    with pytest.raises(SystemExit, match="0 mutants survived, 1 are undecided"):
        mutants.main(["--only", "P1"], tree)
    assert "there is no chapter second" in capsys.readouterr().out


def test_a_test_that_is_red_anyway_proves_nothing(tree, monkeypatch, capsys):
    always = "FAILED tests/core/test_always.py::test_no - assert 0"
    stubbed(monkeypatch, {"not slow tests/core tests/book": always, "test_always": always})
    (tree / "tests" / "book").mkdir()
    (tree / "tests" / "book" / "test_pages.py").touch()
    with pytest.raises(SystemExit, match="0 mutants survived, 1 are undecided"):
        mutants.main(["--tests-only", "--only", "other-file-notices"], tree)
    assert "test_always.py::test_no is red without the mutant, too" in capsys.readouterr().out
    stubbed(monkeypatch, {"as it was -m not slow": always})
    with pytest.raises(SystemExit, match="without any mutant a test is red"):
        mutants.main(["--tests-only"], tree)


@pytest.mark.slow
def test_a_mutant_that_is_no_python_proves_nothing(tree):
    path = tree / "tests" / "mutants.toml"
    path.write_text(LIST.replace("return a - b", "return a -"), encoding="utf-8")
    with pytest.raises(SystemExit, match="0 mutants survived, 1 are undecided"):
        mutants.main(["--tests-only", "--only", "minus"], tree)
    with pytest.raises(SystemExit, match="no mutant is called zero"):
        mutants.main(["--only", "zero"], tree)
