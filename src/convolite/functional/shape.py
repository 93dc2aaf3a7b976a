"""flatten, cat, pad and dropout: operations that move or blank values and compute none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from convolite import random
from convolite._args import choice, excerpt, flag, integer, items, number, room, size
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

    @staticmethod
    def forward(ctx: Context, axis: int, *inputs: Array) -> Array:
        ctx.before = (slice(None),) * axis
        ctx.lengths = [input.shape[axis] for input in inputs]
        return np.concatenate(inputs, axis)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        grads: list[Array | None] = [None]
        end = 0
        for length in ctx.lengths:
            begin, end = end, end + length
            part = *ctx.before, slice(begin, end)
            grads.append(grad_output[part])
        return tuple(grads)


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
    given = items("cat", "tensors", tensors)
    parts = [as_tensor(part, "cat", f"tensors[{i}]") for i, part in enumerate(given)]
    if not parts:
        raise ValueError("cat: tensors must hold at least one tensor, got none")
    first = parts[0]
    axis = integer("cat", "dim", dim)
    if not -first.ndim <= axis < first.ndim:
        raise ValueError(
            f"cat: dim {axis} is out of range for {first.ndim} axes (shape = {first.shape})"
        )
    axis %= first.ndim
    for i, part in enumerate(parts):
        if part.dtype != first.dtype:
            raise TypeError(
                f"cat: tensor {i} must be {first.dtype} like tensor 0, got {part.dtype}"
            )
        if part.ndim != first.ndim or _without(part.shape, axis) != _without(first.shape, axis):
            raise ValueError(
                f"cat: tensor {i} has shape {part.shape}, but tensor 0 has {first.shape}; "
                f"they may differ along dim {axis} only"
            )
    return Concatenate.apply(axis, *parts)


def _without(shape: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return shape[:axis] + shape[axis + 1 :]


class Pad(Function):
    """A border of a constant; a negative width cuts away instead."""

    @staticmethod
    def forward(
        ctx: Context, input: Array, widths: tuple[tuple[int, int], ...], value: float
    ) -> Array:
        output = np.full(
            [size + sum(width) for size, width in zip(input.shape, widths, strict=True)],
            value,
            input.dtype,
        )
        ctx.shape = input.shape
        ctx.common = _common(input.shape, output.shape, widths)
        inside, outside = ctx.common
        output[outside] = input[inside]
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        grad_input = np.zeros(ctx.shape, grad_output.dtype)
        inside, outside = ctx.common
        grad_input[inside] = grad_output[outside]
        return grad_input, None, None


def _common(
    inner: tuple[int, ...], outer: tuple[int, ...], widths: tuple[tuple[int, int], ...]
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where in an array and in the padded one the elements are that both have."""
    inside, outside = [], []
    for own, padded, (before, after) in zip(inner, outer, widths, strict=True):
        inside.append(slice(max(-before, 0), own - max(-after, 0)))
        outside.append(slice(max(before, 0), padded - max(after, 0)))
    return tuple(inside), tuple(outside)


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
    given = [size("pad", "pad", width) for width in items("pad", "pad", pad)]
    if len(given) % 2 or len(given) > 2 * tensor.ndim:
        raise ValueError(
            f"pad: pad must hold two widths for each of at most {tensor.ndim} axes, "
            f"got {excerpt(tuple(given))}"
        )
    pairs = list(zip(given[::2], given[1::2], strict=True))
    widths = ((0, 0),) * (tensor.ndim - len(pairs)) + tuple(reversed(pairs))
    for length, (before, after) in zip(tensor.shape, widths, strict=True):
        if length + min(before, 0) + min(after, 0) < 0:
            raise ValueError(
                f"pad: cannot cut {-min(before, 0) - min(after, 0)} from an axis of {length} "
                f"(input.shape = {tensor.shape}, pad = {excerpt(tuple(given))})"
            )
    sizes = (length + sum(width) for length, width in zip(tensor.shape, widths, strict=True))
    room("pad", "pad", tuple(given), sizes)
    return Pad.apply(tensor, widths, number("pad", "value", value))


class Dropout(Function):
    """Multiplication by a random mask that is 0 or 1 / (1 - p)."""

    @staticmethod
    def forward(ctx: Context, input: Array, p: float, mask_shape: tuple[int, ...]) -> Array:
        kept = random.generator().random(mask_shape, np.float32) >= p
        ctx.save(kept=kept)
        ctx.scale = input.dtype.type(0.0 if p == 1.0 else 1.0 / (1.0 - p))
        return _masked(input, kept, ctx.scale)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        return _masked(grad_output, ctx.saved.kept, ctx.scale), None, None


def _masked(array: Array, kept: Array, scale: Any) -> Array:
    blanked: Array = np.where(kept, array, array.dtype.type(0))
    blanked *= scale
    return blanked


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
