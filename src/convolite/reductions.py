"""The Functions behind Tensor's reductions (sum, mean, max, min) and changes of shape.

Axes arrive here as a tuple of non-negative ints; tensor.py has checked them.
"""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from convolite import _core
from convolite.autograd import Array, Context, Function

Gradients = tuple[Array | None, ...]


class Sum(Function):
    """Sum over axes; every summand gets the sum's gradient."""

    @staticmethod
    def forward(ctx: Context, input: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        ctx.shape, ctx.axes = input.shape, axes
        return _core.reduce("sum", input, axes, keepdims)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        return _spread(grad_output, ctx.shape, ctx.axes), None, None


class Mean(Function):
    """Mean over axes; every summand gets its share of the mean's gradient."""

    @staticmethod
    def forward(ctx: Context, input: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        ctx.shape, ctx.axes = input.shape, axes
        return _core.reduce("mean", input, axes, keepdims)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        count = prod([ctx.shape[axis] for axis in ctx.axes])
        share = np.asarray(grad_output / grad_output.dtype.type(count or 1))
        return _spread(share, ctx.shape, ctx.axes), None, None


class Extremum(Function):
    """Maximum or minimum ("max", "min") over axes; equal extrema share the gradient evenly."""

    @staticmethod
    def forward(
        ctx: Context, input: Array, kind: str, axes: tuple[int, ...], keepdims: bool
    ) -> Array:
        output = _core.reduce(kind, input, axes, keepdims)
        ctx.save(input=input, output=output)
        ctx.axes = axes
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        input, axes = ctx.saved.input, ctx.axes
        reached = input == _with_axes(ctx.saved.output, input.shape, axes)
        share = _with_axes(grad_output, input.shape, axes) / reached.sum(
            axis=axes, keepdims=True, dtype=input.dtype
        )
        return reached * share, None, None, None


def _with_axes(reduced: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """`reduced` with the axes that a reduction of `shape` dropped, as axes of length 1."""
    return reduced.reshape([1 if i in axes else size for i, size in enumerate(shape)])


def _spread(reduced: Array, shape: tuple[int, ...], axes: tuple[int, ...]) -> Array:
    """An array of `shape` that repeats `reduced` along the axes that a reduction dropped."""
    spread = _core.empty(shape, reduced.dtype)
    spread[...] = _with_axes(reduced, shape, axes) if reduced.ndim else reduced
    return spread


class Reshape(Function):
    """The same values in the same order under another shape."""

    @staticmethod
    def forward(ctx: Context, input: Array, shape: tuple[int, ...]) -> Array:
        ctx.shape = input.shape
        return np.asarray(input.reshape(shape))

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        return grad_output.reshape(ctx.shape), None


class Permute(Function):
    """Axes in another order."""

    @staticmethod
    def forward(ctx: Context, input: Array, axes: tuple[int, ...]) -> Array:
        ctx.axes = axes
        return np.asarray(input.transpose(axes))

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        inverse = sorted(range(len(ctx.axes)), key=ctx.axes.__getitem__)
        return grad_output.transpose(inverse), None


class Index(Function):
    """input[index] with numpy's rules; elements picked twice add their gradients up."""

    @staticmethod
    def forward(ctx: Context, input: Array, index: Any) -> Array:
        ctx.shape, ctx.index = input.shape, index
        return np.asarray(input[index])

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        grad_input = np.zeros(ctx.shape, grad_output.dtype)
        if _picks_once(ctx.index):
            grad_input[ctx.index] = grad_output
        else:
            np.add.at(grad_input, ctx.index, grad_output)
        return grad_input, None


def _picks_once(index: Any) -> bool:
    parts = index if isinstance(index, tuple) else (index,)
    return all(
        part is None or part is Ellipsis or isinstance(part, (int, slice, np.integer))
        for part in parts
    )
