"""Data sets: what can be counted and indexed. Batches are cut from them in `gather`.

The common one, `ArrayDataset`, holds two arrays and is never copied; others only need
`__len__` and `__getitem__`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from convolite import _args
from convolite.data.sampling import draw_seed, epoch_order
from convolite.interop import numpys_array

Array = npt.NDArray[Any]
Indices = npt.NDArray[np.int64]

PIXEL_DTYPES = (np.uint8, np.float32, np.float64)


class Dataset(ABC):
    """Something with a length and numbered samples, each a pair (image, label).

    Derive from it, or pass any object with these two methods to `DataLoader`.
    """

    @abstractmethod
    def __len__(self) -> int:
        """Return the number of samples."""

    @abstractmethod
    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        """Return sample `index` as (image, label)."""


class ArrayDataset(Dataset):
    """Images and labels held as two arrays, which are not copied.

    Parameters
    ----------
    images : array_like, shape (N, C, H, W) or (N, ...)
        uint8 pixels, or float32 or float64 values.
    labels : array_like, shape (N,) or (N, ...)
        Integers become int64; floats, the targets of a regression, stay as they are.

    Raises
    ------
    ValueError
        If the lengths differ or an array has no axis.
    TypeError
        For other dtypes.
    """

    def __init__(self, images: Any, labels: Any) -> None:
        self.images: Array = _contiguous("images", images)
        if self.images.dtype not in PIXEL_DTYPES:
            raise TypeError(
                "ArrayDataset: images must be uint8, float32 or float64, "
                f"got {self.images.dtype} (images.shape = {self.images.shape})"
            )
        self.labels: Array = _contiguous("labels", labels)
        if np.issubdtype(self.labels.dtype, np.integer):
            self.labels = self.labels.astype(np.int64, copy=False)
        elif self.labels.dtype not in (np.float32, np.float64):
            raise TypeError(
                f"ArrayDataset: labels must be integers or floats, got {self.labels.dtype}"
            )
        if len(self.images) != len(self.labels):
            raise ValueError(
                f"ArrayDataset: images has {len(self.images)} samples but labels has "
                f"{len(self.labels)} (images.shape = {self.images.shape}, "
                f"labels.shape = {self.labels.shape})"
            )

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.images)

    def __getitem__(self, index: Any) -> tuple[Array, Any]:
        """Return image and label `index`, as stored; slices and index arrays work as well."""
        return self.images[index], self.labels[index]


class Subset(Dataset):
    """Some samples of another data set, in the order of `indices`.

    Raises
    ------
    TypeError, ValueError
        If `indices` are not integers, or not inside the data set.
    """

    def __init__(self, dataset: Any, indices: Sequence[int] | Array) -> None:
        self.dataset = require_dataset("Subset", dataset)
        try:
            chosen = np.asarray(indices)
        except ValueError:
            chosen = np.empty(0, object)[np.newaxis]
        if chosen.size == 0:
            chosen = chosen.astype(np.int64)
        if chosen.ndim != 1 or not np.issubdtype(chosen.dtype, np.integer):
            raise TypeError(
                f"Subset: indices must be a sequence of ints, got {_args.excerpt(indices)}"
            )
        self.indices: Indices = chosen.astype(np.int64)
        outside = (self.indices < 0) | (self.indices >= len(self.dataset))
        if outside.any():
            position = int(outside.argmax())
            raise ValueError(
                f"Subset: index {self.indices[position]} at position {position} is outside "
                f"[0, {len(self.dataset)})"
            )

    def __len__(self) -> int:
        """Return the number of chosen samples."""
        return len(self.indices)

    def __getitem__(self, index: Any) -> tuple[Any, Any]:
        """Return sample `index` of the subset."""
        place = _args.integer("Subset", "index", index)
        if not -len(self) <= place < len(self):
            raise IndexError(f"Subset: index {place} is out of range for {len(self)} samples")
        sample: tuple[Any, Any] = self.dataset[int(self.indices[place])]
        return sample


def random_split(
    dataset: Any, lengths: Sequence[int] | Sequence[float], seed: int | None = None
) -> list[Subset]:
    """Cut a data set into disjoint random parts.

    Parameters
    ----------
    dataset : Dataset or (images, labels)
    lengths : sequence of int or of float
        Sizes that add up to ``len(dataset)``, or fractions that add up to 1; what rounding down
        leaves over goes to the first parts, one each.
    seed : int, optional
        The same seed gives the same parts. Default: drawn from the global generator.

    Returns
    -------
    list of Subset

    Raises
    ------
    TypeError, ValueError
        If `dataset` is none, or the lengths do not add up.
    """
    dataset = require_dataset("random_split", dataset)
    count = len(dataset)
    sizes = _split_sizes(lengths, count)
    if seed is None:
        seed = draw_seed()
    order = epoch_order(_args.integer("random_split", "seed", seed), 0, count)
    ends = np.cumsum(sizes)
    return [Subset(dataset, order[end - size : end]) for end, size in zip(ends, sizes, strict=True)]


def as_dataset(op: str, data: Any, argument: str = "dataset") -> Any:
    """Return a data set as `require_dataset` does, if it holds a sample.

    Raises
    ------
    TypeError
        If it is none.
    ValueError
        If it holds no sample.
    """
    dataset = require_dataset(op, data, argument)
    if len(dataset) == 0:
        raise ValueError(f"{op}: {argument} is empty")
    return dataset


def require_dataset(op: str, data: Any, argument: str = "dataset") -> Any:
    """Return an ArrayDataset of a pair (images, labels), and any other data set as it is.

    A data set has a length and numbered samples, and is no text, array or mapping.

    Raises
    ------
    TypeError
        If it is anything else.
    """
    if isinstance(data, tuple) and len(data) == 2:
        return ArrayDataset(*data)
    unfit = hasattr(data, "dtype") or isinstance(data, (str, bytes, Mapping, type))
    if unfit or not (hasattr(data, "__len__") and hasattr(data, "__getitem__")):
        raise TypeError(
            f"{op}: {argument} must be a Dataset or a pair (images, labels), "
            f"got {_args.excerpt(data)}"
        )
    return data


def _contiguous(name: str, values: Any) -> Array:
    """The array itself where it is C-contiguous and of native byte order, else a copy that is."""
    array = numpys_array(values, "ArrayDataset", name)
    if array.ndim == 0:
        raise ValueError(f"ArrayDataset: {name} must have a sample axis, got a single value")
    return np.ascontiguousarray(array, dtype=array.dtype.newbyteorder("="))


def _split_sizes(lengths: Sequence[int] | Sequence[float], count: int) -> list[int]:
    given = _args.items("random_split", "lengths", lengths)
    values = [_args.finite("random_split", "lengths", value) for value in given]
    if any(value < 0 for value in values):
        raise ValueError(f"random_split: lengths must not be negative, got {_args.excerpt(given)}")
    if abs(sum(values) - 1.0) < 1e-9 and count != 1:
        sizes = [int(np.floor(value * count)) for value in values]
        for part in range(count - sum(sizes)):
            sizes[part % len(sizes)] += 1
        return sizes
    if sum(values) != count or any(value != int(value) for value in values):
        raise ValueError(
            f"random_split: lengths must be sizes that add up to {count} or fractions that add "
            f"up to 1, got {_args.excerpt(given)}"
        )
    return [int(value) for value in values]
