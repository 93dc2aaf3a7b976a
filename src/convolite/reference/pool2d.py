"""Max, average and adaptive average pooling, forward and backward, with PyTorch's conventions.

Every function visits output pixels one by one; images and channels go together.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convolite.reference._window import Array, Pair, Quadruple, as_array, output_size

Shape4 = tuple[int, int, int, int]


def max_pool2d(
    input: ArrayLike,
    kernel: Pair,
    stride: Pair,
    padding: Quadruple = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
    ceil_mode: bool = False,
) -> tuple[Array, NDArray[np.int64]]:
    """Largest value of each window (Goodfellow et al. 2016, section 9.3).

    The first of equal maxima is chosen.  A NaN beats every number, and a later NaN an earlier one,
    as in PyTorch.  Padding is never chosen: a window without any pixel gives -inf.

    Parameters
    ----------
    input : array_like, shape (n, c, h, w)
    kernel, stride, dilation : (int, int)
        Along rows and columns.
    padding : (int, int, int, int)
        Top, bottom, left, right.
    ceil_mode : bool
        Keep a last window that overhangs the padded image.

    Returns
    -------
    output : ndarray of float64, shape (n, c, oh, ow)
    offsets : ndarray of int64, shape (n, c, oh, ow)
        Where in its window the maximum stood: kernel row * kernel width + kernel column.
    """
    input = as_array(input)
    n, c, h, w = input.shape
    top, bottom, left, right = padding
    oh = output_size(h, kernel[0], stride[0], (top, bottom), dilation[0], ceil_mode)
    ow = output_size(w, kernel[1], stride[1], (left, right), dilation[1], ceil_mode)
    output = np.full((n, c, oh, ow), -np.inf)
    offsets = np.zeros((n, c, oh, ow), dtype=np.int64)
    for row, column in np.ndindex(oh, ow):
        best, where = output[:, :, row, column], offsets[:, :, row, column]
        taps = _taps_inside((h, w), (row, column), kernel, stride, padding, dilation)
        for visit, (offset, y, x) in enumerate(taps):
            value = input[:, :, y, x]
            better = (value > best) | np.isnan(value) | (visit == 0)
            best[better] = value[better]
            where[better] = offset
    return output, offsets


def max_pool2d_backward(
    grad_output: ArrayLike,
    offsets: NDArray[np.integer],
    input_shape: Shape4,
    kernel: Pair,
    stride: Pair,
    padding: Quadruple = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
) -> Array:
    """Gradient of `max_pool2d`: each output gradient goes to the one pixel that was chosen.

    Returns
    -------
    ndarray of float64, shape `input_shape`
    """
    grad_output = as_array(grad_output)
    grad_input = np.zeros(input_shape)
    size = (input_shape[2], input_shape[3])
    for row, column in np.ndindex(grad_output.shape[2], grad_output.shape[3]):
        for offset, y, x in _taps_inside(size, (row, column), kernel, stride, padding, dilation):
            chosen = offsets[:, :, row, column] == offset
            grad_input[:, :, y, x] += np.where(chosen, grad_output[:, :, row, column], 0.0)
    return grad_input


def avg_pool2d(
    input: ArrayLike,
    kernel: Pair,
    stride: Pair,
    padding: Quadruple = (0, 0, 0, 0),
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Mean of each window, with PyTorch's rules for what to divide by.

    Parameters
    ----------
    input : array_like, shape (n, c, h, w)
    kernel, stride : (int, int)
    padding : (int, int, int, int)
        Zeros at the top, bottom, left and right.
    ceil_mode : bool
        Keep a last window that overhangs the padded image; what overhangs is never counted.
    count_include_pad : bool
        Divide by the pixels and padding in the window, else by its pixels only.
    divisor_override : int, optional
        Divide by this instead (None and 0 mean: do not override).

    Returns
    -------
    ndarray of float64, shape (n, c, oh, ow)
    """
    input = as_array(input)
    n, c, h, w = input.shape
    top, bottom, left, right = padding
    oh = output_size(h, kernel[0], stride[0], (top, bottom), ceil_mode=ceil_mode)
    ow = output_size(w, kernel[1], stride[1], (left, right), ceil_mode=ceil_mode)
    output = np.zeros((n, c, oh, ow))
    for row, column in np.ndindex(oh, ow):
        rows, paid_rows = _extent(row, h, kernel[0], stride[0], (top, bottom))
        columns, paid_columns = _extent(column, w, kernel[1], stride[1], (left, right))
        window = input[:, :, rows, columns]
        count = paid_rows * paid_columns if count_include_pad else window[0:1, 0:1].size
        if window.shape[2] and window.shape[3]:
            output[:, :, row, column] = window.sum(axis=(2, 3)) / (divisor_override or count)
    return output


def avg_pool2d_backward(
    grad_output: ArrayLike,
    input_shape: Shape4,
    kernel: Pair,
    stride: Pair,
    padding: Quadruple = (0, 0, 0, 0),
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Array:
    """Gradient of `avg_pool2d`: each output gradient is shared out evenly over its window.

    Returns
    -------
    ndarray of float64, shape `input_shape`
    """
    grad_output = as_array(grad_output)
    grad_input = np.zeros(input_shape)
    _, _, h, w = input_shape
    top, bottom, left, right = padding
    for row, column in np.ndindex(grad_output.shape[2], grad_output.shape[3]):
        rows, paid_rows = _extent(row, h, kernel[0], stride[0], (top, bottom))
        columns, paid_columns = _extent(column, w, kernel[1], stride[1], (left, right))
        pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
        count = paid_rows * paid_columns if count_include_pad else pixels
        if pixels:
            share = grad_output[:, :, row, column] / (divisor_override or count)
            grad_input[:, :, rows, columns] += share[:, :, None, None]
    return grad_input


def adaptive_avg_pool2d(input: ArrayLike, output_size: Pair) -> Array:
    """Mean over windows that cut the image into `output_size` nearly equal, overlapping parts.

    Part i of `size` pixels cut into `parts` is floor(i * size / parts) up to, not including,
    ceil((i + 1) * size / parts) (PyTorch, `AdaptiveAvgPool2d`).

    Returns
    -------
    ndarray of float64, shape (n, c, *output_size)
    """
    input = as_array(input)
    n, c, h, w = input.shape
    output = np.zeros((n, c, *output_size))
    for row, column in np.ndindex(*output_size):
        rows, columns = _part(row, h, output_size[0]), _part(column, w, output_size[1])
        output[:, :, row, column] = input[:, :, rows, columns].mean(axis=(2, 3))
    return output


def adaptive_avg_pool2d_backward(grad_output: ArrayLike, input_shape: Shape4) -> Array:
    """Gradient of `adaptive_avg_pool2d`: shared out evenly over each part.

    Returns
    -------
    ndarray of float64, shape `input_shape`
    """
    grad_output = as_array(grad_output)
    grad_input = np.zeros(input_shape)
    _, _, h, w = input_shape
    _, _, oh, ow = grad_output.shape
    for row, column in np.ndindex(oh, ow):
        rows, columns = _part(row, h, oh), _part(column, w, ow)
        pixels = (rows.stop - rows.start) * (columns.stop - columns.start)
        share = grad_output[:, :, row, column] / pixels
        grad_input[:, :, rows, columns] += share[:, :, None, None]
    return grad_input


def _taps_inside(
    size: Pair,
    position: Pair,
    kernel: Pair,
    stride: Pair,
    padding: Quadruple,
    dilation: Pair,
) -> Iterator[tuple[int, int, int]]:
    """Yield (offset in the window, row, column) for the taps of one window that hit the image."""
    for i, j in np.ndindex(*kernel):
        y = position[0] * stride[0] - padding[0] + i * dilation[0]
        x = position[1] * stride[1] - padding[2] + j * dilation[1]
        if 0 <= y < size[0] and 0 <= x < size[1]:
            yield i * kernel[1] + j, y, x


def _extent(position: int, size: int, kernel: int, stride: int, padding: Pair) -> tuple[slice, int]:
    """Which pixels one window covers along an axis, and how many pixels and paddings that makes."""
    before, after = padding
    start = position * stride - before
    stop = min(start + kernel, size + after)
    first, last = max(start, 0), min(stop, size)
    return slice(first, max(first, last)), stop - start


def _part(position: int, size: int, parts: int) -> slice:
    return slice(position * size // parts, -(-(position + 1) * size // parts))
