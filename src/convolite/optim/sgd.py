"""SGD: stochastic gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from convolite import _core
from convolite._args import finite, flag, not_negative
from convolite.autograd import Array
from convolite.optim.optimizer import Group, Optimizer, State, zeros_like


class SGD(Optimizer):
    """Stochastic gradient descent, with momentum if asked for.

    ``gradient += weight_decay * parameter``;
    ``buffer = momentum * buffer + (1 - dampening) * gradient`` (the first buffer is the gradient);
    ``parameter -= lr * buffer``, or with Nesterov ``lr * (gradient + momentum * buffer)``.

    Parameters
    ----------
    params : iterable of Tensor, or of dicts with "params" and options
    lr : float
        Learning rate.
    momentum, dampening, weight_decay : float
    nesterov : bool
        Needs momentum and no dampening. Sutskever et al. 2013.

    Raises
    ------
    TypeError, ValueError
        For options and parameters that cannot be used.
    """

    _remembered = frozenset(["momentum_buffer"])

    def __init__(
        self,
        params: Iterable[Any],
        lr: float,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "dampening": dampening,
                "weight_decay": weight_decay,
                "nesterov": nesterov,
            },
        )

    def _check_options(self, options: Group) -> None:
        super()._check_options(options)
        not_negative("SGD", "momentum", options["momentum"])
        finite("SGD", "dampening", options["dampening"])
        flag("SGD", "nesterov", options["nesterov"])
        if options["nesterov"] and (not options["momentum"] or options["dampening"]):
            raise ValueError(
                "SGD: nesterov needs momentum and no dampening "
                f"(momentum = {options['momentum']}, dampening = {options['dampening']})"
            )

    def _update(self, group: Group) -> None:
        for batch in self._batches(group, _are_remembered if group["momentum"] else None):
            first_step = group["momentum"] != 0.0 and not batch.states[0]
            buffers: list[Array] = []
            if first_step:
                buffers = zeros_like(batch.arrays)
            elif group["momentum"]:
                buffers = [state["momentum_buffer"] for state in batch.states]
            _core.sgd_step(
                batch.arrays,
                batch.gradients,
                buffers,
                first_step,
                group["lr"],
                group["momentum"],
                group["dampening"],
                group["weight_decay"],
                bool(group["nesterov"]),
            )
            if first_step:
                for parameter, buffer in zip(batch.parameters, buffers, strict=True):
                    self.state[parameter] = {"momentum_buffer": buffer}


def _are_remembered(states: list[State]) -> list[bool]:
    return list(map(bool, states))
