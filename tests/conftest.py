"""Fixtures for every test: the instruction set and the thread count that the core runs with.

Hypothesis runs the same examples every time, so that a failure repeats;
`--hypothesis-profile=explore` looks for new ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

# The fixtures below set a global once for all examples of a test, which is what is wanted.
settings.register_profile(
    "repeatable",
    deadline=None,
    derandomize=True,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
settings.register_profile(
    "explore", settings.get_profile("repeatable"), derandomize=False, max_examples=500
)
settings.load_profile("repeatable")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Runs a test that asks for `isa` once per instruction set that can run here."""
    if "isa" in metafunc.fixturenames:
        from convolite import _core

        config = _core.config()
        names = [name for name in config["compiled_isas"] if name in config["supported_isas"]]
        metafunc.parametrize("isa", names, indirect=True)


@pytest.fixture
def isa(request: pytest.FixtureRequest) -> Iterator[str]:
    """Forces one instruction set; its name.  The former one comes back afterwards."""
    from convolite import _core

    former = _core.config()["isa"]
    _core.set_isa(request.param)
    yield request.param
    _core.set_isa(former)


@pytest.fixture(params=[1, 2, 3], ids=lambda count: f"threads{count}")
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    """Sets the number of threads, also above the number of cores; the former comes back."""
    from convolite import _core

    former = _core.get_num_threads()
    _core.set_num_threads(request.param)
    yield request.param
    _core.set_num_threads(former)


@pytest.fixture
def plain_math() -> Iterator[None]:
    """Convolutions by the plain sum only, which is exact on whole numbers."""
    from convolite import _core

    _core.set_fast_math(False)
    yield
    _core.set_fast_math(True)


@pytest.fixture
def rng() -> np.random.Generator:
    """A generator with a fixed seed: every test sees the same numbers in every run."""
    return np.random.default_rng(20260)
