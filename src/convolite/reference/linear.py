"""The fully connected layer, its gradients, and the matrix product: row by row."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from convolite.reference._window import Array, as_array
from convolite.reference.activation import activation as apply_activation


def matmul(a: ArrayLike, b: ArrayLike) -> Array:
    """Matrix product, by its definition: ``c[i, j] = sum over p of a[i, p] * b[p, j]``.

    Parameters
    ----------
    a : array_like, shape (m, k)
    b : array_like, shape (k, n)

    Returns
    -------
    ndarray of float64, shape (m, n)
    """
    a, b = as_array(a), as_array(b)
    product = np.zeros((a.shape[0], b.shape[1]))
    for i in range(a.shape[0]):
        for j in range(b.shape[1]):
            product[i, j] = (a[i, :] * b[:, j]).sum()
    return product


def linear(
    input: ArrayLike, weight: ArrayLike, bias: ArrayLike | None = None, activation: str = "none"
) -> Array:
    """Affine map of every row: ``output[i] = weight @ input[i] + bias``.

    Goodfellow et al. 2016, section 6.1, with PyTorch's orientation of the weight.

    Parameters
    ----------
    input : array_like, shape (n, inputs)
    weight : array_like, shape (outputs, inputs)
    bias : array_like, shape (outputs,), optional
    activation : str
        Name of an activation to apply last, or "none".

    Returns
    -------
    ndarray of float64, shape (n, outputs)
    """
    input, weight = as_array(input), as_array(weight)
    shift = np.zeros(weight.shape[0]) if bias is None else as_array(bias)
    output = np.zeros((input.shape[0], weight.shape[0]))
    for i, row in enumerate(input):
        output[i] = (weight * row).sum(axis=1) + shift
    return apply_activation(activation, output)


def linear_backward_input(grad_output: ArrayLike, weight: ArrayLike) -> Array:
    """Gradient with respect to the input: ``grad_input[i] = weight.T @ grad_output[i]``.

    Returns
    -------
    ndarray of float64, shape (n, inputs)
    """
    grad_output, weight = as_array(grad_output), as_array(weight)
    grad_input = np.zeros((grad_output.shape[0], weight.shape[1]))
    for i, row in enumerate(grad_output):
        grad_input[i] = (weight * row[:, None]).sum(axis=0)
    return grad_input


def linear_backward_weight(grad_output: ArrayLike, input: ArrayLike) -> Array:
    """Gradient with respect to the weight: the sum of each row's outer product with its input.

    Returns
    -------
    ndarray of float64, shape (outputs, inputs)
    """
    grad_output, input = as_array(grad_output), as_array(input)
    grad_weight = np.zeros((grad_output.shape[1], input.shape[1]))
    for grad_row, input_row in zip(grad_output, input, strict=True):
        grad_weight += np.outer(grad_row, input_row)
    return grad_weight


def linear_backward_bias(grad_output: ArrayLike) -> Array:
    """Gradient with respect to the bias, which was added to every row: the sum of the rows.

    Returns
    -------
    ndarray of float64, shape (outputs,)
    """
    return np.asarray(as_array(grad_output).sum(axis=0))
