"""The Functions behind Tensor's reductions (sum, mean, max, min) and changes of shape.

Axes arrive here as a tuple of non-negative ints; tensor.py has checked them.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convolite import _core
from convolite.autograd import Array, Context, Function

Gradients = tuple[Array | None, ...]


class Sum(Function):
    """Sum over axes; every summand gets the sum's gradient."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        ctx.saved = input.shape, axes
        return _core.reduce("sum", input, axes, keepdims)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        return _core.reduce_backward("sum", grad_output, *ctx.saved), None, None


class Mean(Function):
    """Mean over axes; every summand gets its share of the mean's gradient."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array, axes: tuple[int, ...], keepdims: bool) -> Array:
        ctx.saved = input.shape, axes
        return _core.reduce("mean", input, axes, keepdims)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        return _core.reduce_backward("mean", grad_output, *ctx.saved), None, None


class Extremum(Function):
    """Maximum or minimum ("max", "min") over axes; equal extrema share the gradient evenly."""

    gives_new_arrays = True

    @staticmethod
    def forward(
        ctx: Context, input: Array, kind: str, axes: tuple[int, ...], keepdims: bool
    ) -> Array:
        extrema = _core.reduce(kind, input, axes, True)
        ctx.saved = input, extrema, axes
        return extrema if keepdims else extrema.squeeze(axes)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        input, extrema, axes = ctx.saved
        reached = _core.binary("equal", input, extrema)
        count = _core.reduce("sum", reached, axes, True)
        share = _core.binary("divide", grad_output.reshape(extrema.shape), count)
        return _core.binary("multiply", reached, share), None, None, None


class Reshape(Function):
    """The same values in the same order under another shape."""

    @staticmethod
    def forward(ctx: Context, input: Array, shape: tuple[int, ...]) -> Array:
        ctx.saved = input.shape
        return input.reshape(shape)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        return grad_output.reshape(ctx.saved), None


class Permute(Function):
    """Axes in another order."""

    @staticmethod
    def forward(ctx: Context, input: Array, axes: tuple[int, ...]) -> Array:
        ctx.saved = axes
        transposed: Array = input.transpose(axes)
        return transposed

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        axes = ctx.saved
        inverse = [0] * len(axes)
        for place, axis in enumerate(axes):
            inverse[axis] = place
        return grad_output.transpose(inverse), None


class Index(Function):
    """input[index] with numpy's rules; elements picked twice add their gradients up."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array, index: Any) -> Array:
        ctx.saved = input.shape, index
        return np.asarray(input[index])

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        shape, index = ctx.saved
        grad_input = _core.zeros(shape, grad_output.dtype)
        if _picks_once(index):
            grad_input[index] = grad_output
        else:
            np.add.at(grad_input, index, grad_output)
        return grad_input, None


def _picks_once(index: Any) -> bool:
    for part in index if isinstance(index, tuple) else (index,):
        if not (part is None or part is Ellipsis or isinstance(part, (int, slice, np.integer))):
            return False
    return True
