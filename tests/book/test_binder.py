"""Binder: its files are complete in themselves, and repo2docker makes of them what we expect."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LISTED = [
    line
    for line in (ROOT / "binder" / "requirements.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


@pytest.fixture(scope="module")
def dockerfile():
    """What repo2docker would build; no engine is needed to say it."""
    command = [sys.executable, "-m", "repo2docker", "--no-build", "--no-run", "--debug", str(ROOT)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout + done.stderr


def test_the_dockerfile_takes_our_python_and_our_list(dockerfile):
    python = (ROOT / "binder" / "runtime.txt").read_text(encoding="utf-8").strip()
    assert python == "python-3.12"
    # its name for the base environment of Python 3.12
    assert "environment-2epy-2d3-2e12" in dockerfile
    assert re.findall(r"pip install .*", dockerfile) == [
        'pip install --no-cache-dir -r "binder/requirements.txt"'
    ]


def test_the_list_is_installed_after_the_repository_is_there(dockerfile):
    """The list names files of the repository: the pinned versions, and the package itself."""
    assert "-c ../constraints.txt" in LISTED and "-e ." in LISTED
    assert dockerfile.index("COPY --chown=0:0 src/ ${REPO_DIR}/") < dockerfile.index(
        'pip install --no-cache-dir -r "binder/requirements.txt"'
    )


def test_it_takes_the_cpu_build_of_torch_and_a_lab_that_reads_myst():
    assert LISTED[0] == "--extra-index-url https://download.pytorch.org/whl/cpu"
    assert {"torch", "torchvision", "ipywidgets"} <= set(LISTED) and any(
        line.startswith("jupyterlab-myst==") for line in LISTED
    )


def test_nothing_of_the_tests_and_the_build_is_installed():
    assert not {"jupyter-book", "pytest", "nbval", "playwright"} & {
        re.split("[=<>]", line)[0] for line in LISTED
    }


def test_everything_that_chapters_and_package_import_is_listed():
    book = ROOT / "book"
    rooms = [path.parent for path in book.glob("[a-z]*/__init__.py")]
    modules = [*book.glob("*.py"), *(path for room in rooms for path in room.glob("*.py"))]
    imports, own = set(), {"vae_core", *(path.stem for path in (*book.glob("*.py"), *rooms))}
    for path in [*(ROOT / "vae_core").glob("*.py"), *modules, *book.glob("*.ipynb")]:
        found = re.findall(
            r'(?m)^\s*"?(?:import (\w+)|from (\w+)[\w.]* import )', path.read_text(encoding="utf-8")
        )
        imports |= {name for pair in found for name in pair if name}
    # matplotlib brings PIL, and ipywidgets IPython
    names = {"PIL": "matplotlib", "IPython": "ipywidgets"}
    names["matplotlib_inline"] = "ipywidgets"
    names["sklearn"] = "scikit-learn"
    needed = {names.get(name, name) for name in imports} - set(sys.stdlib_module_names) - own
    assert needed <= {re.split("[=<>]", line)[0] for line in LISTED}
