"""What is installed: every file a user needs, few bytes, a fast import."""

from __future__ import annotations

import importlib.machinery
import subprocess
import sys
from pathlib import Path

import pytest

import convolite
from convolite import _core

PACKAGE = Path(convolite.__file__).parent
MEGABYTE = 10**6

# Imports in this order in a fresh process and prints what the second one took, in seconds.
IMPORT = """
import numpy, time
begin = time.perf_counter()
import convolite
print(time.perf_counter() - begin)
"""


def test_the_compiled_module_its_stubs_and_the_type_marker_stand_together() -> None:
    names = {path.name for path in PACKAGE.iterdir()}
    assert {"_core.pyi", "py.typed"} <= names
    assert Path(_core.__file__).parent == PACKAGE
    assert any(
        Path(_core.__file__).name.endswith(s) for s in importlib.machinery.EXTENSION_SUFFIXES
    )


@pytest.mark.smoke
def test_the_digits_are_inside() -> None:
    digits = convolite.data.load_digits()
    assert len(digits) == 1797
    assert digits[0][1] in range(10)


def test_the_package_is_small() -> None:
    files = [path for path in PACKAGE.rglob("*") if "__pycache__" not in path.parts]
    assert sum(path.stat().st_size for path in files if path.is_file()) < 6 * MEGABYTE


def test_import_is_fast() -> None:
    """At most 80 ms over numpy: the best of several starts, for a machine that is busy."""

    def seconds() -> float:
        run = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True)
        return float(run.stdout)

    assert min(seconds() for _ in range(7)) < 0.08
