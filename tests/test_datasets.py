"""The built-in digits, idx files and MNIST: content, damaged files, where files are looked for."""

from __future__ import annotations

import gzip
import hashlib
import os
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from convolite import FormatError
from convolite.data import MNIST, channel_statistics, data_folder, load_digits, read_idx
from convolite.data.published import PublishedFile


def idx_bytes(array: Any, kind: int = 0x08) -> bytes:
    header = bytes([0, 0, kind, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape)
    return header + array.tobytes()


def published(name: str, array: Any) -> PublishedFile:
    return PublishedFile(name, hashlib.sha256(idx_bytes(array)).hexdigest(), array.shape)


IMAGES = np.arange(3 * 28 * 28, dtype=np.uint32).astype(np.uint8).reshape(3, 28, 28)
LABELS = np.array([7, 0, 9], np.uint8)


class TinyMNIST(MNIST):
    """MNIST with three images; everything else is the same."""

    train_files = (published("train-images-idx3-ubyte", IMAGES), published("labels", LABELS))
    test_files = (published("t10k-images-idx3-ubyte", IMAGES[1:]), published("t", LABELS[1:]))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONVOLITE_DATA", str(tmp_path / "elsewhere"))
    path = tmp_path / "files"
    path.mkdir()
    (path / "train-images-idx3-ubyte").write_bytes(idx_bytes(IMAGES))
    (path / "labels.gz").write_bytes(gzip.compress(idx_bytes(LABELS)))
    return path


def test_the_digits_are_1797_images_of_28x28():
    digits = load_digits()
    assert digits.images.shape == (1797, 1, 28, 28)
    assert digits.images.dtype == np.uint8
    assert digits.images.min() == 0
    assert digits.images.max() == 255
    counts = [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]  # as the UCI repository says
    assert np.bincount(digits.labels).tolist() == counts


def test_the_digits_are_split_evenly_and_completely():
    train, test = load_digits(True), load_digits(False)
    assert (len(train), len(test)) == (1442, 355)
    assert np.bincount(test.labels).min() >= 34
    together = np.concatenate([train.images, test.images]).reshape(1797, -1)
    everything = load_digits().images.reshape(1797, -1)
    assert sorted(map(bytes, together)) == sorted(map(bytes, everything))


def test_enlarging_is_bilinear_interpolation():
    """Against the definition, image by image and pixel by pixel."""
    stored = Path(load_digits.__code__.co_filename).parent / "digits" / "images-idx3-ubyte.gz"
    small = read_idx(stored)[17].astype(float)
    enlarged = load_digits().images[17, 0]
    for y, x in [(0, 0), (27, 27), (5, 13), (14, 14), (20, 3)]:
        v, u = (np.clip((p + 0.5) * 8 / 28 - 0.5, 0, 7) for p in (y, x))
        top, left = int(v), int(u)
        bottom, right = min(top + 1, 7), min(left + 1, 7)
        above = small[top, left] * (1 - u + left) + small[top, right] * (u - left)
        below = small[bottom, left] * (1 - u + left) + small[bottom, right] * (u - left)
        exact = (above * (1 - v + top) + below * (v - top)) * 255 / 16
        assert abs(enlarged[y, x] - exact) <= 0.5 + 1e-9


def test_statistics_are_those_of_the_delivered_floats(rng):
    images = rng.integers(0, 256, (2500, 2, 3, 3)).astype(np.uint8)
    mean, std = channel_statistics(images)
    floats = images / 255
    np.testing.assert_allclose(mean, floats.mean(axis=(0, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(std, floats.std(axis=(0, 2, 3)), rtol=1e-12)
    assert channel_statistics(np.full((2, 1, 3, 3), 51, np.uint8)) == ([0.2], [1.0])
    with pytest.raises(ValueError, match=r"^channel_statistics: images must have shape "):
        channel_statistics(images[:0])


@pytest.mark.parametrize(
    ("kind", "dtype"), [(8, ">u1"), (9, ">i1"), (11, ">i2"), (12, ">i4"), (13, ">f4"), (14, ">f8")]
)
@pytest.mark.parametrize("zipped", [False, True])
def test_idx_files_of_every_type_are_read(tmp_path, kind, dtype, zipped):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype)
    content = idx_bytes(array, kind)
    path = tmp_path / "some-idx"
    path.write_bytes(gzip.compress(content) if zipped else content)
    read = read_idx(path)
    assert read.dtype.isnative
    np.testing.assert_array_equal(read, array)


GOOD = idx_bytes(IMAGES)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "file ends after 0 bytes, within the idx header"),
        (GOOD[:9], "file ends after 9 bytes, within the idx header"),
        (b"\x89PNG" + GOOD, "not an idx file, it begins with 89 50 4e 47"),
        (b"\0\0\x07\3" + GOOD[4:], "not an idx file, it begins with 00 00 07 03"),
        (b"\0\0\x08\0" + GOOD[4:], "not an idx file, it begins with 00 00 08 00"),
        (GOOD[:-5], "header says 3x28x28 = 2352 bytes but 2347 follow"),
        (GOOD + b"!", "header says 3x28x28 = 2352 bytes but more follow"),
        (
            b"\0\0\x08\3" + struct.pack(">3I", 2**31, 2**31, 2**31),
            f"header says 2147483648x2147483648x2147483648 = {2**93} bytes but 0 follow",
        ),
        (gzip.compress(GOOD)[:-30], r"damaged gzip file \(Compressed file ended before .*\)"),
        (b"\x1f\x8b\x08\0rubbish that is no gzip", r"damaged gzip file \(.*\)"),
    ],
)
def test_damaged_idx_files_are_named(tmp_path, content, text):
    (tmp_path / "some-idx").write_bytes(content)
    with pytest.raises(FormatError, match=f"^some-idx: {text}$"):
        read_idx(tmp_path / "some-idx")


@pytest.mark.parametrize("root", ["", "parent", "environment"])
def test_files_are_found_in_root_root_mnist_and_the_data_folder(folder, monkeypatch, root):
    where: Any = folder
    if root:
        folder.rename(folder.with_name("mnist"))
        where = folder.parent
    if root == "environment":
        monkeypatch.setenv("CONVOLITE_DATA", str(where))
        where = None
    dataset = TinyMNIST(where)
    np.testing.assert_array_equal(dataset.images, IMAGES[:, np.newaxis])
    assert dataset.labels.tolist() == [7, 0, 9]
    assert dataset.labels.dtype == np.int64


def test_the_data_folder_is_in_the_cache_without_a_variable(monkeypatch):
    monkeypatch.delenv("CONVOLITE_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "some-cache")
    assert data_folder() == Path("some-cache/convolite")


def test_missing_files_are_named_with_the_ways_to_get_them(folder):
    (folder / "labels.gz").unlink()
    with pytest.raises(FileNotFoundError) as caught:
        TinyMNIST(folder)
    text = str(caught.value)
    assert text.startswith(f"MNIST: labels[.gz] not found in {folder}, {folder / 'mnist'}, ")
    assert "CONVOLITE_DATA" in text
    assert "--download" in text
    assert "\n" not in text
    with pytest.raises(FileNotFoundError, match=r"^MNIST: t10k-images-idx3-ubyte\[.gz\] and t"):
        TinyMNIST(folder, train=False)


def test_a_file_of_another_size_is_refused(folder):
    (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(IMAGES[:2]))
    text = "^train-images-idx3-ubyte: holds 2x28x28 values but must hold 3x28x28$"
    with pytest.raises(FormatError, match=text):
        TinyMNIST(folder)


def test_one_changed_pixel_is_noticed(folder):
    changed = IMAGES.copy()
    changed[1, 3, 5] ^= 1
    (folder / "train-images-idx3-ubyte").write_bytes(idx_bytes(changed))
    text = (
        r"^train-images-idx3-ubyte: content is not that of the published file "
        r"\(SHA-256 \w{64}, expected \w{64}\)$"
    )
    with pytest.raises(FormatError, match=text):
        TinyMNIST(folder)


def mnist_folder() -> Path | None:
    folders = [Path("../shared/data/mnist"), Path(__file__).parents[2] / "shared/data/mnist"]
    if named := os.environ.get("CONVOLITE_DATA"):
        folders.insert(0, Path(named) / "mnist")
    return next((folder for folder in folders if folder.is_dir()), None)


@pytest.mark.skipif(mnist_folder() is None, reason="MNIST is neither in CONVOLITE_DATA nor shared")
def test_the_published_files_pass_every_check():
    train, test = MNIST(mnist_folder()), MNIST(mnist_folder(), train=False)
    assert train.images.shape == (60000, 1, 28, 28)
    assert test.images.shape == (10000, 1, 28, 28)
    assert train.labels[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert test.labels[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]
