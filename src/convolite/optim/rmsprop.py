"""RMSprop: steps scaled by a running mean of the squared gradient."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convolite import _core
from convolite._args import flag, not_negative
from convolite.autograd import Array
from convolite.optim.optimizer import Batch, Group, Optimizer, zeros_like

Kept = dict[str, list[Array]]  # by name, an array for each parameter


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
        for batch in self._batches(group):
            begun: Kept = {}
            _core.rmsprop_step(
                batch.arrays,
                batch.gradients,
                _kept(batch, "square_avg", begun),
                _kept(batch, "grad_avg", begun) if group["centered"] else [],
                _kept(batch, "momentum_buffer", begun) if group["momentum"] else [],
                group["lr"],
                group["alpha"],
                group["eps"],
                group["weight_decay"],
                group["momentum"],
                bool(group["centered"]),
            )
            # Only now: the core may have refused the step.
            for name, arrays in begun.items():
                for parameter, array in zip(batch.parameters, arrays, strict=True):
                    self.state.setdefault(parameter, {})[name] = array


def _kept(batch: Batch, name: str, begun: Kept) -> list[Array]:
    """What is remembered under `name` about each parameter: zeros before the first step.

    Where there are such zeros, `begun` takes the list.
    """
    try:
        return [state[name] for state in batch.states]
    except KeyError:
        members = list(zip(batch.arrays, batch.states, strict=True))
        zeros = iter(zeros_like([array for array, state in members if name not in state]))
        begun[name] = [state[name] if name in state else next(zeros) for state in batch.states]
        return begun[name]
