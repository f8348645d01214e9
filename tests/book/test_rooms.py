"""The pages about the package: the picture shows the imports, and the code on the page runs."""

import ast
import re
from pathlib import Path

import pytest
from helpers import load

ROOT = Path(__file__).resolve().parents[2]


def below(lines):
    """All that each module stands on, through others too."""
    found = {name: set(there) for name, there in lines.items()}
    for _ in found:
        for there in found.values():
            there |= {deep for name in there for deep in found.get(name, ())}
    return found


def test_the_picture_shows_the_imports():
    picture = (ROOT / "book/images/rooms.svg").read_text(encoding="utf-8")
    drawn, real = {}, {}
    for low, high in re.findall(r'data-from="(\w+)" data-to="(\w+)"', picture):
        drawn.setdefault(high, set()).add(low)
    for path in (ROOT / "vae_core").glob("[!_]*.py"):
        tree = [
            n
            for n in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(n, ast.ImportFrom)
        ]
        names = {
            name
            for n in tree
            for name in (
                [n.module] if n.module != "vae_core" else [f"vae_core.{a.name}" for a in n.names]
            )
        }
        real[path.stem] = {
            name.removeprefix("vae_core.") for name in names if name.startswith("vae_core.")
        }
    real, drawn = below(real), below(drawn)
    assert {name: there for name, there in real.items() if there} == {
        name: drawn[name] for name in real if real[name]
    }


@pytest.mark.slow
def test_the_code_on_the_package_page_runs(tmp_path, monkeypatch):
    page = (ROOT / "book/api.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"```python\n(.*?)```", page, re.S)
    own_models = load("tests/core/own_models")
    monkeypatch.chdir(tmp_path)
    names = dict(vars(own_models))
    exec(code.replace("epochs=30", "epochs=2").replace("samples=1000", "samples=20"), names)
    assert names["history"].epochs == 2 and (tmp_path / "own.pt").exists()
