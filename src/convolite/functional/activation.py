"""Activation functions and the softmax family: one Function for each, and the public calls.

Formulas and conventions at kinks are PyTorch's: the derivative of relu at 0 is 0, that of relu6
is 0 at 0 and at 6. NaN passes through every function.
"""

from __future__ import annotations

from typing import Any

from convolite import _core
from convolite._args import choice, number, size
from convolite.autograd import Array, Context, Function
from convolite.tensor import Tensor, as_tensor

# Their derivative follows from the output, which the next layer keeps anyway.
_SAVES_OUTPUT = frozenset(["relu", "relu6", "sigmoid", "tanh"])


class Activation(Function):
    """An elementwise function of the core, by its name; `parameter` is a slope or alpha."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array, name: str, parameter: float) -> Array:
        output = _core.activation_forward(name, input, parameter)
        ctx.saved = name, output if name in _SAVES_OUTPUT else input, parameter
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        name, at, parameter = ctx.saved
        return _core.activation_backward(name, grad_output, at, parameter), None, None


class Softmax(Function):
    """exp(input) divided by its sum along an axis."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array, axis: int) -> Array:
        output = _core.softmax_forward(input, axis)
        ctx.saved = output, axis
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        output, axis = ctx.saved
        return _core.softmax_backward(grad_output, output, axis), None


class LogSoftmax(Function):
    """Logarithm of softmax along an axis."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array, axis: int) -> Array:
        output = _core.log_softmax_forward(input, axis)
        ctx.saved = output, axis
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        output, axis = ctx.saved
        return _core.log_softmax_backward(grad_output, output, axis), None


def _activate(name: str, input: Any, parameter: float = 0.0) -> Tensor:
    return Activation.apply(as_tensor(input, name, "input"), name, parameter)


def relu(input: Any) -> Tensor:
    """Return ``max(input, 0)``, element by element.

    Parameters
    ----------
    input : Tensor or array of float32 or float64, any shape

    Returns
    -------
    Tensor, shape of `input`

    Raises
    ------
    TypeError
        If `input` does not hold float32 or float64; so do all functions of this file.
    """
    return _activate("relu", input)


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Tensor:
    """Return `input` where it is positive, ``negative_slope * input`` elsewhere."""
    return _activate("leaky_relu", input, number("leaky_relu", "negative_slope", negative_slope))


def relu6(input: Any) -> Tensor:
    """Return ``min(max(input, 0), 6)``, element by element."""
    return _activate("relu6", input)


def elu(input: Any, alpha: float = 1.0) -> Tensor:
    """Return `input` where it is positive, ``alpha * (exp(input) - 1)`` elsewhere."""
    return _activate("elu", input, number("elu", "alpha", alpha))


def gelu(input: Any, approximate: str = "none") -> Tensor:
    """Return ``input * Phi(input)``, with Phi the normal distribution function.

    Parameters
    ----------
    input : Tensor or array, any shape
    approximate : {"none", "tanh"}
        "tanh" replaces Phi by ``(1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2``
        (Hendrycks & Gimpel 2016).

    Raises
    ------
    TypeError, ValueError
        For another `approximate`.
    """
    formula = choice("gelu", "approximate", approximate, ("none", "tanh"))
    return _activate("gelu" if formula == "none" else "gelu_tanh", input)


def silu(input: Any) -> Tensor:
    """Return ``input * sigmoid(input)``, also called swish."""
    return _activate("silu", input)


def hardswish(input: Any) -> Tensor:
    """Return ``input * relu6(input + 3) / 6``."""
    return _activate("hardswish", input)


def hardsigmoid(input: Any) -> Tensor:
    """Return ``relu6(input + 3) / 6``."""
    return _activate("hardsigmoid", input)


def sigmoid(input: Any) -> Tensor:
    """Return ``1 / (1 + exp(-input))``."""
    return _activate("sigmoid", input)


def tanh(input: Any) -> Tensor:
    """Return the hyperbolic tangent."""
    return _activate("tanh", input)


def softmax(input: Any, dim: int) -> Tensor:
    """Return ``exp(input)`` divided by its sum along one axis.

    Parameters
    ----------
    input : Tensor or array of float32 or float64, any shape
    dim : int
        The axis; negative ones count from the end.

    Returns
    -------
    Tensor, shape of `input`
        Positive, with sum 1 along the axis. Large inputs do not overflow.

    Raises
    ------
    TypeError, ValueError
        If `dim` is not an int or out of range.
    """
    return Softmax.apply(as_tensor(input, "softmax", "input"), size("softmax", "dim", dim))


def log_softmax(input: Any, dim: int) -> Tensor:
    """Return the logarithm of `softmax`, without underflow.

    Parameters
    ----------
    input : Tensor or array of float32 or float64, any shape
    dim : int
        The axis; negative ones count from the end.

    Raises
    ------
    TypeError, ValueError
        If `dim` is not an int or out of range.
    """
    values = as_tensor(input, "log_softmax", "input")
    return LogSoftmax.apply(values, size("log_softmax", "dim", dim))
