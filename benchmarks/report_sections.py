"""The sections of docs/benchmarks.md: what each file's figures look like as text and tables."""

from __future__ import annotations

import math
import statistics
from typing import Any

from kernels import PASSES
from kernels import PEERS as KERNEL_PEERS
from report_tables import ABSENT, digits, ratio, table
from train_step import PEERS as STEP_PEERS

TITLES = {
    "forward": "Forward",
    "backward_input": "Gradient of the input",
    "backward_weight": "Gradient of the filters",
}
STEPS = """\
## Training steps

Forward, cross-entropy, backward and SGD with momentum on one batch: median milliseconds of a step,
less is better. The ratio is that of the medians; the next column compares lower quartiles, in which
other programs on the machine are seen less. The last column: nanoseconds in which two threads hand
a flag to each other and back, before and after; tens on cores with a common cache, hundreds on
others, between which data that threads exchange is slow ([decision
11](decisions/0011-shares-of-tasks.md)).
"""
MEMORY = """\
## Memory of the training steps

Peak of a process that does nothing else, in MiB: its library, Python, the network and its data.
"""
LIMITS = """\
## Limits

How near the training steps come to what the processor allows. Arithmetic: the multiply-adds that
the planned methods need (36 products for 4x4 results in Winograd's; its transforms left out), at
the speed of multiply-adds in registers. Memory: each pass over a layer reads and writes each of its
arrays once, at the speed of a large copy; activations, pooling and sums with a shortcut ride on
another pass, and no array is counted as cached from one pass to the next. `benchmarks/counting.py`
has the rules. By them a step takes at least the greater of the two, and their sum if nothing
overlaps; both are given as shares of the median step, which was measured in turn with the
processor: at its best {gflops:.0f} GFLOP/s and, read and written bytes together, {bandwidth:.1f}
GB/s. Where all that a step keeps fits into the last-level cache of {cache:.0f} MiB, memory is no
limit.
"""
SCALING = """\
### Threads

The same steps with one thread, in turn with the others, and how many times as long they take.
"""
PROFILE = """\
### Where a step's time goes

Shares of the time of steps that were taken apart: what runs in each function of the core, summed by
kind, and all else as Python's, with numpy and the freeing of memory. In the forward pass an
activation, a shortcut or a pooling layer counts with the convolution or batch norm that it runs in.
In the backward pass pooling counts as pooling, with the gradient of the bias in front of it, and an
activation behind a convolution as other.
"""
ACCURACY = """\
## Time to accuracy

Wall time of whole processes from a cold start until MNIST's test images reach an accuracy of
{target}, measured after each epoch: `convolite train --data mnist --target-accuracy {target}`, and
a PyTorch program with the same recipe (`benchmarks/torch_mnist.py`). One run for each seed, in
turn.
"""
KERNELS = """\
## Single convolutions

GFLOP/s, more is better; a figure is the median over the turns of their lower quartiles. Operations
are counted by the definition, whatever the method. PyTorch's tensors are in the format already.
"of peak" is convolite's share of what the processor's multiply-adds reach in registers, at best
{gflops:.0f} GFLOP/s in the same run. Winograd's method needs fewer operations than are counted and
may exceed 100 %.
"""


def steps_sections(results: list[dict[str, Any]]) -> list[str]:
    return [STEPS, step_table(results), absent(results)]


def memory_sections(results: list[dict[str, Any]]) -> list[str]:
    return [MEMORY, memory_table(results)]


def step_table(results: list[dict[str, Any]]) -> str:
    names = ["convolite", *STEP_PEERS]
    return table(
        ["network", *names, "ratio", "ratio of quartiles", "round trip, ns"],
        [
            [
                result["network"],
                *(figure_of(result, name, "median_ms", ".1f") for name in names),
                ratio(result["ratio_median_ms"]),
                ratio(result["ratio_quartile_ms"]),
                ", ".join(trip_text(trip) for trip in result["round_trip_ns"]),
            ]
            for result in results
        ],
    )


def trip_text(nanoseconds: float | None) -> str:
    return ABSENT if nanoseconds is None else f"{nanoseconds:.0f}"


def memory_table(results: list[dict[str, Any]]) -> str:
    names = ["convolite", *STEP_PEERS]
    return table(
        ["network", *names],
        [
            [
                result["network"],
                *(figure_of(result, name, "peak_mib", ".0f") for name in names),
            ]
            for result in results
        ],
    )


def figure_of(result: dict[str, Any], name: str, figure: str, style: str) -> str:
    row = result["contenders"].get(name)
    return ABSENT if row is None else format(row[figure], style)


def absent(results: list[dict[str, Any]]) -> str:
    """Why some cells are empty."""
    return "\n".join(
        f"PyTorch's {name} did not run with {result['network']}: `{reason}`\n"
        for result in results
        for name, reason in result["absent"].items()
    )


def limits_sections(limits: dict[str, Any]) -> list[str]:
    results = limits["results"]
    text = LIMITS.format(
        gflops=limits["gflops"],
        bandwidth=limits["gigabytes_per_second"],
        cache=limits["cache_mib"],
    )
    return [
        *(text, limits_table(results)),
        *(SCALING, scaling_table(results)),
        *(PROFILE, profile_table(results)),
    ]


def limits_table(results: list[dict[str, Any]]) -> str:
    return table(
        [
            *("network", "multiply-adds, G", "needed, G", "traffic, MiB", "arithmetic, ms"),
            *("memory, ms", "step, ms", "greater", "sum"),
        ],
        [
            [
                result["network"],
                f"{result['definition_gmac']:.2f}",
                f"{result['needed_gmac']:.2f}",
                f"{result['traffic_mib']:.0f}",
                f"{result['arithmetic_ms']:.1f}",
                ABSENT if result["in_cache"] else f"{result['memory_ms']:.1f}",
                f"{result['median_ms']:.1f}",
                *(f"{result[each] / result['median_ms']:.0%}" for each in ("greater_ms", "sum_ms")),
            ]
            for result in results
        ],
    )


def scaling_table(results: list[dict[str, Any]]) -> str:
    """Medians with one thread and with all, and the ratios of medians and of lower quartiles."""
    return table(
        ["network", "one thread, ms", "all, ms", "ratio", "ratio of quartiles"],
        [
            [
                result["network"],
                f"{result['one_thread_median_ms']:.1f}",
                f"{result['median_ms']:.1f}",
                *(
                    digits(result[f"one_thread_{each}"] / result[each])
                    for each in ("median_ms", "quartile_ms")
                ),
            ]
            for result in results
        ],
    )


def profile_table(results: list[dict[str, Any]]) -> str:
    return table(
        ["network", *results[0]["shares"]],
        [
            [result["network"], *(f"{share:.0%}" for share in result["shares"].values())]
            for result in results
        ],
    )


def accuracy_sections(accuracy: dict[str, Any]) -> list[str]:
    return [ACCURACY.format(target=accuracy["target"]), accuracy_table(accuracy)]


def accuracy_table(accuracy: dict[str, Any]) -> str:
    """Medians and every run, and what the medians' ratio is."""
    names = {"convolite": "convolite", "pytorch": "PyTorch"}
    rows = [
        [
            title,
            f"{accuracy['median_seconds'][name]:.1f}",
            ", ".join(f"{run['seconds']:.1f}" for run in accuracy["runs"][name]),
            ", ".join(epochs_of(run) for run in accuracy["runs"][name]),
        ]
        for name, title in names.items()
    ]
    head = ["", "median, s", "each run, s", "epochs"]
    return f"{table(head, rows)}\nThe ratio of the medians is {ratio(accuracy['ratio'])}.\n"


def epochs_of(run: dict[str, Any]) -> str:
    return f"{run['epochs']}" if run["reached"] else f"{run['epochs']} (missed)"


def kernel_sections(kernels: dict[str, Any]) -> list[str]:
    rows = kernels["rows"]
    parts = [KERNELS.format(gflops=kernels["gflops"]), summary(rows)]
    return parts + [part for name in PASSES for part in kernel_section(rows, name)]


def summary(rows: list[dict[str, Any]]) -> str:
    """Mean and extremes of the ratios of each pass."""
    body = []
    for name in PASSES:
        found = sorted((row["ratio"], row["shape"]) for row in rows if row["pass"] == name)
        if found:
            mean = math.exp(statistics.fmean(math.log(value) for value, _ in found))
            (least, worst), (most, best) = found[0], found[-1]
            body.append(
                [
                    TITLES[name],
                    ratio(mean),
                    f"{ratio(least)} (`{worst}`)",
                    f"{ratio(most)} (`{best}`)",
                ]
            )
    return table(["pass", "geometric mean of the ratios", "least", "greatest"], body)


def kernel_section(rows: list[dict[str, Any]], name: str) -> list[str]:
    """Heading and table of one pass."""
    body = [
        [
            f"`{row['shape']}`",
            row["problem"],
            *(f"{row[each]:.0f}" for each in ("convolite", *KERNEL_PEERS)),
            ratio(row["ratio"]),
            f"{row['of_peak']:.0%}",
        ]
        for row in rows
        if row["pass"] == name
    ]
    head = ["shape", "images, filters", "convolite", "NCHW", "channels_last", "ratio", "of peak"]
    return [f"### {TITLES[name]}\n", table(head, body)] if body else []
