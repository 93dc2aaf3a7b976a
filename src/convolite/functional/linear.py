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
        ctx.saved = (
            rows if needs_weight else None,
            weight if needs_input else None,
            None if activation == "none" else output,
            activation,
            input.shape,
        )
        return output if input.ndim == 2 else output.reshape(*input.shape[:-1], output.shape[1])

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        rows, weight, output, activation, input_shape = ctx.saved
        needs_input, needs_weight, needs_bias, _ = ctx.needs_input_grad
        if len(input_shape) != 2:
            grad_output = _as_rows(grad_output)
        grad_input = grad_weight = grad_bias = None
        if output is not None:
            wants_passed = needs_input or needs_weight
            passed, grad_bias = _core.linear_backward_epilogue(
                activation, grad_output, output, wants_passed, needs_bias, ctx.owns_grad_output
            )
            if passed is None:
                return None, None, grad_bias, None
            grad_output = passed
        elif needs_bias:
            grad_bias = _core.linear_backward_bias(grad_output)
        if needs_input:
            grad_input = _core.linear_backward_input(grad_output, weight)
            if len(input_shape) != 2:
                grad_input = grad_input.reshape(input_shape)
        if needs_weight:
            grad_weight = _core.linear_backward_weight(grad_output, rows)
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
