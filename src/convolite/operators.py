"""The Functions behind Tensor's operators: arithmetic, exp, log and the matrix product.

Layers and losses live in `functional`, reductions and changes of shape in reductions.py.
Arithmetic is done on floats: an integer or boolean operand takes the float type of the other one
(float32 if neither is a float).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from convolite import _core
from convolite._args import excerpt
from convolite.autograd import Array, Context, Differentiable, Function

Gradients = tuple[Array | None, ...]


def operands(left: Any, right: Any) -> tuple[Any, Any]:
    """Return both sides of an operator (one is a Tensor) with one float dtype.

    Python and numpy numbers take the dtype of the other side; zero-dimensional arrays do not
    widen larger ones; otherwise the wider float dtype wins.

    Raises
    ------
    TypeError
        For strings, complex numbers and other things that do not count as real numbers.
    """
    if not isinstance(right, Differentiable):
        right = _as_operand(left._data.dtype, right)
    elif not isinstance(left, Differentiable):
        left = _as_operand(right._data.dtype, left)
    left_array: Array = left._data if isinstance(left, Differentiable) else left
    right_array: Array = right._data if isinstance(right, Differentiable) else right
    if left_array.dtype == right_array.dtype and left_array.dtype.kind == "f":
        return left, right
    dtype = _common_dtype(left_array, right_array)
    return _converted(left, dtype), _converted(right, dtype)


def _as_operand(other_dtype: np.dtype[Any], value: Any) -> Array:
    if isinstance(value, (int, float, np.generic)):
        return np.asarray(value, other_dtype if other_dtype.kind == "f" else np.float32)
    try:
        array = np.asarray(value)
    except ValueError:
        array = None
    if array is None or array.dtype.kind not in "fiub":
        raise TypeError(f"a tensor cannot be combined with {excerpt(value)}")
    return array


def _common_dtype(left: Array, right: Array) -> np.dtype[Any]:
    floats = [array for array in (left, right) if array.dtype.kind == "f"]
    deciding = [array for array in floats if array.ndim > 0] or floats
    if not deciding:
        return np.dtype(np.float32)
    return np.result_type(*(array.dtype for array in deciding))


def _converted(operand: Any, dtype: np.dtype[Any]) -> Any:
    if operand.dtype == dtype:
        return operand
    if isinstance(operand, Differentiable):
        return Cast.apply(operand, dtype)
    return operand.astype(dtype)


def sum_to_shape(grad: Array, shape: tuple[int, ...]) -> Array:
    """Undo broadcasting: sum `grad` over the axes along which an array of `shape` was repeated."""
    if grad.shape == shape:
        return grad
    added = grad.ndim - len(shape)
    repeated = tuple(
        i for i, size in enumerate(grad.shape) if i < added or shape[i - added] != size
    )
    return _core.reduce("sum", grad, repeated, True).reshape(shape)


class Cast(Function):
    """Conversion to another float dtype; the gradient is converted back."""

    @staticmethod
    def forward(ctx: Context, input: Array, dtype: np.dtype[Any]) -> Array:
        ctx.saved = input.dtype
        return input.astype(dtype)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        return grad_output.astype(ctx.saved), None


class Add(Function):
    """left + right."""

    @staticmethod
    def forward(ctx: Context, left: Array, right: Array) -> Array:
        ctx.saved = left.shape, right.shape
        return _core.binary("add", left, right)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        left, right = ctx.saved
        needs_left, needs_right = ctx.needs_input_grad
        return (
            sum_to_shape(grad_output, left) if needs_left else None,
            sum_to_shape(grad_output, right) if needs_right else None,
        )


class Subtract(Function):
    """left - right."""

    @staticmethod
    def forward(ctx: Context, left: Array, right: Array) -> Array:
        ctx.saved = left.shape, right.shape
        return _core.binary("subtract", left, right)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        left, right = ctx.saved
        needs_left, needs_right = ctx.needs_input_grad
        return (
            sum_to_shape(grad_output, left) if needs_left else None,
            _core.unary("negative", sum_to_shape(grad_output, right)) if needs_right else None,
        )


class Multiply(Function):
    """left * right."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, left: Array, right: Array) -> Array:
        ctx.saved = left, right
        return _core.binary("multiply", left, right)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        left, right = ctx.saved
        needs_left, needs_right = ctx.needs_input_grad
        grad_left = grad_right = None
        if needs_left:
            grad_left = sum_to_shape(_core.binary("multiply", grad_output, right), left.shape)
        if needs_right:
            grad_right = sum_to_shape(_core.binary("multiply", grad_output, left), right.shape)
        return grad_left, grad_right


class Divide(Function):
    """left / right."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, left: Array, right: Array) -> Array:
        output = _core.binary("divide", left, right)
        ctx.saved = left.shape, right, output
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        left_shape, right, output = ctx.saved
        needs_left, needs_right = ctx.needs_input_grad
        grad_quotient = _core.binary("divide", grad_output, right)
        grad_left = grad_right = None
        if needs_left:
            grad_left = sum_to_shape(grad_quotient, left_shape)
        if needs_right:
            product = _core.binary("multiply", grad_quotient, output)
            grad_right = _core.unary("negative", sum_to_shape(product, right.shape))
        return grad_left, grad_right


class Power(Function):
    """base ** exponent. The gradient is 0, not NaN, where the exponent or a power of 0 says so."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, base: Array, exponent: Array) -> Array:
        output = _core.binary("power", base, exponent)
        ctx.saved = base, exponent, output
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        base, exponent, output = ctx.saved
        needs_base, needs_exponent = ctx.needs_input_grad
        grad_base = grad_exponent = None
        if needs_base:
            slope = _core.binary("power_slope", base, exponent)
            grad_base = sum_to_shape(_core.binary("multiply", grad_output, slope), base.shape)
        if needs_exponent:
            slope = _core.binary("exponent_slope", base, output)
            grad_exponent = sum_to_shape(
                _core.binary("multiply", grad_output, slope), exponent.shape
            )
        return grad_base, grad_exponent


class Negative(Function):
    """-input."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array) -> Array:
        return _core.unary("negative", input)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        return (_core.unary("negative", grad_output),)


class Absolute(Function):
    """|input|; the gradient at 0 is 0."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array) -> Array:
        ctx.saved = input
        return _core.unary("abs", input)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        sign = _core.unary("sign", ctx.saved)
        return (_core.binary("multiply", grad_output, sign),)


class Exponential(Function):
    """e ** input; the derivative is the output."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array) -> Array:
        output = _core.unary("exp", input)
        ctx.saved = output
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        return (_core.binary("multiply", grad_output, ctx.saved),)


class Logarithm(Function):
    """Natural logarithm; the derivative is 1 / input."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array) -> Array:
        ctx.saved = input
        return _core.unary("log", input)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        return (_core.binary("divide", grad_output, ctx.saved),)


class MatrixMultiply(Function):
    """left @ right, with numpy's rules for vectors and for stacks of matrices."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, left: Array, right: Array) -> Array:
        ctx.saved = left, right
        rows = left[None, :] if left.ndim == 1 else left
        columns = right[:, None] if right.ndim == 1 else right
        output = _stacked_matmul(rows, columns)
        if left.ndim == 1:
            output = output[..., 0, :]
        if right.ndim == 1:
            output = output[..., 0]
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> Gradients:
        left, right = ctx.saved
        needs_left, needs_right = ctx.needs_input_grad
        rows = left[None, :] if left.ndim == 1 else left
        columns = right[:, None] if right.ndim == 1 else right
        if right.ndim == 1:
            grad_output = grad_output[..., None]
        if left.ndim == 1:
            grad_output = grad_output[..., None, :]
        grad_left = grad_right = None
        if needs_left:
            grad_rows = _stacked_matmul(grad_output, columns.swapaxes(-1, -2))
            grad_left = sum_to_shape(grad_rows, rows.shape)
            if left.ndim == 1:
                grad_left = grad_left[0]
        if needs_right:
            grad_columns = _stacked_matmul(rows.swapaxes(-1, -2), grad_output)
            grad_right = sum_to_shape(grad_columns, columns.shape)
            if right.ndim == 1:
                grad_right = grad_right[:, 0]
        return grad_left, grad_right


def _stacked_matmul(left: Array, right: Array) -> Array:
    """(..., m, k) @ (..., k, n) -> (..., m, n), one core call for each pair of matrices."""
    if left.ndim == 2 and right.ndim == 2:
        return _core.matmul(left, right)
    stack = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    left = np.broadcast_to(left, stack + left.shape[-2:])
    right = np.broadcast_to(right, stack + right.shape[-2:])
    output = _core.empty((*stack, left.shape[-2], right.shape[-1]), left.dtype)
    for position in np.ndindex(*stack):
        output[position] = _core.matmul(left[position], right[position])
    return output


def matrices(left: Any, right: Any) -> tuple[Any, Any]:
    """Return both sides of ``left @ right`` with one float dtype, their inner sizes checked.

    Raises
    ------
    ValueError
        If an operand has no axes, or if the inner sizes differ.
    """
    left, right = operands(left, right)
    if not left.ndim or not right.ndim:
        raise ValueError(f"matmul: both operands need axes, got {left.shape} @ {right.shape}")
    inner = right.shape[-2 if right.ndim > 1 else 0]
    if left.shape[-1] != inner:
        raise ValueError(
            f"matmul: left has {left.shape[-1]} columns but right has {inner} rows "
            f"(left.shape = {left.shape}, right.shape = {right.shape})"
        )
    return left, right
