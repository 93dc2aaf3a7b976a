"""Time what Python adds to an operation: calls on tensors of one element, beyond those of the core.

Each operation of `convolite.functional` and each operator runs forward, and forward and backward
with a gradient for every input. The calls of the core that they make are recorded and then made
again with the same arrays, in turn with the operation; what remains is Python's. Where numpy does
the work (indexing, changes of shape), all of it counts as Python's.

An optimizer's step on the 65 parameters of resnet20 is compared with its memory traffic: the
core's pass of SGD over one array, by as many threads, that reads and writes as many bytes. Beyond
it count the lists that Python makes, their checks in the binding, what small arrays cost in the
core, and for Adam and RMSprop the root and quotient of each element. The pass of the same rule over
one array of as many elements, and `zero_grad`, stand beside it.

    python benchmarks/overhead.py
    python benchmarks/overhead.py --filter conv2d --rounds 50
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from contenders import write_json

import convolite
from convolite import _core, functional, models, optim
from convolite.autograd import Array

FORWARD_LIMIT, BACKWARD_LIMIT, STEP_LIMIT = 6.0, 12.0, 30.0  # microseconds
ATTEMPTS = 5
IMAGE = (1, 1, 1, 1)
LABEL = np.zeros(1, np.int64)
PIXEL = np.zeros(IMAGE, np.float32)
ZERO, ONE = np.zeros(1, np.float32), np.ones(1, np.float32)

Call = Callable[[], Any]


class Operation(NamedTuple):
    """A differentiable call and the shapes of its inputs, the smallest that it takes."""

    call: Callable[..., Any]
    shapes: tuple[tuple[int, ...], ...] = (IMAGE,)


def normed(*tensors: Any, training: bool) -> Any:
    image, weight, bias, *residual = tensors
    options = {"residual": residual[0], "activation": "relu"} if residual else {}
    return functional.batch_norm(image, ZERO, ONE, weight, bias, training=training, **options)


ACTIVATIONS = "relu leaky_relu relu6 elu gelu silu hardswish hardsigmoid sigmoid tanh"
OPERATIONS = {
    "conv2d": Operation(functional.conv2d, (IMAGE, IMAGE, (1,))),
    "conv2d, no bias": Operation(functional.conv2d, (IMAGE, IMAGE)),
    "conv2d, relu": Operation(
        lambda *all: functional.conv2d(*all, padding=(0, 0), activation="relu"),
        (IMAGE, IMAGE, (1,)),
    ),
    "linear": Operation(functional.linear, ((1, 1), (1, 1), (1,))),
    "batch_norm, training": Operation(
        lambda *all: normed(*all, training=True), ((1, 1, 1, 2), (1,), (1,))
    ),
    "batch_norm, inference": Operation(
        lambda *all: normed(*all, training=False), (IMAGE, (1,), (1,))
    ),
    "batch_norm, residual": Operation(
        lambda *all: normed(*all, training=True), ((1, 1, 1, 2), (1,), (1,), (1, 1, 1, 2))
    ),
    "max_pool2d": Operation(lambda image: functional.max_pool2d(image, 1)),
    "avg_pool2d": Operation(lambda image: functional.avg_pool2d(image, 1)),
    "adaptive_avg_pool2d": Operation(lambda image: functional.adaptive_avg_pool2d(image, 1)),
    **{name: Operation(getattr(functional, name)) for name in ACTIVATIONS.split()},
    "softmax": Operation(lambda image: functional.softmax(image, 1)),
    "log_softmax": Operation(lambda image: functional.log_softmax(image, 1)),
    "cross_entropy": Operation(lambda rows: functional.cross_entropy(rows, LABEL), ((1, 1),)),
    "nll_loss": Operation(lambda rows: functional.nll_loss(rows, LABEL), ((1, 1),)),
    "nll_loss, weighted": Operation(
        lambda rows: functional.nll_loss(rows, LABEL, ONE, reduction="sum"), ((1, 1),)
    ),
    "mse_loss": Operation(functional.mse_loss, (IMAGE, IMAGE)),
    "mse_loss, one side": Operation(lambda image: functional.mse_loss(image, PIXEL)),
    "flatten": Operation(lambda image: functional.flatten(image, 1)),
    "cat": Operation(lambda *all: functional.cat(all), (IMAGE, IMAGE)),
    "pad": Operation(lambda image: functional.pad(image, (0, 0))),
    "pad, four sides": Operation(lambda image: functional.pad(image, (1, 1, 1, 1))),
    "dropout": Operation(functional.dropout),
    "dropout2d": Operation(functional.dropout2d),
    "a + b": Operation(lambda a, b: a + b, (IMAGE, IMAGE)),
    "a - b": Operation(lambda a, b: a - b, (IMAGE, IMAGE)),
    "a * b": Operation(lambda a, b: a * b, (IMAGE, IMAGE)),
    "a / b": Operation(lambda a, b: a / b, (IMAGE, IMAGE)),
    "a ** 2": Operation(lambda a: a**2),
    "a ** b": Operation(lambda a, b: a**b, (IMAGE, IMAGE)),
    "a @ b": Operation(lambda a, b: a @ b, ((1, 1), (1, 1))),
    "a + 1": Operation(lambda a: a + 1),
    "a * 2.0": Operation(lambda a: a * 2.0),
    "1 / a": Operation(lambda a: 1 / a),
    "-a": Operation(lambda a: -a),
    "abs": Operation(abs),
    "exp": Operation(lambda a: a.exp()),
    "log": Operation(lambda a: a.log()),
    "sum": Operation(lambda a: a.sum()),
    "sum, an axis": Operation(lambda a: a.sum(1, keepdims=True)),
    "mean": Operation(lambda a: a.mean()),
    "mean, two axes": Operation(lambda a: a.mean((2, 3))),
    "max": Operation(lambda a: a.max()),
    "min, an axis": Operation(lambda a: a.min(1)),
    "reshape": Operation(lambda a: a.reshape(1, -1)),
    "permute": Operation(lambda a: a.permute(0, 2, 3, 1)),
    "transpose": Operation(lambda a: a.transpose(2, 3)),
    "a[0]": Operation(lambda a: a[0]),
    "a[:, 0]": Operation(lambda a: a[:, 0]),
    "a[array]": Operation(lambda a: a[LABEL]),
    "astype": Operation(lambda a: a.astype(np.float64)),
}

OPTIMIZERS: dict[str, Callable[[list[Any]], optim.Optimizer]] = {
    "SGD": lambda parameters: optim.SGD(parameters, lr=0.1),
    "SGD, momentum": lambda parameters: optim.SGD(
        parameters, lr=0.1, momentum=0.9, weight_decay=1e-4
    ),
    "Adam": lambda parameters: optim.Adam(parameters),
    "AdamW": lambda parameters: optim.AdamW(parameters),
    "RMSprop": lambda parameters: optim.RMSprop(parameters),
}


def main() -> int:
    arguments = parse_arguments()
    print(f"microseconds, lower quartiles of {arguments.rounds} turns of {arguments.calls} calls")
    print(f"{'':24}{'-------- forward --------':>27}{'-- forward and backward --':>30}")
    print(f"{'':24}{'all':>9}{'core':>9}{'Python':>9}   {'all':>9}{'core':>9}{'Python':>9}")
    operations = measure(arguments)
    for way, limit in (("forward", FORWARD_LIMIT), ("backward", BACKWARD_LIMIT)):
        worst = sorted(operations, key=lambda name: -operations[name][way]["python"])[:4]
        text = ", ".join(f"{name} {operations[name][way]['python']:.1f}" for name in worst)
        print(f"most of Python, {way} (limit {limit:g}): {text}")
    steps = measure_steps(arguments) if arguments.filter in "optimizers" else {}
    limits = {"forward": FORWARD_LIMIT, "backward": BACKWARD_LIMIT, "step": STEP_LIMIT}
    write_json(arguments, {"limits": limits, "operations": operations, "steps": steps})
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=60, help="turns of each call")
    parser.add_argument("--calls", type=int, default=50, help="calls in a turn")
    parser.add_argument("--filter", default="", help="only names that hold this")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.set_defaults(peer_python=None, threads=convolite.get_num_threads())
    return parser.parse_args()


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """What every operation takes, in all, in the core and beyond it."""
    contenders: dict[tuple[str, str], list[Call]] = {}
    for name, operation in OPERATIONS.items():
        if arguments.filter in name:
            for way, call in calls_of(operation).items():
                contenders[name, way] = [call, replay(call)]
    flat = [call for pair in contenders.values() for call in pair]
    times = iter(in_turn(flat, arguments.rounds, arguments.calls))
    rows: dict[str, Any] = {}
    for name, way in contenders:
        rows.setdefault(name, {})[way] = beyond(next(times), next(times))
    for name, row in rows.items():
        print(f"{name:24}" + "   ".join(line(row[way]) for way in row))
    return rows


def calls_of(operation: Operation) -> dict[str, Call]:
    rng = np.random.default_rng(7)
    tensors = [
        convolite.tensor(rng.random(shape, np.float32) + 1, requires_grad=True)
        for shape in operation.shapes
    ]
    output = operation.call(*tensors)
    gradient = np.ones(output.shape, output.dtype)

    def forward() -> None:
        operation.call(*tensors)

    def backward() -> None:
        operation.call(*tensors).backward(gradient)
        for tensor in tensors:
            tensor.grad = None

    return {"forward": forward, "backward": backward}


def beyond(whole: list[float], part: list[float]) -> dict[str, float]:
    """Lower quartiles of two lists of times, and of what is between them in one round."""
    differences = [a - b for a, b in zip(whole, part, strict=True)]
    return {"all": quartile(whole), "core": quartile(part), "python": quartile(differences)}


def quartile(times: list[float]) -> float:
    """The lower one, since other users of the machine only add."""
    return statistics.quantiles(times, n=4)[0]


def line(figures: dict[str, float]) -> str:
    return "".join(f"{value:9.2f}" for value in figures.values())


def replay(call: Call) -> Call:
    """A function that makes the calls of the core that `call` makes, with the same arguments."""
    calls: list[tuple[Callable[..., Any], tuple[Any, ...]]] = []
    core = {name: value for name, value in vars(_core).items() if not name.startswith("_")}
    del core["are_apart"]  # the walk's own, so it counts as Python's

    def recorder(function: Callable[..., Any]) -> Callable[..., Any]:
        def record(*arguments: Any) -> Any:
            calls.append((function, arguments))
            return function(*arguments)

        return record

    try:
        for name, function in core.items():
            setattr(_core, name, recorder(function))
        call()
    finally:
        for name, function in core.items():
            setattr(_core, name, function)

    def again() -> None:
        for function, arguments in calls:
            function(*arguments)

    return again


def in_turn(contenders: list[Call], rounds: int, calls: int) -> list[list[float]]:
    """Microseconds of one call of each contender, in every round; rounds outermost, since other
    users of the machine come and go."""
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(rounds):
        for contender, found in zip(contenders, times, strict=True):
            begin = time.perf_counter()
            for _ in range(calls):
                contender()
            found.append(1e6 * (time.perf_counter() - begin) / calls)
    return times


def measure_steps(arguments: argparse.Namespace) -> dict[str, Any]:
    """Each optimizer's step on resnet20, passes over as many bytes and elements, and zero_grad."""
    print(f"\nresnet20{'':16}{'step':>9}{'traffic':>9}{'beyond':>9}{'rule':>9}{'zero_grad':>11}")
    rows = {}
    for name in OPTIMIZERS:
        rows[name] = measure_step(name, arguments)
        print(f"{name:24}{line(rows[name])}", flush=True)
    print(f"limit beyond the traffic: {STEP_LIMIT:g}")
    return rows


def measure_step(name: str, arguments: argparse.Namespace) -> dict[str, float]:
    parameters = list(models.resnet20().parameters())
    for parameter in parameters:
        parameter.grad = convolite.Tensor(np.full_like(parameter.numpy(), 1e-3))
    optimizer = OPTIMIZERS[name](parameters)
    optimizer.step()
    size = sum(parameter.size for parameter in parameters)
    calls = [optimizer.step, traffic(name, size), bare_pass(name, size)]
    step, bytes_alone, rule = credible(name, calls, arguments)
    (cleared,) = in_turn([optimizer.zero_grad], arguments.rounds, arguments.calls)
    return {
        "step": step,
        "traffic": bytes_alone,
        "beyond": step - bytes_alone,
        "rule": rule,
        "zero_grad": quartile(cleared),
    }


def credible(name: str, calls: list[Call], arguments: argparse.Namespace) -> list[float]:
    """Times of a step, its traffic and its rule, measured again where the traffic took longer.

    A step contains its traffic: a negative difference is the noise of a busy machine.
    """
    for _ in range(ATTEMPTS):
        times = list(map(quartile, in_turn(calls, arguments.rounds, arguments.calls)))
        if times[0] >= times[1]:
            return times
    raise SystemExit(
        f"overhead: a step of {name} took less than its traffic alone in {ATTEMPTS} measurements "
        f"({times[0]:.1f} and {times[1]:.1f} us in the last); measure when nothing else runs"
    )


def traffic(name: str, size: int) -> Call:
    """The core's pass of SGD that reads and writes as many bytes as a step on `size` elements.

    SGD passes over 3 floats of an element, with momentum and RMSprop over 5, Adam over 7.
    """
    if name.startswith("Adam"):
        return bare_pass("SGD, momentum", size * 7 // 5)
    return bare_pass(name if name == "SGD" else "SGD, momentum", size)


def bare_pass(name: str, size: int) -> Call:
    """The core's step of the same rule on one array of `size` elements."""

    def array() -> list[Array]:
        return [np.full(size, 1e-3, np.float32)]

    values, gradients, first, second = array(), array(), array(), array()
    if name.startswith("SGD"):
        options = (0.9, 0.0, 1e-4) if "momentum" in name else (0.0, 0.0, 0.0)
        buffers = first if "momentum" in name else []
        return lambda: _core.sgd_step(values, gradients, buffers, False, 0.1, *options, False)
    if name == "RMSprop":
        return lambda: _core.rmsprop_step(
            values, gradients, first, [], [], 1e-2, 0.99, 1e-8, 0.0, 0.0, False
        )
    return lambda: _core.adam_step(
        values, gradients, first, second, 2, 1e-3, 0.9, 0.999, 1e-8, 0.0, name == "AdamW"
    )


if __name__ == "__main__":
    raise SystemExit(main())
