"""Time every convolution of cases/conv2d.csv: convolite beside PyTorch, in turn in one run.

Three passes: forward, and the gradients of the input and of the filters. PyTorch runs with NCHW and
with channels_last tensors, already converted; both sides allocate their results in each call. A
figure is the lower quartile of its calls. Sums of the results are compared.

"of peak" is convolite's share of what the processor's multiply-adds reach in registers: the best
that `convolite_bench` found, which takes its turn at every shape. Operations are counted by the
definition: a method that needs fewer, as Winograd's, may exceed 100 %. What is printed meanwhile
refers to the best so far.

    cmake --preset release && cmake --build build/release --target convolite_bench
    python benchmarks/kernels.py --peer-python PATH   # an interpreter that has torch
"""

from __future__ import annotations

import argparse
import csv
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contenders import Contender, argument_parser, serve, write_json
from processor import add_bench, peaks

CASES = Path(__file__).resolve().parents[1] / "cases" / "conv2d.csv"
PASSES = ("forward", "backward_input", "backward_weight")
PEERS = ("nchw", "channels_last")


def main() -> int:
    arguments = parse_arguments()
    if arguments.contender:
        return serve(lambda question: timed(question, arguments))
    subprocess.run([sys.executable, "-c", "import convolite; convolite.show_config()"], check=True)
    names = ["convolite", *(PEERS if arguments.peer_python else ())]
    options = ["--threads", str(arguments.threads), "--seconds", str(arguments.seconds)]
    contenders = [Contender(name, __file__, options, arguments.peer_python) for name in names]
    print(
        f"GFLOP/s\n{'shape / pass':28}"
        + "".join(f"{name:>15}" for name in names)
        + "    of peak  ratio"
    )
    rows, peak = [], 0.0
    for case in cases(arguments.filter):
        peak = max(peak, peaks(arguments.bench, arguments.threads)[0])
        for pass_name in PASSES:
            rows.append(measure(contenders, case, pass_name, arguments.rounds))
            describe(rows[-1], peak)
    for contender in contenders:
        contender.close()
    ratios = [row["ratio"] for row in rows if "ratio" in row]
    if ratios:
        mean = math.exp(statistics.fmean(map(math.log, ratios)))
        print(f"convolite / PyTorch's better: geometric mean {mean:.2f}, least {min(ratios):.2f}")
    for row in rows:
        row["of_peak"] = row["convolite"] / peak
    write_json(arguments, {"gflops": peak, "rows": rows})
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__.splitlines()[0], rounds=3)
    parser.add_argument("--seconds", type=float, default=0.2, help="length of a turn")
    parser.add_argument("--filter", default="", help="only shapes whose name holds this")
    add_bench(parser)
    return parser.parse_args()


def cases(wanted: str) -> list[dict[str, Any]]:
    """The rows for benchmarks, numbers converted."""
    with CASES.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["use"] in ("bench", "both")]
    return [
        {key: text if key in ("name", "use") else int(text) for key, text in row.items()}
        for row in rows
        if wanted in row["name"]
    ]


def measure(contenders: list[Contender], case: dict, pass_name: str, rounds: int) -> dict[str, Any]:
    answers = [
        [each.ask({"case": case, "pass": pass_name}) for each in contenders] for _ in range(rounds)
    ]
    check_sums(case["name"], [answer["sums"] for answer in answers[0]])
    row: dict[str, Any] = {"shape": case["name"], "problem": in_words(case), "pass": pass_name}
    for contender, *turns in zip(contenders, *answers, strict=True):
        seconds = statistics.median(turn["seconds"] for turn in turns)
        row[contender.name] = work_of(case) / seconds
    peers = [row[name] for name in PEERS if name in row]
    if peers:
        row["ratio"] = row["convolite"] / max(peers)
    return row


def describe(row: dict[str, Any], peak: float) -> None:
    text = f"{row['shape'] + ' / ' + row['pass']:28}"
    text += "".join(f"{row[name]:15.0f}" for name in ("convolite", *PEERS) if name in row)
    text += f"{row['convolite'] / peak:11.0%}"
    text += f"{row['ratio']:7.2f}" if "ratio" in row else ""
    print(text, flush=True)


def in_words(case: dict) -> str:
    """Images, filters and stride of a shape in words; all of its sides are padded alike."""
    text = "{n}x{c}x{h}x{w}, {oc} of {kh}x{kw}".format(**case)
    text += f", stride {case['stride_h']}" if case["stride_h"] > 1 else ""
    return text + (f", {case['groups']} groups" if case["groups"] > 1 else "")


def output_size(case: dict) -> tuple[int, int]:
    def along(size: int, before: int, after: int, kernel: int, stride: int, dilation: int) -> int:
        return (size + before + after - dilation * (kernel - 1) - 1) // stride + 1

    return (
        along(*(case[k] for k in ("h", "pad_top", "pad_bottom", "kh", "stride_h", "dil_h"))),
        along(*(case[k] for k in ("w", "pad_left", "pad_right", "kw", "stride_w", "dil_w"))),
    )


def work_of(case: dict) -> float:
    """Billions of operations of the definition, whatever the method."""
    oh, ow = output_size(case)
    products = case["n"] * case["oc"] * oh * ow * (case["c"] // case["groups"])
    return 2e-9 * products * case["kh"] * case["kw"]


def check_sums(name: str, sums: list[list[float]]) -> None:
    """Refuse to report times of different computations."""
    for total, size in sums[1:]:
        if abs(total - sums[0][0]) > 1e-4 * size:
            raise SystemExit(f"kernels: results for {name} differ: {sums}")


def timed(question: dict, arguments: argparse.Namespace) -> dict:
    build = convolite_call if arguments.contender == "convolite" else torch_call
    call = build(question["case"], question["pass"], arguments)
    for _ in range(3):
        result = call()
    return {"seconds": lower_quartile(call, arguments.seconds), "sums": sums_of(result)}


def lower_quartile(call: Callable[[], Any], length: float) -> float:
    """Seconds of a call, of as many as fit into this length but at least three."""
    seconds: list[float] = []
    end = time.perf_counter() + length
    while time.perf_counter() < end or len(seconds) < 3:
        begin = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - begin)
    return statistics.quantiles(seconds, n=4)[0]


def sums_of(result: Any) -> list[float]:
    import numpy as np

    values = np.asarray(result, dtype=np.float64)
    return [float(values.sum()), float(np.abs(values).sum())]


def problem(case: dict) -> tuple[Any, Any, Any]:
    """Input, filters and the gradient of the output, the same for every contender."""
    import numpy as np

    rng = np.random.default_rng(7)
    shapes = (
        (case["n"], case["c"], case["h"], case["w"]),
        (case["oc"], case["c"] // case["groups"], case["kh"], case["kw"]),
        (case["n"], case["oc"], *output_size(case)),
    )
    image, weight, grad = (rng.standard_normal(shape, dtype=np.float32) for shape in shapes)
    return image, weight, grad


def convolite_call(case: dict, pass_name: str, arguments: argparse.Namespace) -> Callable[[], Any]:
    import convolite
    from convolite import _core

    convolite.set_num_threads(arguments.threads)
    image, weight, grad = problem(case)
    geometry = (
        (case["stride_h"], case["stride_w"]),
        tuple(case[f"pad_{side}"] for side in ("top", "bottom", "left", "right")),
        (case["dil_h"], case["dil_w"]),
        case["groups"],
    )
    return {
        "forward": lambda: _core.conv2d_forward(image, weight, None, *geometry, "none"),
        "backward_input": lambda: _core.conv2d_backward_input(grad, weight, image.shape, *geometry),
        "backward_weight": lambda: _core.conv2d_backward_weight(
            grad, image, weight.shape, *geometry
        ),
    }[pass_name]


def torch_call(case: dict, pass_name: str, arguments: argparse.Namespace) -> Callable[[], Any]:
    import torch

    torch.set_num_threads(arguments.threads)
    tensors = [torch.from_numpy(array) for array in problem(case)]
    if arguments.contender == "channels_last":
        tensors = [tensor.to(memory_format=torch.channels_last) for tensor in tensors]
    image, weight, grad = tensors
    geometry = (
        (case["stride_h"], case["stride_w"]),
        (case["pad_top"], case["pad_left"]),
        (case["dil_h"], case["dil_w"]),
    )
    groups = case["groups"]

    def backward(which: int) -> Any:
        mask = [which == 0, which == 1, False]
        return torch.ops.aten.convolution_backward(
            grad, image, weight, None, *geometry, False, (0, 0), groups, mask
        )[which]

    return {
        "forward": lambda: torch.conv2d(image, weight, None, *geometry, groups),
        "backward_input": lambda: backward(0),
        "backward_weight": lambda: backward(1),
    }[pass_name]


if __name__ == "__main__":
    raise SystemExit(main())
