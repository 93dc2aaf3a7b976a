"""Activation functions of the core and of `functional`, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convolite import _core, functional, reference, tensor
from support.arrays import awkward_layouts, distinct, floats_of_every_size, integers, normals
from support.compare import assert_close, assert_exact, assert_same_bits, assert_units
from support.gradcheck import assert_gradients

DTYPES = [np.float32, np.float64]
LARGE = 50_021  # several tasks, the last one with a partial vector
# The slope is a power of 2: then whole numbers give exact results.
PARAMETERS = {"leaky_relu": 0.25, "elu": 1.5}
SAVES_OUTPUT = ["relu", "relu6", "sigmoid", "tanh"]
EXACT = ["relu", "leaky_relu", "relu6"]
SMOOTH = ["gelu", "gelu_tanh", "silu", "sigmoid", "tanh"]
KINKED = ["elu", "hardswish", "hardsigmoid", *EXACT]
ALL = [*SMOOTH, *KINKED]
# Bounds in units in the last place, for float32: what csrc/src/kernels/math.inl states.
STATED = {"tanh": 2.0, "sigmoid": 3.0, "elu": 2.0}


def forward(name: str, input):
    return _core.activation_forward(name, input, PARAMETERS.get(name, 0.0))


def backward(name: str, grad_output, input, output):
    saved = output if name in SAVES_OUTPUT else input
    return _core.activation_backward(name, grad_output, saved, PARAMETERS.get(name, 0.0))


def expected_forward(name: str, input):
    return reference.activation(name, input, PARAMETERS.get(name, 0.0))


def expected_backward(name: str, grad_output, input):
    return reference.activation_backward(name, grad_output, input, PARAMETERS.get(name, 0.0))


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", EXACT)
@pytest.mark.parametrize("shape", [(), (0,), (3, 7), (2, 3, 4, 5), (LARGE,)], ids=str)
def test_integers_give_exactly_the_reference(name: str, shape, dtype, isa: str, rng) -> None:
    input = integers(rng, shape, dtype, largest=9)
    grad_output = integers(rng, shape, dtype)
    output = forward(name, input)
    assert output.dtype == dtype
    assert_exact(output, expected_forward(name, input))
    grad_input = backward(name, grad_output, input, output)
    assert grad_input.dtype == dtype
    assert_exact(grad_input, expected_backward(name, grad_output, input))


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ALL)
def test_normal_numbers_err_by_rounding_only(name: str, dtype, isa: str, rng) -> None:
    input = 3 * normals(rng, (7, 1003), dtype)
    grad_output = normals(rng, (7, 1003), dtype)
    output = forward(name, input)
    size = 1 + np.abs(input)  # of the terms that the formulas add
    assert_close(output, expected_forward(name, input), size)
    expected = expected_backward(name, grad_output, input)
    assert_close(backward(name, grad_output, input, output), expected, size * np.abs(grad_output))


@pytest.mark.parametrize("name", STATED)
def test_every_kind_of_float_is_right_to_the_stated_bound(name: str, isa: str) -> None:
    input = floats_of_every_size()
    alpha = 1.0
    expected = reference.activation(name, input, alpha)
    assert_units(_core.activation_forward(name, input, alpha), expected, STATED[name])


@pytest.mark.parametrize("name", ["gelu", "silu"])
def test_gates_keep_their_accuracy_far_to_the_left(name: str, isa: str) -> None:
    input = np.linspace(-12, 12, 20_001).astype(np.float32)
    assert_units(forward(name, input), expected_forward(name, input), 5.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ALL)
def test_special_values_spread_as_in_the_formula(name: str, dtype, isa: str) -> None:
    input = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1e30, -1e30, 1e-42, -1e-42], dtype)
    output = forward(name, input)
    assert_close(output, expected_forward(name, input), np.abs(input))
    grad_output = np.ones(input.shape, dtype)
    expected = expected_backward(name, grad_output, input)
    finite = np.isfinite(input) & (np.abs(input) < 1e20)
    assert_close(backward(name, grad_output, input, output)[finite], expected[finite], 1.0)
    assert np.isnan(output[0])


@pytest.mark.parametrize("name", ALL)
def test_gradients_equal_differences(name: str, isa: str, rng) -> None:
    input = distinct(rng, (6, 29)) if name in KINKED else normals(rng, (6, 29), np.float64)
    grad_output = normals(rng, (6, 29), np.float64)
    grad_input = backward(name, grad_output, input, forward(name, input))
    assert_gradients(lambda x: forward(name, x), [input], [grad_input], grad_output, rng)


@pytest.mark.parametrize(
    ("name", "at", "slope"),
    [
        ("relu", [0.0, -0.0], 0.0),
        ("leaky_relu", [0.0, -0.0], 0.25),
        ("relu6", [0.0, 6.0], 0.0),
        ("elu", [0.0, -0.0], 1.5),
        ("hardswish", [-3.0], 0.0),
        ("hardswish", [3.0], 1.0),
        ("hardsigmoid", [-3.0, 3.0], 0.0),
    ],
)
def test_derivative_at_a_kink_is_pytorchs(name: str, at, slope: float, isa: str) -> None:
    input = np.array(at, np.float32)
    grad_input = backward(name, np.ones_like(input), input, forward(name, input))
    assert_exact(grad_input, np.full(input.shape, slope))


@given(
    size=st.integers(0, 200),
    name=st.sampled_from(EXACT),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_size_gives_exactly_the_reference(isa: str, size, name, dtype, seed: int) -> None:
    rng = np.random.default_rng(seed)
    input, grad_output = integers(rng, (size,), dtype, 9), integers(rng, (size,), dtype)
    output = forward(name, input)
    assert_exact(output, expected_forward(name, input))
    expected = expected_backward(name, grad_output, input)
    assert_exact(backward(name, grad_output, input, output), expected)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ALL)
def test_awkward_layouts_change_nothing(name: str, dtype, isa: str, rng) -> None:
    input, grad_output = normals(rng, (6, 10), dtype), normals(rng, (6, 10), dtype)
    output = forward(name, input)
    grad_input = backward(name, grad_output, input, output)
    grads, outputs = dict(awkward_layouts(grad_output)), dict(awkward_layouts(output))
    for layout, awkward in awkward_layouts(input):
        assert_same_bits(forward(name, awkward), output)
        assert_same_bits(backward(name, grads[layout], awkward, outputs[layout]), grad_input)
        assert_exact(awkward, input)


@pytest.mark.parametrize("name", ALL)
def test_bits_do_not_depend_on_threads_or_run(name: str, threads: int, isa: str, rng) -> None:
    input, grad_output = normals(rng, (LARGE,), np.float32), normals(rng, (LARGE,), np.float32)
    outputs = [forward(name, input) for _ in range(2)]
    grads = [backward(name, grad_output, input, outputs[0]) for _ in range(2)]
    _core.set_num_threads(1)
    expected = forward(name, input)
    for output, grad_input in zip(outputs, grads, strict=True):
        assert_same_bits(output, expected)
        assert_same_bits(grad_input, backward(name, grad_output, input, expected))


FUNCTIONS = {
    "relu": functional.relu,
    "relu6": functional.relu6,
    "silu": functional.silu,
    "hardswish": functional.hardswish,
    "hardsigmoid": functional.hardsigmoid,
    "sigmoid": functional.sigmoid,
    "tanh": functional.tanh,
    "gelu": functional.gelu,
    "gelu_tanh": lambda x: functional.gelu(x, approximate="tanh"),
    "leaky_relu": lambda x: functional.leaky_relu(x, 0.25),
    "elu": lambda x: functional.elu(x, 1.5),
}


@pytest.mark.smoke
@pytest.mark.parametrize("name", ALL)
def test_functional_differentiates_what_the_core_computes(name: str, rng) -> None:
    point, grad_output = normals(rng, (3, 5), np.float32), normals(rng, (3, 5), np.float32)
    input = tensor(point, requires_grad=True)
    output = FUNCTIONS[name](input)
    output.backward(grad_output)
    expected = forward(name, point)
    assert_same_bits(output.numpy(), expected)
    assert_same_bits(input.grad.numpy(), backward(name, grad_output, point, expected))


def test_default_parameters_are_pytorchs() -> None:
    point = np.array([-2.0], np.float64)
    assert_close(functional.leaky_relu(point).numpy(), [-0.02], 0.02)
    assert_close(functional.elu(point).numpy(), [np.expm1(-2.0)], 1.0)
    assert_close(functional.gelu(point).numpy(), [-0.04550026389635842], 0.05)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: functional.relu(np.zeros(3, int)),
            TypeError,
            r"relu: input must be float32 or float64, got int64",
        ),
        (
            lambda: functional.gelu(np.zeros(3), "sinh"),
            ValueError,
            r"gelu: approximate must be one of 'none', 'tanh', got 'sinh'",
        ),
        (
            lambda: functional.elu(np.zeros(3), "1"),
            TypeError,
            r"elu: alpha must be a number, got '1'",
        ),
        (
            lambda: functional.leaky_relu(np.zeros(3), None),
            TypeError,
            r"leaky_relu: negative_slope must be a number, got None",
        ),
        (
            lambda: _core.activation_forward("softplus", np.zeros(3), 0.0),
            ValueError,
            r"activation_forward: name must be one of relu, leaky_relu, .*, tanh, got softplus",
        ),
        (
            lambda: _core.activation_backward("softplus", np.zeros(3), np.zeros(3), 0.0),
            ValueError,
            r"activation_backward: name must be one of relu, .*, tanh, got softplus",
        ),
        (
            lambda: _core.activation_backward("silu", np.zeros((2, 3)), np.zeros((3, 2)), 0.0),
            ValueError,
            r"silu_backward: grad_output must have shape \(3, 2\), got \(2, 3\)",
        ),
        (
            lambda: _core.activation_backward("silu", np.zeros(3), np.zeros(3, "f4"), 0.0),
            TypeError,
            r"silu_backward: saved must be float64 like grad_output, got float32",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, text: str) -> None:
    with pytest.raises(error, match=f"^{text}"):
        call()


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", ["gelu", "gelu_tanh", "silu", "hardswish", "elu", "relu"])
def test_the_largest_numbers_are_kept_or_cut_off(name: str, dtype, isa: str) -> None:
    input = np.array([1e15, 1e30, np.finfo(dtype).max, np.finfo(dtype).max / 8], dtype)
    np.testing.assert_allclose(forward(name, input), input, rtol=1e-6)
    np.testing.assert_array_equal(backward(name, np.ones_like(input), input, input), 1)
    np.testing.assert_array_equal(
        backward(name, np.ones_like(input), -input, np.zeros_like(input)), 0
    )
