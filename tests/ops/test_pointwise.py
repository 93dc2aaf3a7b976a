"""1x1 kernels as matrix products: all passes, for every instruction set.

The rows `pointwise*` of cases/conv2d.csv go through all of test_conv2d.py; here sizes are random,
and every problem must really run by this method.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convolite import _core
from ops.test_conv2d import CORE, DTYPES, REFERENCE, make_problem
from ops.test_winograd import methods
from support.arrays import integers
from support.cases import load_cases
from support.compare import assert_exact
from support.strategies import pointwise_cases


@given(case=pointwise_cases(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**32 - 1))
def test_any_image_and_stride_gives_exactly_the_reference(isa: str, case, dtype, seed) -> None:
    problem = make_problem(integers, np.random.default_rng(seed), case, dtype)
    assert set(methods(problem).values()) == {"pointwise"}
    for name, run in CORE.items():
        assert_exact(run(problem), REFERENCE[name](problem))


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_bias_and_activation_are_applied_last(activation: str, isa: str, rng) -> None:
    case = next(case for case in load_cases("conv2d") if case.name == "pointwise_deep")
    problem = make_problem(integers, rng, case, np.float32)
    arguments = (problem.input, problem.weight, problem.bias, *problem.geometry)
    high = 6 if activation == "relu6" else np.inf
    assert_exact(
        _core.conv2d_forward(*arguments, activation),
        np.clip(_core.conv2d_forward(*arguments, "none"), 0, high),
    )


@pytest.mark.parametrize("name", CORE)
def test_tiny_images_leave_it_to_the_general_methods(name: str, rng) -> None:
    case = next(case for case in load_cases("conv2d") if case.name == "one_pixel")
    problem = make_problem(integers, rng, case, np.float32)
    assert set(methods(problem).values()) <= {"direct", "narrow"}
    assert_exact(CORE[name](problem), REFERENCE[name](problem))
