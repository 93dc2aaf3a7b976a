"""flatten, cat, pad and dropout: operations that move or blank values and compute none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convolite import _core, random
from convolite._args import choice, flag, items, number, size
from convolite.autograd import Array, Context, Function
from convolite.tensor import Tensor, as_tensor


def flatten(input: Any, start_dim: int = 0, end_dim: int = -1) -> Tensor:
    """Merge the axes from `start_dim` to `end_dim` into one.

    Raises
    ------
    TypeError, ValueError
        If an axis is no int or out of range, or the two are in the wrong order.
    """
    return as_tensor(input, "flatten", "input").flatten(start_dim, end_dim)


class Concatenate(Function):
    """Arrays put one after the other; the gradient is cut at the same places."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, axis: int, *inputs: Array) -> Array:
        ctx.saved = [input.shape for input in inputs], axis
        return _core.concatenate(inputs, axis)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        shapes, axis = ctx.saved
        return None, *_core.split(grad_output, shapes, axis, ctx.needs_input_grad[1:])


def cat(tensors: Sequence[Any], dim: int = 0) -> Tensor:
    """Put tensors one after the other along an existing axis.

    Parameters
    ----------
    tensors : sequence of Tensor
        Of one dtype, and of one shape except for the length of axis `dim`.
    dim : int
        Axis; negative ones count from the end.

    Raises
    ------
    TypeError, ValueError
        If there are none, or if their dtypes or shapes differ.
    """
    parts = items("cat", "tensors", tensors)
    for i, part in enumerate(parts):
        if not isinstance(part, Tensor):
            parts[i] = as_tensor(part, "cat", f"tensors[{i}]")
    return Concatenate.apply(size("cat", "dim", dim), *parts)


class Pad(Function):
    """A border of a constant; a negative width cuts away instead."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array, widths: list[int], value: float) -> Array:
        ctx.saved = widths
        return _core.pad(input, widths, value)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        return _core.pad_backward(grad_output, ctx.saved), None, None


def pad(input: Any, pad: Sequence[int], mode: str = "constant", value: float = 0.0) -> Tensor:
    """Put a border around the last axes.

    Parameters
    ----------
    input : Tensor
    pad : sequence of int
        Widths in pairs, beginning with the last axis: ``(left, right, top, bottom)`` pads W
        and H. A negative width cuts away.
    mode : {"constant"}
    value : float
        What the border holds.

    Raises
    ------
    TypeError, ValueError
        For widths that are not pairs of ints, too many of them, or a cut larger than the axis.
    """
    choice("pad", "mode", mode, ("constant",))
    tensor = as_tensor(input, "pad", "input")
    widths = [size("pad", "pad", width) for width in items("pad", "pad", pad)]
    return Pad.apply(tensor, widths, number("pad", "value", value))


class Dropout(Function):
    """Multiplication by a random mask that is 0 or 1 / (1 - p)."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array, p: float, mask_shape: tuple[int, ...]) -> Array:
        noise = random.generator().random(mask_shape, np.float32)
        output, kept = _core.dropout_forward(input, noise, p)
        ctx.saved = kept, p
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        return _core.dropout_backward(grad_output, *ctx.saved), None, None


def dropout(input: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Blank each element with probability `p` and scale the others by ``1 / (1 - p)``.

    The mask comes from the generator that `convolite.manual_seed` restarts. Outside training
    the input is returned as it is.

    Raises
    ------
    TypeError, ValueError
        If `input` does not hold floats, or `p` is not within [0, 1].
    """
    tensor = as_tensor(input, "dropout", "input")
    return _dropout("dropout", tensor, p, training, tensor.shape)


def dropout2d(input: Any, p: float = 0.5, training: bool = True) -> Tensor:
    """Blank whole channels of (N, C, H, W) or (C, H, W) images with probability `p`.

    Raises
    ------
    TypeError, ValueError
        If `input` holds no floats or is no image, or `p` is not within [0, 1].
    """
    tensor = as_tensor(input, "dropout2d", "input")
    if tensor.ndim not in (3, 4):
        raise ValueError(
            f"dropout2d: input must be (N, C, H, W) or (C, H, W), got input.shape = {tensor.shape}"
        )
    return _dropout("dropout2d", tensor, p, training, (*tensor.shape[:-2], 1, 1))


def _dropout(
    op: str, input: Tensor, p: float, training: bool, mask_shape: tuple[int, ...]
) -> Tensor:
    probability = number(op, "p", p)
    if not 0.0 <= probability <= 1.0:
        raise ValueError(f"{op}: p must be within [0, 1], got {p}")
    if input.dtype.kind != "f":
        raise TypeError(f"{op}: input must hold floats, got {input.dtype}")
    if not flag(op, "training", training) or probability == 0.0:
        return input
    return Dropout.apply(input, probability, mask_shape)
