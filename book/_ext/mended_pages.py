"""Pages that need no network and no kernel, without the slips of others."""

import re
import shutil
import sys
from importlib.metadata import distribution
from pathlib import Path

# on a new machine the first import prints: better here than in a chapter's cell
import matplotlib.font_manager  # noqa: F401

MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg-full.js"


def drop_widget_state(app, env):
    """A widget without a kernel is dead, so no page carries its state."""
    for metadata in getattr(env, "nb_metadata", {}).values():
        metadata.get("js_files", {}).pop("ipywidgets_state", None)


def mend_markup(app, pagename, templatename, context, doctree):
    """Mend two slips of others.

    sphinx-exercise gives every exercise of a page the same id for its content, which no link uses;
    docutils calls the references a list whose children are no list items.
    """
    if "body" in context:
        body = re.sub(r' id="(exercise|solution)-content"', "", context["body"])
        context["body"] = body.replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )


def copy_mathjax(app, exception):
    """One file in place of the package's 24 MB; mathjax_path in _config.yml names it."""
    if exception is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / app.config.mathjax_path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(distribution("sphinx-mathjax-offline").locate_file(MATHJAX), target)


def setup(app):
    # drawing, live and labs, for the page on the code
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
    app.connect("env-updated", drop_widget_state)
    app.connect("html-page-context", mend_markup)
    app.connect("build-finished", copy_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
