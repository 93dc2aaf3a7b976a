"""Softmax and its logarithm along one axis, with their gradients."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from convolite.reference._window import Array, as_array


def softmax(input: ArrayLike, axis: int = -1) -> Array:
    """``exp(x_i) / sum_j exp(x_j)``, Goodfellow et al. 2016, eq. 6.29.

    The largest entry is subtracted first, which changes nothing but keeps exp from overflowing.

    Returns
    -------
    ndarray of float64, shape of `input`
    """
    return np.asarray(np.exp(log_softmax(input, axis)))


def softmax_backward(grad_output: ArrayLike, output: ArrayLike, axis: int = -1) -> Array:
    """Gradient of softmax from its *output* y: ``y_i * (g_i - sum_j g_j y_j)``.

    From the Jacobian dy_j / dx_i = y_j (delta_ij - y_i).

    Returns
    -------
    ndarray of float64, shape of `output`
    """
    grad_output, output = as_array(grad_output), as_array(output)
    grad_input: Array = output * (grad_output - (grad_output * output).sum(axis, keepdims=True))
    return grad_input


def log_softmax(input: ArrayLike, axis: int = -1) -> Array:
    """``x_i - log sum_j exp(x_j)``, Goodfellow et al. 2016, eq. 6.30.

    Returns
    -------
    ndarray of float64, shape of `input`
    """
    input = as_array(input)
    with np.errstate(invalid="ignore", divide="ignore"):
        shifted = input - input.max(axis=axis, keepdims=True, initial=-np.inf)
        output: Array = shifted - np.log(np.exp(shifted).sum(axis, keepdims=True))
    return output


def log_softmax_backward(grad_output: ArrayLike, output: ArrayLike, axis: int = -1) -> Array:
    """Gradient of log-softmax from its *output* z: ``g_i - exp(z_i) * sum_j g_j``.

    Returns
    -------
    ndarray of float64, shape of `output`
    """
    grad_output, output = as_array(grad_output), as_array(output)
    grad_input: Array = grad_output - np.exp(output) * grad_output.sum(axis, keepdims=True)
    return grad_input
