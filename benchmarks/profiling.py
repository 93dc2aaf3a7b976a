"""Where the time of a step goes: seconds in each function of the core, and in Python."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import isbuiltin
from typing import Any

from convolite import _core

PYTHON, OTHER = "Python", "other"
# The first part one of whose prefixes a function's name begins with has its time.
PARTS = {
    "conv forward": ("conv2d_forward", "pooled_conv2d"),
    "conv, input": ("conv2d_backward_input",),
    "conv, filters": ("conv2d_backward",),
    "norm forward": ("batch_norm_forward", "pooled_batch_norm"),
    "norm backward": ("batch_norm_backward",),
    "pooling": ("max_pool2d", "avg_pool2d", "adaptive_avg_pool2d"),
    "linear": ("linear",),
    "optimizer": ("sgd_step", "adam_step", "rmsprop_step"),
}


def shares(step: Callable[[], Any], steps: int) -> dict[str, float]:
    """The share of some steps' time that each part takes; together they are 1."""
    functions, total = core_seconds(step, steps)
    found = dict.fromkeys([*PARTS, OTHER, PYTHON], 0.0)
    for name, seconds in functions.items():
        found[part_of(name)] += seconds / total
    found[PYTHON] = 1 - sum(found.values())
    return found


def part_of(name: str) -> str:
    return next((part for part, begin in PARTS.items() if name.startswith(begin)), OTHER)


def core_seconds(step: Callable[[], Any], steps: int) -> tuple[dict[str, float], float]:
    """Seconds in each function of the core, by name, and in all of the steps."""
    seconds: dict[str, float] = {}
    with timed_core(seconds):
        begin = time.perf_counter()
        for _ in range(steps):
            step()
        return seconds, time.perf_counter() - begin


@contextmanager
def timed_core(seconds: dict[str, float]) -> Iterator[None]:
    """Within this context the seconds of the core's functions are added up by name."""
    functions = {name: each for name, each in vars(_core).items() if isbuiltin(each)}

    def timed(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **options: Any) -> Any:
            begin = time.perf_counter()
            try:
                return function(*arguments, **options)
            finally:
                seconds[name] = seconds.get(name, 0.0) + time.perf_counter() - begin

        return call

    for name, function in functions.items():
        setattr(_core, name, timed(name, function))
    try:
        yield
    finally:
        for name, function in functions.items():
            setattr(_core, name, function)
