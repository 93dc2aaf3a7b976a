"""OneCycleLR: one rise and one fall of the rate, with momentum moving the other way."""

from __future__ import annotations

from math import cos, pi
from typing import Any

from convolite._args import at_least, choice, flag, integer, not_negative, number
from convolite.optim.optimizer import Group, Optimizer
from convolite.optim.schedule import LRScheduler, check_optimizer


class OneCycleLR(LRScheduler):
    """Raises the rate to `max_lr` and lets it fall far below its start, once. Step every batch.

    Smith and Topin 2018 (arXiv 1708.07120), in the two-phase form of fastai.

    Parameters
    ----------
    optimizer : Optimizer
    max_lr : float or sequence of float
        Highest rate, for all groups or for each.
    total_steps : int, optional
        Number of steps; ``epochs * steps_per_epoch`` if left out.
    epochs, steps_per_epoch : int, optional
    pct_start : float
        Share of the steps spent rising, within [0, 1].
    anneal_strategy : {"cos", "linear"}
    cycle_momentum : bool
        Whether momentum (or Adam's first beta) moves from `max_momentum` to `base_momentum`
        and back.
    base_momentum, max_momentum : float or sequence of float
    div_factor : float
        The first rate is ``max_lr / div_factor``.
    final_div_factor : float
        The last rate is the first one divided by this.
    three_phase : bool
        Fall to the first rate as fast as it rose, and to the last one in a third phase.
    last_epoch : int
        Steps already done, counted from 0; -1 to start.
    """

    every_batch = True

    def __init__(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        total_steps: int | None = None,
        epochs: int | None = None,
        steps_per_epoch: int | None = None,
        pct_start: float = 0.3,
        anneal_strategy: str = "cos",
        cycle_momentum: bool = True,
        base_momentum: Any = 0.85,
        max_momentum: Any = 0.95,
        div_factor: float = 25.0,
        final_div_factor: float = 1e4,
        three_phase: bool = False,
        last_epoch: int = -1,
    ) -> None:
        check_optimizer("OneCycleLR", optimizer)
        self.total_steps = _total_steps(total_steps, epochs, steps_per_epoch)
        self.pct_start = number("OneCycleLR", "pct_start", pct_start)
        if not 0.0 <= self.pct_start <= 1.0:
            raise ValueError(f"OneCycleLR: pct_start must be within [0, 1], got {pct_start}")
        self.anneal_strategy = choice(
            "OneCycleLR", "anneal_strategy", anneal_strategy, ("cos", "linear")
        )
        self.cycle_momentum = flag("OneCycleLR", "cycle_momentum", cycle_momentum)
        self.three_phase = flag("OneCycleLR", "three_phase", three_phase)
        if cycle_momentum and not {"momentum", "betas"} & set(optimizer.defaults):
            raise ValueError(
                f"OneCycleLR: {type(optimizer).__name__} has no momentum to cycle; "
                "pass cycle_momentum=False"
            )
        if integer("OneCycleLR", "last_epoch", last_epoch) == -1:
            self._prepare(
                optimizer, max_lr, base_momentum, max_momentum, div_factor, final_div_factor
            )
        super().__init__(optimizer, last_epoch)

    def _prepare(
        self,
        optimizer: Optimizer,
        max_lr: Any,
        base_momentum: Any,
        max_momentum: Any,
        div_factor: float,
        final_div_factor: float,
    ) -> None:
        """Write the ends of every phase into the groups, where a checkpoint keeps them."""
        groups = optimizer.param_groups
        first, last = (
            _positive("div_factor", div_factor),
            _positive("final_div_factor", final_div_factor),
        )
        highest = _for_each("max_lr", max_lr, groups)
        low = _for_each("base_momentum", base_momentum, groups)
        high = _for_each("max_momentum", max_momentum, groups)
        for i, group in enumerate(groups):
            group["initial_lr"] = highest[i] / first
            group["max_lr"] = highest[i]
            group["min_lr"] = group["initial_lr"] / last
            if self.cycle_momentum:
                group["max_momentum"], group["base_momentum"] = high[i], low[i]

    def _set_rates(self) -> None:
        if self.last_epoch > self.total_steps:
            raise ValueError(
                f"OneCycleLR: step {self.last_epoch} is beyond total_steps = {self.total_steps}"
            )
        start, end, share = self._phase()
        for group in self.optimizer.param_groups:
            group["lr"] = self._between(group[f"{start}_lr"], group[f"{end}_lr"], share)
            if self.cycle_momentum:
                _set_momentum(
                    group, self._between(_opposite(group, start), _opposite(group, end), share)
                )

    def _phase(self) -> tuple[str, str, float]:
        """The rates between which the current step lies, and how far it is from the first."""
        rise, last = self.pct_start * self.total_steps - 1.0, self.total_steps - 1.0
        phases = [("initial", "max", rise), ("max", "min", last)]
        if self.three_phase:
            phases[1:] = [("max", "initial", 2.0 * rise), ("initial", "min", last)]
        begin = 0.0
        for start, end, finish in phases[:-1]:
            if self.last_epoch <= finish:
                return start, end, _share(self.last_epoch, begin, finish)
            begin = finish
        start, end, finish = phases[-1]
        return start, end, _share(self.last_epoch, begin, finish)

    def _between(self, start: float, end: float, share: float) -> float:
        if self.anneal_strategy == "cos":
            return end + (start - end) / 2.0 * (cos(pi * share) + 1)
        return (end - start) * share + start


def _share(step: float, begin: float, finish: float) -> float:
    return (step - begin) / (finish - begin) if finish > begin else 1.0


def _opposite(group: Group, rate: str) -> float:
    """The momentum that goes with a rate: low where the rate is highest."""
    return float(group["base_momentum" if rate == "max" else "max_momentum"])


def _set_momentum(group: Group, value: float) -> None:
    if "betas" in group:
        group["betas"] = (value, *group["betas"][1:])
    else:
        group["momentum"] = value


def _for_each(argument: str, value: Any, groups: list[Group]) -> list[float]:
    values = list(value) if isinstance(value, (tuple, list)) else [value] * len(groups)
    if len(values) != len(groups):
        raise ValueError(
            f"OneCycleLR: {argument} must hold one number for each of {len(groups)} groups, "
            f"got {len(values)}"
        )
    return [not_negative("OneCycleLR", argument, item) for item in values]


def _positive(argument: str, value: Any) -> float:
    factor = number("OneCycleLR", argument, value)
    if not factor > 0.0:
        raise ValueError(f"OneCycleLR: {argument} must be positive, got {value}")
    return factor


def _total_steps(total_steps: Any, epochs: Any, steps_per_epoch: Any) -> int:
    if total_steps is None:
        if epochs is None or steps_per_epoch is None:
            raise ValueError(
                "OneCycleLR: total_steps must be given, or both epochs and steps_per_epoch"
            )
        each = at_least("OneCycleLR", "steps_per_epoch", steps_per_epoch, 1)
        return at_least("OneCycleLR", "epochs", epochs, 1) * each
    return at_least("OneCycleLR", "total_steps", total_steps, 1)
