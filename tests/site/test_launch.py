"""The launch buttons of a built page take their address from the git remote, never its token."""

import re

import pytest

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


@pytest.mark.slow
def test_a_fork_launches_itself_and_keeps_its_token(built):
    page, _ = built(LAB, "https://someone:ghp_secret@github.com/a-fork/of-this.git")
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
def test_without_a_public_remote_there_are_no_buttons_and_a_hint(built):
    page, said = built(LAB)
    assert "mybinder" not in page and "https://github.com" not in page
    assert "no public git remote named origin" in said and "WARNING: " not in said.replace(
        "IPKernelApp] WARNING", ""
    )
