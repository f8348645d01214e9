"""Check cells are folded under what they verify: readable aloud, by the keyboard, on paper."""

import html
import os
import re
from pathlib import Path

import nbformat
import pytest

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "_build" / "html"
TITLE = re.compile(r'<summary><span class="fold-title">(.*?)</span></summary>')
PAGE = """---
jupytext: {text_representation: {extension: .md, format_name: myst}}
kernelspec: {name: python3, display_name: Python 3}
---
# A page

```{code-cell} ipython3
:tags: [check, claim-P3]
# Check: one and one is two, & that is < 3
total = 1 + 1
print(f"the sum is {total}")
assert total == 2
```

```{code-cell} ipython3
:tags: [hide-input]
print("an ordinary fold")
```
"""


def titles(page):
    return [html.unescape(title) for title in TITLE.findall(page)]


@pytest.mark.slow
def test_a_check_cell_is_one_line_until_it_is_opened_or_printed(built, browser, tmp_path):
    source, _ = built(PAGE)
    assert titles(source) == ["Check: one and one is two, & that is < 3"]
    page = browser.new_page()
    page.goto((tmp_path / "_build" / "html" / "book" / "page.html").as_uri(), wait_until="load")
    fold, printed = page.locator("div.tag_check details"), page.get_by_text("the sum is 2")
    code = fold.locator(".cell_input")
    assert fold.locator("summary").is_visible()
    assert not code.is_visible() and not printed.is_visible()
    # what a screen reader says: the text itself, for no label stands in its place
    said = fold.locator("summary").aria_snapshot()
    assert "Check: one and one is two" in said and "Toggle" not in said

    fold.locator("summary").focus()
    page.keyboard.press("Enter")
    assert code.is_visible() and printed.is_visible()
    page.keyboard.press("Enter")
    assert not code.is_visible()

    page.emulate_media(media="print")
    assert code.is_visible() and printed.is_visible()
    page.close()


@pytest.mark.slow
def test_a_check_cell_that_does_not_say_what_it_verifies_is_a_warning(built):
    _, said = built(PAGE.replace("# Check: one", "# one"))
    assert "WARNING: a check cell must begin with '# Check: ...'" in said


def test_built_chapters_show_the_titles_of_their_check_cells():
    if not (SITE / "index.html").exists():
        if os.environ.get("VAE_REQUIRE_PAGES"):
            pytest.fail("there is no built book: run `make book` first", pytrace=False)
        pytest.skip("there is no built book: `make book` makes it")
    for path in sorted((ROOT / "book").glob("*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        checks = [cell for cell in cells if "check" in cell.metadata.get("tags", [])]
        firsts = [cell.source.strip().split("\n")[0].removeprefix("#").strip() for cell in checks]
        page = SITE / "book" / f"{path.stem}.html"
        if page.exists():
            assert titles(page.read_text(encoding="utf-8")) == firsts, path.stem
