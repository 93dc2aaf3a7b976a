"""The sections of docs/benchmarks.md whose files may be absent: AVX2, products, overhead."""

from __future__ import annotations

from typing import Any

from report_sections import absent, step_table
from report_tables import ABSENT, ratio, table

NOT_MEASURED = "Not measured: `{file}.json` is absent.\n"
AVX2 = """\
## Training steps held to AVX2

The same on the same machine with AVX2 in place of what it has beyond, for PyTorch too: oneDNN and
ATen were told so, and what it compiles.
"""
PRODUCTS = """\
## Matrix products

GFLOP/s beside OpenBLAS, more is better. The ratio is convolite's speed in relation to OpenBLAS's;
"of peak" is convolite's share of what the processor's multiply-adds reach in registers.
"""
THIN = """\
Products whose bound is memory, in GB/s beside a plain pass over as much memory:
"""
OPERATIONS = """\
## Overhead

Microseconds that Python adds to an operation, on tensors of one element: what is beyond the calls
of the core that it makes, less is better. Figures above {forward:g} forward, and above {backward:g}
forward and backward, are bold.
"""
OPTIMIZERS = """\
Microseconds of an optimizer's step on resnet20. "Traffic" is a plain pass over as many bytes,
"rule" the core's pass of the same rule over one array; what is beyond the traffic is bold above
{step:g}.
"""


def avx2_section(steps: dict[str, Any] | None) -> list[str]:
    """Training steps of a run that was held to AVX2."""
    if steps is None:
        return [AVX2.split("\n", 1)[0] + "\n", NOT_MEASURED.format(file="train_step_avx2")]
    return [AVX2, step_table(steps["results"]), absent(steps["results"])]


def products_section(products: dict[str, Any] | None) -> list[str]:
    """Matrix products, and the speed of memory that the thin ones reach."""
    if products is None:
        return [PRODUCTS.split("\n", 1)[0] + "\n", NOT_MEASURED.format(file="gemm")]
    rows = products["rows"]
    thin = [row for row in rows if "gbytes" in row]
    parts = [PRODUCTS, table(["shape", "product", "sizes", "threads", *PRODUCT_HEAD], bodies(rows))]
    if thin:
        head = ["shape", "product", "threads", "convolite", "plain pass", "share"]
        parts += [THIN, table(head, [thin_row(row) for row in thin])]
    return parts


PRODUCT_HEAD = ("convolite", "OpenBLAS", "ratio", "of peak")


def bodies(rows: list[dict[str, Any]]) -> list[list[str]]:
    return [
        [
            *(f"`{row['name']}`", row["product"], "{m} x {n} x {k}".format(**row)),
            *(str(row["threads"]), f"{row['gflops']:.1f}", f"{row['openblas_gflops']:.1f}"),
            *(ratio(row["ratio"]), ABSENT if row["share"] is None else f"{row['share']:.0%}"),
        ]
        for row in rows
    ]


def thin_row(row: dict[str, Any]) -> list[str]:
    share = row["gbytes"] / row["copy_gbytes"]
    figures = (f"{row['gbytes']:.1f}", f"{row['copy_gbytes']:.1f}", f"{share:.0%}")
    return [f"`{row['name']}`", row["product"], str(row["threads"]), *figures]


def overhead_section(overhead: dict[str, Any] | None) -> list[str]:
    """What Python adds to every operation and to the optimizers' steps."""
    if overhead is None:
        return [OPERATIONS.split("\n", 1)[0] + "\n", NOT_MEASURED.format(file="overhead")]
    limits = overhead["limits"]
    operations = [
        [name, *(above(row[way]["python"], limits[way]) for way in ("forward", "backward"))]
        for name, row in overhead["operations"].items()
    ]
    steps = [
        [
            *(name, f"{row['step']:.1f}", f"{row['traffic']:.1f}"),
            *(above(row["beyond"], limits["step"]), f"{row['rule']:.1f}"),
            f"{row['zero_grad']:.1f}",
        ]
        for name, row in overhead["steps"].items()
    ]
    return [
        OPERATIONS.format(**limits),
        table(["operation", "forward", "forward and backward"], operations),
        OPTIMIZERS.format(**limits),
        table(["optimizer", "step", "traffic", "beyond", "rule", "zero_grad"], steps),
    ]


def above(value: float, limit: float) -> str:
    """Bold if it is above the limit, and then never rounded to it."""
    places = 1
    while value > limit >= round(value, places):
        places += 1
    return f"**{value:.{places}f}**" if value > limit else f"{value:.{places}f}"
