"""Where the time of a step goes: seconds in each function of the core, and in Python."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

CORE = "convolite._core"
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
    functions: dict[str, float] = {}
    began = 0.0

    def event(frame: FrameType, kind: str, function: Any) -> None:
        nonlocal began
        if kind == "c_call":  # the core calls no Python, so these do not nest
            began = time.perf_counter()
        elif kind == "c_return" and function.__module__ == CORE:
            past = functions.get(function.__name__, 0.0)
            functions[function.__name__] = past + time.perf_counter() - began

    former = sys.getprofile()
    begin = time.perf_counter()
    sys.setprofile(event)
    try:
        for _ in range(steps):
            step()
    finally:
        sys.setprofile(former)
    return functions, time.perf_counter() - begin
