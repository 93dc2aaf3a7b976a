"""Time whole trainings on MNIST from a cold start to an accuracy: convolite beside PyTorch.

For each seed the command `convolite train` and the program `torch_mnist.py`, which has the same
recipe, run in turn as processes of their own. Their wall times hold everything: interpreter,
libraries, reading the files, training, measuring the test images after each epoch, and what
convolite writes to its run folder. PyTorch's threads are bound to cores, which is its best.

    python benchmarks/time_to_accuracy.py --peer-python PATH --data-dir FOLDER
"""

from __future__ import annotations

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from contenders import argument_parser, peer_environment, write_json

PROGRAM = Path(__file__).with_name("torch_mnist.py")
REACHED = re.compile(r"reached after (\d+) epochs?, ")
MISSED = re.compile(r"not reached: .* after (\d+) epochs?,")
ACCURACY = re.compile(r"^test accuracy (\S+)$", re.MULTILINE)


def main() -> int:
    arguments = parse_arguments()
    runs: dict[str, list[dict[str, Any]]] = {"convolite": []}
    if arguments.peer_python:
        runs["pytorch"] = []
    for seed in range(arguments.rounds):
        for name, made in runs.items():
            run = (run_convolite if name == "convolite" else run_torch)(arguments, seed)
            made.append({"seed": seed, **run})
            print(name, json.dumps(made[-1]), flush=True)
    write_json(arguments, {"target": arguments.target_accuracy, **summary(runs)})
    return 0


def parse_arguments() -> argparse.Namespace:
    parser = argument_parser(__doc__.splitlines()[0], rounds=5)
    parser.add_argument("--data-dir", type=Path, required=True, help="holds MNIST's gzipped files")
    parser.add_argument("--target-accuracy", type=float, default=0.99)
    parser.add_argument("--epochs", type=int, default=3, help="at most; the cycle is as long")
    arguments = parser.parse_args()
    if (arguments.data_dir / "mnist").is_dir():
        arguments.data_dir /= "mnist"
    return arguments


def run_convolite(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "convolite", "train", "--data", "mnist", "--out", folder]
        seconds, output = timed([*command, *options(arguments, seed)], dict(os.environ))
    epochs = REACHED.search(output) or MISSED.search(output)
    accuracy = ACCURACY.search(output)
    if epochs is None or accuracy is None:
        raise SystemExit(f"time_to_accuracy: convolite said\n{output}")
    reached = REACHED.search(output) is not None
    return {
        "seconds": seconds,
        "epochs": int(epochs[1]),
        "accuracy": float(accuracy[1]),
        "reached": reached,
    }


def run_torch(arguments: argparse.Namespace, seed: int) -> dict[str, Any]:
    environment = peer_environment()
    environment.update(OMP_PROC_BIND="true", OMP_NUM_THREADS=str(arguments.threads))
    command = [arguments.peer_python, str(PROGRAM), *options(arguments, seed)]
    seconds, output = timed(command, environment)
    return {"seconds": seconds, **json.loads(output)}


def options(arguments: argparse.Namespace, seed: int) -> list[str]:
    values = {
        "--data-dir": arguments.data_dir,
        "--target-accuracy": arguments.target_accuracy,
        "--epochs": arguments.epochs,
        "--threads": arguments.threads,
        "--seed": seed,
    }
    return [str(word) for pair in values.items() for word in pair]


def timed(command: list[str], environment: dict[str, str]) -> tuple[float, str]:
    begin = time.perf_counter()
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True)
    return time.perf_counter() - begin, done.stdout


def summary(runs: dict[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """All runs with the medians of their times, and how they compare; printed and returned."""
    medians = {
        name: statistics.median(run["seconds"] for run in made) for name, made in runs.items()
    }
    found: dict[str, Any] = {"runs": runs, "median_seconds": medians}
    for name, median in medians.items():
        print(f"{name}: {median:.2f} s, epochs {[run['epochs'] for run in runs[name]]}")
    if "pytorch" in medians:
        found["ratio"] = medians["pytorch"] / medians["convolite"]
        print(f"PyTorch / convolite: {found['ratio']:.2f}")
    return found


if __name__ == "__main__":
    raise SystemExit(main())
