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
    assert "GOMP_SPINCOUNT = '10000'" in settings
    assert left == "False"


def test_the_users_setting_wins():
    assert "GOMP_SPINCOUNT = '77'" in environment_of_openmp(GOMP_SPINCOUNT="77")[0]
    settings, _ = environment_of_openmp(OMP_WAIT_POLICY="active")
    assert "GOMP_SPINCOUNT = '10000'" not in settings
