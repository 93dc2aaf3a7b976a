"""Making Tensors from other things, and arrays from Tensors: numbers, lists, DLPack, numpy.

Arithmetic does not belong here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convolite._args import excerpt
from convolite.autograd import Array, Differentiable

REAL_KINDS = "fiub"  # floats, integers with and without sign, bools


def as_array(data: Any, op: str = "tensor", argument: str = "data") -> Array:
    """Return an ndarray, sharing memory where that is possible.

    Arrays and anything with ``__array__`` or DLPack keep their dtype; Python numbers and nested
    lists of them become float32.

    Raises
    ------
    TypeError
        If the elements are not real numbers.
    ValueError
        If the rows of nested lists differ in length.
    """
    array = numpys_array(data, op, argument)
    keeps = hasattr(data, "dtype") or hasattr(data, "__dlpack__")
    return array if keeps else array.astype(np.float32)


def numpys_array(data: Any, op: str, argument: str) -> Array:
    """Return an ndarray like `as_array`, but with numpy's dtypes for Python numbers.

    Raises
    ------
    TypeError, ValueError
        As `as_array`.
    """
    if isinstance(data, Differentiable):
        return data._data
    if type(data) is np.ndarray and data.dtype.kind in REAL_KINDS:
        return data
    if not hasattr(data, "__array__") and hasattr(data, "__dlpack__"):
        return np.from_dlpack(data)
    try:
        array = np.asarray(data)
    except ValueError:
        if hasattr(data, "__array__"):  # the object's own error
            raise
        raise ValueError(
            f"{op}: {argument} must have rows of one length, got {excerpt(data)}"
        ) from None
    if array.dtype.kind not in REAL_KINDS:
        found = data.dtype if hasattr(data, "dtype") else excerpt(data)
        if array.dtype == object and all(isinstance(item, int) for item in array.flat):
            raise ValueError(f"{op}: {argument} must fit 64 bits, got {found}")
        raise TypeError(f"{op}: {argument} must be real numbers, got {found}")
    return array


def array_of(value: Any) -> Any:
    """Return a Tensor's array, and anything else as it is."""
    return value._data if isinstance(value, Differentiable) else value


def plain_index(index: Any) -> Any:
    """Return an index with arrays in place of Tensors and lists."""
    if isinstance(index, tuple):
        return tuple(plain_index(part) for part in index)
    if isinstance(index, list):
        return np.asarray(index, dtype=None if index else np.intp)
    return array_of(index)


def without_tensors(value: Any) -> Any:
    """Return nested tuples, lists and dicts with arrays in place of Tensors."""
    if isinstance(value, Differentiable):
        return value._data
    if isinstance(value, (tuple, list)):
        return type(value)(without_tensors(item) for item in value)
    if isinstance(value, dict):
        return {key: without_tensors(item) for key, item in value.items()}
    return value
