"""{{ versions }} for the page that says how this copy was made."""

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "torchvision", "numpy", "matplotlib", "jupyter-book", "Sphinx", "vae_core")


def set_versions(app, config):
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


def setup(app):
    app.connect("config-inited", set_versions)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
