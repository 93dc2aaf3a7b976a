"""The source document's three functions, in its layout (images last in channels) and its loops.

`convolite.conv2d`, `max_pooling` and `batch_normalization` agree with these for layout="NHWC".
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from convolite.reference._window import Array, as_array


def conv2d(input: ArrayLike, filters: ArrayLike, stride: int = 1, padding: int = 0) -> Array:
    """Convolve images with filters, one output pixel of one filter at a time.

    Parameters
    ----------
    input : array_like, shape (N, H, W, C)
    filters : array_like, shape (kh, kw, C, filters)
    stride, padding : int
        Both the same along rows and columns; the padding is zeros on all four sides.

    Returns
    -------
    ndarray of float64, shape (N, floor((H + 2 padding - kh) / stride) + 1, ..., filters)
    """
    input, filters = as_array(input), as_array(filters)
    border = (padding, padding)
    padded = np.pad(input, ((0, 0), border, border, (0, 0)))
    batch, height, width, _ = padded.shape
    kernel_height, kernel_width, _, filter_count = filters.shape
    output_height = (height - kernel_height) // stride + 1
    output_width = (width - kernel_width) // stride + 1
    output = np.zeros((batch, output_height, output_width, filter_count))
    for i in range(output_height):
        for j in range(output_width):
            top, left = i * stride, j * stride
            patch = padded[:, top : top + kernel_height, left : left + kernel_width, :]
            for k in range(filter_count):
                output[:, i, j, k] = np.sum(patch * filters[:, :, :, k], axis=(1, 2, 3))
    return output


def max_pooling(input: ArrayLike, pool_size: int = 2, stride: int = 2) -> Array:
    """Largest value of every pool_size x pool_size window; an incomplete last window is left out.

    Parameters
    ----------
    input : array_like, shape (N, H, W, C)
    pool_size, stride : int

    Returns
    -------
    ndarray of float64, shape (N, floor((H - pool_size) / stride) + 1, ..., C)
    """
    input = as_array(input)
    batch, height, width, channels = input.shape
    output_height = (height - pool_size) // stride + 1
    output_width = (width - pool_size) // stride + 1
    output = np.zeros((batch, output_height, output_width, channels))
    for i in range(output_height):
        for j in range(output_width):
            top, left = i * stride, j * stride
            window = input[:, top : top + pool_size, left : left + pool_size, :]
            output[:, i, j, :] = np.max(window, axis=(1, 2))
    return output


def batch_normalization(
    input: ArrayLike, gamma: ArrayLike, beta: ArrayLike, epsilon: float = 1e-5
) -> Array:
    """Normalise every feature to mean 0 and variance 1 over the batch, then scale and shift it.

    Parameters
    ----------
    input : array_like, shape (N, D) or (N, H, W, C)
        Statistics are taken along axis 0, as the document does, and for images along the pixels
        too: one mean and one (biased) variance for each channel.
    gamma, beta : array_like, shape (D,) or (C,)
    epsilon : float

    Returns
    -------
    ndarray of float64, shape of `input`
    """
    input = as_array(input)
    axes = tuple(range(input.ndim - 1))
    mean = np.mean(input, axis=axes)
    variance = np.var(input, axis=axes)
    normalized: Array = (input - mean) / np.sqrt(variance + epsilon)
    return as_array(gamma) * normalized + as_array(beta)
