"""Processes that take turns, so that convolite and PyTorch are measured in one run.

A contender is this interpreter or the one that has torch, running the benchmark's own file with
`--contender NAME`. It answers each line of JSON on standard input with one on standard output, and
rests before each answer, so that the threads of one do not spin while the next one works.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

_REST_SECONDS = 0.05  # OpenBLAS spins for 2^26 clock ticks, libgomp for some milliseconds

_PEER_VERSIONS = """
import json, platform, numpy, torch
versions = {"torch": torch.__version__, "numpy": numpy.__version__}
versions["instruction_set"] = torch.backends.cpu.get_cpu_capability()
print(json.dumps({**versions, "python": platform.python_version()}))
"""


# What holds ATen and torch.compile, oneDNN, MKL and OpenBLAS to AVX2.
_HELD_TO_AVX2 = {
    "ATEN_CPU_CAPABILITY": "avx2",
    "ONEDNN_MAX_CPU_ISA": "AVX2",
    "MKL_ENABLE_INSTRUCTIONS": "AVX2",
    "OPENBLAS_CORETYPE": "Haswell",
}


class Contender:
    """One process. PyTorch's threads are bound to cores, which is its best.

    Where convolite uses AVX2, by CONVOLITE_ISA or for want of more, the others are held to it too.
    """

    def __init__(self, name: str, script: str, options: list[str], peer_python: str | None) -> None:
        self.name = name
        ours = name == "convolite"
        environment = dict(os.environ) if ours else peer_environment()
        if not ours:
            threads = options[options.index("--threads") + 1]
            environment.update(OMP_PROC_BIND="true", OMP_NUM_THREADS=threads)
            environment.update(OPENBLAS_NUM_THREADS=threads)
        self.process = subprocess.Popen(
            [sys.executable if ours else str(peer_python), script, "--contender", name, *options],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def ask(self, question: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} ended early")
        return json.loads(line)

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def peer_environment() -> dict[str, str]:
    """The variables of a process without convolite, at convolite's instruction set."""
    from convolite import _core

    return {**os.environ, **(_HELD_TO_AVX2 if _core.config()["isa"] == "avx2" else {})}


def argument_parser(
    description: str, rounds: int, many_threads: bool = False
) -> argparse.ArgumentParser:
    """The options that every comparison has; `many_threads`: `--threads` is a list."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--peer-python", help="interpreter with torch; without it only convolite runs"
    )
    if many_threads:
        parser.add_argument("--threads", type=int, nargs="+", default=[2])
    else:
        parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=rounds, help="turns of each contender")
    parser.add_argument("--json", type=Path, help="write the results here")
    parser.add_argument("--contender", help=argparse.SUPPRESS)
    return parser


def serve(answer: Callable[[Any], Any]) -> int:
    """Be a contender: answer every question until standard input ends."""
    for line in sys.stdin:
        result = answer(json.loads(line))
        time.sleep(_REST_SECONDS)
        print(json.dumps(result), flush=True)
    return 0


def write_json(arguments: argparse.Namespace, results: dict[str, Any]) -> None:
    """Write the results and what they were measured with, if `--json` asks for it."""
    if arguments.json is None:
        return
    report = {
        "date": date.today().isoformat(),
        "machine": machine(),
        "versions": versions(arguments.peer_python),
        "threads": arguments.threads,
        "rounds": arguments.rounds,
        **results,
    }
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    arguments.json.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


def versions(peer_python: str | None) -> dict[str, Any]:
    """What the contenders are: versions, compiler and instruction set in use."""
    import numpy as np

    from convolite import _core

    config = _core.config()
    ours = {
        "convolite": config["version"],
        "compiler": config["compiler"],
        "instruction_set": config["isa"],
        "numpy": np.__version__,
        "python": platform.python_version(),
    }
    if peer_python is None:
        return {"convolite": ours}
    command = [peer_python, "-c", _PEER_VERSIONS]
    answer = subprocess.run(
        command, check=True, stdout=subprocess.PIPE, text=True, env=peer_environment()
    ).stdout
    return {"convolite": ours, "pytorch": json.loads(answer)}


def machine() -> dict[str, Any]:
    """Processor, number of cores and system, for the report."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    system = " ".join([platform.system(), platform.machine(), *platform.libc_ver()])
    return {"processor": model, "cores": os.cpu_count(), "system": system}
