"""Convolution (as in every deep learning library, cross-correlation) and its three gradients.

All four are one relation, read in different directions: a patch of the input, a filter and an
output pixel belong together.  `_sites` lists these triples; each function below is its own sum
over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from convolite.reference._window import (
    Array,
    Pair,
    Quadruple,
    as_array,
    crop,
    output_size,
    pad,
    taps,
)
from convolite.reference.activation import activation as apply_activation

Shape4 = tuple[int, int, int, int]
Index = tuple[Any, ...]


def conv2d(
    input: ArrayLike,
    weight: ArrayLike,
    bias: ArrayLike | None = None,
    stride: Pair = (1, 1),
    padding: Quadruple = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
    activation: str = "none",
) -> Array:
    """Convolve images with filters.

    ``output[n, o, y, x] = bias[o] + sum over c, i, j of
    input[n, c, y * stride + i * dilation - padding, ...] * weight[o, c, i, j]``
    (Goodfellow et al. 2016, eq. 9.6 and 9.8), zeros outside the image.

    Parameters
    ----------
    input : array_like, shape (n, c, h, w)
    weight : array_like, shape (oc, c / groups, kh, kw)
    bias : array_like, shape (oc,), optional
    stride, dilation : (int, int)
        Along rows and columns.
    padding : (int, int, int, int)
        Zeros at the top, bottom, left and right.
    groups : int
        Channels and filters are cut into so many groups; a filter sees its own group only.
    activation : str
        Name of an activation to apply last, or "none".

    Returns
    -------
    ndarray of float64, shape (n, oc, oh, ow)
    """
    input, weight = as_array(input), as_array(weight)
    n, _, h, w = input.shape
    oc, _, kh, kw = weight.shape
    top, bottom, left, right = padding
    oh = output_size(h, kh, stride[0], (top, bottom), dilation[0])
    ow = output_size(w, kw, stride[1], (left, right), dilation[1])
    padded = pad(input, padding)
    output = np.zeros((n, oc, oh, ow))
    for pixel, patch, filters in _sites(output.shape, weight.shape, stride, dilation, groups):
        output[pixel] = np.einsum("nchw,ochw->no", padded[patch], weight[filters])
    if bias is not None:
        output += as_array(bias)[:, None, None]
    return apply_activation(activation, output)


def conv2d_backward_input(
    grad_output: ArrayLike,
    weight: ArrayLike,
    input_shape: Shape4,
    stride: Pair = (1, 1),
    padding: Quadruple = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Gradient with respect to the input: every output pixel pays back to the patch it came from.

    The transposed convolution of Dumoulin & Visin 2016, section 4; what lands in the padding is
    dropped.

    Returns
    -------
    ndarray of float64, shape `input_shape`
    """
    grad_output, weight = as_array(grad_output), as_array(weight)
    grad_padded = pad(np.zeros(input_shape), padding)
    for pixel, patch, filters in _sites(grad_output.shape, weight.shape, stride, dilation, groups):
        grad_padded[patch] += np.einsum("no,ochw->nchw", grad_output[pixel], weight[filters])
    return crop(grad_padded, padding)


def conv2d_backward_weight(
    grad_output: ArrayLike,
    input: ArrayLike,
    weight_shape: Shape4,
    stride: Pair = (1, 1),
    padding: Quadruple = (0, 0, 0, 0),
    dilation: Pair = (1, 1),
    groups: int = 1,
) -> Array:
    """Gradient with respect to the filters: the sum of the patches, each times its output gradient.

    Returns
    -------
    ndarray of float64, shape `weight_shape`
    """
    grad_output, padded = as_array(grad_output), pad(as_array(input), padding)
    grad_weight = np.zeros(weight_shape)
    for pixel, patch, filters in _sites(grad_output.shape, weight_shape, stride, dilation, groups):
        # Contracts the images: the same as einsum("no,nchw->ochw"), several times faster.
        grad_weight[filters] += np.tensordot(grad_output[pixel], padded[patch], axes=(0, 0))
    return grad_weight


def conv2d_backward_bias(grad_output: ArrayLike) -> Array:
    """Gradient with respect to the bias, which was added to every image and pixel: their sum.

    Returns
    -------
    ndarray of float64, shape (oc,)
    """
    return np.asarray(as_array(grad_output).sum(axis=(0, 2, 3)))


def _sites(
    output_shape: tuple[int, ...],
    weight_shape: tuple[int, ...],
    stride: Pair,
    dilation: Pair,
    groups: int,
) -> Iterator[tuple[Index, Index, slice]]:
    """Yield (output pixel, input patch, filters) for every group and position, as indices.

    The pixel is (n, oc / groups) of the output, the patch (n, c / groups, kh, kw) of the padded
    input, the filters (oc / groups, c / groups, kh, kw) of the weight.
    """
    _, oc, oh, ow = output_shape
    _, group_channels, kh, kw = weight_shape
    group_filters = oc // groups
    for group in range(groups):
        channels = slice(group * group_channels, (group + 1) * group_channels)
        filters = slice(group * group_filters, (group + 1) * group_filters)
        for row in range(oh):
            for column in range(ow):
                rows = taps(row, kh, stride[0], dilation[0])
                columns = taps(column, kw, stride[1], dilation[1])
                pixel = (slice(None), filters, row, column)
                patch = (slice(None), channels, rows, columns)
                yield pixel, patch, filters
