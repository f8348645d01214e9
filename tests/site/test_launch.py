"""The launch buttons of a built page take their address from the git remote, never its token."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
LAB = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3}
---
# A page

```{code-cell} ipython3
class Lab:
    def _repr_html_(self):
        return '<p class="vae-lab">A lab.</p>'

Lab()
```
"""


def built(folder, remote):
    """A page, with our configuration and this remote, and what its build said."""
    (folder / "book").mkdir()
    for name in ("_ext", "_static"):
        shutil.copytree(
            ROOT / "book" / name,
            folder / "book" / name,
            ignore=shutil.ignore_patterns("__pycache__"),
        )
    shutil.copy(ROOT / "_config.yml", folder)
    (folder / "book" / "references.bib").write_text("", encoding="utf-8")
    (folder / "_toc.yml").write_text("format: jb-book\nroot: book/page\n", encoding="utf-8")
    (folder / "book" / "page.md").write_text(LAB, encoding="utf-8")
    subprocess.run(["git", "init", "-q", folder], check=True)
    if remote:
        subprocess.run(["git", "-C", folder, "remote", "add", "origin", remote], check=True)
    command = [str(Path(sys.executable).with_name("jupyter-book")), "build", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr[-2000:]
    return (folder / "_build" / "html" / "book" / "page.html").read_text(
        encoding="utf-8"
    ), done.stdout + done.stderr


@pytest.mark.slow
def test_a_fork_launches_itself_and_keeps_its_token(tmp_path):
    page, _ = built(tmp_path, "https://someone:ghp_secret@github.com/a-fork/of-this.git")
    links = set(re.findall(r'href="(https://[^"]+)"', page))
    assert "https://github.com/a-fork/of-this" in links
    launch = [
        link
        for link in links
        if link.startswith(
            "https://mybinder.org/v2/gh/a-fork/of-this/main?urlpath=lab/tree/book/page"
        )
    ]
    assert (
        launch
        and 'A lab. <a href="https://mybinder.org/v2/gh/a-fork/of-this/main?urlpath=lab/tree/book/page.ipynb">'
        in page
    )
    assert "ghp_secret" not in page and "someone" not in page


@pytest.mark.slow
def test_without_a_public_remote_there_are_no_buttons_and_a_hint(tmp_path):
    page, said = built(tmp_path, "")
    assert "mybinder" not in page and "https://github.com" not in page
    assert "no public git remote named origin" in said and "WARNING: " not in said.replace(
        "IPKernelApp] WARNING", ""
    )
