"""The C++ library from outside: install it, find it with find_package, compute a convolution."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def run(*command: object) -> str:
    result = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, timeout=220
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cmake") is None, reason="needs cmake on the path")
@pytest.mark.skipif(not (ROOT / "CMakeLists.txt").exists(), reason="needs the sources")
def test_ten_line_program_uses_the_installed_package(tmp_path: Path) -> None:
    options = ["-DCONVOLITE_BUILD_PYTHON=OFF", "-DCMAKE_BUILD_TYPE=Debug"]
    run("cmake", "-S", ROOT, "-B", tmp_path / "build", *options)
    run("cmake", "--build", tmp_path / "build", "--parallel", "2")
    run("cmake", "--install", tmp_path / "build", "--prefix", tmp_path / "prefix")
    prefix = f"-DCMAKE_PREFIX_PATH={tmp_path / 'prefix'}"
    run("cmake", "-S", ROOT / "tests" / "cmake_package", "-B", tmp_path / "user", prefix)
    run("cmake", "--build", tmp_path / "user")
    assert run(tmp_path / "user" / "ten_lines") == "6 8 12 14\n"
