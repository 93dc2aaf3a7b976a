"""Comparing a saved optimizer state with the optimizer that is to continue from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from convolite._args import excerpt
from convolite.tensor import Tensor


def check_saved(
    name: str,
    groups: Sequence[Mapping[str, Any]],
    parameters: Sequence[Tensor],
    state_dict: Mapping[str, Any],
    remembered: frozenset[str],
) -> None:
    """Raise ValueError unless `state_dict` was made by an optimizer of the same structure."""
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
        if isinstance(value, (int, float)) and not isinstance(saved[key], (int, float)):
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
    if not str(position).isdigit() or int(position) >= len(parameters):
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
        if value is not None and np.asarray(value).dtype.kind not in "fiub":
            raise ValueError(
                f"{where}: {key} of parameter {position} must be numbers, got {excerpt(value)}"
            )
        if key == "step" and not (np.size(value) == 1 and 1 <= _number(value) < 2**63):
            raise ValueError(
                f"{where}: step of parameter {position} must be a count from 1, "
                f"got {excerpt(value)}"
            )
        if np.ndim(value) and np.shape(value) != expected:
            raise ValueError(
                f"{where}: {key} of parameter {position} has shape {np.shape(value)}, "
                f"but the parameter has {expected}"
            )


def _number(value: Any) -> float:
    return float("nan") if value is None else float(np.asarray(value).item())


def restored(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a saved value for use: arrays as copies in a parameter's dtype."""
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if np.ndim(value) == 0:
        return np.asarray(value).item()
    return np.array(value, dtype=dtype, order="C")
