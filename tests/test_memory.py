"""What a training asks of the system: no memory after the first steps."""

from __future__ import annotations

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
