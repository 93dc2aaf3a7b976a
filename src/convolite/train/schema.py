"""What state.json of a checkpoint must hold, entry by entry, so that damage is named at once.

Whether a state fits the model, the optimizer and the data at hand is asked by those themselves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from convolite import random
from convolite._args import excerpt
from convolite._rules import is_count, is_number
from convolite.errors import FormatError

_POSITION = {"seed", "epoch", "batch"}


def check_state(name: str, state: dict[str, Any]) -> None:
    """Raise FormatError for the first entry that is missing or wrong, with the file's name."""
    missing = [key for key in _RULES if key not in state]
    if missing:
        raise FormatError(f"{name}: lacks {', '.join(missing)}")
    for key, (rule, holds) in _RULES.items():
        if not holds(state[key]):
            raise FormatError(f"{name}: {key} must be {rule}, got {excerpt(state[key])}")
    for key, values in state["history"].items():
        if len(values) != len(state["epochs"]):
            raise FormatError(
                f"{name}: history must have one number for each of {len(state['epochs'])} epochs, "
                f"but {key} has {len(values)}"
            )


def _is_position(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and set(value) == _POSITION
        and is_count(value["epoch"])
        and is_count(value["batch"])
        and type(value["seed"]) is int  # of any size
        and value["seed"] >= 0
    )


def _is_running(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and is_count(value.get("count"))
        and is_number(value.get("seconds"))
        and isinstance(value.get("sums"), dict)
        and all(is_number(total) for total in value["sums"].values())
        and (value["count"] > 0 or not value["sums"])
    )


def _are_counts(value: Any) -> bool:
    return isinstance(value, list) and all(is_count(each) for each in value)


def _are_measurements(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(numbers, list) and all(is_number(number) for number in numbers)
        for numbers in value.values()
    )


def _are_callbacks(value: Any) -> bool:
    return isinstance(value, list) and all(
        isinstance(pair, list)
        and len(pair) == 2
        and isinstance(pair[0], str)
        and isinstance(pair[1], dict)
        for pair in value
    )


def _is_optimizer(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("state"), dict)
        and all(isinstance(each, dict) for each in value["state"].values())
        and isinstance(value.get("param_groups"), list)
        and all(isinstance(group, dict) for group in value["param_groups"])
    )


_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "epoch": ("a count", is_count),
    "batch": ("a count", is_count),
    "step": ("a count", is_count),
    "stop_training": ("true or false", lambda value: isinstance(value, bool)),
    "loader": ("null, or the counts seed, epoch and batch", _is_position),
    "running": ("the numbers count, seconds and sums", _is_running),
    "epochs": ("a list of counts", _are_counts),
    "history": ("lists of numbers by name", _are_measurements),
    "scheduler": ("null or an object", lambda value: value is None or isinstance(value, dict)),
    "random": ("the state of a PCG64 generator", random.is_state),
    "callbacks": ("pairs of a name and an object", _are_callbacks),
    "optimizer": ("the objects state and param_groups", _is_optimizer),
}
