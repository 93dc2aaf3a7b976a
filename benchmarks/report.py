"""Write docs/benchmarks.md and its chart from what the measurements left in benchmarks/results.

    python benchmarks/train_step.py --peer-python PATH --json benchmarks/results/train_step.json
    python benchmarks/kernels.py --peer-python PATH --json benchmarks/results/kernels.json
    python benchmarks/limits.py --json benchmarks/results/limits.json
    python benchmarks/time_to_accuracy.py --peer-python PATH --data-dir FOLDER \\
        --json benchmarks/results/time_to_accuracy.json
    python benchmarks/report.py                     # needs matplotlib

Nothing is measured here, and nothing is left out: every network and every shape of the files is
in a table, and what is slower than PyTorch stands before the rest. The chart is drawn in `chart`.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import textwrap
from pathlib import Path
from typing import Any

from chart import draw
from kernels import PASSES
from kernels import PEERS as KERNEL_PEERS
from train_step import PEERS as STEP_PEERS

ROOT = Path(__file__).resolve().parents[1]
TITLES = {
    "forward": "Forward",
    "backward_input": "Gradient of the input",
    "backward_weight": "Gradient of the filters",
}
ABSENT = "-"
TOGETHER = ("machine", "versions", "threads")  # the same in all files

INTRODUCTION = """\
# How fast: beside PyTorch

Written by `python benchmarks/report.py` from the files in `benchmarks/results`;
[contributing](../CONTRIBUTING.md#measure) has the commands that measure. convolite and PyTorch took
turns in one run, and their results were compared.
PyTorch's threads are bound to cores, which is its best; convolite runs as a user starts it. A
**ratio** is convolite's speed in relation to PyTorch's best: above 1 convolite is faster, below 1
it is slower. Ratios below 1 are bold.
"""
STEPS = """\
## Training steps

Forward, cross-entropy, backward and SGD with momentum on one batch: median milliseconds of a step,
less is better. The ratio is that of the medians; the last column compares lower quartiles, in which
other programs on the machine are seen less.
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


def main(given: list[str] | None = None) -> int:
    arguments = parse_arguments(given)
    steps = read(arguments.results / "train_step.json", "results")
    kernels = read(arguments.results / "kernels.json", "rows")
    limits = read(arguments.results / "limits.json", "results", beside_torch=False)
    accuracy = read(arguments.results / "time_to_accuracy.json", "runs")
    limits["versions"] = {**steps["versions"], **limits["versions"]}  # it has no PyTorch
    others = {"kernels": kernels, "limits": limits, "time_to_accuracy": accuracy}
    for file, other in others.items():
        for name in TOGETHER:
            if steps[name] != other[name]:
                raise SystemExit(
                    f"report: train_step.json and {file}.json differ in {name}: "
                    f"{steps[name]} and {other[name]}"
                )
    arguments.figure.parent.mkdir(parents=True, exist_ok=True)
    draw(steps["results"], kernels["rows"], arguments.figure)
    figure = Path(os.path.relpath(arguments.figure, arguments.page.parent)).as_posix()
    text = page(steps, kernels, limits, accuracy, figure)
    arguments.page.write_text(text, encoding="utf-8")
    return 0


def parse_arguments(given: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--results", type=Path, default=ROOT / "benchmarks" / "results")
    parser.add_argument("--page", type=Path, default=ROOT / "docs" / "benchmarks.md")
    parser.add_argument("--figure", type=Path, default=ROOT / "docs" / "images" / "benchmarks.svg")
    return parser.parse_args(given)


def read(path: Path, rows: str, beside_torch: bool = True) -> dict[str, Any]:
    """What a measurement wrote, if PyTorch took part in it where it should."""
    peer = "--peer-python PATH " if beside_torch else ""
    command = f"benchmarks/{path.stem}.py {peer}--json {path}"
    if not path.is_file():
        raise SystemExit(f"report: {path} is missing; it is written by {command}")
    report: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    if beside_torch and ("pytorch" not in report["versions"] or not report[rows]):
        raise SystemExit(f"report: {path} compares nothing with PyTorch; measure with {command}")
    return report


def page(
    steps: dict[str, Any],
    kernels: dict[str, Any],
    limits: dict[str, Any],
    accuracy: dict[str, Any],
    figure: str,
) -> str:
    """The whole text."""
    results, rows = steps["results"], kernels["rows"]
    parts = [
        INTRODUCTION,
        setup(steps, [kernels, limits, accuracy]),
        slower(results, rows),
        f"![Speed in relation to PyTorch's best, by network and by convolution]({figure})\n",
        STEPS,
        step_table(results),
        absent(results),
        MEMORY,
        memory_table(results),
        LIMITS.format(
            gflops=limits["gflops"],
            bandwidth=limits["gigabytes_per_second"],
            cache=limits["cache_mib"],
        ),
        limits_table(limits["results"]),
        SCALING,
        scaling_table(limits["results"]),
        PROFILE,
        profile_table(limits["results"]),
        ACCURACY.format(target=accuracy["target"]),
        accuracy_table(accuracy),
        KERNELS.format(gflops=kernels["gflops"]),
        summary(rows),
        *(part for name in PASSES for part in kernel_section(rows, name)),
    ]
    return "\n".join(part for part in parts if part)


def setup(steps: dict[str, Any], others: list[dict[str, Any]]) -> str:
    machine, versions = steps["machine"], steps["versions"]
    ours, peer = versions["convolite"], versions["pytorch"]
    dates = sorted({each["date"] for each in [steps, *others]})
    return table(
        ["measured with", ""],
        [
            ["processor", f"{machine['processor']}, {machine['cores']} cores"],
            ["system", machine["system"]],
            ["threads", str(steps["threads"])],
            ["convolite", f"{ours['convolite']}, {ours['compiler']}, {with_python(ours)}"],
            ["instruction set", ours["instruction_set"]],
            ["PyTorch", f"{peer['torch']}, {with_python(peer)}"],
            ["turns", f"{steps['rounds']} of each network, {others[0]['rounds']} of each shape"],
            ["date", " and ".join(dates)],
        ],
    )


def with_python(versions: dict[str, str]) -> str:
    return f"Python {versions['python']}, numpy {versions['numpy']}"


def slower(results: list[dict[str, Any]], rows: list[dict[str, Any]]) -> str:
    """What convolite loses, the worst first."""
    networks = [(each["ratio_median_ms"], each["network"]) for each in results]
    shapes = [(row["ratio"], f"`{row['shape']}` {TITLES[row['pass']].lower()}") for row in rows]
    paragraphs = [
        "## Where convolite is slower",
        losses(networks, "training steps"),
        losses(shapes, "convolutions (shape and pass)"),
    ]
    return "\n\n".join(paragraphs) + "\n"


def losses(cases: list[tuple[float, str]], kind: str) -> str:
    """A paragraph that names every case with a ratio below 1."""
    lost = sorted(case for case in cases if case[0] < 1)
    if not lost:
        return f"In none of the {len(cases)} {kind}."
    named = "; ".join(f"{name} {digits(value)}" for value, name in lost)
    text = f"In {len(lost)} of the {len(cases)} {kind}, slowest first: {named}."
    return textwrap.fill(text, 100, break_long_words=False, break_on_hyphens=False)


def step_table(results: list[dict[str, Any]]) -> str:
    names = ["convolite", *STEP_PEERS]
    return table(
        ["network", *names, "ratio", "ratio of quartiles"],
        [
            [
                result["network"],
                *(figure_of(result, name, "median_ms", ".1f") for name in names),
                ratio(result["ratio_median_ms"]),
                ratio(result["ratio_quartile_ms"]),
            ]
            for result in results
        ],
    )


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


def ratio(value: float) -> str:
    return f"**{digits(value)}**" if value < 1 else digits(value)


def digits(value: float) -> str:
    """A ratio with as many digits as tell it from 1."""
    places = 2
    while value < 1 and round(value, places) >= 1:
        places += 1
    return f"{value:.{places}f}"


def table(head: list[str], body: list[list[str]]) -> str:
    """A table of Markdown; columns of numbers are set right."""
    columns = list(zip(head, *body, strict=True))
    widths = [max(map(len, column)) for column in columns]
    rule = [
        "-" * (width - 1) + (":" if all(map(is_number, cells)) else "-")
        for width, (_, *cells) in zip(widths, columns, strict=True)
    ]
    return "".join(
        f"| {' | '.join(map(str.ljust, row, widths))} |\n" for row in [head, rule, *body]
    )


def is_number(cell: str) -> bool:
    return cell.strip("*%").replace(".", "", 1).isdigit() or cell == ABSENT


if __name__ == "__main__":
    raise SystemExit(main())
