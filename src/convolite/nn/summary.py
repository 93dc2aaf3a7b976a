"""Tables over a model's layers: `summarize` measures them, `calls` records how they are called.

A model is run once on zeros, in inference mode, with a hook on every layer.
"""

from __future__ import annotations

from math import prod
from typing import Any, NamedTuple

import numpy as np

from convolite._args import excerpt, integer, items
from convolite.autograd import no_grad
from convolite.nn.conv import Conv2d
from convolite.nn.linear import Linear
from convolite.nn.module import Module
from convolite.tensor import Tensor


class Call(NamedTuple):
    """One call of a layer: its dotted name, itself, what went in and what came out."""

    name: str
    module: Module
    input: Tensor
    output: Tensor


class Row(NamedTuple):
    """One layer in a `Summary`."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int


class Summary:
    """What `Module.summary` returns: rows, totals, and a table as its text.

    Attributes
    ----------
    rows : list of Row
        One for each call of a layer, in order.
    parameters, trainable_parameters, multiply_adds, activation_bytes : int
        Totals; a parameter that several layers share counts once.
    """

    def __init__(self, module: Module, rows: list[Row]) -> None:
        parameters = list(module.parameters())
        self.rows = rows
        self.parameters = sum(parameter.size for parameter in parameters)
        self.trainable_parameters = sum(p.size for p in parameters if p.requires_grad)
        self.multiply_adds = sum(row.multiply_adds for row in rows)
        self.activation_bytes = sum(row.activation_bytes for row in rows)

    def __str__(self) -> str:
        header = ("layer", "output shape", "parameters", "multiply-adds", "activation bytes")
        body = [
            (
                f"{row.name} ({row.kind})" if row.name else row.kind,
                str(row.output_shape),
                *(f"{value:,}" for value in row[3:]),
            )
            for row in self.rows
        ]
        totals = (self.parameters, self.multiply_adds, self.activation_bytes)
        footer = ("total", "", *(f"{value:,}" for value in totals))
        return table(header, body, footer, right_aligned=3)

    __repr__ = __str__


def summarize(module: Module, input_shape: tuple[int, ...]) -> Summary:
    """Return the table of a module's layers; see `Module.summary`."""
    rows = [
        Row(
            call.name,
            type(call.module).__name__,
            call.output.shape,
            sum(parameter.size for parameter in call.module.parameters()),
            _multiply_adds(call),
            call.output.numpy().nbytes,
        )
        for call in calls("summary", module, input_shape)
    ]
    return Summary(module, rows)


def calls(op: str, module: Module, input_shape: tuple[int, ...]) -> list[Call]:
    """Return every call of a layer (a module without children) during one forward pass.

    Raises
    ------
    TypeError, ValueError
        If `module` is no Module, or `input_shape` not a tuple of positive ints.
    """
    if not isinstance(module, Module):
        raise TypeError(f"{op}: module must be a Module, got {excerpt(module)}")
    given = items(op, "input_shape", input_shape)
    sizes = tuple(integer(op, "input_shape", size) for size in given)
    if not sizes or min(sizes) < 1:
        raise ValueError(f"{op}: input_shape must hold positive ints, got {input_shape}")
    if len(sizes) in (1, 3):
        sizes = (1, *sizes)
    recorded: list[Call] = []
    layers = [(name, each) for name, each in module.named_modules() if not _has_children(each)]
    handles = [each.register_forward_hook(_recorder(name, recorded)) for name, each in layers]
    modes = [(each, each.training) for each in module.modules()]
    try:
        module.eval()
        with no_grad():
            module(Tensor(np.zeros(sizes, _dtype(module))))
    finally:
        for handle in handles:
            handle.remove()
        for each, training in modes:
            each.training = training
    return recorded


def table(
    header: tuple[str, ...],
    body: list[tuple[str, ...]],
    footer: tuple[str, ...] | None = None,
    right_aligned: int = 0,
) -> str:
    """Return columns of text under a header; the last `right_aligned` of them hold numbers."""
    lines = [header, *body] + ([footer] if footer else [])
    widths = [max(len(line[i]) for line in lines) for i in range(len(header))]
    first_number = len(header) - right_aligned
    texts = [
        "  ".join(
            text.rjust(width) if i >= first_number else text.ljust(width)
            for i, (text, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    ]
    rule = "-" * max(len(text) for text in texts)
    texts.insert(1, rule)
    if footer:
        texts.insert(-1, rule)
    return "\n".join(texts)


def _has_children(module: Module) -> bool:
    return any(True for _ in module.children())


def _recorder(name: str, recorded: list[Call]) -> Any:
    def record(module: Module, inputs: tuple[Any, ...], output: Any) -> None:
        recorded.append(Call(name, module, inputs[0], output))

    return record


def _dtype(module: Module) -> np.dtype[Any]:
    return next((parameter.dtype for parameter in module.parameters()), np.dtype(np.float32))


def _multiply_adds(call: Call) -> int:
    if isinstance(call.module, (Conv2d, Linear)):
        return call.output.size * prod(call.module.weight.shape[1:])
    return 0
