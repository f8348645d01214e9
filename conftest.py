"""What all tests share, notebooks included."""

import os
from pathlib import Path

import matplotlib.font_manager  # noqa: F401  on a new machine the first import prints; better here than in a chapter's cell
import pytest

ROOT = Path(__file__).resolve().parent


def pytest_addoption(parser):
    parser.addoption(
        "--no-source-cells",
        action="store_true",
        help="do not compare notebook cells tagged shows-source: they go red at any edit, so they prove nothing about a formula",
    )


def pytest_collection_modifyitems(config, items):
    if not config.getoption("--no-source-cells"):
        return
    for item in items:
        if "shows-source" in getattr(item, "cell", {}).get("metadata", {}).get("tags", []):
            item.options["check"] = False  # it still runs: later cells need what it imports


@pytest.fixture(scope="session")
def mnist_root():
    """The folder that holds all of MNIST as torchvision lays it out (MNIST/raw/*)."""
    named = os.environ.get("VAE_MNIST")
    root = Path(named) if named else ROOT.parent / "shared" / "data"
    if (root / "MNIST" / "raw").is_dir():
        return root
    if named:
        pytest.fail(f"VAE_MNIST={named} holds no MNIST/raw")
    pytest.skip("all of MNIST is not here; set VAE_MNIST to the folder that holds MNIST/raw")
