"""ReduceLROnPlateau: lowers the rate when a measured quantity stops improving."""

from __future__ import annotations

from typing import Any, ClassVar

from convolite._args import choice, excerpt, integer, number
from convolite.optim.optimizer import Optimizer
from convolite.optim.schedule import check_entries, check_optimizer


class ReduceLROnPlateau:
    """Multiplies the rate by `factor` after more than `patience` epochs without improvement.

    Parameters
    ----------
    optimizer : Optimizer
    mode : {"min", "max"}
        Whether smaller or larger is better.
    factor : float
        Below 1.
    patience : int
    threshold : float
        How much better counts as better: relative to the best or absolute.
    threshold_mode : {"rel", "abs"}
    cooldown : int
        Epochs after a reduction during which nothing is counted.
    min_lr : float or sequence of float
        Lowest rate, for all groups or for each.
    eps : float
        Reductions by less than this are left out.
    """

    _by_group: ClassVar[tuple[str, ...]] = ("min_lrs", "_last_lr")
    _none_at_first: ClassVar[tuple[str, ...]] = ("best",)

    def __init__(
        self,
        optimizer: Optimizer,
        mode: str = "min",
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        threshold_mode: str = "rel",
        cooldown: int = 0,
        min_lr: Any = 0.0,
        eps: float = 1e-8,
    ) -> None:
        name = "ReduceLROnPlateau"
        check_optimizer(name, optimizer)
        self.optimizer = optimizer
        self.mode = choice(name, "mode", mode, ("min", "max"))
        self.factor = number(name, "factor", factor)
        if not self.factor < 1.0:
            raise ValueError(f"{name}: factor must be below 1, got {factor}")
        self.patience = integer(name, "patience", patience)
        self.threshold = number(name, "threshold", threshold)
        self.threshold_mode = choice(name, "threshold_mode", threshold_mode, ("rel", "abs"))
        self.cooldown = integer(name, "cooldown", cooldown)
        self.eps = number(name, "eps", eps)
        groups = len(optimizer.param_groups)
        self.min_lrs = list(min_lr) if isinstance(min_lr, (tuple, list)) else [min_lr] * groups
        self.min_lrs = [number(name, "min_lr", item) for item in self.min_lrs]
        if len(self.min_lrs) != groups:
            raise ValueError(
                f"{name}: min_lr must hold one number for each of {groups} groups, "
                f"got {len(self.min_lrs)}"
            )
        self.best: float | None = None
        self.last_epoch = 0
        self.num_bad_epochs = 0
        self.cooldown_counter = 0
        self._last_lr = [group["lr"] for group in optimizer.param_groups]

    def step(self, metrics: Any) -> None:
        """Take the quantity measured in this epoch, and lower the rates if it is time.

        Parameters
        ----------
        metrics : float or Tensor of one element

        Raises
        ------
        TypeError
            If it is no number.
        """
        try:
            if isinstance(metrics, (str, bytes)):
                raise TypeError
            value = float(metrics)
        except (TypeError, ValueError):
            raise TypeError(
                f"ReduceLROnPlateau: metrics must be a number, got {excerpt(metrics)}"
            ) from None
        self.last_epoch += 1
        if self._is_better(value):
            self.best = value
            self.num_bad_epochs = 0
        else:
            self.num_bad_epochs += 1
        if self.cooldown_counter > 0:
            self.cooldown_counter -= 1
            self.num_bad_epochs = 0
        if self.num_bad_epochs > self.patience:
            self._reduce()
            self.cooldown_counter = self.cooldown
            self.num_bad_epochs = 0
        self._last_lr = [group["lr"] for group in self.optimizer.param_groups]

    def get_last_lr(self) -> list[float]:
        """Return the rates after the last step, one for each parameter group."""
        return self._last_lr

    def state_dict(self) -> dict[str, Any]:
        """Return the schedule's state as plain values that JSON can hold."""
        return {key: value for key, value in self.__dict__.items() if key != "optimizer"}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Continue from a `state_dict`; the optimizer's rates come with its own.

        Raises
        ------
        TypeError, ValueError
            If the state is not that of a ReduceLROnPlateau.
        """
        check_entries(self, state_dict)
        self.__dict__.update(state_dict)

    def _is_better(self, value: float) -> bool:
        if self.best is None:
            return value == value
        if self.threshold_mode == "rel":
            sign = -1.0 if self.mode == "min" else 1.0
            bound = self.best * (1.0 + sign * self.threshold)
        else:
            bound = self.best + (self.threshold if self.mode == "max" else -self.threshold)
        return value < bound if self.mode == "min" else value > bound

    def _reduce(self) -> None:
        for group, lowest in zip(self.optimizer.param_groups, self.min_lrs, strict=True):
            reduced = max(group["lr"] * self.factor, lowest)
            if group["lr"] - reduced > self.eps:
                group["lr"] = reduced
