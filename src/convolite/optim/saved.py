"""Comparing a saved optimizer state with the optimizer that is to continue from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from convolite._args import excerpt
from convolite._rules import is_number
from convolite.interop import numpys_array
from convolite.tensor import Tensor


def check_saved(
    name: str,
    groups: Sequence[Mapping[str, Any]],
    parameters: Sequence[Tensor],
    state_dict: Mapping[str, Any],
    remembered: frozenset[str],
) -> None:
    """Raise unless `state_dict` was made by an optimizer of the same structure.

    A rule that says what it remembers of a parameter remembers arrays of its shape, and ``step``.
    """
    where = f"{name}.load_state_dict"
    if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
        raise ValueError(f'{where}: state_dict must have "state" and "param_groups"')
    saved_groups = state_dict["param_groups"]
    if not _is_list_of_mappings(saved_groups) or not isinstance(state_dict["state"], Mapping):
        raise ValueError(
            f"{where}: state must be a dict and param_groups a list of dicts, "
            f"got {excerpt(state_dict)}"
        )
    if len(saved_groups) != len(groups):
        raise ValueError(
            f"{where}: the state has {len(saved_groups)} parameter groups, "
            f"but the optimizer has {len(groups)}"
        )
    for i, (group, saved) in enumerate(zip(groups, saved_groups, strict=True)):
        if not isinstance(saved.get("params"), (list, tuple)):
            raise ValueError(f"{where}: group {i} of the state has no list of params")
        if len(saved["params"]) != len(group["params"]):
            raise ValueError(
                f"{where}: group {i} of the state has {len(saved['params'])} parameters, "
                f"but the optimizer's has {len(group['params'])}"
            )
        _check_options(where, i, group, saved)
    for position, values in state_dict["state"].items():
        _check_values(where, position, values, parameters, remembered)


def _is_list_of_mappings(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(isinstance(each, Mapping) for each in values)


def _check_options(where: str, i: int, group: Mapping[str, Any], saved: Mapping[str, Any]) -> None:
    missing = sorted(set(group) - set(saved))
    if missing:
        raise ValueError(f"{where}: group {i} of the state lacks the option {missing[0]!r}")
    for key, value in group.items():
        if is_number(value) and not is_number(saved[key]):
            raise ValueError(
                f"{where}: {key} of group {i} must be a number, got {excerpt(saved[key])}"
            )


def _check_values(
    where: str,
    position: Any,
    values: Mapping[str, Any],
    parameters: Sequence[Tensor],
    remembered: frozenset[str],
) -> None:
    if not str(position).isdecimal() or int(position) >= len(parameters):
        raise ValueError(
            f"{where}: the state speaks of parameter {position!r}, but there are {len(parameters)}"
        )
    if not isinstance(values, Mapping):
        raise ValueError(
            f"{where}: the state of parameter {position} must be a dict, got {excerpt(values)}"
        )
    expected = parameters[int(position)].shape
    missing = sorted(remembered - set(values))
    if values and missing:
        raise ValueError(f"{where}: the state of parameter {position} lacks {missing[0]!r}")
    for key, value in values.items():
        if key == "step":
            if not _is_step(value):
                raise ValueError(
                    f"{where}: step of parameter {position} must be a count from 1, "
                    f"got {excerpt(value)}"
                )
            continue
        array = numpys_array(value, where, f"{key} of parameter {position}")
        if array.shape != expected and (remembered or array.ndim):
            raise ValueError(
                f"{where}: {key} of parameter {position} has shape {array.shape}, "
                f"but the parameter has {expected}"
            )


def _is_step(value: Any) -> bool:
    count = (
        value.item() if isinstance(value, (np.ndarray, np.generic)) and value.size == 1 else value
    )
    return is_number(count) and bool(1 <= count < 2**63 and count % 1 == 0)


def restored(key: str, value: Any, parameter: Tensor) -> Any:
    """Return a checked value for use: a step as an int, arrays as copies in a parameter's dtype."""
    if key == "step":
        return int(value)
    if np.ndim(value) == 0 and parameter.ndim:  # of a rule that says not what it remembers
        return value
    return np.array(numpys_array(value, "load_state_dict", key), parameter.dtype, order="C")
