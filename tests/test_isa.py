"""Instruction sets: the forced one really runs, an unknown one is refused by name."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from convolite import _core

COMPUTE = """
import numpy as np, hashlib
from convolite import _core
a = np.random.default_rng(0).standard_normal((64, 300)).astype(np.float32)
print(_core.config()["isa"], hashlib.sha256(_core.matmul(a, a.T.copy()).tobytes()).hexdigest())
"""


def run(code: str, isa: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "CONVOLITE_ISA": isa}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)


@pytest.mark.smoke
def test_highest_supported_level_is_chosen() -> None:
    assert set(_core.config()["supported_isas"]) <= set(_core.config()["compiled_isas"])
    code = "from convolite import _core; print(_core.config()['isa'])"
    assert run(code, "").stdout.strip() == _core.config()["supported_isas"][-1]


@pytest.mark.parametrize("level", _core.config()["supported_isas"])
def test_forced_level_runs(level: str) -> None:
    name, forced = run(COMPUTE, level).stdout.split()
    assert name == level
    before = _core.config()["isa"]
    a = np.random.default_rng(0).standard_normal((64, 300)).astype(np.float32)
    digests = {}
    try:
        for other in _core.config()["supported_isas"]:
            _core.set_isa(other)
            digests[other] = _core.matmul(a, a.T.copy()).tobytes()
    finally:
        _core.set_isa(before)
    import hashlib

    assert hashlib.sha256(digests[level]).hexdigest() == forced


def test_levels_round_differently_so_that_the_test_above_can_fail() -> None:
    if len(_core.config()["supported_isas"]) == 1:
        assert _core.config()["compiled_isas"]
        return
    digests = {run(COMPUTE, isa).stdout.split()[1] for isa in _core.config()["supported_isas"][:2]}
    assert len(digests) == 2


def test_unknown_level_is_an_error_that_names_the_choices() -> None:
    failed = run(COMPUTE, "avx1024")
    assert failed.returncode == 1
    compiled, supported = (
        ", ".join(_core.config()[key]) for key in ("compiled_isas", "supported_isas")
    )
    assert failed.stderr.strip().splitlines()[-1] == (
        f"ValueError: CONVOLITE_ISA must be one of {supported} on this CPU "
        f"(compiled: {compiled}), got avx1024"
    )


def test_set_isa_refuses_what_does_not_run_here() -> None:
    with pytest.raises(ValueError, match=r"set_isa: name must be one of .*, got sse9"):
        _core.set_isa("sse9")
