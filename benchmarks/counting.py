"""What a training step must compute and move: multiply-adds and bytes, pass by pass.

A step is recorded call by call, with nothing fused, and then counted by these rules:

* Multiply-adds "by definition" are those of the sums in the textbook. "Needed" are those of the
  method that the library plans: Winograd's F(4x4, 3x3) takes 36 products for each tile of 4x4
  results, also for tiles that only begin inside the image; any other method takes all. Winograd's
  transforms and everything done pixel by pixel are left out.
* A convolution, a linear layer and its two gradients are a pass each, which reads each array that
  it needs once and writes its result once.
* Activations, pooling, sums with a shortcut and the loss's mean ride on the pass that writes what
  they read: only their result is written. Backward, the passes that read the gradient undo them;
  they read the result for its sign, a byte for each maximum, and the other summand's gradient.
* Batch norm gathers its sums while its input is written, and those of its gradient while that is
  written, for which its input is read again. Its own pass reads and writes once either way, since
  no result is known before the sums are.
* Gradients that meet are added by the pass that writes the later one, which reads the other.
* SGD with momentum reads parameters, gradients and momenta and writes parameters and momenta.

Arrays are counted as if no cache held them from one pass to the next.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from math import prod
from typing import Any, NamedTuple

FLOAT = 4  # bytes
_PASSES = {"Conv2d", "Linear", "BatchNorm", "CrossEntropy"}
_RIDING = {"Activation", "MaxPool2d", "AvgPool2d", "AdaptiveAvgPool2d", "Add", "Reshape", "Dropout"}
_TILE, _PRODUCTS = 4, 36  # of F(4x4, 3x3)


class Pass(NamedTuple):
    """One pass over memory."""

    kind: str
    name: str
    method: str
    definition: int  # multiply-adds
    needed: int
    bytes: int


class Values:
    """A tensor, for dicts: tensors compare element by element."""

    def __init__(self, tensor: Any) -> None:
        self.tensor, self.shape, self.size = tensor, tensor.shape, tensor.size


class Call:
    """One call of a Function, and what rides on the pass that it is."""

    def __init__(
        self, kind: str, arguments: tuple[Any, ...], inputs: list[Values], output: Values
    ) -> None:
        self.kind, self.arguments, self.output = kind, arguments, output
        self.inputs = [each for each in inputs if not is_parameter(each.tensor)]
        self.parameters = sum(each.size for each in inputs if is_parameter(each.tensor))
        self.written = output
        self.riders: list[Call] = []
        self.others: list[Values] = []  # summands that come from elsewhere

    def has(self, kind: str) -> bool:
        return any(rider.kind == kind for rider in self.riders)


def is_parameter(tensor: Any) -> bool:
    return tensor.is_leaf and tensor.requires_grad


@contextmanager
def recorded() -> Iterator[list[Call]]:
    """Within this context each layer runs by itself and every call is noted."""
    import convolite
    from convolite.autograd import Function

    former, fused = vars(Function)["apply"], convolite.get_fusion()
    calls: list[Call] = []
    known: dict[int, Values] = {}  # by the id of a tensor, which is kept alive

    def values(tensor: Any) -> Values:
        return known.setdefault(id(tensor), Values(tensor))

    def apply(cls: type[Function], *arguments: Any) -> Any:
        output = former.__func__(cls, *arguments)
        inputs = [values(each) for each in arguments if isinstance(each, convolite.Tensor)]
        calls.append(Call(cls.__name__, arguments, inputs, values(output)))
        return output

    Function.apply = classmethod(apply)
    convolite.set_fusion(False)
    try:
        yield calls
    finally:
        Function.apply = former
        convolite.set_fusion(fused)


def count(calls: list[Call], parameters: int) -> list[Pass]:
    """The passes of a step, from the forward calls and the number of parameters."""
    passes = ride(calls)
    counted = [each for call in passes for each in _COUNTS[call.kind](call)]
    for read, readers in readings(passes).items():
        if read.tensor.requires_grad and readers > 1:
            size = (readers - 1) * read.size * FLOAT
            counted.append(Pass("Add", "gradients that meet", "", 0, 0, size))
    counted.append(Pass("SGD", "update", "", 0, 0, 5 * parameters * FLOAT))
    return counted


def ride(calls: list[Call]) -> list[Call]:
    """Give each call that rides to the pass that writes what it reads; the passes are returned."""
    readers = readings(calls)
    passes: dict[Values, Call] = {}  # by what they write
    for call in calls:
        if call.kind in _PASSES:
            passes[call.output] = call
            continue
        if call.kind not in _RIDING:
            raise SystemExit(f"counting: no rule for {call.kind}")
        carriers = [each for each in call.inputs if each in passes and readers[each] == 1]
        if not carriers:
            raise SystemExit(f"counting: nothing writes what {call.kind} alone reads")
        carrier = max(carriers, key=list(passes).index)  # the last that is written
        host = passes.pop(carrier)
        host.riders.append(call)
        host.others += [each for each in call.inputs if each is not carrier]
        host.written = call.output
        passes[call.output] = host
    return sorted(passes.values(), key=calls.index)


def readings(calls: list[Call]) -> dict[Values, int]:
    """How many calls read each tensor."""
    found: dict[Values, int] = {}
    for call in calls:
        for read in call.inputs + call.others:
            found[read] = found.get(read, 0) + 1
    return found


def stored(calls: list[Call]) -> int:
    """Bytes that forward writes and backward reads."""
    return FLOAT * sum(call.written.size for call in calls)


def _forward(call: Call, method: str = "", definition: int = 0, needed: int = 0) -> Pass:
    arrays = [*call.inputs, *call.others, call.written]
    size = FLOAT * (sum(each.size for each in arrays) + call.parameters) + _offsets(call)
    return Pass(call.kind, "forward", method, definition, needed, size)


def _offsets(call: Call) -> int:
    return sum(rider.output.size for rider in call.riders if rider.kind == "MaxPool2d")


def _gradient(call: Call) -> int:
    """Bytes that tell a pass the gradient of what the call itself computed."""
    gated = call.has("Activation") and (call.kind != "BatchNorm" or bool(call.others))
    return FLOAT * call.written.size * (2 if gated else 1) + _offsets(call)


def _convolution(call: Call) -> list[Pass]:
    from convolite import _core

    images, filters = call.inputs[0].shape, call.arguments[1].shape
    output = call.output.shape
    dtype = call.inputs[0].tensor.dtype
    lines = _core.conv2d_explain(images, filters, *call.arguments[3], dtype)
    methods = {name: method for name, method, why in lines if not why.startswith("declined")}
    definition = prod(output) * prod(filters[1:])
    results = {"forward": output, "backward_input": images, "backward_weight": output}
    needed = {
        name: _tiles(results[name]) * _PRODUCTS * filters[0] * filters[1]
        if method == "winograd"
        else definition
        for name, method in methods.items()
    }
    return _three_passes(call, methods, definition, needed)


def _tiles(shape: tuple[int, ...]) -> int:
    """Winograd's tiles that cover these images."""
    return shape[0] * -(-shape[2] // _TILE) * -(-shape[3] // _TILE)


def _linear(call: Call) -> list[Pass]:
    definition = call.output.size * call.inputs[0].shape[-1]
    names = ("forward", "backward_input", "backward_weight")
    return _three_passes(
        call, dict.fromkeys(names, "gemm"), definition, dict.fromkeys(names, definition)
    )


def _three_passes(
    call: Call, methods: dict[str, str], definition: int, needed: dict[str, int]
) -> list[Pass]:
    ends = {"backward_weight": _gradient(call) + FLOAT * (call.inputs[0].size + call.parameters)}
    if call.inputs[0].tensor.requires_grad:
        ends["backward_input"] = ends["backward_weight"]  # it writes what the other reads
    return [
        _forward(call, methods["forward"], definition, needed["forward"]),
        *(
            Pass(call.kind, name, methods[name], definition, needed[name], size)
            for name, size in ends.items()
        ),
    ]


def _batch_norm(call: Call) -> list[Pass]:
    images = FLOAT * call.inputs[0].size
    shortcut = FLOAT * call.output.size if call.others and call.has("Activation") else 0
    sums = Pass(call.kind, "sums of the gradient", "", 0, 0, images)
    size = _gradient(call) + 2 * images + shortcut
    return [_forward(call), sums, Pass(call.kind, "backward_input", "", 0, 0, size)]


def _loss(call: Call) -> list[Pass]:
    logits = FLOAT * call.inputs[0].size
    return [Pass(call.kind, name, "", 0, 0, 2 * logits) for name in ("forward", "backward_input")]


_COUNTS = {
    "Conv2d": _convolution,
    "Linear": _linear,
    "BatchNorm": _batch_norm,
    "CrossEntropy": _loss,
}
