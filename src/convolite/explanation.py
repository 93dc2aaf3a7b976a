"""`convolite.explain`: which method computes each pass of each layer, and why."""

from __future__ import annotations

from itertools import pairwise
from typing import Any, NamedTuple

from convolite import _core
from convolite._args import padding4
from convolite.nn.container import Step, may_fold, steps
from convolite.nn.conv import Conv2d
from convolite.nn.linear import Identity, Linear
from convolite.nn.module import Module
from convolite.nn.pooling import MaxPool2d
from convolite.nn.shape import Flatten
from convolite.nn.summary import Call, calls, table

_FOLDED = "into {}, in evaluation mode and where nothing needs a gradient"


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

    Behind a semicolon stands the form of a method that has several. Winograd's goes tile by tile,
    or channel by channel where the transformed filters outgrow the cache. The depthwise one has
    pixels of rows as lanes, read where they lie or from planes copied to a padded band, or
    channels as lanes.

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
    chains = [steps(chain) for each in module.modules() for chain in each._chains()]
    along = {
        id(merged): step
        for chain in chains
        for step in chain
        for merged in step[1:]
        if merged is not None
    }
    folded = {
        id(behind.module): names[id(step.module)]
        for chain in chains
        for step, behind in pairwise(chain)
        if may_fold(step, behind.module) and behind.module.running_mean is not None
    }
    choices: list[Choice] = []
    latest: dict[int, Call] = {}
    for call in recorded:
        latest[id(call.module)] = call
        step = along.get(id(call.module))
        lines = _by_itself(call) if step is None else _merged(call.module, step, latest, names)
        if id(call.module) in folded:
            lines = [*lines, ("inference", "folded", _FOLDED.format(folded[id(call.module)]))]
        kind = type(call.module).__name__
        choices += [Choice(call.name or "-", kind, *line) for line in lines]
    return Explanation(choices)


def _merged(
    module: Module, step: Step, latest: dict[int, Call], names: dict[int, str]
) -> list[tuple[str, str, str]]:
    """How a pooling or an activation runs that `step` merges with the module in front of it."""
    host, pool = names[id(step.module)], step.pool
    if pool is None:
        return [("all", "merged", f"applied by {host} while it writes its output")]
    if module is not pool:
        return [("all", "merged", f"applied by {names[id(pool)]} while it writes its output")]
    if isinstance(step.module, Conv2d) and not _pools_in_one_pass(latest[id(step.module)], pool):
        why = f"behind {host}, whose images are too large or too few to be pooled in the cache"
        return [("all", "direct", why)]
    return [
        ("forward", "merged", f"applied by {host} while its output is in the cache"),
        ("backward", "direct", "there is one method"),
    ]


def _by_itself(call: Call) -> list[tuple[str, str, str]]:
    module = call.module
    if isinstance(module, Conv2d):
        return _core.conv2d_explain(*_problem(call), call.input.dtype)
    if isinstance(module, Linear):
        return [("all", "gemm", "each pass of a fully connected layer is one matrix product")]
    if isinstance(module, (Flatten, Identity)):
        return [("all", "none", "nothing is computed")]
    return [("all", "direct", "there is one method")]


def _pools_in_one_pass(convolution: Call, pool: MaxPool2d) -> bool:
    problem = _problem(convolution)
    return _core.pooled_conv2d_is_one_pass(*problem, pool.window(), convolution.input.dtype)


def _problem(call: Call) -> tuple[Any, Any, Any, Any, Any, Any]:
    """The shapes and the geometry of a convolution, as the core takes them."""
    module: Any = call.module
    shape = call.input.shape
    images = shape if len(shape) == 4 else (1, *shape)
    stride, dilation = module.stride, module.dilation
    padding = padding4("explain", module.padding, images[2:], module.kernel_size, stride, dilation)
    return images, module.weight.shape, stride, padding, dilation, module.groups
