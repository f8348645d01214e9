"""What the pages take from git: buttons from the public remote, and the commit of this copy."""

import re
import subprocess

from sphinx.util import logging

logger = logging.getLogger(__name__)

HOST = re.compile(
    r"(?:(?:https?|ssh|git)://)?(?:[^@/]*@)?(github\.com|gitlab\.com)"
    r"(?::\d+)?[:/]([\w.-]+/[\w.-]+?)(?:\.git)?/?"
)


def public_address(remote):
    """https://host/owner/name of a remote on a public host, without user or token; else None."""
    match = HOST.fullmatch(remote.strip())
    return f"https://{match[1]}/{match[2]}" if match else None


def git(folder, *command):
    """What git says in this folder.

    Nothing where there is no git, no clone, or a copy that lies inside another clone.
    """
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
            "no public git remote named origin, so the pages get no repository and launch buttons"
        )
        return
    options |= {"repository_url": address, "repository_branch": "main", "path_to_docs": ""}
    options |= {"use_repository_button": True, "use_issues_button": True}
    if "//github.com/" in address:  # the theme cannot send other hosts to Binder
        options["launch_buttons"] = {
            "notebook_interface": "jupyterlab",
            "binderhub_url": "https://mybinder.org",
        }


def set_commit(app, config):
    """{{ commit }} for the page that says how this copy was made."""
    commit = git(app.srcdir, "rev-parse", "--short=10", "HEAD") or "unknown"
    changed = git(app.srcdir, "status", "--porcelain", "--untracked-files=no")
    changes = ", with changes that are not committed" if changed else ""
    config.myst_substitutions["commit"] = commit + changes


def launch_labs(app, pagename, templatename, context, doctree):
    """Where a chapter can be launched, the sentence in its lab's place gets a link that does it."""
    options = app.config.html_theme_options
    if "launch_buttons" in options and "vae-lab" in context.get("body", ""):
        host = options["launch_buttons"]["binderhub_url"]
        name = options["repository_url"].removeprefix("https://github.com/")
        branch = options["repository_branch"]
        address = f"{host}/v2/gh/{name}/{branch}?urlpath=lab/tree/{pagename}.ipynb"
        context["body"] = re.sub(
            r'(<p class="vae-lab">.*?)(</p>)',
            rf'\1 <a href="{address}">Launch this chapter in Binder.</a>\2',
            context["body"],
        )


def setup(app):
    app.connect("config-inited", set_buttons)
    app.connect("config-inited", set_commit)
    app.connect("html-page-context", launch_labs)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
