"""The source document's three functions: conv2d, max_pooling and batch_normalization.

They take arrays and return arrays, or take Tensors and return Tensors that can be
differentiated. They only prepare their arguments; the work is done by `functional`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convolite import functional
from convolite._args import choice, not_negative, pair, positive_pair
from convolite.interop import numpys_array
from convolite.tensor import Tensor

_LAYOUTS = ("NCHW", "NHWC")


def conv2d(
    input: Any,
    filters: Any,
    stride: Any = 1,
    padding: Any = 0,
    bias: Any = None,
    dilation: Any = 1,
    groups: int = 1,
    layout: str = "NCHW",
) -> Any:
    """Convolve images with filters.

    Parameters
    ----------
    input : array_like or Tensor
        (N, C, H, W), or (N, H, W, C) for layout "NHWC"; without N for a single image.
    filters : array_like or Tensor
        (out_channels, C / groups, kernel_h, kernel_w), or
        (kernel_h, kernel_w, C / groups, out_channels) for layout "NHWC".
    stride, dilation : int or (h, w)
    padding : int, (h, w), "valid", "same" or ((top, bottom), (left, right))
        Zeros along H and W.
    bias : array_like or Tensor, (out_channels,), optional
    groups : int
    layout : {"NCHW", "NHWC"}

    Returns
    -------
    ndarray, or Tensor if an argument was one
        In the same layout, of size ``floor((H + 2 * padding - kernel_h) / stride) + 1``.
        float32 if all arguments are; integers are computed as float64.

    Raises
    ------
    TypeError, ValueError
        For dtypes, spellings and sizes that do not fit together.

    See Also
    --------
    convolite.reference.document.conv2d : the same as loops.
    """
    choice("conv2d", "layout", layout, _LAYOUTS)
    (images, kernels, offsets), returns_tensor = _floats(
        "conv2d", input=input, filters=filters, bias=bias
    )
    if kernels.ndim != 4:
        raise ValueError(f"conv2d: filters must have 4 axes, got filters.shape = {kernels.shape}")
    _check_images("conv2d", images, layout)
    moved = _to_nchw(images, layout)
    filters_first = kernels.permute(3, 2, 0, 1) if layout == "NHWC" else kernels
    try:
        output = functional.conv2d(moved, filters_first, offsets, stride, padding, dilation, groups)
    except ValueError as error:
        words = {
            **_shape_words(moved, images),
            f"filters.shape = {filters_first.shape}": f"filters.shape = {kernels.shape}",
        }
        raise ValueError(_retold(error, words)) from None
    return _result(_from_nchw(output, layout), returns_tensor)


def max_pooling(
    input: Any, pool_size: Any = 2, stride: Any = 2, padding: Any = 0, layout: str = "NCHW"
) -> Any:
    """Take the largest value of every window.

    Parameters
    ----------
    input : array_like or Tensor
        (N, C, H, W), or (N, H, W, C) for layout "NHWC"; without N for a single image.
    pool_size, stride, padding : int or (h, w)
        Padding never wins: it counts as minus infinity.
    layout : {"NCHW", "NHWC"}

    Returns
    -------
    ndarray, or Tensor if `input` was one
        In the same layout, of size ``floor((H + 2 * padding - pool_size) / stride) + 1``.
        float32 if the input is; integers are computed as float64.

    Raises
    ------
    TypeError, ValueError
        For dtypes, spellings and sizes that do not fit together.

    See Also
    --------
    convolite.reference.document.max_pooling : the same as loops.
    """
    choice("max_pooling", "layout", layout, _LAYOUTS)
    (images,), returns_tensor = _floats("max_pooling", input=input)
    _check_images("max_pooling", images, layout)
    moved = _to_nchw(images, layout)
    window = (
        positive_pair("max_pooling", "pool_size", pool_size),
        positive_pair("max_pooling", "stride", stride),
        pair("max_pooling", "padding", padding),
    )
    try:
        output = functional.max_pool2d(moved, *window)
    except ValueError as error:
        words = {
            "max_pool2d": "max_pooling",
            "kernel_size": "pool_size",
            "kernel": "pool_size",
            **_shape_words(moved, images),
        }
        raise ValueError(_retold(error, words)) from None
    return _result(_from_nchw(output, layout), returns_tensor)


def batch_normalization(
    input: Any, gamma: Any, beta: Any, epsilon: float = 1e-5, layout: str = "NCHW"
) -> Any:
    """Normalise every channel with its mean and (biased) variance, then scale and shift it.

    Parameters
    ----------
    input : array_like or Tensor
        (N, D), normalised over N; or images (N, C, H, W), or (N, H, W, C) for layout "NHWC",
        normalised over N, H and W.
    gamma, beta : array_like or Tensor, (D,) or (C,) or a number
    epsilon : float
        Added to the variance.
    layout : {"NCHW", "NHWC"}

    Returns
    -------
    ndarray, or Tensor if an argument was one
        Of the input's shape; float32 if all arguments are, and integers as float64.

    Raises
    ------
    TypeError, ValueError
        For dtypes, spellings and sizes that do not fit together.

    See Also
    --------
    convolite.reference.document.batch_normalization : the same as a formula.
    """
    op = "batch_normalization"
    choice(op, "layout", layout, _LAYOUTS)
    eps = not_negative(op, "epsilon", epsilon)
    (values, scale, shift), returns_tensor = _floats(op, input=input, gamma=gamma, beta=beta)
    if values.ndim not in (2, 4):
        raise ValueError(f"{op}: input must have 2 or 4 axes, got input.shape = {values.shape}")
    values = _to_nchw(values, layout)
    channels = values.shape[1]
    scale = _for_each_channel(op, "gamma", scale, channels)
    shift = _for_each_channel(op, "beta", shift, channels)
    if values.size == channels:
        centered = values - values  # a single value is its own mean; NaN stays NaN
        ones = (1,) * (values.ndim - 2)
        output = centered * scale.reshape(-1, *ones) + shift.reshape(-1, *ones)
    else:
        output = functional.batch_norm(values, None, None, scale, shift, training=True, eps=eps)
    return _result(_from_nchw(output, layout), returns_tensor)


def _floats(op: str, **arguments: Any) -> tuple[list[Any], bool]:
    """Return the arguments as Tensors of one float dtype, and whether any was a Tensor."""
    given = {
        name: value if isinstance(value, Tensor) else Tensor(numpys_array(value, op, name))
        for name, value in arguments.items()
        if not (name == "bias" and value is None)
    }
    dtypes = {tensor.dtype.newbyteorder("=") for tensor in given.values()}
    dtype = np.float32 if dtypes == {np.dtype(np.float32)} else np.float64
    tensors = [given[name].astype(dtype) if name in given else None for name in arguments]
    return tensors, any(isinstance(value, Tensor) for value in arguments.values())


def _check_images(op: str, images: Tensor, layout: str) -> None:
    if images.ndim not in (3, 4):
        axes = ", ".join(layout)
        raise ValueError(
            f"{op}: input must be ({axes}) or ({axes[3:]}), got input.shape = {images.shape}"
        )


def _shape_words(moved: Tensor, images: Tensor) -> dict[str, str]:
    shape = moved.shape if moved.ndim == 4 else (1, *moved.shape)
    return {f"input.shape = {shape}": f"input.shape = {images.shape}"}


def _retold(error: ValueError, words: dict[str, str]) -> str:
    """What a function below complains about, with the names and shapes that the caller knows."""
    text = str(error)
    for theirs, ours in words.items():
        text = text.replace(theirs, ours)
    return text


def _for_each_channel(op: str, name: str, values: Tensor, channels: int) -> Tensor:
    if values.ndim == 0:
        return values * np.ones(channels)
    if values.shape != (channels,):
        raise ValueError(f"{op}: {name} must have shape ({channels},), got {values.shape}")
    return values


def _to_nchw(values: Tensor, layout: str) -> Tensor:
    if layout == "NCHW" or values.ndim == 2:
        return values
    return values.permute(0, 3, 1, 2) if values.ndim == 4 else values.permute(2, 0, 1)


def _from_nchw(values: Tensor, layout: str) -> Tensor:
    if layout == "NCHW" or values.ndim == 2:
        return values
    return values.permute(0, 2, 3, 1) if values.ndim == 4 else values.permute(1, 2, 0)


def _result(output: Tensor, returns_tensor: bool) -> Any:
    return output if returns_tensor else np.ascontiguousarray(output.numpy())
