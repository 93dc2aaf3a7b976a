"""RMSprop: steps scaled by a running mean of the squared gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from convolite._args import flag, not_negative
from convolite.autograd import Array
from convolite.optim.optimizer import Group, Optimizer, State


class RMSprop(Optimizer):
    """RMSprop, Tieleman and Hinton 2012 (lecture 6.5), with PyTorch's place for eps.

    ``mean = alpha * mean + (1 - alpha) * gradient ** 2``;
    ``parameter -= lr * gradient / (sqrt(mean) + eps)``.

    Parameters
    ----------
    params : iterable of Tensor, or of dicts with "params" and options
    lr : float
        Learning rate.
    alpha : float
        How much of the running mean is kept at each step.
    eps : float
        Added to the denominator.
    weight_decay : float
        Times the parameter, added to the gradient.
    momentum : float
        If not 0, the scaled gradients are summed up in a buffer that decays by this factor.
    centered : bool
        Divide by the deviation of the gradient instead of its root mean square.

    Raises
    ------
    TypeError, ValueError
        For options and parameters that cannot be used.
    """

    _remembered = frozenset(["square_avg"])

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-2,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "alpha": alpha,
                "eps": eps,
                "weight_decay": weight_decay,
                "momentum": momentum,
                "centered": centered,
            },
        )

    def _check_options(self, options: Group) -> None:
        super()._check_options(options)
        if not_negative("RMSprop", "alpha", options["alpha"]) > 1.0:
            raise ValueError(f"RMSprop: alpha must be at most 1, got {options['alpha']}")
        not_negative("RMSprop", "momentum", options["momentum"])
        flag("RMSprop", "centered", options["centered"])

    def _update(self, group: Group) -> None:
        for batch in self._batches(group, bool):
            for parameter, array, gradient in zip(
                batch.parameters, batch.arrays, batch.gradients, strict=True
            ):
                state = self.state.setdefault(parameter, {})
                if group["weight_decay"]:
                    gradient = gradient + group["weight_decay"] * array
                array -= group["lr"] * _direction(group, state, gradient)


def _direction(group: Group, state: State, gradient: Array) -> Array:
    """Update the running means of one parameter and return its scaled gradient."""
    alpha = group["alpha"]
    square_avg = state.setdefault("square_avg", np.zeros_like(gradient))
    square_avg *= alpha
    square_avg += (1.0 - alpha) * gradient * gradient
    variance = square_avg
    if group["centered"]:
        grad_avg = state.setdefault("grad_avg", np.zeros_like(gradient))
        grad_avg += (1.0 - alpha) * (gradient - grad_avg)
        variance = square_avg - grad_avg * grad_avg
    scaled: Array = gradient / (np.sqrt(variance) + group["eps"])
    if not group["momentum"]:
        return scaled
    buffer: Array = state.setdefault("momentum_buffer", np.zeros_like(gradient))
    buffer *= group["momentum"]
    buffer += scaled
    return buffer
