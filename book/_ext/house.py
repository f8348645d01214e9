"""What this book adds to Sphinx: maths without a network, buttons from the git remote, the versions of this copy."""

import platform
import re
import shutil
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, distribution, version
from pathlib import Path

import matplotlib.font_manager  # noqa: F401  on a new machine the first import prints; better here than in a chapter's cell
from sphinx.util import logging

logger = logging.getLogger(__name__)

MATHJAX = "sphinx-mathjax-offline/static/mathjax/tex-svg-full.js"
PACKAGES = ("torch", "torchvision", "numpy", "matplotlib", "jupyter-book", "Sphinx", "vae_core")
HOST = re.compile(
    r"(?:(?:https?|ssh|git)://)?(?:[^@/]*@)?(github\.com|gitlab\.com)(?::\d+)?[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?"
)


def public_address(remote):
    """https://host/owner/name of a git remote on a public host, without user or token; None for any other remote."""
    match = HOST.fullmatch(remote.strip())
    return f"https://{match[1]}/{match[2]}" if match else None


def git(folder, *command):
    """What git says in this folder, or nothing: no git, not a clone, or a copy that lies inside another clone."""
    try:
        prefix, answer = (
            subprocess.run(
                ["git", "-C", folder, *words], capture_output=True, text=True, check=True
            ).stdout.strip()
            for words in (("rev-parse", "--show-prefix"), command)
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return "" if prefix else answer


def set_buttons(app, config):
    """Repository, issue and launch buttons where the clone has a public remote; none otherwise."""
    options = config.html_theme_options
    for name in ("repository_url", "repository_branch", "path_to_docs", "launch_buttons"):
        options.pop(name, None)
    address = public_address(git(app.srcdir, "remote", "get-url", "origin"))
    if address is None:
        logger.info(
            "house: no public git remote named origin, so the pages get no repository and launch buttons"
        )
        return
    options |= {"repository_url": address, "repository_branch": "main", "path_to_docs": ""}
    options |= {"use_repository_button": True, "use_issues_button": True}
    if "//github.com/" in address:  # the theme cannot send other hosts to Binder
        options["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
        }


def set_versions(app, config):
    """{{ versions }} and {{ commit }} for the page that says how this copy was made."""
    rows = [
        "| part | version |",
        "| --- | --- |",
        f"| Python | {platform.python_version()} |",
        f"| system | {platform.system()} {platform.machine()} |",
    ]
    for package in PACKAGES:
        try:
            rows.append(f"| {package} | {version(package)} |")
        except PackageNotFoundError:
            continue
    config.myst_substitutions["versions"] = "\n".join(rows)
    commit = git(app.srcdir, "rev-parse", "--short=10", "HEAD")
    changed = git(app.srcdir, "status", "--porcelain", "--untracked-files=no")
    config.myst_substitutions["commit"] = (commit or "unknown") + (
        ", with changes that are not committed" if changed else ""
    )


def launch_labs(app, pagename, templatename, context, doctree):
    """Beside the sentence that stands in a lab's place: a link that launches this chapter, where it can be launched."""
    options = app.config.html_theme_options
    if "launch_buttons" in options and "vae-lab" in context.get("body", ""):
        host, name = (
            options["launch_buttons"]["binderhub_url"],
            options["repository_url"].removeprefix("https://github.com/"),
        )
        address = (
            f"{host}/v2/gh/{name}/{options['repository_branch']}?urlpath=lab/tree/{pagename}.ipynb"
        )
        context["body"] = re.sub(
            r'(<p class="vae-lab">.*?)(</p>)',
            rf'\1 <a href="{address}">Launch this chapter in Binder.</a>\2',
            context["body"],
        )


def drop_widget_state(app, env):
    """A widget without a kernel is dead, so no page carries its state."""
    for metadata in getattr(env, "nb_metadata", {}).values():
        metadata.get("js_files", {}).pop("ipywidgets_state", None)


def mend_markup(app, pagename, templatename, context, doctree):
    """Mend two slips of others.

    sphinx-exercise gives every exercise of a page the same id for its content, which no link uses; docutils calls the
    references a list whose children are no list items.
    """
    if "body" in context:
        context["body"] = re.sub(r' id="(exercise|solution)-content"', "", context["body"])
        context["body"] = context["body"].replace(
            '<div role="list" class="citation-list">', '<div class="citation-list">'
        )


def copy_mathjax(app, exception):
    """One file in place of the package's 24 MB; mathjax_path in _config.yml names it."""
    if exception is None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / app.config.mathjax_path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(distribution("sphinx-mathjax-offline").locate_file(MATHJAX), target)


def setup(app):
    sys.path.insert(
        0, str(Path(__file__).resolve().parent.parent)
    )  # drawing, live and labs, for the page on the code
    app.connect("config-inited", set_buttons)
    app.connect("config-inited", set_versions)
    app.connect("env-updated", drop_widget_state)
    app.connect("html-page-context", mend_markup)
    app.connect("html-page-context", launch_labs)
    app.connect("build-finished", copy_mathjax)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
