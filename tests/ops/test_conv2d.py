"""Convolution of the core: all passes, for every instruction set and thread count."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convolite import _core, reference
from support.arrays import awkward_layouts, integers, normals
from support.cases import case_parameters, load_cases
from support.compare import assert_close, assert_exact, assert_same_bits
from support.gradcheck import assert_gradients
from support.strategies import conv2d_cases

pytestmark = pytest.mark.usefixtures("plain_math")  # Winograd: test_winograd.py
DTYPES = [np.float32, np.float64]
ARRAYS = ("input", "weight", "bias", "grad_output")

# Each pass takes a problem: the four arrays and the geometry (stride, padding, dilation, groups).
CORE = {
    "forward": lambda p: _core.conv2d_forward(p.input, p.weight, p.bias, *p.geometry, "none"),
    "backward_input": lambda p: _core.conv2d_backward_input(
        p.grad_output, p.weight, p.input.shape, *p.geometry
    ),
    "backward_weight": lambda p: _core.conv2d_backward_weight(
        p.grad_output, p.input, p.weight.shape, *p.geometry
    ),
    "backward_bias": lambda p: _core.conv2d_backward_bias(p.grad_output),
}
REFERENCE = {
    "forward": lambda p: reference.conv2d(p.input, p.weight, p.bias, *p.geometry),
    "backward_input": lambda p: reference.conv2d_backward_input(
        p.grad_output, p.weight, p.input.shape, *p.geometry
    ),
    "backward_weight": lambda p: reference.conv2d_backward_weight(
        p.grad_output, p.input, p.weight.shape, *p.geometry
    ),
    "backward_bias": lambda p: reference.conv2d_backward_bias(p.grad_output),
}


def make_problem(make, rng, case, dtype, largest_batch: int = 9) -> SimpleNamespace:
    # A few images find what sixty-four would, in a fraction of the reference's time.
    n = min(case.n, largest_batch)
    span_h, span_w = case.dil_h * (case.kh - 1) + 1, case.dil_w * (case.kw - 1) + 1
    oh = (case.h + case.pad_top + case.pad_bottom - span_h) // case.stride_h + 1
    ow = (case.w + case.pad_left + case.pad_right - span_w) // case.stride_w + 1
    return SimpleNamespace(
        input=make(rng, (n, case.c, case.h, case.w), dtype),
        weight=make(rng, (case.oc, case.c // case.groups, case.kh, case.kw), dtype),
        bias=make(rng, (case.oc,), dtype),
        grad_output=make(rng, (n, case.oc, oh, ow), dtype),
        geometry=(
            (case.stride_h, case.stride_w),
            (case.pad_top, case.pad_bottom, case.pad_left, case.pad_right),
            (case.dil_h, case.dil_w),
            case.groups,
        ),
    )


def with_arrays(problem: SimpleNamespace, change) -> SimpleNamespace:
    changed = {name: change(name, getattr(problem, name)) for name in ARRAYS}
    return SimpleNamespace(geometry=problem.geometry, **changed)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CORE)
@pytest.mark.parametrize("case", case_parameters("conv2d"))
def test_integers_give_exactly_the_reference(case, name: str, dtype, isa: str, rng) -> None:
    problem = make_problem(integers, rng, case, dtype)
    result = CORE[name](problem)
    assert result.dtype == dtype
    assert_exact(result, REFERENCE[name](problem))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", CORE)
@pytest.mark.parametrize("case", case_parameters("conv2d"))
def test_normal_numbers_err_by_rounding_only(case, name: str, dtype, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case, dtype, largest_batch=2)
    scale = REFERENCE[name](with_arrays(problem, lambda _, array: np.abs(array)))
    assert_close(CORE[name](problem), REFERENCE[name](problem), scale)


@pytest.mark.parametrize("case", case_parameters("conv2d", use="bench"))
def test_gradients_are_adjoint_at_full_size(case, isa: str, rng) -> None:
    problem = make_problem(integers, rng, case, np.float32, largest_batch=2)
    problem.bias = None
    total = np.vdot(_wide(CORE["forward"](problem)), _wide(problem.grad_output))
    assert np.vdot(_wide(problem.input), _wide(CORE["backward_input"](problem))) == total
    assert np.vdot(_wide(problem.weight), _wide(CORE["backward_weight"](problem))) == total
    assert_exact(CORE["backward_bias"](problem), _wide(problem.grad_output).sum(axis=(0, 2, 3)))


def _wide(array):
    return array.astype(np.float64)


@pytest.mark.parametrize("case", case_parameters("conv2d"))
def test_gradients_equal_differences(case, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case, np.float64)
    names = ("backward_input", "backward_weight", "backward_bias")
    gradients = [CORE[name](problem) for name in names]

    def forward(image, weight, bias):
        return _core.conv2d_forward(image, weight, bias, *problem.geometry, "none")

    inputs = (problem.input, problem.weight, problem.bias)
    assert_gradients(forward, inputs, gradients, problem.grad_output, rng)


@given(case=conv2d_cases(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**32 - 1))
def test_any_geometry_gives_exactly_the_reference(isa: str, case, dtype, seed: int) -> None:
    problem = make_problem(integers, np.random.default_rng(seed), case, dtype)
    for name, run in CORE.items():
        assert_exact(run(problem), REFERENCE[name](problem))


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@pytest.mark.parametrize("case", case_parameters("conv2d")[::3])
def test_activation_is_applied_last(case, activation: str, isa: str, rng) -> None:
    problem = make_problem(integers, rng, case, np.float32)
    for bias in (problem.bias, None):
        arguments = (problem.input, problem.weight, bias, *problem.geometry, activation)
        assert_exact(_core.conv2d_forward(*arguments), reference.conv2d(*arguments))


@pytest.mark.parametrize("dtype", DTYPES)
def test_awkward_layouts_change_nothing(dtype, isa: str, rng) -> None:
    case = next(case for case in load_cases("conv2d") if case.name == "groups_2")
    problem = make_problem(integers, rng, case, dtype)
    expected = {name: run(problem) for name, run in CORE.items()}
    layouts = {name: dict(awkward_layouts(getattr(problem, name))) for name in ARRAYS}
    for layout in layouts["input"]:
        awkward = with_arrays(problem, lambda name, _, layout=layout: layouts[name][layout])
        for name, run in CORE.items():
            assert_same_bits(run(awkward), expected[name])
        for name in ARRAYS:
            assert_exact(getattr(awkward, name), getattr(problem, name))


@pytest.mark.parametrize("name", CORE)
@pytest.mark.parametrize(
    "case_name",
    [
        "same_3x3",
        "stride_2",
        "dilation_2",
        "depthwise",
        "pointwise",
        "prime_sizes",
        "narrow_chunks_stride_2",
    ],
)
def test_special_values_spread_as_in_the_formula(case_name: str, name: str, isa: str, rng) -> None:
    case = next(case for case in load_cases("conv2d") if case.name == case_name)
    problem = make_problem(integers, rng, case, np.float32)
    problem.input[0, 1, 2, 3], problem.input[1, 0, -1, -1] = np.nan, np.inf
    problem.grad_output[0, 1, 1, 2], problem.grad_output[1, 2, -1, -1] = np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        expected = REFERENCE[name](problem)
    assert not np.isfinite(expected).all()
    assert_exact(CORE[name](problem), expected)


@pytest.mark.parametrize("activation", ["relu", "relu6"])
def test_fused_activation_keeps_nan(activation: str, isa: str, rng) -> None:
    image, weight = integers(rng, (2, 3, 9, 8)), integers(rng, (5, 3, 3, 3))
    image[1, 1, 4, 4] = np.nan
    arguments = (image, weight, None, (1, 1), (1, 1, 1, 1), (1, 1), 1, activation)
    result = _core.conv2d_forward(*arguments)
    assert np.isnan(result).sum() == 5 * 9
    assert_exact(result, reference.conv2d(*arguments))


@pytest.mark.parametrize("threads", [3], indirect=True)
@pytest.mark.parametrize("case", case_parameters("conv2d", use="bench"))
def test_bits_do_not_depend_on_threads_or_run(case, threads: int, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case, np.float32, largest_batch=2)
    results = {name: run(problem) for name, run in CORE.items()}
    for count in (threads, 2, 1):
        _core.set_num_threads(count)
        for name, run in CORE.items():
            assert_same_bits(run(problem), results[name])
