"""Say whether the threads of fresh processes run on CPUs of their own, and what they gain there.

Each process runs a convolution of resnet18 by one thread and by as many as the machine has CPUs, in
turn. The system knows how long each thread ran, and how long it wanted to but another had its CPU
(/proc, Linux only): threads are on CPUs of their own if they waited for at most a tenth of that
time. `--at-once` starts several processes together, and `--neighbours` programs that each keep a
CPU busy. Processes beside which yet other programs took more than `--others` of the CPUs' time are
run again, until there are `--processes` or four times as many have been tried.

    python benchmarks/placement.py
    python benchmarks/placement.py --at-once 2

The exit status is 1 if a process that had the machine to itself was not on CPUs of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from neighbours import Watch

IMAGES, CHANNELS, SIDE = 4, 64, 56  # of resnet18's first stage: some milliseconds for one thread
OWN = 0.1  # of the time may have been waited for a CPU
BUSY = [sys.executable, "-c", "while True: pass"]


def main() -> int:
    arguments = parse_arguments()
    if arguments.child:
        return child(arguments)
    neighbours = [subprocess.Popen(BUSY) for _ in range(arguments.neighbours)]
    try:
        rows = measure(arguments, [neighbour.pid for neighbour in neighbours])
    finally:
        for neighbour in neighbours:
            neighbour.kill()
            neighbour.wait()
    if not rows:
        raise SystemExit("placement: other programs were at work all the time")
    alone = arguments.at_once == 1 and not neighbours
    return 1 if show(rows) < len(rows) and alone else 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--processes", type=int, default=20)
    parser.add_argument("--at-once", type=int, default=1, help="processes that run together")
    parser.add_argument("--neighbours", type=int, default=0, help="busy programs beside them")
    parser.add_argument("--seconds", type=float, default=0.8, help="of each process")
    parser.add_argument("--others", type=float, default=0.04, help="share left to other programs")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def measure(arguments: argparse.Namespace, neighbours: list[int]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for _ in range(4 * arguments.processes // arguments.at_once):
        if len(rows) < arguments.processes:
            others, found = together(arguments, neighbours)
            if others <= arguments.others:
                rows += found
    return rows


def together(
    arguments: argparse.Namespace, neighbours: list[int]
) -> tuple[float, list[dict[str, Any]]]:
    """What other programs took of the CPUs meanwhile, and what each process of a group found."""
    command = [sys.executable, __file__, "--child", "--seconds", str(arguments.seconds)]
    group = [
        subprocess.Popen(command, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        for _ in range(arguments.at_once)
    ]
    threads = [hear(process) for process in group]
    watch = Watch([os.getpid(), *neighbours, *(process.pid for process in group)])
    for process in group:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    before = [times(*each) for each in zip(group, threads, strict=True)]
    time.sleep(0.95 * arguments.seconds)
    others = watch.others()
    after = [times(*each) for each in zip(group, threads, strict=True)]
    rows = [json.loads(process.communicate()[0]) for process in group]
    for row, then, now in zip(rows, before, after, strict=True):
        ran, waited = now[0] - then[0], now[1] - then[1]
        row["waited"] = waited / (ran + waited)
    return others, rows


def hear(process: subprocess.Popen[str]) -> list[str]:
    """The threads of a process that is ready."""
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        raise SystemExit("placement: a process ended early")
    threads: list[str] = json.loads(line)
    return threads


def times(process: subprocess.Popen[str], threads: list[str]) -> tuple[int, int]:
    """Nanoseconds that the threads ran, and that they waited for a CPU."""
    files = [Path(f"/proc/{process.pid}/task/{thread}/schedstat") for thread in threads]
    counts = [list(map(int, file.read_text().split())) for file in files]
    return sum(count[0] for count in counts), sum(count[1] for count in counts)


def child(arguments: argparse.Namespace) -> int:
    """Say which threads there are, then run by one and by all of them, in turn."""
    import numpy as np

    import convolite
    from convolite import _core

    count = convolite.get_num_threads()
    if count == 1:
        raise SystemExit("placement: there is one thread, since the process may use one CPU")
    images = np.ones((IMAGES, CHANNELS, SIDE, SIDE), np.float32)
    filters = np.ones((CHANNELS, CHANNELS, 3, 3), np.float32)

    def run() -> None:
        _core.conv2d_forward(images, filters, None, (1, 1), (1, 1, 1, 1), (1, 1), 1, "none")

    tasks = Path("/proc/self/task")
    before = set(os.listdir(tasks))
    run()
    threads = [str(os.getpid()), *sorted(set(os.listdir(tasks)) - before)]
    print(json.dumps(threads), flush=True)
    sys.stdin.readline()
    milliseconds: dict[int, list[float]] = {1: [], count: []}
    end = time.perf_counter() + arguments.seconds
    while time.perf_counter() < end:
        for number, found in milliseconds.items():
            convolite.set_num_threads(number)
            begin = time.perf_counter()
            run()
            found.append(1000 * (time.perf_counter() - begin))
    alone, together = (statistics.median(found) for found in milliseconds.values())
    print(json.dumps({"alone": alone, "all": together, "speedup": alone / together}))
    return 0


def show(rows: list[dict[str, Any]]) -> int:
    """Print the processes and what they have in common; how many were on CPUs of their own."""
    for row in rows:
        print(
            f"one thread {row['alone']:6.2f} ms   all {row['all']:6.2f} ms   "
            f"speed-up {row['speedup']:5.2f}   waited {row['waited']:4.0%}"
        )
    own = sum(row["waited"] <= OWN for row in rows)
    speedups = [row["speedup"] for row in rows]
    lower, median, upper = statistics.quantiles(speedups * 2, n=4, method="inclusive")
    print(
        f"{own} of {len(rows)} processes on CPUs of their own; speed-up {median:.2f}, "
        f"quartiles {lower:.2f} and {upper:.2f}, least {min(speedups):.2f}; "
        f"all threads {statistics.median(row['all'] for row in rows):.2f} ms"
    )
    return own


if __name__ == "__main__":
    raise SystemExit(main())
