"""Copying saved arrays into a module: everything is compared before anything is written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from convolite._args import kind
from convolite.autograd import Array
from convolite.interop import numpys_array


class LoadResult(NamedTuple):
    """Names that only one side had, as `Module.load_state_dict` returns them."""

    missing_keys: list[str]
    unexpected_keys: list[str]


def load_arrays(
    module: str, own: Mapping[str, Array], state: Mapping[str, Any], strict: bool
) -> LoadResult:
    """Copy `state` into the arrays `own` of a module; see `Module.load_state_dict`."""
    if not isinstance(state, Mapping):
        raise TypeError(f"load_state_dict: state must map names to arrays, got {kind(state)}")
    values = {name: _numbers(name, state[name]) for name in own if name in state}
    result = LoadResult(
        missing_keys=[name for name in own if name not in state],
        unexpected_keys=[name for name in state if name not in own],
    )
    problems = _differences(own, values)
    if strict:
        problems = _absences(result) + problems
    if problems:
        raise ValueError(
            f"load_state_dict: the state does not fit {module}:\n    " + "\n    ".join(problems)
        )
    for name, value in values.items():
        own[name][...] = value
    return result


def _numbers(name: str, value: Any) -> Array:
    return numpys_array(
        value.detach() if hasattr(value, "detach") else value, "load_state_dict", name
    )


def _absences(result: LoadResult) -> list[str]:
    problems = []
    if result.missing_keys:
        problems.append(f"Missing key(s) in state_dict: {_quoted(result.missing_keys)}")
    if result.unexpected_keys:
        problems.append(f"Unexpected key(s) in state_dict: {_quoted(result.unexpected_keys)}")
    return problems


def _differences(own: Mapping[str, Array], values: Mapping[str, Array]) -> list[str]:
    return [
        f"size mismatch for {name}: the state has shape {value.shape}, "
        f"the module has shape {own[name].shape}"
        for name, value in values.items()
        if value.shape != own[name].shape
    ]


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
