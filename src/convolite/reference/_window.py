"""Sliding windows, shared by convolution and pooling: output sizes, taps, padding.

One axis at a time, as in PyTorch: a window of `kernel` taps, `dilation` apart, moves by `stride`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Array = NDArray[np.float64]
Pair = tuple[int, int]
Quadruple = tuple[int, int, int, int]  # top, bottom, left, right


def as_array(values: ArrayLike) -> Array:
    """`values` in the only type the reference computes with."""
    return np.asarray(values, dtype=np.float64)


def output_size(
    size: int,
    kernel: int,
    stride: int,
    padding: Pair,
    dilation: int = 1,
    ceil_mode: bool = False,
) -> int:
    """Number of window positions along one axis.

    floor((size + padding - dilation * (kernel - 1) - 1) / stride) + 1, Dumoulin & Visin 2016.  With
    `ceil_mode` the division rounds up, but a last window that would start beyond the image and
    its left padding is dropped (PyTorch, `pooling_output_shape`).
    """
    before, after = padding
    room = size + before + after - dilation * (kernel - 1) - 1
    if not ceil_mode:
        return room // stride + 1
    count = -(-room // stride) + 1
    last_start = (count - 1) * stride
    return count - 1 if last_start >= size + before else count


def taps(position: int, kernel: int, stride: int, dilation: int = 1) -> slice:
    """Where window number `position` reads along one axis of the padded image."""
    start = position * stride
    return slice(start, start + dilation * (kernel - 1) + 1, dilation)


def pad(input: Array, padding: Quadruple) -> Array:
    """`input` (n, c, h, w) with zeros around its images."""
    top, bottom, left, right = padding
    return np.pad(input, ((0, 0), (0, 0), (top, bottom), (left, right)))


def crop(padded: Array, padding: Quadruple) -> Array:
    """The inverse of `pad`: the images without their border."""
    top, bottom, left, right = padding
    return padded[:, :, top : padded.shape[2] - bottom, left : padded.shape[3] - right]
