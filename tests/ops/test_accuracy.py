"""How much rounding the convolutions of networks add: float32 beside float64, at full size.

Other tests compare small problems exactly or with bounds of each sum; these are the shapes of the
benchmarks with the methods that they take, Winograd's among them.
"""

from __future__ import annotations

from types import SimpleNamespace
from typing import NamedTuple

import numpy as np
import pytest

from ops.test_conv2d import CORE, make_problem, with_arrays
from ops.test_winograd import BOUND, methods
from support.arrays import normals
from support.cases import case_parameters, load_cases
from support.compare import assert_rms


class Layer(NamedTuple):
    """A convolution, and the results of its passes in float64."""

    problem: SimpleNamespace
    expected: dict[str, np.ndarray]


@pytest.fixture(scope="module", params=case_parameters("conv2d", "bench"))
def layer(request) -> Layer:
    case = request.param
    problem = make_problem(normals, np.random.default_rng(11), case, np.float32, case.n)
    wide = with_arrays(problem, lambda _, array: array.astype(np.float64))
    return Layer(problem, {name: CORE[name](wide) for name in BOUND})


def test_every_method_computes_some_of_them() -> None:
    rng = np.random.default_rng(0)
    problems = (
        make_problem(normals, rng, case, np.float32) for case in load_cases("conv2d", "bench")
    )
    found = {method for problem in problems for method in methods(problem).values()}
    assert found == {"winograd", "pointwise", "depthwise", "grouped", "narrow", "direct"}


def test_float32_errs_little_beside_float64(layer: Layer, isa: str) -> None:
    for name, bound in BOUND.items():
        assert_rms(CORE[name](layer.problem), layer.expected[name], bound)
