"""Learning-rate schedules: each call of ``step()`` sets the rate of every parameter group.

The rates follow from one another as in PyTorch, so that schedules may be combined and a rate
changed by hand stays changed. `ReduceLROnPlateau` and `OneCycleLR` are in files of their own.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from math import cos, pi
from typing import Any

from convolite._args import at_least, excerpt, integer, items, not_negative, number
from convolite.optim.one_cycle import OneCycleLR
from convolite.optim.optimizer import Optimizer
from convolite.optim.plateau import ReduceLROnPlateau
from convolite.optim.schedule import LRScheduler, check_entries, load_together

__all__ = [
    "CosineAnnealingLR",
    "ExponentialLR",
    "LRScheduler",
    "LinearLR",
    "MultiStepLR",
    "OneCycleLR",
    "ReduceLROnPlateau",
    "SequentialLR",
    "StepLR",
]


class StepLR(LRScheduler):
    """Multiplies the rate by `gamma` every `step_size` epochs.

    Parameters
    ----------
    optimizer : Optimizer
    step_size : int
    gamma : float
    last_epoch : int
        Epochs already done, counted from 0; -1 to start.
    """

    def __init__(
        self, optimizer: Optimizer, step_size: int, gamma: float = 0.1, last_epoch: int = -1
    ) -> None:
        self.step_size = at_least("StepLR", "step_size", step_size, 1)
        self.gamma = not_negative("StepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _next(self, lr: float, base_lr: float) -> float:
        return lr * self.gamma if self.last_epoch % self.step_size == 0 else lr


class MultiStepLR(LRScheduler):
    """Multiplies the rate by `gamma` at each of the epochs in `milestones`.

    Parameters
    ----------
    optimizer : Optimizer
    milestones : sequence of int
        An epoch that appears twice counts twice.
    gamma : float
    last_epoch : int
        Epochs already done, counted from 0; -1 to start.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        milestones: Sequence[int],
        gamma: float = 0.1,
        last_epoch: int = -1,
    ) -> None:
        given = items("MultiStepLR", "milestones", milestones)
        self.milestones = sorted(integer("MultiStepLR", "milestones", item) for item in given)
        self.gamma = not_negative("MultiStepLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _first(self, lr: float) -> float:
        return self._next(lr, lr)

    def _next(self, lr: float, base_lr: float) -> float:
        return lr * self.gamma ** self.milestones.count(self.last_epoch)


class ExponentialLR(LRScheduler):
    """Multiplies the rate by `gamma` every epoch.

    Parameters
    ----------
    optimizer : Optimizer
    gamma : float
    last_epoch : int
        Epochs already done, counted from 0; -1 to start.
    """

    def __init__(self, optimizer: Optimizer, gamma: float, last_epoch: int = -1) -> None:
        self.gamma = not_negative("ExponentialLR", "gamma", gamma)
        super().__init__(optimizer, last_epoch)

    def _next(self, lr: float, base_lr: float) -> float:
        return lr * self.gamma


class LinearLR(LRScheduler):
    """Moves the rate on a straight line between two multiples of the base rate.

    Parameters
    ----------
    optimizer : Optimizer
    start_factor : float
        Multiple at the start, within (0, 1].
    end_factor : float
        Multiple after `total_iters` steps, within [0, 1].
    total_iters : int
    last_epoch : int
        Epochs already done, counted from 0; -1 to start.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        start_factor: float = 1.0 / 3.0,
        end_factor: float = 1.0,
        total_iters: int = 5,
        last_epoch: int = -1,
    ) -> None:
        self.start_factor = number("LinearLR", "start_factor", start_factor)
        self.end_factor = number("LinearLR", "end_factor", end_factor)
        self.total_iters = integer("LinearLR", "total_iters", total_iters)
        if not 0.0 < self.start_factor <= 1.0:
            raise ValueError(f"LinearLR: start_factor must be within (0, 1], got {start_factor}")
        if not 0.0 <= self.end_factor <= 1.0:
            raise ValueError(f"LinearLR: end_factor must be within [0, 1], got {end_factor}")
        super().__init__(optimizer, last_epoch)

    def _first(self, lr: float) -> float:
        return lr * self.start_factor

    def _next(self, lr: float, base_lr: float) -> float:
        if self.last_epoch > self.total_iters:
            return lr
        rise = self.end_factor - self.start_factor
        before = self.total_iters * self.start_factor + (self.last_epoch - 1) * rise
        return lr * (1.0 + rise / before)


class CosineAnnealingLR(LRScheduler):
    """Lets the rate fall to `eta_min` in `T_max` steps along half a cosine, then rise again.

    Loshchilov and Hutter 2017 (arXiv 1608.03983), without restarts.

    Parameters
    ----------
    optimizer : Optimizer
    T_max : int
    eta_min : float
    last_epoch : int
        Epochs already done, counted from 0; -1 to start.
    """

    def __init__(
        self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0, last_epoch: int = -1
    ) -> None:
        self.T_max = at_least("CosineAnnealingLR", "T_max", T_max, 1)
        self.eta_min = number("CosineAnnealingLR", "eta_min", eta_min)
        super().__init__(optimizer, last_epoch)

    def _next(self, lr: float, base_lr: float) -> float:
        period = self.T_max
        if (self.last_epoch - 1 - period) % (2 * period) == 0:
            return lr + (base_lr - self.eta_min) * (1 - cos(pi / period)) / 2
        now, before = (
            1 + cos(pi * epoch / period) for epoch in (self.last_epoch, self.last_epoch - 1)
        )
        return now / before * (lr - self.eta_min) + self.eta_min


class SequentialLR(LRScheduler):
    """Runs schedules one after the other.

    Parameters
    ----------
    optimizer : Optimizer
    schedulers : sequence of LRScheduler
        All made for `optimizer`; none may be a ReduceLROnPlateau.
    milestones : sequence of int
        The epochs at which the second and later ones begin, each at its own epoch 0.
    """

    def __init__(
        self, optimizer: Optimizer, schedulers: Sequence[LRScheduler], milestones: Sequence[int]
    ) -> None:
        self._schedulers = items("SequentialLR", "schedulers", schedulers)
        given = items("SequentialLR", "milestones", milestones)
        self.milestones = [integer("SequentialLR", "milestones", item) for item in given]
        for i, scheduler in enumerate(self._schedulers):
            if not isinstance(scheduler, LRScheduler):
                raise TypeError(
                    "SequentialLR: schedulers must hold schedules of this module other than "
                    f"ReduceLROnPlateau, but number {i} is {excerpt(scheduler)}"
                )
            if scheduler.optimizer is not optimizer:
                raise ValueError(f"SequentialLR: scheduler {i} belongs to another optimizer")
        if not self._schedulers or len(self.milestones) != len(self._schedulers) - 1:
            raise ValueError(
                "SequentialLR: milestones must be one fewer than schedulers, got "
                f"{len(self.milestones)} for {len(self._schedulers)}"
            )
        if self.milestones != sorted(self.milestones):
            raise ValueError(f"SequentialLR: milestones must increase, got {self.milestones}")
        super().__init__(optimizer)

    def _set_rates(self) -> None:
        current = bisect_right(self.milestones, self.last_epoch)
        scheduler = self._schedulers[current]
        if self.last_epoch == 0:  # the schedules' constructors have moved the rates
            scheduler.restart([group["initial_lr"] for group in self.optimizer.param_groups])
        elif current > 0 and self.milestones[current - 1] == self.last_epoch:
            scheduler.restart(scheduler.base_lrs)
        else:
            scheduler.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state, with that of every schedule."""
        state = super().state_dict()
        state["_schedulers"] = [scheduler.state_dict() for scheduler in self._schedulers]
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a `state_dict`, with that of every schedule."""
        check_entries(self, state_dict)
        inner = items("SequentialLR.load_state_dict", "_schedulers", state_dict["_schedulers"])
        if len(inner) != len(self._schedulers):
            raise ValueError(
                f"SequentialLR.load_state_dict: the state has {len(inner)} schedulers, "
                f"but there are {len(self._schedulers)}"
            )
        load_together(zip(self._schedulers, inner, strict=True))
        super().load_state_dict({**state_dict, "_schedulers": self._schedulers})
