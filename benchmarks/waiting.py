"""Measure how long a waiting thread of OpenMP should spin: training steps, alone and among others.

For each setting of libgomp fresh processes train a network with the default number of threads, as
many together as `--at-once` says, all from one moment on and for the same time. The settings take
turns until each has `--runs` measurements in which other programs took less than `--others` of the
CPUs' time, or four times as many have been tried. The figures are milliseconds for each step that
the processes did together: the median, and the least and the greatest in parentheses; then what
libgomp's own setting took as a multiple of the median.

    python benchmarks/waiting.py
    python benchmarks/waiting.py --models sample_cnn --at-once 3 --runs 3
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import time
from typing import NamedTuple

from neighbours import Watch
from train_step import NETWORKS, build_convolite, network_names

# Without any of these variables convolite sets its own, see src/convolite/_load.py.
SETTINGS = {
    "libgomp's own": {"GOMP_SPINCOUNT": "300000"},  # says its manual
    "convolite's": {},
    **{f"{count} turns": {"GOMP_SPINCOUNT": count} for count in ("1000", "3000", "10000", "30000")},
    "passive": {"OMP_WAIT_POLICY": "passive"},
    "active": {"OMP_WAIT_POLICY": "active"},
}
WARM_UP_STEPS = 5


def main() -> int:
    arguments = parse_arguments()
    if arguments.child:
        return child(arguments)
    for network in arguments.models:
        for at_once in arguments.at_once:
            show(network, at_once, measure(arguments, network, at_once))
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--models", type=network_names, default=["sample_cnn", "resnet20"])
    parser.add_argument("--at-once", type=numbers, default=[1, 2, 3], help="processes together")
    parser.add_argument("--settings", type=setting_names, default=list(SETTINGS))
    parser.add_argument("--runs", type=int, default=5, help="of each setting")
    parser.add_argument("--seconds", type=float, default=1.0, help="of a run")
    parser.add_argument("--others", type=float, default=0.04, help="share left to other programs")
    parser.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return parser.parse_args()


def setting_names(text: str) -> list[str]:
    """Names with commas between; libgomp's own, which the others are compared with, is added."""
    names = ["libgomp's own", *text.split(",")]
    for name in names:
        if name not in SETTINGS:
            raise argparse.ArgumentTypeError(f"{name} is not one of {', '.join(SETTINGS)}")
    return names


def numbers(text: str) -> list[int]:
    return [int(number) for number in text.split(",")]


class Run(NamedTuple):
    """What processes that ran together did, and how far they had the machine to themselves."""

    steps_per_second: float
    others: float


def measure(arguments: argparse.Namespace, network: str, at_once: int) -> dict[str, list[float]]:
    """Milliseconds of all undisturbed runs, by setting."""
    found: dict[str, list[float]] = {name: [] for name in arguments.settings}
    for turn in range(4 * arguments.runs):
        for name in arguments.settings[:: 1 if turn % 2 == 0 else -1]:
            if len(found[name]) < arguments.runs:
                run = together(arguments, network, at_once, SETTINGS[name])
                if run.others <= arguments.others:
                    found[name].append(1000 / run.steps_per_second)
    return found


def together(
    arguments: argparse.Namespace, network: str, at_once: int, setting: dict[str, str]
) -> Run:
    own = {name: value for name, value in os.environ.items() if "OMP_" not in name}
    command = [sys.executable, __file__, "--child", "--models", network]
    command += ["--seconds", str(arguments.seconds)]
    group = [
        subprocess.Popen(
            command, env=own | setting, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        for _ in range(at_once)
    ]
    for process in group:
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            raise SystemExit("a process ended early")
    start = time.time() + 0.1
    for process in group:
        assert process.stdin is not None
        process.stdin.write(f"{start}\n")
        process.stdin.flush()
    time.sleep(max(0.0, start - time.time()))
    watch = Watch([process.pid for process in group])
    time.sleep(0.95 * arguments.seconds)
    others = watch.others()
    return Run(sum(json.loads(process.communicate()[0]) for process in group), others)


def child(arguments: argparse.Namespace) -> int:
    """Be ready, train from the moment on that standard input names, say steps per second."""
    import convolite

    network = NETWORKS[arguments.models[0]]
    arguments.batch, arguments.threads = network.batch, convolite.get_num_threads()
    step, _ = build_convolite(arguments, network)
    for _ in range(WARM_UP_STEPS):
        step()
    print("ready", flush=True)
    time.sleep(max(0.0, float(sys.stdin.readline()) - time.time()))
    begin, steps = time.perf_counter(), 0
    while time.perf_counter() - begin < arguments.seconds:
        step()
        steps += 1
    print(steps / (time.perf_counter() - begin))
    return 0


def show(network: str, at_once: int, found: dict[str, list[float]]) -> None:
    print(f"\n{network}, {at_once} at once")
    usual = statistics.median(found["libgomp's own"] or [float("nan")])
    for name, milliseconds in found.items():
        if milliseconds:
            median = statistics.median(milliseconds)
            print(
                f"{name:16}{median:8.2f} ms  ({min(milliseconds):.2f} to {max(milliseconds):.2f}, "
                f"{len(milliseconds)} runs){usual / median:8.2f}"
            )
        else:
            print(f"{name:16}other programs were at work all the time")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
