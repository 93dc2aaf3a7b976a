"""Depthwise convolution: all passes, for every instruction set and thread count.

Rows named depthwise in cases/conv2d.csv also run in test_conv2d.py; here every problem must really
run by this method, with and without fast math.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import convolite
from convolite import _core, nn, reference
from ops.test_conv2d import CORE, DTYPES, REFERENCE, make_problem, with_arrays
from support.arrays import integers, normals
from support.cases import load_cases
from support.compare import assert_close, assert_exact, assert_same_bits
from support.gradcheck import assert_gradients
from support.strategies import depthwise_cases

CASES = [case for case in load_cases("conv2d") if case.name.startswith("depthwise")]
PASSES = ("forward", "backward_input", "backward_weight")
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_pass = pytest.mark.parametrize("name", PASSES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def methods(problem: SimpleNamespace) -> set[str]:
    shapes = problem.input.shape, problem.weight.shape
    lines = _core.conv2d_explain(*shapes, *problem.geometry, problem.input.dtype)
    return {method for _, method, why in lines if not why.startswith("declined: ")}


def layer(channels: int, side: int, stride: int, kernel: int = 3) -> SimpleNamespace:
    """Two images of a layer as networks for phones have it."""
    size = {"c": channels, "oc": channels, "groups": channels, "h": side, "w": side, "n": 2}
    padding = dict.fromkeys(("pad_top", "pad_bottom", "pad_left", "pad_right"), kernel // 2)
    window = {"kh": kernel, "kw": kernel, "stride_h": stride, "stride_w": stride}
    return SimpleNamespace(**{**vars(CASES[0]), **size, **padding, **window})


LAYERS = [layer(3, 112, 2), layer(5, 56, 1), layer(7, 28, 1, 5), layer(50, 14, 2), layer(60, 7, 1)]


@every_case
def test_every_pass_runs_by_this_method(case, isa: str, rng) -> None:
    assert methods(make_problem(integers, rng, case, np.float32)) == {"depthwise"}


@pytest.mark.parametrize(
    ("channels", "side", "kernel", "form"),
    [
        (32, 56, 3, "pixels as lanes, rows read where they lie"),
        (32, 3, 3, "channels as lanes"),
        (1, 56, 5, "pixels as lanes, planes copied to a padded band"),
    ],
)
def test_explain_names_the_form(channels, side, kernel, form, isa: str) -> None:
    layer = nn.Conv2d(channels, channels, kernel, padding=1, groups=channels)
    choices = convolite.explain(layer, (2, channels, side, side)).choices
    forms = [each.why.split("; ")[1] for each in choices if each.method == "depthwise"]
    assert forms == [form] * 3


@given(case=depthwise_cases(), dtype=st.sampled_from(DTYPES), seed=st.integers(0, 2**32 - 1))
def test_any_geometry_gives_exactly_the_reference(isa: str, case, dtype, seed: int) -> None:
    problem = make_problem(integers, np.random.default_rng(seed), case, dtype)
    assert methods(problem) == {"depthwise"}
    for name in PASSES:
        assert_exact(CORE[name](problem), REFERENCE[name](problem))


@every_dtype
@every_pass
@pytest.mark.parametrize("case", LAYERS, ids=lambda case: f"{case.c}x{case.h}s{case.stride_h}")
def test_layers_of_networks_err_by_rounding_only(case, name: str, dtype, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case, dtype)
    scale = REFERENCE[name](with_arrays(problem, lambda _, array: np.abs(array)))
    assert_close(CORE[name](problem), REFERENCE[name](problem), scale)


@given(case=depthwise_cases(), seed=st.integers(0, 2**32 - 1))
def test_gradients_equal_differences(isa: str, case, seed: int) -> None:
    rng = np.random.default_rng(seed)
    problem = make_problem(normals, rng, case, np.float64)
    gradients = [CORE[name](problem) for name in ("backward_input", "backward_weight")]

    def forward(image, weight):
        return _core.conv2d_forward(image, weight, None, *problem.geometry, "none")

    inputs = (problem.input, problem.weight)
    assert_gradients(forward, inputs, gradients, problem.grad_output, rng)


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@every_dtype
@every_case
def test_bias_and_activation_are_applied_last(case, dtype, activation: str, isa: str, rng) -> None:
    problem = make_problem(integers, rng, case, dtype)
    for bias in (problem.bias, None):
        arguments = (problem.input, problem.weight, bias, *problem.geometry, activation)
        assert_exact(_core.conv2d_forward(*arguments), reference.conv2d(*arguments))


@every_dtype
@every_pass
@pytest.mark.parametrize("corner", [(0, 0), (0, -1), (-1, 0), (-1, -1)])
@pytest.mark.parametrize("case", LAYERS, ids=lambda case: f"{case.c}x{case.h}s{case.stride_h}")
def test_special_values_reach_their_windows_only(
    case, corner: tuple[int, int], name: str, dtype, isa: str, rng
) -> None:
    problem = make_problem(integers, rng, case, dtype)
    for array in (problem.input, problem.grad_output):
        array[0, 1][corner], array[1, -1][corner] = np.nan, np.inf
        array[1, 0, array.shape[2] // 2, array.shape[3] // 2] = -np.inf
    with np.errstate(invalid="ignore"):
        expected = REFERENCE[name](problem)
    assert not np.isfinite(expected).all()
    assert_exact(CORE[name](problem), expected)


@every_dtype
@every_pass
@pytest.mark.parametrize("threads", [1, 2, 3], indirect=True)
@pytest.mark.parametrize("case", LAYERS, ids=lambda case: f"{case.c}x{case.h}s{case.stride_h}")
def test_bits_do_not_depend_on_threads_or_run(
    case, threads: int, name: str, dtype, isa: str, rng
) -> None:
    problem = make_problem(normals, rng, case, dtype)
    result = CORE[name](problem)
    for count in (threads, 1):
        _core.set_num_threads(count)
        assert_same_bits(CORE[name](problem), result)
