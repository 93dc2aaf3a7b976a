"""What a training asks of the system: no memory after the first steps, and not much before."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TRAINING = """
import os
import numpy as np
import convolite
from convolite import functional, models, optim

convolite.manual_seed(0)
model = models.sample_cnn()
optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
images = np.random.default_rng(0).random((64, 1, 28, 28), np.float32)
labels = np.arange(64) % 10
for step in range(30):
    if step == 10:
        os.write(2, b"ten steps done")
    loss = functional.cross_entropy(model(convolite.tensor(images)), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
os.write(2, b"all steps done")
"""
CALLS = "mmap,munmap,mremap,brk,madvise"

PEAK = """
import argparse, re, sys
from pathlib import Path
import train_step
network = train_step.NETWORKS[sys.argv[1]]
options = argparse.Namespace(threads=2, batch=network.batch)
step, _ = train_step.build_convolite(options, network)
for _ in range(3):
    step()
# Not getrusage: its maximum is also that of the process that started this one.
print(int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize(
    ("network", "pytorch"),
    [("sample_cnn", 346), ("resnet20", 481), ("resnet18", 781), ("mobilenet_v2", 1042)],
)
def test_a_training_process_takes_little_memory(network: str, pytorch: float) -> None:
    """At most 0.6 of the MiB that PyTorch 2.13 takes for the same steps (see docs/benchmarks.md).

    Python, numpy and the library are in it.
    """
    benchmarks = Path(__file__).parents[1] / "benchmarks"
    command = [sys.executable, "-c", PEAK, network]
    paths = [str(benchmarks), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    run = subprocess.run(
        command, env=environment, check=True, capture_output=True, text=True, timeout=120
    )
    assert float(run.stdout) < 0.6 * pytorch


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_a_training_step_makes_no_memory_system_call(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    command = ["strace", "-f", "-e", f"trace={CALLS},write", "-o", str(trace)]
    subprocess.run([*command, sys.executable, "-c", TRAINING], check=True, timeout=120)
    lines = trace.read_text(encoding="utf-8").splitlines()
    begin = next(i for i, line in enumerate(lines) if "ten steps done" in line)
    end = next(i for i, line in enumerate(lines) if "all steps done" in line)
    made = [
        line for line in lines[begin:end] if any(f"{name}(" in line for name in CALLS.split(","))
    ]
    assert made == []
    assert any("mmap(" in line for line in lines[:begin])
