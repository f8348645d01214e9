"""Fixtures of the unit tests."""

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch

from vae_core import load_digits

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def gen():
    """A function that makes a generator from a seed."""
    return lambda seed: torch.Generator().manual_seed(seed)


@pytest.fixture(scope="session")
def digits():
    """The 4,000 real training images, `[4000, 784]`."""
    return load_digits("train").images


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")
