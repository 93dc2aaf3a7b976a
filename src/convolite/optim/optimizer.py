"""Optimizer: parameter groups, per-parameter state, saving and loading. Rules are elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from itertools import accumulate, zip_longest
from typing import Any, ClassVar

import numpy as np

from convolite._args import excerpt, items, not_negative
from convolite.autograd import Array
from convolite.optim.saved import check_saved, restored
from convolite.tensor import Tensor

Group = dict[str, Any]
State = dict[str, Any]
Label = Callable[[list[State]], list[Any]]  # of each state: what members of a batch have in common


class Optimizer:
    """Base class of the update rules.

    Attributes
    ----------
    param_groups : list of dict
        Each holds a list ``"params"`` and the options that apply to it, which may be changed
        at any time.
    state : dict
        Maps a parameter to what the rule remembers about it.
    defaults : dict
        The options given to the constructor.
    """

    _update: Callable[[Group], None]  # applies the rule to a group's members with a gradient
    _remembered: ClassVar[frozenset[str]] = frozenset()  # what a state holds, unless it is empty

    def __init__(self, params: Iterable[Any], defaults: Group) -> None:
        self.defaults = defaults
        self.state: dict[Tensor, State] = {}
        self.param_groups: list[Group] = []
        self._check_options(defaults)
        if isinstance(params, (Tensor, Mapping)):
            raise TypeError(
                f"{self._name()}: params must be an iterable of tensors or of groups, "
                f"got a {type(params).__name__}"
            )
        given = items(self._name(), "params", params)
        if not given:
            raise ValueError(f"{self._name()}: params must hold at least one tensor, got none")
        groups = given if isinstance(given[0], Mapping) else [{"params": given}]
        for group in groups:
            self.add_param_group(group)

    def add_param_group(self, group: Mapping[str, Any]) -> None:
        """Add a group: a mapping with ``"params"`` and any options that differ from the defaults.

        Raises
        ------
        TypeError, ValueError
            For things that cannot be optimized, parameters that are in a group already, and
            options that the rule does not know.
        """
        name = self._name()
        if not isinstance(group, Mapping) or "params" not in group:
            raise TypeError(f'{name}: a group must be a dict with "params", got {excerpt(group)}')
        members = [group["params"]] if isinstance(group["params"], Tensor) else group["params"]
        options = {key: value for key, value in group.items() if key != "params"}
        unknown = sorted(set(options) - set(self.defaults))
        if unknown:
            raise ValueError(
                f"{name}: a group has the unknown option {unknown[0]!r}, "
                f"known are {', '.join(self.defaults)}"
            )
        merged = {**self.defaults, **options}
        self._check_options(merged)
        parameters: list[Tensor] = []
        taken = {id(each) for existing in self.param_groups for each in existing["params"]}
        for i, parameter in enumerate(items(name, "params", members)):
            self._check_parameter(i, parameter)
            if id(parameter) in taken:
                raise ValueError(f"{name}: parameter {i} of a group appears twice")
            taken.add(id(parameter))
            parameters.append(parameter)
        self.param_groups.append({"params": parameters, **merged})

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradient of every parameter, or fill it with zeros in place."""
        for group in self.param_groups:
            for parameter in group["params"]:
                parameter.zero_grad(set_to_none)

    def step(self) -> None:
        """Change every parameter that has a gradient, once."""
        for group in self.param_groups:
            self._update(group)

    def state_dict(self) -> dict[str, Any]:
        """Return options and state as arrays and plain values, parameters named by position.

        The arrays share memory with the optimizer, and those of parameters that took their first
        step together lie in one piece, which lives as long as any of them: copy the one that is to
        be kept alone. Apart from them the dict can be written as JSON; `load_state_dict` accepts it
        back with the positions as strings.
        """
        positions: dict[Tensor, int] = {}
        groups = []
        for group in self.param_groups:
            for parameter in group["params"]:
                positions[parameter] = len(positions)
            numbers = [positions[parameter] for parameter in group["params"]]
            groups.append({**group, "params": numbers})
        state = {positions[parameter]: dict(values) for parameter, values in self.state.items()}
        return {"state": state, "param_groups": groups}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Continue from a `state_dict` of an optimizer over parameters of the same shapes.

        Raises
        ------
        TypeError, ValueError
            If groups, sizes, names, shapes or types differ; nothing has been changed then.
        """
        parameters = [parameter for group in self.param_groups for parameter in group["params"]]
        check_saved(self._name(), self.param_groups, parameters, state_dict, self._remembered)
        for saved in state_dict["param_groups"]:
            self._check_options(dict(saved))
        self.state = {
            parameters[int(position)]: {
                key: restored(key, value, parameters[int(position)])
                for key, value in values.items()
            }
            for position, values in state_dict["state"].items()
        }
        for group, saved in zip(self.param_groups, state_dict["param_groups"], strict=True):
            for key, value in saved.items():
                if key != "params":
                    group[key] = tuple(value) if isinstance(value, list) else value

    def __repr__(self) -> str:
        lines = []
        for i, group in enumerate(self.param_groups):
            lines.append(f"Group {i}: {len(group['params'])} parameters")
            lines += [f"    {key}: {group[key]}" for key in sorted(group) if key != "params"]
        return f"{self._name()}(\n  " + "\n  ".join(lines) + "\n)"

    def _check_options(self, options: Group) -> None:
        """Raise for options that the rule cannot work with."""
        for key in ("lr", "weight_decay", "eps"):
            if key in options:
                not_negative(self._name(), key, options[key])

    def _check_parameter(self, position: int, parameter: Any) -> None:
        name = self._name()
        if not isinstance(parameter, Tensor):
            raise TypeError(
                f"{name}: params must hold Tensors, but number {position} is {excerpt(parameter)}"
            )
        if not parameter.is_leaf:
            raise ValueError(f"{name}: parameter {position} is the result of an operation")
        flags = parameter.numpy().flags
        if parameter.dtype.kind != "f" or not (flags.c_contiguous and flags.writeable):
            raise ValueError(
                f"{name}: parameter {position} must be floats in a writable, contiguous array"
            )

    def _batches(self, group: Group, label: Label | None = None) -> list[Batch]:
        """Members with a gradient; those of one dtype and one label of their state come together.

        The core changes each batch in one call. Nearly always there is one, which needs nothing
        but lists: a model has hundreds of small parameters, and each costs Python time.
        """
        members = [parameter for parameter in group["params"] if parameter._grad is not None]
        states = self._states(members)
        dtypes = {parameter._data.dtype for parameter in members}
        labels = label(states) if label else []
        if len(dtypes) <= 1 and len(set(labels)) <= 1:
            return [Batch(members, states)] if members else []
        parts: dict[Hashable, list[Tensor]] = {}
        for parameter, each in zip_longest(members, labels):
            parts.setdefault((parameter.dtype, each), []).append(parameter)
        return [Batch(part, self._states(part)) for part in parts.values()]

    def _states(self, members: list[Tensor]) -> list[State]:
        """What is remembered about each member: nothing before its first step."""
        state = self.state
        try:
            return [state[parameter] for parameter in members]
        except KeyError:
            return [state.get(parameter, {}) for parameter in members]

    @classmethod
    def _name(cls) -> str:
        return cls.__name__


class Batch:
    """Parameters that are updated together, with what was remembered about each."""

    def __init__(self, parameters: list[Tensor], states: list[State]) -> None:
        self.parameters = parameters
        self.states = states
        self.arrays = [parameter._data for parameter in parameters]
        gradients: list[Any] = [parameter._grad for parameter in parameters]
        self.gradients: list[Array] = [
            each if type(each) is np.ndarray else each._data for each in gradients
        ]


def zeros_like(arrays: list[Array]) -> list[Array]:
    """Zeros like each of the arrays, side by side in one piece of memory."""
    memory = np.zeros(sum(array.size for array in arrays), arrays[0].dtype)
    ends = list(accumulate(array.size for array in arrays))
    return [
        memory[end - array.size : end].reshape(array.shape)
        for end, array in zip(ends, arrays, strict=True)
    ]
