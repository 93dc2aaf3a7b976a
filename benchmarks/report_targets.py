"""The targets of speed and memory beside what was measured: met or missed is computed here."""

from __future__ import annotations

import math
import statistics
from typing import Any, NamedTuple

from report_sections import TITLES
from report_tables import digits, filled, table

# How many times as fast as PyTorch's best a training step shall be, by instruction set.
STEP_TARGETS = {
    "avx512": {
        "sample_cnn": 3.0,
        "sample_cnn_bn": 3.0,
        "resnet20": 2.2,
        "resnet18": 2.2,
        "mobilenet_v2": 1.5,
    },
    "avx2": {"sample_cnn": 2.0, "resnet18": 1.6},
}
CONVOLUTIONS_MEAN, CONVOLUTION_LEAST = 1.5, 0.95
THREADS_NETWORK, THREADS = "resnet18", 1.85
ACCURACY = 2.0
MEMORY = 0.6
# Of products whose least size is at least so much.
PRODUCTS = {"share": ("of peak", 256, 0.85), "ratio": ("beside OpenBLAS", 64, 1.0)}
# A batch's share of a plain pass over memory: as fast, less what two measurements of one differ by.
BATCHES, OF_MEMORY = (1, 4, 8), 0.95

WAYS = {
    "forward": "Python in an operation, forward, us, most",
    "backward": "Python in an operation, forward and backward, us, most",
}

INTRODUCTION = """\
## Targets

What was aimed at, and what the files of this page say of it. Speeds are in relation to PyTorch's
best; memory is in relation to the least of PyTorch's. The mean of convolutions is over all shapes
and passes of this page. Of matrix products the least of all is meant: "of peak" from 256x256x256
up, beside OpenBLAS from 64x64x64 up, and for small batches the share of a plain pass over memory.
[Targets that are missed](missed-targets.md) says where their time goes, and what was tried.
"""


class Target(NamedTuple):
    """A figure that is to be reached, or with `most` not to be exceeded."""

    what: str
    bound: float
    measured: float | None  # None: not measured
    most: bool = False

    def row(self) -> list[str]:
        bound = f"at {'most' if self.most else 'least'} {digits(self.bound)}"
        if self.measured is None:
            return [self.what, bound, "", "not measured"]
        met = self.measured <= self.bound if self.most else self.measured >= self.bound
        figure = digits(self.measured, self.bound, self.most)
        return [self.what, bound, figure, "met" if met else "**missed**"]


def targets_section(
    by_level: dict[str, dict[str, Any]],
    steps: dict[str, Any],
    kernels: dict[str, Any],
    limits: dict[str, Any],
    accuracy: dict[str, Any],
    products: dict[str, Any] | None,
    overhead: dict[str, Any] | None,
) -> list[str]:
    """The table, and by name the convolutions that miss theirs."""
    targets = [
        *step_targets(by_level),
        *convolution_targets(kernels["rows"]),
        scaling_target(limits["results"]),
        Target(f"time to an accuracy of {accuracy['target']}", ACCURACY, accuracy["ratio"]),
        *memory_targets(steps["results"]),
        *product_targets([] if products is None else products["rows"], steps["threads"]),
        *overhead_targets(overhead),
    ]
    body = [target.row() for target in targets]
    missed = sum(row[-1] == "**missed**" for row in body)
    met = sum(row[-1] == "met" for row in body)
    counts = f"{met} met, {missed} missed, {len(body) - met - missed} not measured.\n"
    head = ["", "target", "measured", "result"]
    return [INTRODUCTION, counts, table(head, body), slow_convolutions(kernels["rows"])]


def step_targets(by_level: dict[str, dict[str, Any]]) -> list[Target]:
    """Of each instruction set, from the file that was measured with it."""
    return [
        Target(
            f"training step of {name}, {level}",
            bound,
            ratio_of(by_level[level], name) if level in by_level else None,
        )
        for level, bounds in STEP_TARGETS.items()
        for name, bound in bounds.items()
    ]


def ratio_of(steps: dict[str, Any], name: str) -> float | None:
    found = [each for each in steps["results"] if each["network"].split(",")[0] == name]
    return float(found[0]["ratio_median_ms"]) if found else None


def convolution_targets(rows: list[dict[str, Any]]) -> list[Target]:
    ratios = [row["ratio"] for row in rows]
    mean = math.exp(statistics.fmean(map(math.log, ratios)))
    return [
        Target("single convolutions, geometric mean", CONVOLUTIONS_MEAN, mean),
        Target("single convolutions, least", CONVOLUTION_LEAST, min(ratios)),
    ]


def slow_convolutions(rows: list[dict[str, Any]]) -> str:
    """Which convolutions are below the least that each shall reach, the worst first."""
    slow = sorted(
        (row["ratio"], f"`{row['shape']}` {TITLES[row['pass']].lower()}")
        for row in rows
        if row["ratio"] < CONVOLUTION_LEAST
    )
    if not slow:
        return f"No convolution is below {CONVOLUTION_LEAST}.\n"
    named = "; ".join(f"{name} {digits(value, CONVOLUTION_LEAST)}" for value, name in slow)
    return filled(f"Convolutions below {CONVOLUTION_LEAST}, slowest first: {named}.") + "\n"


def scaling_target(results: list[dict[str, Any]]) -> Target:
    """Of one thread's time to that of all, by medians."""
    (row,) = (each for each in results if each["network"].split(",")[0] == THREADS_NETWORK)
    return Target(
        f"training step of {THREADS_NETWORK}, all threads in relation to one",
        THREADS,
        row["one_thread_median_ms"] / row["median_ms"],
    )


def memory_targets(results: list[dict[str, Any]]) -> list[Target]:
    found = []
    for result in results:
        peaks = {name: row["peak_mib"] for name, row in result["contenders"].items()}
        ours = peaks.pop("convolite")
        name = result["network"].split(",")[0]
        share = ours / min(peaks.values())
        found.append(Target(f"peak memory of {name}", MEMORY, share, most=True))
    return found


def product_targets(rows: list[dict[str, Any]], threads: int) -> list[Target]:
    """The least with one thread and with as many as in the other files; by batch with either."""
    large = [
        Target(
            f"matrix products from {size}^3 up, {title}, threads {count}",
            bound,
            min((row[key] for row in of_size(rows, size, count)), default=None),
        )
        for key, (title, size, bound) in PRODUCTS.items()
        for count in sorted({1, threads})
    ]
    shares = [
        (least_size(row), row["gbytes"] / row["copy_gbytes"]) for row in rows if "gbytes" in row
    ]
    return large + [
        Target(
            f"matrix products of batch {batch}, of memory",
            OF_MEMORY,
            min((share for size, share in shares if size == batch), default=None),
        )
        for batch in BATCHES
    ]


def of_size(rows: list[dict[str, Any]], size: int, threads: int) -> list[dict[str, Any]]:
    return [row for row in rows if row["threads"] == threads and least_size(row) >= size]


def least_size(row: dict[str, Any]) -> int:
    """Of a product for a small batch, the batch: weights are larger."""
    return min(row[size] for size in "mnk")


def overhead_targets(overhead: dict[str, Any] | None) -> list[Target]:
    """The worst of the operations and of the optimizers, against the limits of the program."""
    from overhead import BACKWARD_LIMIT, FORWARD_LIMIT, STEP_LIMIT

    worst = None
    if overhead is not None:
        operations, steps = overhead["operations"].values(), overhead["steps"].values()
        worst = {way: max(row[way]["python"] for row in operations) for way in WAYS}
        worst["step"] = max(row["beyond"] for row in steps)
    bounds = {"forward": FORWARD_LIMIT, "backward": BACKWARD_LIMIT, "step": STEP_LIMIT}
    names = {**WAYS, "step": "optimizer step beyond its traffic, us, most"}
    return [
        Target(name, bounds[key], None if worst is None else worst[key], most=True)
        for key, name in names.items()
    ]
