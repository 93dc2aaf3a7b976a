"""Winograd's F(4x4, 3x3): all passes, for every instruction set and thread count.

The plain sum is checked exactly in test_conv2d.py.  Here rounding is bounded by its root mean
square, and every problem must really run by this method.
"""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convolite import _core, explain, nn
from ops.test_conv2d import CORE, REFERENCE, make_problem
from support.arrays import integers, normals
from support.cases import load_cases
from support.compare import assert_exact, assert_rms, assert_same_bits
from support.strategies import winograd_cases

CASES = [case for case in load_cases("conv2d") if case.name.startswith("winograd")]
BOUND = {"forward": 3e-6, "backward_input": 3e-6, "backward_weight": 1e-5}
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
every_pass = pytest.mark.parametrize("name", BOUND)


def methods(problem: SimpleNamespace) -> dict[str, str]:
    """The method that runs each pass."""
    shapes = problem.input.shape, problem.weight.shape
    lines = _core.conv2d_explain(*shapes, *problem.geometry, problem.input.dtype)
    return {line[0]: line[1] for line in lines}


@every_pass
@every_case
def test_normal_numbers_err_little(case, name: str, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case, np.float32)
    assert methods(problem)[name] == "winograd"
    assert_rms(CORE[name](problem), REFERENCE[name](problem), BOUND[name])


@given(case=winograd_cases(), seed=st.integers(0, 2**32 - 1))
def test_any_image_and_padding_err_little(isa: str, case, seed: int) -> None:
    problem = make_problem(normals, np.random.default_rng(seed), case, np.float32)
    assert set(methods(problem).values()) == {"winograd"}
    for name, bound in BOUND.items():
        assert_rms(CORE[name](problem), REFERENCE[name](problem), bound)


def by_matrix_product(problem: SimpleNamespace) -> dict[str, np.ndarray]:
    """The three passes of a 3x3 convolution with padding 1, in float64, by one product each."""
    image, weight, grad = (
        getattr(problem, name).astype(np.float64) for name in ("input", "weight", "grad_output")
    )
    padded = [(0, 0), (0, 0), (1, 1), (1, 1)]
    windows = np.lib.stride_tricks.sliding_window_view
    seen = windows(np.pad(image, padded), (3, 3), axis=(2, 3))
    sent = windows(np.pad(grad, padded), (3, 3), axis=(2, 3))
    turned = weight[:, :, ::-1, ::-1]
    forward = np.tensordot(seen, weight, ([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)
    return {
        "forward": forward + problem.bias[:, None, None],
        "backward_input": np.tensordot(sent, turned, ([1, 4, 5], [0, 2, 3])).transpose(0, 3, 1, 2),
        "backward_weight": np.tensordot(grad, seen, ([0, 2, 3], [0, 2, 3])),
    }


@every_pass
def test_an_empty_batch_gives_zeros(name: str, isa: str, rng) -> None:
    problem = make_problem(normals, rng, CASES[0], np.float32)
    CORE[name](problem)  # leaves its numbers in the buffers that come next
    problem.input, problem.grad_output = problem.input[:0], problem.grad_output[:0]
    assert methods(problem)[name] != "winograd"
    assert_exact(CORE[name](problem), REFERENCE[name](problem))


@pytest.mark.parametrize(
    ("images", "channels", "side"), [(4, 16, 32), (16, 64, 56), (2, 256, 14), (2, 512, 7)]
)
def test_layers_of_networks_err_little(images: int, channels: int, side: int, rng) -> None:
    case = SimpleNamespace(
        **{**vars(CASES[0]), "n": images, "c": channels, "oc": channels, "h": side, "w": side}
    )
    problem = make_problem(normals, rng, case, np.float32)
    expected = by_matrix_product(problem)
    for name, bound in BOUND.items():
        assert methods(problem)[name] == "winograd"
        assert_rms(CORE[name](problem), expected[name], bound)


@pytest.mark.parametrize(("channels", "order"), [(64, "tile by tile"), (256, "channel by channel")])
def test_explain_names_the_order_of_the_loops(channels: int, order: str, isa: str) -> None:
    layer = nn.Conv2d(channels, channels, 3, padding=1)
    why = {each.computation: each.why for each in explain(layer, (2, channels, 8, 8)).choices}
    assert why["forward"].endswith(f"; {order}")
    assert why["backward_input"].endswith(f"; {order}")
    assert ";" not in why["backward_weight"]


@pytest.mark.parametrize("activation", ["relu", "relu6"])
@every_case
def test_bias_and_activation_are_applied_last(case, activation: str, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case, np.float32)
    arguments = (problem.input, problem.weight)
    linear = _core.conv2d_forward(*arguments, None, *problem.geometry, "none")
    biased = linear + problem.bias[:, None, None]
    high = 6 if activation == "relu6" else np.inf
    output = _core.conv2d_forward(*arguments, problem.bias, *problem.geometry, activation)
    assert_same_bits(output, np.clip(biased, np.float32(0), np.float32(high)))


@every_pass
@every_case
def test_special_values_spread_as_in_the_formula(case, name: str, isa: str, rng) -> None:
    problem = make_problem(integers, rng, case, np.float32)
    problem.input[:, 1, 2, 2], problem.input[-1, 0, -1, -1] = np.nan, np.inf
    problem.grad_output[:, 1, 1, 0], problem.grad_output[-1, 2, -1, -1] = np.nan, -np.inf
    with np.errstate(invalid="ignore"):
        expected = REFERENCE[name](problem)
    assert not np.isfinite(expected).all()
    assert_exact(CORE[name](problem), expected)


@pytest.mark.parametrize("name", ["forward", "backward_input"])
@every_case
def test_special_values_change_no_other_image(case, name: str, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case, np.float32)
    finite = CORE[name](problem)
    problem.input[0, 1, 2, 2] = problem.grad_output[0, 1, 1, 0] = np.nan
    spoiled = CORE[name](problem)
    assert np.isnan(spoiled[0]).any()
    assert_same_bits(spoiled[1:], finite[1:])


@every_pass
def test_the_transforms_do_not_overflow_where_the_sum_does_not(name: str, isa: str, rng) -> None:
    problem = make_problem(integers, rng, CASES[0], np.float32)
    problem.input[...] = problem.grad_output[...] = np.float32(2) ** 126
    problem.weight[...] = 0
    problem.weight[0, 0, 1, 1] = 0.5
    problem.bias[...] = 0
    if name == "backward_weight":
        problem.grad_output[...] = 0
        problem.grad_output[0, 0, 0, 0] = 0.5
    np.testing.assert_array_equal(CORE[name](problem), REFERENCE[name](problem))


@every_pass
@every_case
def test_bits_do_not_depend_on_threads_or_run(case, name: str, threads: int, isa: str, rng) -> None:
    problem = make_problem(normals, rng, case, np.float32)
    result = CORE[name](problem)
    for count in (threads, 1):
        _core.set_num_threads(count)
        assert_same_bits(CORE[name](problem), result)


@every_case
def test_without_fast_math_the_plain_sum_runs(case, plain_math: None, isa: str, rng) -> None:
    problem = make_problem(integers, rng, case, np.float32)
    assert set(methods(problem).values()) == {"direct"}
    assert_exact(CORE["forward"](problem), REFERENCE["forward"](problem))


def test_float64_is_never_fast(rng) -> None:
    problem = make_problem(integers, rng, CASES[0], np.float64)
    for name in BOUND:
        assert_exact(CORE[name](problem), REFERENCE[name](problem))
