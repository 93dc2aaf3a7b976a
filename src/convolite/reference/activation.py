"""Activation functions and their derivatives, each a pair of formulas side by side.

At a kink the derivative is PyTorch's choice.  `activation` and `activation_backward` find a pair
by its name.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from convolite.reference._window import Array, as_array

Formula = Callable[[Array, float], Array]


def activation(name: str, input: ArrayLike, parameter: float = 0.0) -> Array:
    """Apply the activation called `name` to every element.

    Parameters
    ----------
    name : str
        none, relu, leaky_relu, relu6, elu, gelu, gelu_tanh, silu, hardswish, hardsigmoid, sigmoid
        or tanh.
    input : array_like, any shape
    parameter : float
        The slope of leaky_relu, the alpha of elu; the others ignore it.

    Returns
    -------
    ndarray of float64, shape of `input`
    """
    formula, _ = FORMULAS[name]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        return formula(as_array(input), parameter)


def activation_backward(
    name: str, grad_output: ArrayLike, input: ArrayLike, parameter: float = 0.0
) -> Array:
    """Gradient of `activation`: the derivative at the *input*, times the gradient of the output.

    Returns
    -------
    ndarray of float64, shape of `input`
    """
    _, derivative = FORMULAS[name]
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        grad_input: Array = as_array(grad_output) * derivative(as_array(input), parameter)
    return grad_input


def identity(x: Array, _: float = 0.0) -> Array:
    """x."""
    return np.array(x)


def identity_derivative(x: Array, _: float = 0.0) -> Array:
    """1."""
    return np.ones(x.shape)


def relu(x: Array, _: float = 0.0) -> Array:
    """max(x, 0), Goodfellow et al. 2016, eq. 6.37; NaN stays NaN."""
    return np.maximum(x, 0.0)


def relu_derivative(x: Array, _: float = 0.0) -> Array:
    """1 where x > 0 (or NaN), else 0: nothing passes at the kink."""
    return np.where(x <= 0.0, 0.0, 1.0)


def leaky_relu(x: Array, slope: float) -> Array:
    """x where positive, slope * x elsewhere (Maas et al. 2013)."""
    return np.where(x > 0.0, x, slope * x)


def leaky_relu_derivative(x: Array, slope: float) -> Array:
    """1 where x > 0, else the slope."""
    return np.where(x > 0.0, 1.0, slope)


def relu6(x: Array, _: float = 0.0) -> Array:
    """min(max(x, 0), 6) (Krizhevsky 2010)."""
    return np.minimum(np.maximum(x, 0.0), 6.0)


def relu6_derivative(x: Array, _: float = 0.0) -> Array:
    """1 strictly between 0 and 6 (or at NaN), else 0."""
    return np.where((x <= 0.0) | (x >= 6.0), 0.0, 1.0)


def elu(x: Array, alpha: float) -> Array:
    """x where positive, alpha * (exp(x) - 1) elsewhere (Clevert et al. 2016)."""
    return np.where(x > 0.0, x, alpha * np.expm1(x))


def elu_derivative(x: Array, alpha: float) -> Array:
    """1 where x > 0, else alpha * exp(x)."""
    return np.where(x > 0.0, 1.0, alpha * np.exp(x))


def gelu(x: Array, _: float = 0.0) -> Array:
    """x * Phi(x) with the normal distribution function Phi (Hendrycks & Gimpel 2016)."""
    return x * _normal_cdf(x)


def gelu_derivative(x: Array, _: float = 0.0) -> Array:
    """Phi(x) + x * phi(x) with the normal density phi."""
    density = np.exp(-0.5 * x * x) / math.sqrt(2.0 * math.pi)
    return _normal_cdf(x) + x * density


def gelu_tanh(x: Array, _: float = 0.0) -> Array:
    """x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))), the same paper's approximation."""
    return 0.5 * x * (1.0 + np.tanh(_gelu_inner(x)))


def gelu_tanh_derivative(x: Array, _: float = 0.0) -> Array:
    """By the product and chain rules, with tanh' = 1 - tanh^2."""
    tangent = np.tanh(_gelu_inner(x))
    slope = math.sqrt(2.0 / math.pi) * (1.0 + 3.0 * 0.044715 * x * x)
    return 0.5 * (1.0 + tangent) + 0.5 * x * (1.0 - tangent * tangent) * slope


def silu(x: Array, _: float = 0.0) -> Array:
    """x * sigmoid(x) (Elfwing et al. 2018)."""
    return x * sigmoid(x)


def silu_derivative(x: Array, _: float = 0.0) -> Array:
    """s * (1 + x * (1 - s)) with s = sigmoid(x)."""
    s = sigmoid(x)
    return s * (1.0 + x * (1.0 - s))


def hardswish(x: Array, _: float = 0.0) -> Array:
    """x * relu6(x + 3) / 6 (Howard et al. 2019)."""
    return x * relu6(x + 3.0) / 6.0


def hardswish_derivative(x: Array, _: float = 0.0) -> Array:
    """0 up to -3, 1 from 3, x / 3 + 1 / 2 between."""
    return np.where(x <= -3.0, 0.0, np.where(x >= 3.0, 1.0, x / 3.0 + 0.5))


def hardsigmoid(x: Array, _: float = 0.0) -> Array:
    """relu6(x + 3) / 6 (Howard et al. 2019)."""
    return relu6(x + 3.0) / 6.0


def hardsigmoid_derivative(x: Array, _: float = 0.0) -> Array:
    """1 / 6 strictly between -3 and 3, else 0."""
    return np.where((x > -3.0) & (x < 3.0), 1.0 / 6.0, 0.0)


def sigmoid(x: Array, _: float = 0.0) -> Array:
    """1 / (1 + exp(-x)), Goodfellow et al. 2016, eq. 3.30; written so that exp cannot overflow."""
    small = np.exp(-np.abs(x))
    return np.where(x >= 0.0, 1.0, small) / (1.0 + small)


def sigmoid_derivative(x: Array, _: float = 0.0) -> Array:
    """s * (1 - s) with s = sigmoid(x), and 1 - s = sigmoid(-x)."""
    return sigmoid(x) * sigmoid(-x)


def tanh(x: Array, _: float = 0.0) -> Array:
    """The hyperbolic tangent."""
    return np.asarray(np.tanh(x))


def tanh_derivative(x: Array, _: float = 0.0) -> Array:
    """1 - tanh(x)^2."""
    return np.asarray(1.0 - np.tanh(x) ** 2)


def _normal_cdf(x: Array) -> Array:
    complement = np.array([math.erfc(-value / math.sqrt(2.0)) for value in x.ravel()])
    return 0.5 * complement.reshape(x.shape)


def _gelu_inner(x: Array) -> Array:
    return math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3)


FORMULAS: dict[str, tuple[Formula, Formula]] = {
    "none": (identity, identity_derivative),
    "relu": (relu, relu_derivative),
    "leaky_relu": (leaky_relu, leaky_relu_derivative),
    "relu6": (relu6, relu6_derivative),
    "elu": (elu, elu_derivative),
    "gelu": (gelu, gelu_derivative),
    "gelu_tanh": (gelu_tanh, gelu_tanh_derivative),
    "silu": (silu, silu_derivative),
    "hardswish": (hardswish, hardswish_derivative),
    "hardsigmoid": (hardsigmoid, hardsigmoid_derivative),
    "sigmoid": (sigmoid, sigmoid_derivative),
    "tanh": (tanh, tanh_derivative),
}
