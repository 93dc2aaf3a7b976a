"""LRScheduler: counting epochs and setting rates. The schedules themselves are elsewhere."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import deepcopy
from typing import Any, ClassVar

import numpy as np

from convolite._args import excerpt, integer, kind
from convolite._rules import is_number
from convolite.optim.optimizer import Optimizer


class LRScheduler:
    """Base class of the schedules.

    A schedule says how the first rate follows from the base rate (`_first`) and every later
    one from the one before (`_next`).

    Parameters
    ----------
    optimizer : Optimizer
    last_epoch : int
        Epochs already done, counted from 0; -1 to start.

    Attributes
    ----------
    every_batch : bool
        Whether it counts batches, not epochs: then `Trainer` steps it after each of them.
    """

    every_batch = False
    _by_group: ClassVar[tuple[str, ...]] = ("base_lrs", "_last_lr")  # one number for each group
    _none_at_first: ClassVar[tuple[str, ...]] = ()  # numbers from some step on

    def __init__(self, optimizer: Optimizer, last_epoch: int = -1) -> None:
        name = type(self).__name__
        check_optimizer(name, optimizer)
        self.optimizer = optimizer
        self.last_epoch = integer(name, "last_epoch", last_epoch)
        for i, group in enumerate(optimizer.param_groups):
            if self.last_epoch == -1:
                group.setdefault("initial_lr", group["lr"])
            elif "initial_lr" not in group:
                raise ValueError(
                    f"{name}: last_epoch {last_epoch} needs an optimizer that had a schedule "
                    f"before, but group {i} has no initial_lr"
                )
        self.base_lrs: list[float] = [group["initial_lr"] for group in optimizer.param_groups]
        self.step()

    def step(self) -> None:
        """Go on by one epoch (or batch, as the schedule was planned) and set the rates."""
        self.last_epoch += 1
        self._set_rates()
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def restart(self, base_lrs: Sequence[float]) -> None:
        """Go back to epoch 0 from base rates, whatever the rates are now."""
        for group, base_lr in zip(self.optimizer.param_groups, base_lrs, strict=True):
            group["lr"] = base_lr
        self.last_epoch = -1
        self.step()

    def get_last_lr(self) -> list[float]:
        """Return the rates that were set last, one for each parameter group."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's state as plain values that JSON can hold."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a `state_dict`; the optimizer's rates come with its own.

        Raises
        ------
        TypeError, ValueError
            If the state is not that of a schedule of this class.
        """
        check_entries(self, state_dict)
        self.__dict__.update(state_dict)

    def _set_rates(self) -> None:
        for group, base_lr in zip(self.optimizer.param_groups, self.base_lrs, strict=True):
            lr = group["lr"]
            group["lr"] = self._first(lr) if self.last_epoch == 0 else self._next(lr, base_lr)

    def _first(self, lr: float) -> float:
        """The rate at epoch 0, from the base rate."""
        return lr

    def _next(self, lr: float, base_lr: float) -> float:
        """The rate at ``last_epoch``, from the one before."""
        return lr


def check_optimizer(name: str, optimizer: Any) -> None:
    """Raise TypeError unless it is an Optimizer."""
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"{name}: optimizer must be an Optimizer, got {kind(optimizer)}")


def check_entries(schedule: Any, state_dict: Any) -> None:
    """Raise unless a saved state has the names and the kinds of values that a schedule has now."""
    where = f"{type(schedule).__name__}.load_state_dict"
    if not isinstance(state_dict, Mapping):
        raise TypeError(f"{where}: state_dict must be a dict, got {excerpt(state_dict)}")
    own = {key: value for key, value in schedule.__dict__.items() if key != "optimizer"}
    if set(state_dict) != set(own):
        raise ValueError(
            f"{where}: the state must have the entries {', '.join(sorted(own))}, "
            f"got {', '.join(sorted(map(str, state_dict)))}"
        )
    for key, value in own.items():
        if not _is_alike(schedule, key, state_dict[key], value):
            raise ValueError(
                f"{where}: {key} must be like {excerpt(value)}, got {excerpt(state_dict[key])}"
            )


def load_together(pairs: Iterable[tuple[Any, Any]]) -> None:
    """Load the state of each part; if one refuses, those before it get their former one back."""
    former = []
    try:
        for part, state in pairs:
            before = deepcopy(part.state_dict())
            part.load_state_dict(state)
            former.append((part, before))
    except BaseException:
        for part, before in former:
            part.load_state_dict(before)
        raise


def _is_alike(schedule: Any, key: str, saved: Any, value: Any) -> bool:
    """Whether a saved value is of the kind of the present one."""
    if key in schedule._none_at_first:
        return saved is None or is_number(saved)
    if isinstance(value, (list, tuple)):
        if not _is_list(saved) or (key in schedule._by_group and len(saved) != len(value)):
            return False
        return not all(map(is_number, value)) or all(map(is_number, saved))
    if isinstance(value, (float, np.floating)):
        return is_number(saved)
    return type(saved) is type(value) if isinstance(value, (bool, int, str)) else True


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple))
