"""The digits inside the package: 1,797 real handwritten ones, for a first run without a network."""

from __future__ import annotations

from importlib import resources

import numpy as np
import numpy.typing as npt

from convolite._args import excerpt
from convolite.data.dataset import ArrayDataset
from convolite.data.idx import read_idx

SIDE = 28
_STORED_SIDE = 8
_LARGEST_VALUE = 16
_FOLD = 5  # of the images of each digit, every fifth is for testing


def load_digits(train: bool | None = None) -> ArrayDataset:
    """Load the UCI optical digits, enlarged from 8x8 to 28x28 pixels.

    Parameters
    ----------
    train : bool, optional
        None for all 1,797 images, True for the 1,442 to train with, False for the 355 to test
        with. Of the images of each digit, in the order of the files, every fifth is a test image;
        each of the writers is in both parts.

    Returns
    -------
    ArrayDataset
        ``images`` uint8 (N, 1, 28, 28), 0 is background and 255 is ink; ``labels`` int64 (N,).
        `DataLoader` and `Trainer` divide the pixels by 255.

    Raises
    ------
    TypeError
        If `train` is something else.

    Notes
    -----
    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
    Learning Repository, 1998 (CC BY 4.0), test part, in scikit-learn's order. Enlarged by bilinear
    interpolation with pixel centres at half-integers and the edge repeated, computed in integers.
    """
    if train is not None and not isinstance(train, (bool, np.bool_)):
        raise TypeError(f"load_digits: train must be True, False or None, got {excerpt(train)}")
    folder = resources.files("convolite.data") / "digits"
    with resources.as_file(folder / "images-idx3-ubyte.gz") as path:
        small = read_idx(path)
    with resources.as_file(folder / "labels-idx1-ubyte.gz") as path:
        labels = read_idx(path)
    images = _enlarge(small)[:, np.newaxis]
    if train is None:
        return ArrayDataset(images, labels)
    chosen = _is_test(labels) != train
    return ArrayDataset(images[chosen], labels[chosen])


def _is_test(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    is_test = np.zeros(len(labels), dtype=bool)
    for digit in range(10):
        is_test[np.flatnonzero(labels == digit)[_FOLD - 1 :: _FOLD]] = True
    return is_test


def _enlarge(small: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Images (N, 8, 8) of 0 ... 16 -> (N, 28, 28) of 0 ... 255, rounded to nearest."""
    weights = _bilinear_weights()
    one = int(weights[0].sum())
    # float64 holds these integers exactly, whatever the order of the additions.
    sums = (weights @ small.astype(np.float64) @ weights.T).astype(np.int64)
    largest = _LARGEST_VALUE * one * one
    pixels: npt.NDArray[np.uint8] = ((sums * 255 + largest // 2) // largest).astype(np.uint8)
    return pixels


def _bilinear_weights() -> npt.NDArray[np.float64]:
    """Matrix (28, 8): how much of each stored row goes into an enlarged one, in 56ths.

    Enlarged row i lies at (i + 1/2) * 8/28 - 1/2 = (16 i + 8 - 28) / 56 in stored rows.
    """
    denominator = 2 * SIDE
    weights = np.zeros((SIDE, _STORED_SIDE))
    for i in range(SIDE):
        above, part = divmod(2 * _STORED_SIDE * i + _STORED_SIDE - SIDE, denominator)
        weights[i, max(above, 0)] += denominator - part
        weights[i, min(above + 1, _STORED_SIDE - 1)] += part
    return weights
