"""What all tests share, notebooks included."""

import os
import shutil
from pathlib import Path

# on a new machine the first import prints: better here than in a chapter's cell
import matplotlib.font_manager  # noqa: F401
import pytest

ROOT = Path(__file__).resolve().parent


def pytest_addoption(parser):
    parser.addoption(
        "--no-source-cells",
        action="store_true",
        help="do not compare notebook cells tagged shows-source: they go red at any edit",
    )


def pytest_configure(config):
    if hasattr(config.option, "nbval_sanitize_with") and not config.option.nbval_sanitize_with:
        config.option.nbval_sanitize_with = str(ROOT / "tests" / "sanitize.cfg")


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


# not longer than a module: while it lives, the main thread has an event loop that runs
@pytest.fixture(scope="module")
def browser():
    """A Chromium. Without one the test is skipped, or fails if VAE_REQUIRE_BROWSER is set."""
    names = ("chromium", "chromium-browser", "google-chrome")
    chromium = next(filter(None, map(shutil.which, names)), None)
    if chromium is None:
        if os.environ.get("VAE_REQUIRE_BROWSER"):
            pytest.fail("there is no Chromium on this machine", pytrace=False)
        pytest.skip(
            "there is no Chromium on this machine (Debian and Ubuntu: apt install chromium)"
        )
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(
            executable_path=chromium,
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        yield opened
        opened.close()
