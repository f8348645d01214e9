"""A book of one page, built by our configuration."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def built(tmp_path):
    """A function that builds this page with this remote; it gives the HTML, and what was said.

    The page and what it loads are in `_build/html` of the test's own folder.
    """

    def build(page, remote=""):
        (tmp_path / "book").mkdir()
        for name in ("_ext", "_static"):
            shutil.copytree(
                ROOT / "book" / name,
                tmp_path / "book" / name,
                ignore=shutil.ignore_patterns("__pycache__"),
            )
        shutil.copy(ROOT / "_config.yml", tmp_path)
        (tmp_path / "book" / "references.bib").write_text("", encoding="utf-8")
        (tmp_path / "_toc.yml").write_text("format: jb-book\nroot: book/page\n", encoding="utf-8")
        (tmp_path / "book" / "page.md").write_text(page, encoding="utf-8")
        subprocess.run(["git", "init", "-q", tmp_path], check=True)
        if remote:
            subprocess.run(["git", "-C", tmp_path, "remote", "add", "origin", remote], check=True)
        command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(tmp_path)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr[-2000:]
        html = (tmp_path / "_build" / "html" / "book" / "page.html").read_text(encoding="utf-8")
        return html, done.stdout + done.stderr

    return build
