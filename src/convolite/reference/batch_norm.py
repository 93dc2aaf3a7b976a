"""Batch normalisation in training and inference, its gradients and its running statistics.

Ioffe & Szegedy 2015.  The input is (n, c), (n, c, l) or (n, c, h, w); every channel is on its own.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from convolite.reference._window import Array, as_array
from convolite.reference.activation import activation as apply_activation


def batch_norm_training(
    input: ArrayLike,
    weight: ArrayLike | None = None,
    bias: ArrayLike | None = None,
    eps: float = 1e-5,
    activation: str = "none",
) -> tuple[Array, Array, Array]:
    """Normalise with the batch's own mean and (biased) variance: algorithm 1 of the paper.

    Parameters
    ----------
    input : array_like, shape (n, c), (n, c, l) or (n, c, h, w)
    weight, bias : array_like, shape (c,), optional
        The paper's gamma and beta; 1 and 0 when missing.
    eps : float
        Added to the variance.
    activation : str
        Name of an activation to apply last, or "none".

    Returns
    -------
    output : ndarray of float64, shape of `input`
    mean, inv_std : ndarray of float64, shape (c,)
        What `batch_norm_backward` needs; inv_std is 1 / sqrt(variance + eps).
    """
    input = as_array(input)
    channels = input.shape[1]
    mean, inv_std = np.zeros(channels), np.zeros(channels)
    for channel in range(channels):
        values = input[:, channel]
        mean[channel] = values.mean()
        variance = ((values - mean[channel]) ** 2).mean()
        inv_std[channel] = 1.0 / np.sqrt(variance + eps)
    return _scale_and_shift(input, weight, bias, mean, inv_std, activation), mean, inv_std


def batch_norm_inference(
    input: ArrayLike,
    weight: ArrayLike | None,
    bias: ArrayLike | None,
    running_mean: ArrayLike,
    running_var: ArrayLike,
    eps: float = 1e-5,
    activation: str = "none",
) -> Array:
    """Normalise with statistics gathered during training: algorithm 2, step 11 of the paper.

    Returns
    -------
    ndarray of float64, shape of `input`
    """
    inv_std = 1.0 / np.sqrt(as_array(running_var) + eps)
    return _scale_and_shift(
        as_array(input), weight, bias, as_array(running_mean), inv_std, activation
    )


def running_statistics(
    input: ArrayLike, running_mean: ArrayLike, running_var: ArrayLike, momentum: float = 0.1
) -> tuple[Array, Array]:
    """The running statistics after one training batch, as PyTorch keeps them.

    ``running = (1 - momentum) * running + momentum * statistic``; the variance that enters is the
    unbiased one (divided by m - 1 for m values per channel).

    Returns
    -------
    running_mean, running_var : ndarray of float64, shape (c,)
    """
    input = as_array(input)
    new_mean, new_var = as_array(running_mean).copy(), as_array(running_var).copy()
    for channel in range(input.shape[1]):
        values = input[:, channel]
        unbiased = ((values - values.mean()) ** 2).sum() / (values.size - 1)
        new_mean[channel] += momentum * (values.mean() - new_mean[channel])
        new_var[channel] += momentum * (unbiased - new_var[channel])
    return new_mean, new_var


def batch_norm_backward(
    grad_output: ArrayLike,
    input: ArrayLike,
    weight: ArrayLike | None,
    mean: ArrayLike,
    inv_std: ArrayLike,
    training: bool = True,
) -> tuple[Array, Array, Array]:
    """Gradients of batch normalisation: the six equations of the paper's section 3, simplified.

    With x_hat = (input - mean) * inv_std the mean and the variance of a batch move with each of
    its values, which takes two averages off the gradient:
    ``grad_input = weight * inv_std * (g - mean(g) - x_hat * mean(g * x_hat))``.
    In inference they are constants, and ``grad_input = weight * inv_std * g``.

    Parameters
    ----------
    grad_output, input : array_like, of one shape
    weight : array_like, shape (c,), or None
    mean, inv_std : array_like, shape (c,)
        As the forward function used them.
    training : bool
        Whether they were computed from `input`.

    Returns
    -------
    grad_input : ndarray of float64, shape of `input`
    grad_weight, grad_bias : ndarray of float64, shape (c,)
    """
    grad_output, input = as_array(grad_output), as_array(input)
    mean, inv_std = as_array(mean), as_array(inv_std)
    channels = input.shape[1]
    scale = np.ones(channels) if weight is None else as_array(weight)
    grad_input = np.zeros(input.shape)
    grad_weight, grad_bias = np.zeros(channels), np.zeros(channels)
    for channel in range(channels):
        gradient = grad_output[:, channel]
        normalised = (input[:, channel] - mean[channel]) * inv_std[channel]
        grad_bias[channel] = gradient.sum()
        grad_weight[channel] = (gradient * normalised).sum()
        through_statistics = np.zeros(gradient.shape)
        if training:
            count = gradient.size
            through_statistics = (grad_bias[channel] + normalised * grad_weight[channel]) / count
        grad_input[:, channel] = scale[channel] * inv_std[channel] * (gradient - through_statistics)
    return grad_input, grad_weight, grad_bias


def _scale_and_shift(
    input: Array,
    weight: ArrayLike | None,
    bias: ArrayLike | None,
    mean: Array,
    inv_std: Array,
    activation: str,
) -> Array:
    channels = input.shape[1]
    scale = np.ones(channels) if weight is None else as_array(weight)
    shift = np.zeros(channels) if bias is None else as_array(bias)
    output = np.zeros(input.shape)
    for channel in range(channels):
        normalised = (input[:, channel] - mean[channel]) * inv_std[channel]
        output[:, channel] = scale[channel] * normalised + shift[channel]
    return apply_activation(activation, output)
