"""Comparing a saved optimizer state with the optimizer that is to continue from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from convolite.tensor import Tensor


def check_saved(
    name: str,
    groups: Sequence[Mapping[str, Any]],
    parameters: Sequence[Tensor],
    state_dict: Mapping[str, Any],
) -> None:
    """Raise ValueError unless `state_dict` was made by an optimizer of the same structure."""
    where = f"{name}.load_state_dict"
    if not isinstance(state_dict, Mapping) or not {"state", "param_groups"} <= set(state_dict):
        raise ValueError(f'{where}: state_dict must have "state" and "param_groups"')
    saved_groups = state_dict["param_groups"]
    if len(saved_groups) != len(groups):
        raise ValueError(
            f"{where}: the state has {len(saved_groups)} parameter groups, "
            f"but the optimizer has {len(groups)}"
        )
    for i, (group, saved) in enumerate(zip(groups, saved_groups, strict=True)):
        if len(saved["params"]) != len(group["params"]):
            raise ValueError(
                f"{where}: group {i} of the state has {len(saved['params'])} parameters, "
                f"but the optimizer's has {len(group['params'])}"
            )
        missing = sorted(set(group) - set(saved))
        if missing:
            raise ValueError(f"{where}: group {i} of the state lacks the option {missing[0]!r}")
    for position, values in state_dict["state"].items():
        _check_values(where, position, values, parameters)


def _check_values(
    where: str, position: Any, values: Mapping[str, Any], parameters: Sequence[Tensor]
) -> None:
    if not str(position).isdigit() or int(position) >= len(parameters):
        raise ValueError(
            f"{where}: the state speaks of parameter {position!r}, but there are {len(parameters)}"
        )
    expected = parameters[int(position)].shape
    for key, value in values.items():
        if np.ndim(value) and np.shape(value) != expected:
            raise ValueError(
                f"{where}: {key} of parameter {position} has shape {np.shape(value)}, "
                f"but the parameter has {expected}"
            )


def restored(value: Any, dtype: np.dtype[Any]) -> Any:
    """Return a saved value for use: arrays as copies in a parameter's dtype."""
    if isinstance(value, (bool, int, float, str)) or value is None:
        return value
    if np.ndim(value) == 0:
        return np.asarray(value).item()
    return np.array(value, dtype=dtype, order="C")
