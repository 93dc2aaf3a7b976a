"""Threads that wait for work leave the cores to others, see convolite/_load.py."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import convolite

pytestmark = pytest.mark.smoke

SHOW = "import os, convolite; print('GOMP_SPINCOUNT' in os.environ)"


def environment_of_openmp(**variables: str) -> tuple[str, str]:
    """What libgomp says about its settings, and what is left in the environment."""
    own = {name: value for name, value in os.environ.items() if "OMP" not in name}
    own |= {"PYTHONPATH": str(Path(convolite.__file__).parents[1]), "OMP_DISPLAY_ENV": "verbose"}
    done = subprocess.run(
        [sys.executable, "-c", SHOW],
        env=own | variables,
        capture_output=True,
        text=True,
        check=True,
    )
    if "GOMP_SPINCOUNT" not in done.stderr:
        pytest.skip("the core was not built with libgomp")
    return done.stderr, done.stdout.strip()


def test_waiting_threads_soon_sleep():
    settings, left = environment_of_openmp()
    assert "GOMP_SPINCOUNT = '3000'" in settings
    assert left == "False"


def test_the_users_setting_wins():
    assert "GOMP_SPINCOUNT = '77'" in environment_of_openmp(GOMP_SPINCOUNT="77")[0]
    settings, _ = environment_of_openmp(OMP_WAIT_POLICY="active")
    assert "GOMP_SPINCOUNT = '3000'" not in settings


TRAINING = """
import hashlib
import numpy as np
import convolite
from convolite import functional, models, optim

convolite.set_num_threads(2)
convolite.manual_seed(0)
rng = np.random.default_rng(0)
images = convolite.tensor(rng.standard_normal((64, 1, 28, 28)).astype(np.float32))
labels = rng.integers(0, 10, 64)
model = models.sample_cnn(batch_norm=True)
optimizer = optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
for _ in range(30):
    loss = functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
values = b"".join(value.tobytes() for value in model.state_dict().values())
print(hashlib.sha256(values).hexdigest())
"""


def test_processes_that_train_at_once_end_with_the_bits_of_one_alone():
    def start() -> subprocess.Popen[str]:
        own = {name: value for name, value in os.environ.items() if "OMP" not in name}
        own |= {"PYTHONPATH": str(Path(convolite.__file__).parents[1])}
        command = [sys.executable, "-c", TRAINING]
        return subprocess.Popen(command, env=own, stdout=subprocess.PIPE, text=True)

    alone = start().communicate(timeout=60)[0]
    group = [start() for _ in range(3)]
    try:
        answers = [process.communicate(timeout=60)[0] for process in group]
    finally:
        for process in group:
            process.kill()
    assert len(alone.strip()) == 64
    assert answers == [alone] * 3
