"""What the processor can do: `convolite_bench` measures arithmetic, memory and distance of cores.

cmake --preset release && cmake --build build/release --target convolite_bench
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
from pathlib import Path

_BENCH = "build/release/csrc/benchmarks/convolite_bench"
_ROOT = Path(__file__).resolve().parents[1]


def add_bench(parser: argparse.ArgumentParser) -> None:
    """The option that names the built program."""
    parser.add_argument(
        "--bench",
        type=Path,
        default=_ROOT / _BENCH,
        help=f"the built convolite_bench; default: {_BENCH}",
    )


def peaks(bench: Path, threads: int) -> tuple[float, float]:
    """GFLOP/s of multiply-adds in registers and GB/s of a large copy, read and written bytes."""
    context = measured(bench, threads)
    return float(context["multiply-add peak, GFLOP/s"]), float(context["large copy, GB/s"])


def round_trip(bench: Path, threads: int) -> float | None:
    """Nanoseconds in which two threads hand a flag to each other; None with a single thread."""
    trip = measured(bench, threads).get("round trip between threads, ns")
    return None if trip is None else float(trip)


def measured(bench: Path, threads: int) -> dict[str, str]:
    """What `convolite_bench` says of the machine before its benchmarks."""
    if not bench.is_file():
        raise SystemExit(f"--bench: {bench} is missing; build the target convolite_bench")
    command = [bench, "--benchmark_filter=gemm/peak", "--benchmark_format=json"]
    command += ["--benchmark_min_time=0.01"]
    environment = {**os.environ, "CONVOLITE_NUM_THREADS": str(threads)}
    answer = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    context: dict[str, str] = json.loads(answer.stdout)["context"]
    return context
