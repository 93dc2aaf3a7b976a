"""One update of one parameter by SGD, Adam and RMSprop: the rules, as PyTorch states them.

Nothing is changed in place: each function returns the new parameter and the new state.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from convolite.reference._window import Array, as_array


def sgd_step(
    parameter: ArrayLike,
    gradient: ArrayLike,
    momentum_buffer: ArrayLike | None,
    lr: float,
    momentum: float = 0.0,
    dampening: float = 0.0,
    weight_decay: float = 0.0,
    nesterov: bool = False,
) -> tuple[Array, Array | None]:
    """Stochastic gradient descent with momentum (Sutskever et al. 2013; `torch.optim.SGD`).

    Parameters
    ----------
    parameter, gradient : array_like, of one shape
    momentum_buffer : array_like or None
        None at the first step, whose gradient becomes the buffer without dampening.
    lr, momentum, dampening, weight_decay : float
    nesterov : bool

    Returns
    -------
    parameter : ndarray of float64
    momentum_buffer : ndarray of float64, or None without momentum
    """
    parameter = as_array(parameter)
    direction = as_array(gradient) + weight_decay * parameter
    if momentum == 0.0:
        return parameter - lr * direction, None
    if momentum_buffer is None:
        velocity = direction
    else:
        velocity = momentum * as_array(momentum_buffer) + (1.0 - dampening) * direction
    step = direction + momentum * velocity if nesterov else velocity
    return parameter - lr * step, velocity


def adam_step(
    parameter: ArrayLike,
    gradient: ArrayLike,
    exp_avg: ArrayLike,
    exp_avg_sq: ArrayLike,
    step: int,
    lr: float = 1e-3,
    beta1: float = 0.9,
    beta2: float = 0.999,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> tuple[Array, Array, Array]:
    """Adam, algorithm 1 of Kingma & Ba 2015; with `decoupled` AdamW, Loshchilov & Hutter 2019.

    Parameters
    ----------
    parameter, gradient : array_like, of one shape
    exp_avg, exp_avg_sq : array_like
        Running means of the gradient and of its square; zeros at the first step.
    step : int
        Number of this step; the first is 1.
    lr, beta1, beta2, eps, weight_decay : float
    decoupled : bool
        Shrink the parameter itself instead of adding weight_decay * parameter to the gradient.

    Returns
    -------
    parameter, exp_avg, exp_avg_sq : ndarray of float64
    """
    parameter, gradient = as_array(parameter), as_array(gradient)
    if decoupled:
        parameter = parameter * (1.0 - lr * weight_decay)
    else:
        gradient = gradient + weight_decay * parameter
    exp_avg = beta1 * as_array(exp_avg) + (1.0 - beta1) * gradient
    exp_avg_sq = beta2 * as_array(exp_avg_sq) + (1.0 - beta2) * gradient**2
    unbiased_avg = exp_avg / (1.0 - beta1**step)
    unbiased_sq = exp_avg_sq / (1.0 - beta2**step)
    return parameter - lr * unbiased_avg / (np.sqrt(unbiased_sq) + eps), exp_avg, exp_avg_sq


def rmsprop_step(
    parameter: ArrayLike,
    gradient: ArrayLike,
    square_avg: ArrayLike,
    grad_avg: ArrayLike,
    momentum_buffer: ArrayLike,
    lr: float = 1e-2,
    alpha: float = 0.99,
    eps: float = 1e-8,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    centered: bool = False,
) -> tuple[Array, Array, Array, Array]:
    """RMSprop, lecture 6.5 of Tieleman & Hinton 2012; centered as in Graves 2013 (1308.0850).

    Parameters
    ----------
    parameter, gradient : array_like, of one shape
    square_avg, grad_avg : array_like
        Running means of the gradient's square and of the gradient; zeros at the first step.
    momentum_buffer : array_like
        Decaying sum of the scaled gradients; zeros at the first step.
    lr, alpha, eps, weight_decay, momentum : float
    centered : bool
        Divide by the deviation of the gradient instead of its root mean square.

    Returns
    -------
    parameter, square_avg, grad_avg, momentum_buffer : ndarray of float64
    """
    parameter = as_array(parameter)
    gradient = as_array(gradient) + weight_decay * parameter
    square_avg = alpha * as_array(square_avg) + (1.0 - alpha) * gradient**2
    grad_avg = alpha * as_array(grad_avg) + (1.0 - alpha) * gradient
    variance = square_avg - grad_avg**2 if centered else square_avg
    scaled = gradient / (np.sqrt(variance) + eps)
    momentum_buffer = momentum * as_array(momentum_buffer) + scaled
    return parameter - lr * momentum_buffer, square_avg, grad_avg, momentum_buffer
