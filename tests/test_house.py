"""The rules of docs/architecture.md as tests: sizes, rooms, and who may import whom."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "convolite"
SOURCES = sorted(
    path
    for folder in ("src", "csrc", "tests", "benchmarks", "examples", "docs", "cmake")
    for path in (ROOT / folder).rglob("*")
    if path.suffix in {".py", ".pyi", ".cpp", ".h", ".inl", ".cmake"}
)
PYTHON = sorted(PACKAGE.rglob("*.py"))

# From the top down; a room imports itself and what stands below it.
FLOORS = ("cli", "train", "models", "data", "nn", "optim", "functional", "tensor", "autograd")


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def files_matching(pattern: str, folder: str) -> set[str]:
    found = re.compile(pattern, re.MULTILINE)
    return {
        relative(path)
        for path in SOURCES
        if path.is_relative_to(ROOT / folder) and found.search(path.read_text())
    }


def imported_modules(path: Path) -> set[str]:
    """Modules imported when the file is, without those under TYPE_CHECKING or in functions."""
    modules: set[str] = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            modules.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.add(node.module)
            modules.update(f"{node.module}.{alias.name}" for alias in node.names)
    return modules


def room(module: str) -> str | None:
    parts = module.split(".")
    return parts[1] if parts[0] == "convolite" and len(parts) > 1 else None


def test_sources_are_found() -> None:
    assert len(SOURCES) > 100
    assert len(PYTHON) > 40


@pytest.mark.parametrize("path", SOURCES, ids=relative)
def test_file_has_at_most_500_lines(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= 500


def test_one_file_knows_openmp() -> None:
    assert files_matching(r"#pragma omp|<omp\.h>", "csrc") == {"csrc/src/runtime/threads.cpp"}


def test_one_folder_knows_instruction_sets() -> None:
    pattern = r"vector_size|immintrin|__builtin_shuffle|_mm\d*_|arm_neon"
    users = files_matching(pattern, "csrc")
    assert users
    assert all(name.startswith("csrc/src/kernels/") for name in users)


def test_no_file_asks_for_the_building_machine_or_fast_math() -> None:
    for path in [ROOT / "CMakeLists.txt", *(ROOT / "cmake").iterdir()]:
        assert not re.search(r"-march=native|-ffast-math|-Ofast", path.read_text()), path


def test_kernels_include_nothing_of_the_standard_library_but_sizes() -> None:
    allowed = {"cstddef", "cstdint"}
    for path in (ROOT / "csrc" / "src" / "kernels").iterdir():
        assert set(re.findall(r"#include <([^>]+)>", path.read_text())) <= allowed, path


def test_core_knows_no_python() -> None:
    users = files_matching(r"pybind11|Python\.h", "csrc")
    assert all(name.startswith("csrc/python/") for name in users)


def test_reference_imports_numpy_and_itself_alone() -> None:
    for path in (PACKAGE / "reference").rglob("*.py"):
        for module in imported_modules(path):
            assert module.split(".")[0] in {
                "__future__",
                "numpy",
                "collections",
                "math",
                "typing",
            } or (module.startswith("convolite.reference")), f"{relative(path)} imports {module}"


def test_nothing_fast_imports_the_reference() -> None:
    for path in PYTHON:
        if "reference" not in path.parts:
            assert not any(room(module) == "reference" for module in imported_modules(path)), path


@pytest.mark.parametrize("path", PYTHON, ids=relative)
def test_arrows_point_down(path: Path) -> None:
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if own not in FLOORS:
        return
    above = set(FLOORS[: FLOORS.index(own)])
    used = {room(module) for module in imported_modules(path)}
    if own == "data":
        above -= {"models"}
    assert not used & above, f"{relative(path)} imports {used & above}"


def test_import_leaves_the_heavy_modules_alone() -> None:
    code = (
        "import sys, numpy; before = set(sys.modules); import convolite; "
        "print([m for m in ('tqdm', 'safetensors', 'convolite.train', 'convolite.data', "
        "'convolite.reference', 'matplotlib', 'PIL', 'pathlib') if m in {*sys.modules} - before])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


def test_every_public_function_is_documented() -> None:
    import convolite
    from convolite import data, functional, nn, optim, train

    for module in (convolite, functional, nn, optim, data, train):
        names = [name for name in module.__all__ if not name.startswith("__")]
        assert names
        for name in names:
            assert getattr(module, name).__doc__, f"{module.__name__}.{name} has no docstring"


def test_no_path_of_one_machine_and_nothing_unfinished() -> None:
    machine = re.compile(r"(^|[^\w.])/(work|root|home|opt)/|" + "TO" + "DO|FIX" + "ME")
    for path in [*SOURCES, *ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")]:
        match = machine.search(path.read_text())
        assert match is None, f"{relative(path)}: {match}"
