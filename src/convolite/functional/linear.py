"""linear: the Function of a fully connected layer and its public call."""

from __future__ import annotations

from math import prod
from typing import Any

from convolite import _core
from convolite._args import fused_activation, shape_of
from convolite.autograd import Array, Context, Function
from convolite.tensor import Tensor


class Linear(Function):
    """input @ weight.T + bias, and an activation in the same pass."""

    gives_new_arrays = True

    @staticmethod
    def forward(
        ctx: Context, input: Array, weight: Array, bias: Array | None, activation: str
    ) -> Array:
        rows = input if input.ndim == 2 else _as_rows(input)
        output = _core.linear_forward(rows, weight, bias, activation)
        needs_input, needs_weight = ctx.needs_input_grad[:2]
        ctx.save(
            rows=rows if needs_weight else None,
            weight=weight if needs_input else None,
            output=None if activation == "none" else output,
        )
        ctx.activation = activation
        ctx.input_shape = input.shape
        return output if input.ndim == 2 else output.reshape(*input.shape[:-1], output.shape[1])

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        saved = ctx.saved
        if len(ctx.input_shape) != 2:
            grad_output = _as_rows(grad_output)
        if saved.output is not None:
            grad_output = _core.activation_backward(ctx.activation, grad_output, saved.output, 0.0)
        grad_input = grad_weight = grad_bias = None
        if ctx.needs_input_grad[0]:
            grad_input = _core.linear_backward_input(grad_output, saved.weight)
            if len(ctx.input_shape) != 2:
                grad_input = grad_input.reshape(ctx.input_shape)
        if ctx.needs_input_grad[1]:
            grad_weight = _core.linear_backward_weight(grad_output, saved.rows)
        if ctx.needs_input_grad[2]:
            grad_bias = _core.linear_backward_bias(grad_output)
        return grad_input, grad_weight, grad_bias, None


def _as_rows(array: Array) -> Array:
    """(..., features) -> (rows, features); the row count is spelled out for empty arrays."""
    return array.reshape(prod(array.shape[:-1]), array.shape[-1])


def linear(input: Any, weight: Any, bias: Any = None, activation: str | None = None) -> Tensor:
    """Apply a fully connected layer: ``input @ weight.T + bias``.

    Parameters
    ----------
    input : Tensor, (..., in_features)
        Any leading axes, or none.
    weight : Tensor, (out_features, in_features)
    bias : Tensor, (out_features,), optional
    activation : {None, "relu", "relu6"}
        Applied in the same pass over memory.

    Returns
    -------
    Tensor, (..., out_features)

    Raises
    ------
    TypeError, ValueError
        For dtypes and sizes that do not fit together.
    """
    if not shape_of("linear", "input", input):
        raise ValueError("linear: input must have at least one axis, got input.shape = ()")
    shape_of("linear", "weight", weight)
    return Linear.apply(input, weight, bias, fused_activation("linear", activation))
