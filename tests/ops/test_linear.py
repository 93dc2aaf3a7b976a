"""The fully connected layer and matmul of the core, for every instruction set and thread count."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convolite import _core, reference
from support.arrays import awkward_layouts, integers, normals
from support.cases import case_parameters
from support.compare import assert_close, assert_exact, assert_same_bits
from support.gradcheck import assert_gradients

DTYPES = [np.float32, np.float64]
FULL_SIZE = [row for row in case_parameters("gemm", use="bench") if row.values[0].m < 1000]

# Each pass takes a problem: input (m, k), weight (n, k), bias (n,), grad_output (m, n).
CORE = {
    "forward": lambda p: _core.linear_forward(p.input, p.weight, p.bias, "none"),
    "backward_input": lambda p: _core.linear_backward_input(p.grad_output, p.weight),
    "backward_weight": lambda p: _core.linear_backward_weight(p.grad_output, p.input),
    "backward_bias": lambda p: _core.linear_backward_bias(p.grad_output),
    "matmul": lambda p: _core.matmul(p.grad_output, p.weight),
}
REFERENCE = {
    "forward": lambda p: reference.linear(p.input, p.weight, p.bias),
    "backward_input": lambda p: reference.linear_backward_input(p.grad_output, p.weight),
    "backward_weight": lambda p: reference.linear_backward_weight(p.grad_output, p.input),
    "backward_bias": lambda p: reference.linear_backward_bias(p.grad_output),
    "matmul": lambda p: reference.matmul(p.grad_output, p.weight),
}


def make_problem(make, rng, m: int, n: int, k: int, dtype) -> SimpleNamespace:
    return SimpleNamespace(
        input=make(rng, (m, k), dtype),
        weight=make(rng, (n, k), dtype),
        bias=make(rng, (n,), dtype),
        grad_output=make(rng, (m, n), dtype),
    )


def absolute(problem: SimpleNamespace) -> SimpleNamespace:
    return SimpleNamespace(**{name: np.abs(array) for name, array in vars(problem).items()})


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CORE)
@pytest.mark.parametrize("case", case_parameters("gemm"))
def test_integers_give_exactly_the_reference(case, name: str, dtype, isa: str, rng) -> None:
    problem = make_problem(integers, rng, case.m, case.n, case.k, dtype)
    result = CORE[name](problem)
    assert result.dtype == dtype
    assert_exact(result, REFERENCE[name](problem))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CORE)
@pytest.mark.parametrize("case", case_parameters("gemm"))
def test_normal_numbers_err_by_rounding_only(case, name: str, dtype, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case.m, case.n, case.k, dtype)
    scale = REFERENCE[name](absolute(problem))
    assert_close(CORE[name](problem), REFERENCE[name](problem), scale)


@pytest.mark.parametrize("case", FULL_SIZE)
def test_gradients_are_adjoint_at_full_size(case, isa: str, rng) -> None:
    problem = make_problem(integers, rng, case.m, case.n, case.k, np.float32)
    problem.bias = None
    total = np.vdot(_wide(CORE["forward"](problem)), _wide(problem.grad_output))
    assert np.vdot(_wide(problem.input), _wide(CORE["backward_input"](problem))) == total
    assert np.vdot(_wide(problem.weight), _wide(CORE["backward_weight"](problem))) == total
    assert_same_bits(CORE["matmul"](problem), CORE["backward_input"](problem))


def _wide(array):
    return array.astype(np.float64)


@pytest.mark.parametrize("case", case_parameters("gemm"))
def test_gradients_equal_differences(case, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case.m, case.n, case.k, np.float64)
    names = ("backward_input", "backward_weight", "backward_bias")
    gradients = [CORE[name](problem) for name in names]

    def forward(rows, weight, bias):
        return _core.linear_forward(rows, weight, bias, "none")

    inputs = (problem.input, problem.weight, problem.bias)
    assert_gradients(forward, inputs, gradients, problem.grad_output, rng)


@given(
    m=st.integers(0, 70),
    n=st.integers(0, 70),
    k=st.integers(0, 70),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_size_gives_exactly_the_reference(isa: str, m, n, k, dtype, seed: int) -> None:
    problem = make_problem(integers, np.random.default_rng(seed), m, n, k, dtype)
    for name, run in CORE.items():
        assert_exact(run(problem), REFERENCE[name](problem))


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("case", case_parameters("gemm"))
def test_activation_is_applied_last(case, activation: str, isa: str, rng) -> None:
    problem = make_problem(integers, rng, case.m, case.n, case.k, np.float32)
    for bias in (problem.bias, None):
        result = _core.linear_forward(problem.input, problem.weight, bias, activation)
        expected = reference.linear(problem.input, problem.weight, bias, activation)
        assert_exact(result, expected)


@pytest.mark.parametrize("dtype", DTYPES)
def test_awkward_layouts_change_nothing(dtype, isa: str, rng) -> None:
    problem = make_problem(integers, rng, 5, 7, 9, dtype)
    expected = {name: run(problem) for name, run in CORE.items()}
    layouts = {name: dict(awkward_layouts(array)) for name, array in vars(problem).items()}
    for layout in layouts["input"]:
        awkward = SimpleNamespace(**{name: copies[layout] for name, copies in layouts.items()})
        for name, run in CORE.items():
            assert_same_bits(run(awkward), expected[name])
        for name, array in vars(problem).items():
            assert_exact(getattr(awkward, name), array)


@pytest.mark.parametrize("activation", ["none", "relu", "relu6"])
def test_special_values_spread_as_in_the_formula(activation: str, isa: str, rng) -> None:
    problem = make_problem(integers, rng, 19, 50, 21, np.float32)
    problem.input[3, 5], problem.input[7, 0], problem.input[18, 20] = np.nan, np.inf, -np.inf
    problem.weight[40, 2] = np.nan
    arguments = (problem.input, problem.weight, problem.bias, activation)
    with np.errstate(invalid="ignore"):
        expected = reference.linear(*arguments)
    assert np.isnan(expected).any()
    assert np.isfinite(expected).any()
    assert_exact(_core.linear_forward(*arguments), expected)


@pytest.mark.parametrize("threads", [3], indirect=True)
@pytest.mark.parametrize("case", FULL_SIZE)
def test_bits_do_not_depend_on_threads_or_run(case, threads: int, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case.m, case.n, case.k, np.float32)
    results = {name: run(problem) for name, run in CORE.items()}
    for count in (threads, 2, 1):
        _core.set_num_threads(count)
        for name, run in CORE.items():
            assert_same_bits(run(problem), results[name])
