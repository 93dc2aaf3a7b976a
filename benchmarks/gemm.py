"""Time the products of cases/gemm.csv: convolite beside numpy's BLAS, in turn in one run.

`matmul` is A B, with A (m, k) and B (k, n). The others are the passes of a linear layer with batch
m, n outputs and k inputs: `forward` is X W^T, `backward_input` G W and `backward_weight` G^T X.
Each contender is a process of its own with the same number of threads, and both allocate their
results in each call. A figure is the lower quartile of its calls. Results are compared.

"of peak" is convolite's share of what the processor's multiply-adds reach in registers: the larger
of two measurements, before and after the rows of that number of threads. With `--json` a row's
product is named by its operands: the passes are A B, A B^T, A B and A^T B.

For batches of at most 8, reading the weights or writing their gradient is the bound. "of memory" is
then the speed at which convolite passes over them, in relation to a plain pass in the same turn, of
a piece by each thread: dot products with themselves read the weights once. `backward_weight` only
writes, which costs memory up to twice as much as reading does: it is set beside filling an array.

    python benchmarks/gemm.py --threads 1
    python benchmarks/gemm.py --threads 1 2 --json benchmarks/results/gemm.json
"""

from __future__ import annotations

import argparse
import csv
import statistics
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from contenders import Contender, argument_parser, serve, write_json
from kernels import check_sums, lower_quartile, sums_of
from processor import add_bench, peaks

CASES = Path(__file__).resolve().parents[1] / "cases" / "gemm.csv"
PASSES = ("matmul", "forward", "backward_input", "backward_weight")
NAMES = ("convolite", "numpy")
PRODUCTS = {
    "matmul": "A B",
    "forward": "A B^T",
    "backward_input": "A B, gradient of the input",
    "backward_weight": "A^T B",
}
LARGEST_SKINNY_BATCH = 8


def main() -> int:
    arguments = parse_arguments()
    if arguments.contender:
        return serve(lambda question: timed(question, arguments))
    subprocess.run([sys.executable, "-c", "import convolite; convolite.show_config()"], check=True)
    rows = [row for threads in arguments.threads for row in measure_all(arguments, threads)]
    if rows:
        ratios = [row["ratio"] for row in rows]
        mean = statistics.geometric_mean(ratios)
        print(f"convolite / numpy: geometric mean {mean:.2f}, least {min(ratios):.2f}")
    write_json(arguments, {"rows": rows})
    return 0


def measure_all(arguments: argparse.Namespace, threads: int) -> list[dict[str, Any]]:
    """The rows of one number of threads, with their share of the peak."""
    options = ["--threads", str(threads), "--seconds", str(arguments.seconds)]
    contenders = [Contender(name, __file__, options, sys.executable) for name in NAMES]
    title = f"GFLOP/s, threads {threads}"
    print(f"{title:44}" + "".join(f"{name:>11}" for name in NAMES) + "  ratio")
    peak = peaks(arguments.bench, threads)[0]
    rows = [
        measure(contenders, case, pass_name, arguments.rounds)
        for case in cases(arguments.filter)
        for pass_name in PASSES
    ]
    for contender in contenders:
        contender.close()
    peak = max(peak, peaks(arguments.bench, threads)[0])
    shares = {"threads": threads, "peak_gflops": peak}
    return [{**row, **shares, "share": row["gflops"] / peak} for row in rows]


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__.splitlines()[0], rounds=3, many_threads=True)
    add_bench(parser)
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a turn")
    parser.add_argument("--filter", default="", help="only shapes whose name holds this")
    return parser.parse_args()


def cases(wanted: str) -> list[dict[str, Any]]:
    """The rows for benchmarks, numbers converted."""
    with CASES.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["use"] in ("bench", "both")]
    return [
        {"name": row["name"], **{size: int(row[size]) for size in "mnk"}}
        for row in rows
        if wanted in row["name"]
    ]


def measure(contenders: list[Contender], case: dict, pass_name: str, rounds: int) -> dict[str, Any]:
    question = {"case": case, "pass": pass_name}
    answers = [[each.ask(question) for each in contenders] for _ in range(rounds)]
    check_sums(case["name"], [answer["sums"] for answer in answers[0]])
    sizes = sizes_of_product(case, pass_name)
    row: dict[str, Any] = {"name": case["name"], "product": PRODUCTS[pass_name], **sizes}
    work = 2e-9 * case["m"] * case["n"] * case["k"]
    ours, theirs = (
        statistics.median(turn["seconds"] for turn in turns) for turns in zip(*answers, strict=True)
    )
    row["gflops"], row["openblas_gflops"] = work / ours, work / theirs
    row["ratio"] = theirs / ours
    size = "{m}x{n}x{k}".format(**case)
    text = f"{case['name'] + ' ' + size + ' / ' + pass_name:44}"
    text += f"{row['gflops']:11.1f}{row['openblas_gflops']:11.1f}{row['ratio']:7.2f}"
    if "pass" in answers[0][1]:
        weights = 4e-9 * case["n"] * case["k"]
        row["gbytes"] = weights / ours
        row["copy_gbytes"] = weights / statistics.median(turn["pass"] for _, turn in answers)
        text += f"  {row['gbytes'] / row['copy_gbytes']:.0%} of memory"
    print(text, flush=True)
    return row


def sizes_of_product(case: dict, pass_name: str) -> dict[str, int]:
    """Rows, columns and depth of the product that a pass is."""
    m, n, k = case["m"], case["n"], case["k"]
    if pass_name == "backward_input":
        m, n, k = m, k, n
    if pass_name == "backward_weight":
        m, n, k = n, k, m
    return {"m": m, "n": n, "k": k}


def timed(question: dict, arguments: argparse.Namespace) -> dict:
    case, pass_name = question["case"], question["pass"]
    operands = problem(case)
    build = convolite_call if arguments.contender == "convolite" else numpy_call
    call = build(pass_name, *operands, arguments.threads[0])
    for _ in range(3):
        result = call()
    answer = {"seconds": lower_quartile(call, arguments.seconds), "sums": sums_of(result)}
    if arguments.contender == "numpy" and case["m"] <= LARGEST_SKINNY_BATCH:
        answer["pass"] = seconds_to_pass(operands[1], pass_name, arguments)
    return answer


def seconds_to_pass(array: Any, pass_name: str, arguments: argparse.Namespace) -> float:
    """Of dot products with themselves, which read once, or of filling; a piece for each thread."""
    import numpy as np

    pieces = np.array_split(array.reshape(-1), arguments.threads[0])

    def visit(piece: Any) -> None:
        if pass_name == "backward_weight":
            piece.fill(1)
        else:
            piece @ piece

    with ThreadPoolExecutor(arguments.threads[0]) as pool:
        return lower_quartile(lambda: list(pool.map(visit, pieces)), arguments.seconds)


def problem(case: dict) -> tuple[Any, Any, Any]:
    """Input, weight and the gradient of the output, the same for both contenders."""
    import numpy as np

    rng = np.random.default_rng(7)
    m, n, k = (case[size] for size in "mnk")
    x, weight, grad = (
        rng.standard_normal(shape, dtype=np.float32) for shape in ((m, k), (n, k), (m, n))
    )
    return x, weight, grad


def convolite_call(
    pass_name: str, x: Any, weight: Any, grad: Any, threads: int
) -> Callable[[], Any]:
    import convolite
    from convolite import _core

    convolite.set_num_threads(threads)
    right = weight.reshape(x.shape[1], -1)
    return {
        "matmul": lambda: _core.matmul(x, right),
        "forward": lambda: _core.linear_forward(x, weight, None, "none"),
        "backward_input": lambda: _core.linear_backward_input(grad, weight),
        "backward_weight": lambda: _core.linear_backward_weight(grad, x),
    }[pass_name]


def numpy_call(pass_name: str, x: Any, weight: Any, grad: Any, _: int) -> Callable[[], Any]:
    right = weight.reshape(x.shape[1], -1)
    return {
        "matmul": lambda: x @ right,
        "forward": lambda: x @ weight.T,
        "backward_input": lambda: grad @ weight,
        "backward_weight": lambda: grad.T @ x,
    }[pass_name]


if __name__ == "__main__":
    raise SystemExit(main())
