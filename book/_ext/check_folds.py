"""A cell tagged `check` is folded under its first line, `# Check: <what it verifies>`."""

import re

from docutils import nodes
from sphinx.util import logging

logger = logging.getLogger(__name__)

FIRST_LINE = re.compile(r"#\s*(Check: \S.*?)\s*")
SUMMARY = re.compile(
    r'<summary aria-label="Toggle hidden content">\s*'
    r'<p class="collapsed admonition-title">(Check: .*?)</p>\s*'
    r'<p class="expanded admonition-title">.*?</p>\s*</summary>'
)


def title(source):
    """`Check: <what it verifies>`, from the first line of a cell; None if it has no such line."""
    match = FIRST_LINE.fullmatch(source.lstrip().split("\n")[0])
    return match[1] if match else None


def fold_checks(app, doctree):
    """Let MyST-NB fold the whole cell, code and output, and give it the first line as title."""
    for cell in doctree.findall(nodes.container):
        if cell.get("nb_element") != "cell_code" or "tag_check" not in cell["classes"]:
            continue
        said = title(cell.children[0].astext())
        if said is None:
            logger.warning("a check cell must begin with '# Check: ...'", location=cell)
            continue
        cell["hide_mode"] = "all"
        cell["prompt_show"] = cell["prompt_hide"] = said


def name_folds(app, pagename, templatename, context, doctree):
    """MyST-NB gives every fold a label that hides its title from screen readers: ours have none."""
    if "body" in context:
        context["body"] = SUMMARY.sub(
            r'<summary><span class="fold-title">\1</span></summary>', context["body"]
        )


def setup(app):
    app.connect("doctree-read", fold_checks)
    app.connect("html-page-context", name_folds)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
