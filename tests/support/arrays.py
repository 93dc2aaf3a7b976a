"""Makes the input arrays of tests: exact integers, normal numbers, and awkward memory layouts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import DTypeLike, NDArray

Array = NDArray[Any]


def integers(
    rng: np.random.Generator,
    shape: tuple[int, ...],
    dtype: DTypeLike = np.float32,
    largest: int = 3,
) -> Array:
    """Whole numbers of -largest..largest, stored as `dtype`: their sums of products are exact."""
    return rng.integers(-largest, largest, shape, endpoint=True).astype(dtype)


def normals(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike = np.float32
) -> Array:
    """Numbers of the standard normal distribution (zero mean, unit variance)."""
    return rng.standard_normal(shape).astype(dtype)


def distinct(
    rng: np.random.Generator, shape: tuple[int, ...], dtype: DTypeLike = np.float64
) -> Array:
    """Different whole multiples of 1/8 around zero, shuffled, none of them zero.

    For gradient checks of functions with kinks (max pooling, ReLU): neighbours in value are 1/8
    apart and no value is nearer to zero than 1/16, so a small step crosses no kink.
    """
    size = int(np.prod(shape))
    values = (np.arange(size) - size // 2) / 8.0 + 1.0 / 16.0
    return rng.permutation(values).reshape(shape).astype(dtype)


def floats_of_every_size() -> Array:
    """About half a million float32: every 8191st bit pattern, so all exponents of both signs.

    Denormal numbers, infinities and NaN are among them.
    """
    patterns = np.arange(0, 2**32, 8191, dtype=np.uint64).astype(np.uint32)
    special = np.array([0.0, -0.0, np.inf, -np.inf, np.nan, 1.0, -1.0], np.float32)
    return np.concatenate([patterns.view(np.float32), special])


def awkward_layouts(array: Array) -> Iterator[tuple[str, Array]]:
    """Yields (name, copy) pairs: the values of `array` in memory layouts a user may hand in."""
    array = np.asarray(array)
    yield "fortran order", np.asfortranarray(array)
    yield "every second element", _every_second(array)
    yield "reversed", np.ascontiguousarray(array[..., ::-1])[..., ::-1] if array.ndim else array
    yield "byte-swapped", array.astype(array.dtype.newbyteorder("S"))
    yield "unaligned", _unaligned(array)
    yield "read-only", _read_only(array)


def _every_second(array: Array) -> Array:
    if array.ndim == 0:
        return array.copy()
    wide = np.zeros((*array.shape[:-1], 2 * array.shape[-1]), dtype=array.dtype)
    wide[..., ::2] = array
    return wide[..., ::2]


def _unaligned(array: Array) -> Array:
    storage = np.empty(array.nbytes + 1, dtype=np.uint8)
    copy = storage[1:].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _read_only(array: Array) -> Array:
    copy = array.copy()
    copy.flags.writeable = False
    return copy
