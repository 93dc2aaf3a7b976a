"""Say on which CPUs the threads of fresh processes run, and what the second thread gains there.

Each process times large matrix products with one thread and with as many as the machine has CPUs,
in turn, and looks after each product where its threads ran last (/proc/self/task, Linux only). With
`--nudge` it pins each thread to a CPU of its own once, before measuring, and at once gives back
what it was allowed; `--at-once` starts several processes together, and `--neighbour` a command
that runs beside them.

    python benchmarks/placement.py
    python benchmarks/placement.py --nudge --at-once 2
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

SIZE = 512  # of square matrices: some milliseconds for one thread
TASKS = Path("/proc/self/task")


def main() -> int:
    arguments = parse_arguments()
    if arguments.child:
        print(json.dumps(child(arguments)))
        return 0
    neighbour = subprocess.Popen(shlex.split(arguments.neighbour)) if arguments.neighbour else None
    try:
        rows: list[dict[str, Any]] = []
        while len(rows) < arguments.processes:
            rows += together(arguments)
    finally:
        if neighbour is not None:
            neighbour.kill()
            neighbour.wait()
    for row in rows:
        print(
            f"one thread {row['alone']:6.2f} ms   all {row['all']:6.2f} ms   "
            f"speed-up {row['speedup']:5.2f}   apart {row['apart']:4.0%}"
        )
    speedups = sorted(row["speedup"] for row in rows)
    halves = sum(speedup < 1.5 for speedup in speedups)
    print(
        f"{len(rows)} processes: median speed-up {statistics.median(speedups):.2f}, "
        f"least {speedups[0]:.2f}, below 1.5: {halves}; "
        f"median ms of all threads {statistics.median(row['all'] for row in rows):.2f}"
    )
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=1, help="processes that run together")
    parser.add_argument("--calls", type=int, default=60, help="products with each thread count")
    parser.add_argument("--nudge", action="store_true", help="move the threads apart once")
    parser.add_argument("--neighbour", help="a command that runs meanwhile")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def together(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """The answers of some processes that were started at one time."""
    command = [sys.executable, __file__, "--child", "--calls", str(arguments.calls)]
    command += ["--nudge"] if arguments.nudge else []
    group = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        for _ in range(arguments.at_once)
    ]
    return [json.loads(process.communicate()[0]) for process in group]


def child(arguments: argparse.Namespace) -> dict[str, Any]:
    import numpy as np

    import convolite
    from convolite import _core

    square = np.ones((SIZE, SIZE), np.float32)
    before = set(os.listdir(TASKS))
    count = convolite.get_num_threads()
    _core.matmul(square, square)
    threads = [str(os.getpid()), *sorted(set(os.listdir(TASKS)) - before)]
    if arguments.nudge:
        nudge(threads)
    milliseconds: dict[int, list[float]] = {1: [], count: []}
    apart = []
    for _ in range(arguments.calls):
        for number, found in milliseconds.items():
            convolite.set_num_threads(number)
            begin = time.perf_counter()
            _core.matmul(square, square)
            found.append(1000 * (time.perf_counter() - begin))
        apart.append(len({last_cpu(thread) for thread in threads}) == count)
    alone, all_threads = (statistics.median(found) for found in milliseconds.values())
    return {
        "alone": alone,
        "all": all_threads,
        "speedup": alone / all_threads,
        "apart": statistics.fmean(apart),
    }


def nudge(threads: list[str]) -> None:
    allowed = os.sched_getaffinity(0)
    for thread, cpu in zip(threads, sorted(allowed), strict=False):
        os.sched_setaffinity(int(thread), {cpu})
    for thread in threads:
        os.sched_setaffinity(int(thread), allowed)


def last_cpu(thread: str) -> int:
    fields = (TASKS / thread / "stat").read_text().rpartition(")")[2].split()
    return int(fields[36])  # field 39 of proc(5); the name in parentheses is the second


if __name__ == "__main__":
    raise SystemExit(main())
