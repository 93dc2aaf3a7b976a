"""Adam and AdamW: steps scaled by running means of the gradient and of its square."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

from convolite import _core
from convolite._args import excerpt, items, number
from convolite.optim.optimizer import Group, Optimizer, State, zeros_like


class Adam(Optimizer):
    """Adam, Kingma and Ba 2015 (arXiv 1412.6980), algorithm 1.

    ``parameter -= lr * m / (sqrt(v) + eps)`` with ``m`` and ``v`` the running means of the
    gradient and of its square, corrected for their start at zero.

    Parameters
    ----------
    params : iterable of Tensor, or of dicts with "params" and options
    lr : float
        Learning rate.
    betas : (float, float)
        How much of the two running means is kept at each step, within [0, 1).
    eps : float
        Added to the denominator.
    weight_decay : float
        Times the parameter, added to the gradient.

    Raises
    ------
    TypeError, ValueError
        For options and parameters that cannot be used.
    """

    _decoupled: ClassVar[bool] = False
    _remembered = frozenset(["step", "exp_avg", "exp_avg_sq"])

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(
            params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay}
        )

    def _check_options(self, options: Group) -> None:
        super()._check_options(options)
        name = self._name()
        given = items(name, "betas", options["betas"])
        betas = tuple(number(name, "betas", beta) for beta in given)
        if len(betas) != 2 or not all(0.0 <= beta < 1.0 for beta in betas):
            raise ValueError(
                f"{name}: betas must be two numbers in [0, 1), got {excerpt(options['betas'])}"
            )
        options["betas"] = betas

    def _update(self, group: Group) -> None:
        beta1, beta2 = group["betas"]
        for batch in self._batches(group, _steps_taken):
            step = int(_steps_taken(batch.states[:1])[0]) + 1
            if step == 1:
                means, squares = zeros_like(batch.arrays), zeros_like(batch.arrays)
                batch.states = [
                    {"step": step, "exp_avg": mean, "exp_avg_sq": square}
                    for mean, square in zip(means, squares, strict=True)
                ]
            _core.adam_step(
                batch.arrays,
                batch.gradients,
                [state["exp_avg"] for state in batch.states],
                [state["exp_avg_sq"] for state in batch.states],
                step,
                group["lr"],
                beta1,
                beta2,
                group["eps"],
                group["weight_decay"],
                self._decoupled,
            )
            if step == 1:
                self.state.update(zip(batch.parameters, batch.states, strict=True))
            for state in batch.states:
                state["step"] = step


class AdamW(Adam):
    """Adam with decoupled weight decay, Loshchilov and Hutter 2019 (arXiv 1711.05101).

    ``parameter *= 1 - lr * weight_decay`` takes the place of a term in the gradient. The
    arguments are Adam's, with ``weight_decay=0.01`` by default.
    """

    _decoupled = True

    def __init__(
        self,
        params: Iterable[Any],
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(params, lr, betas, eps, weight_decay)


def _steps_taken(states: list[State]) -> list[int]:
    return [state["step"] if state else 0 for state in states]
