"""`convolite.explain`: which method computes each pass of each layer, and why."""

from __future__ import annotations

from typing import NamedTuple

from convolite import _core
from convolite._args import padding4
from convolite.nn.conv import Conv2d
from convolite.nn.linear import Linear
from convolite.nn.module import Module
from convolite.nn.summary import Call, calls, table


class Choice(NamedTuple):
    """The method of one pass of one layer."""

    layer: str
    kind: str
    computation: str
    method: str
    why: str


class Explanation:
    """What `explain` returns: a list of choices, and a table as its text."""

    def __init__(self, choices: list[Choice]) -> None:
        self.choices = choices

    def __str__(self) -> str:
        return table(("layer", "kind", "pass", "method", "why"), [tuple(c) for c in self.choices])

    __repr__ = __str__


def explain(module: Module, input_shape: tuple[int, ...]) -> Explanation:
    """Name, layer by layer, the method chosen for each pass and why. Print the result to read it.

    Parameters
    ----------
    module : Module
    input_shape : tuple of int
        With the batch axis; (C, H, W) and (features,) stand for a batch of one.

    Raises
    ------
    TypeError, ValueError
        If the shape is not one, or does not fit the module.
    """
    return Explanation(
        [
            Choice(call.name or "-", type(call.module).__name__, *choice)
            for call in calls("explain", module, input_shape)
            for choice in _choices(call)
        ]
    )


def _choices(call: Call) -> list[tuple[str, str, str]]:
    module = call.module
    if isinstance(module, Conv2d):
        shape = call.input.shape if call.input.ndim == 4 else (1, *call.input.shape)
        padding = padding4(
            "explain", module.padding, shape[2:], module.kernel_size, module.stride, module.dilation
        )
        return _core.conv2d_explain(
            shape,
            module.weight.shape,
            module.stride,
            padding,
            module.dilation,
            module.groups,
            module.weight.dtype,
        )
    if isinstance(module, Linear):
        return [("all", "gemm", "a fully connected layer is one matrix product for each pass")]
    return [("all", "direct", "one pass over memory")]
