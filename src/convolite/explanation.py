"""`convolite.explain`: which method computes each pass of each layer, and why."""

from __future__ import annotations

from typing import NamedTuple

from convolite import _core
from convolite._args import padding4
from convolite.nn.container import steps
from convolite.nn.conv import Conv2d
from convolite.nn.linear import Identity, Linear
from convolite.nn.module import Module
from convolite.nn.shape import Flatten
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
        If `module` is none, or the shape is not one or does not fit the module.
    """
    recorded = calls("explain", module, input_shape)
    names = {id(each): name for name, each in module.named_modules()}
    merged = {
        id(along): names[id(step.module)]
        for each in module.modules()
        for chain in each._chains()
        for step in steps(chain)
        for along in step[1:]
        if along is not None
    }
    return Explanation(
        [
            Choice(call.name or "-", type(call.module).__name__, *choice)
            for call in recorded
            for choice in _choices(call, merged.get(id(call.module)))
        ]
    )


def _choices(call: Call, host: str | None) -> list[tuple[str, str, str]]:
    module = call.module
    if host is not None:
        return [("all", "merged", f"applied by {host} while it writes its output")]
    if isinstance(module, Conv2d):
        return _convolution(module, call.input.shape)
    if isinstance(module, Linear):
        return [("all", "gemm", "each pass of a fully connected layer is one matrix product")]
    if isinstance(module, (Flatten, Identity)):
        return [("all", "none", "nothing is computed")]
    return [("all", "direct", "there is one method")]


def _convolution(module: Conv2d, shape: tuple[int, ...]) -> list[tuple[str, str, str]]:
    images = shape if len(shape) == 4 else (1, *shape)
    padding = padding4(
        "explain", module.padding, images[2:], module.kernel_size, module.stride, module.dilation
    )
    return _core.conv2d_explain(
        images, module.weight.shape, module.stride, padding, module.dilation, module.groups
    )
