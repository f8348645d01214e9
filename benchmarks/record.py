"""What every stored record says of how it came about, and the command line that scripts share."""

import argparse
import os
import platform
from datetime import date
from pathlib import Path

import torch


def circumstances() -> dict:
    """When, with what, and on how many cores and threads."""
    versions = {"torch": torch.__version__.split("+")[0], "python": platform.python_version()}
    counts = {"cores": os.cpu_count(), "threads": torch.get_num_threads()}
    return {"date": date.today().isoformat(), "versions": versions, **counts}


def arguments(description: str, root: bool = False) -> argparse.ArgumentParser:
    """A parser that prints a script's text as it stands; `root`: the folder of MNIST."""
    kind = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=description, formatter_class=kind)
    if root:
        parser.add_argument(
            "--root", type=Path, default=Path("data"), help="folder of MNIST (default: data)"
        )
    return parser
