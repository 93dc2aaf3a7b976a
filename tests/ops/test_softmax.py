"""Softmax and log-softmax of the core and of `functional`, for every instruction set."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from convolite import _core, functional, reference, tensor
from support.arrays import awkward_layouts, integers, normals
from support.compare import assert_close, assert_same_bits
from support.gradcheck import assert_gradients

DTYPES = [np.float32, np.float64]
FORWARD = {"softmax": _core.softmax_forward, "log_softmax": _core.log_softmax_forward}
BACKWARD = {"softmax": _core.softmax_backward, "log_softmax": _core.log_softmax_backward}
REFERENCE = {"softmax": reference.softmax, "log_softmax": reference.log_softmax}
REFERENCE_BACKWARD = {
    "softmax": reference.softmax_backward,
    "log_softmax": reference.log_softmax_backward,
}
# Contiguous rows and columns, several parts and tasks of each, long and trivial axes.
CASES = [
    ((1,), 0),
    ((5,), 0),
    ((64, 10), 1),
    ((64, 10), 0),
    ((7, 1), 1),
    ((700, 16), -1),
    ((3, 2500), 1),
    ((1500, 3), 0),
    ((2, 3, 4), 1),
    ((4, 10, 333), 1),
    ((2, 21, 17, 31), 1),
    ((2, 21, 17, 31), -2),
    ((2, 21, 17, 31), 0),
]


def scale_of(name: str, input, axis: int):
    """Size of the logarithm's terms; exp turns their rounding into a relative error."""
    wide = input.astype(np.float64)
    distance = np.abs(wide - wide.max(axis=axis, keepdims=True)) + np.log(np.e * input.shape[axis])
    return distance * reference.softmax(wide, axis) if name == "softmax" else distance


def scale_of_backward(name: str, grad_output, output, axis: int):
    grad_output, output = np.abs(grad_output.astype(np.float64)), output.astype(np.float64)
    if name == "softmax":
        return output * (grad_output + (grad_output * output).sum(axis=axis, keepdims=True))
    return grad_output + np.exp(output) * grad_output.sum(axis=axis, keepdims=True)


@pytest.mark.smoke
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)
def test_normal_numbers_err_by_rounding_only(name, shape, axis, dtype, isa: str, rng) -> None:
    input, grad_output = 3 * normals(rng, shape, dtype), normals(rng, shape, dtype)
    output = FORWARD[name](input, axis)
    assert output.dtype == dtype
    assert_close(output, REFERENCE[name](input, axis), scale_of(name, input, axis))
    grad_input = BACKWARD[name](grad_output, output, axis)
    assert grad_input.dtype == dtype
    expected = REFERENCE_BACKWARD[name](grad_output, output, axis)
    assert_close(grad_input, expected, scale_of_backward(name, grad_output, output, axis), units=8)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("shape", "axis"), CASES, ids=str)
def test_equal_entries_share_evenly(shape, axis, dtype, isa: str) -> None:
    count = shape[axis]
    output = _core.softmax_forward(np.full(shape, 7, dtype), axis)
    assert_close(output, np.full(shape, 1 / count), 1 / count, units=0.5)
    output = _core.log_softmax_forward(np.full(shape, 7, dtype), axis)
    assert_close(output, np.full(shape, -np.log(count)), np.log(count), units=1.0)


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize(("shape", "axis"), [((4, 9), 1), ((3, 5, 7), 1), ((3, 5, 7), 0)], ids=str)
def test_gradients_equal_differences(name: str, shape, axis, isa: str, rng) -> None:
    input, grad_output = normals(rng, shape, np.float64), normals(rng, shape, np.float64)
    grad_input = BACKWARD[name](grad_output, FORWARD[name](input, axis), axis)
    assert_gradients(lambda x: FORWARD[name](x, axis), [input], [grad_input], grad_output, rng)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("axis", [0, 1])
def test_large_inputs_neither_overflow_nor_lose_the_logarithm(axis, dtype, isa: str) -> None:
    row = np.array([[-1e4, 0.0, 1e4, 1e4]], dtype)
    input = row if axis == 1 else np.repeat(row.T, 3, axis=1)
    for name, forward in FORWARD.items():
        expected = REFERENCE[name](input, axis)
        assert_close(forward(input, axis), expected, scale_of(name, input, axis))


@pytest.mark.parametrize("special", [np.nan, np.inf])
@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize(("shape", "axis"), [((6, 11), 1), ((2, 5, 40), 1)], ids=str)
def test_nan_and_infinity_spoil_their_own_row_only(name, shape, axis, special, isa, rng) -> None:
    input = normals(rng, shape, np.float32)
    clean = FORWARD[name](input, axis)
    place = (1, 3) if len(shape) == 2 else (1, 3, 17)
    input[place] = special
    row = (1,) if len(shape) == 2 else (1, slice(None), 17)
    output = FORWARD[name](input, axis)
    assert np.isnan(output[row]).all()
    output[row] = clean[row]
    assert_same_bits(output, clean)


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize(("shape", "axis"), [((2, 3), 1), ((3, 2, 2), 0)], ids=str)
def test_minus_infinity_is_a_probability_of_zero(name: str, shape, axis, isa: str, rng) -> None:
    input = normals(rng, shape, np.float32)
    input[0] = -np.inf if axis == 0 else [-np.inf, 0.5, -np.inf]
    expected = REFERENCE[name](input, axis)
    assert_close(FORWARD[name](input, axis), expected, scale=8.0)


@given(
    shape=st.lists(st.integers(0, 12), min_size=1, max_size=4),
    axis=st.integers(-4, 3),
    dtype=st.sampled_from(DTYPES),
    seed=st.integers(0, 2**32 - 1),
)
def test_any_shape_and_axis_give_the_reference(isa: str, shape, axis, dtype, seed: int) -> None:
    axis = axis % len(shape)
    input = integers(np.random.default_rng(seed), tuple(shape), dtype)
    for name, forward in FORWARD.items():
        output = forward(input, axis)
        assert output.shape == tuple(shape)
        if output.size:
            assert_close(output, REFERENCE[name](input, axis), scale_of(name, input, axis))
        assert BACKWARD[name](output, output, axis).shape == output.shape


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("name", FORWARD)
def test_awkward_layouts_change_nothing(name: str, dtype, isa: str, rng) -> None:
    input, grad_output = normals(rng, (6, 10), dtype), normals(rng, (6, 10), dtype)
    for axis in (0, 1):
        output = FORWARD[name](input, axis)
        grad_input = BACKWARD[name](grad_output, output, axis)
        grads, outputs = dict(awkward_layouts(grad_output)), dict(awkward_layouts(output))
        for layout, awkward in awkward_layouts(input):
            assert_same_bits(FORWARD[name](awkward, axis), output)
            assert_same_bits(BACKWARD[name](grads[layout], outputs[layout], axis), grad_input)


@pytest.mark.parametrize("name", FORWARD)
@pytest.mark.parametrize(("shape", "axis"), [((700, 16), 1), ((3, 21, 999), 1)], ids=str)
def test_bits_do_not_depend_on_threads_or_run(name, shape, axis, threads, isa, rng) -> None:
    input, grad_output = normals(rng, shape, np.float32), normals(rng, shape, np.float32)
    outputs = [FORWARD[name](input, axis) for _ in range(2)]
    grads = [BACKWARD[name](grad_output, outputs[0], axis) for _ in range(2)]
    _core.set_num_threads(1)
    expected = FORWARD[name](input, axis)
    for output, grad_input in zip(outputs, grads, strict=True):
        assert_same_bits(output, expected)
        assert_same_bits(grad_input, BACKWARD[name](grad_output, expected, axis))


@pytest.mark.smoke
@pytest.mark.parametrize("name", FORWARD)
def test_functional_differentiates_what_the_core_computes(name: str, rng) -> None:
    point, grad_output = normals(rng, (3, 5, 2), np.float32), normals(rng, (3, 5, 2), np.float32)
    input = tensor(point, requires_grad=True)
    output = getattr(functional, name)(input, dim=-2)
    output.backward(grad_output)
    assert_same_bits(output.numpy(), FORWARD[name](point, 1))
    assert_same_bits(input.grad.numpy(), BACKWARD[name](grad_output, output.numpy(), 1))


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: functional.softmax(np.zeros((2, 3)), 2),
            ValueError,
            r"softmax: axis 2 is out of range for 2 axes \(input.shape = \(2, 3\)\)",
        ),
        (
            lambda: functional.log_softmax(np.zeros(()), 0),
            ValueError,
            r"log_softmax: axis 0 is out of range for 0 axes \(input.shape = \(\)\)",
        ),
        (
            lambda: functional.softmax(np.zeros((2, 3)), 1.0),
            TypeError,
            r"softmax: dim must be an int, got 1.0",
        ),
        (
            lambda: functional.log_softmax(np.zeros((2, 3), int), 1),
            TypeError,
            r"log_softmax: input must be float32 or float64, got int64",
        ),
        (
            lambda: _core.softmax_backward(np.zeros((2, 3)), np.zeros((3, 2)), 0),
            ValueError,
            r"softmax_backward: grad_output must have shape \(3, 2\), got \(2, 3\)",
        ),
        (
            lambda: _core.log_softmax_backward(np.zeros(3), np.zeros(3, "f4"), 0),
            TypeError,
            r"log_softmax_backward: output must be float64 like grad_output, got float32",
        ),
        (
            lambda: _core.log_softmax_backward(np.zeros(3), np.zeros(3), 1),
            ValueError,
            r"log_softmax_backward: axis 1 is out of range for 1 axes",
        ),
    ],
)
def test_wrong_arguments_are_named(call, error, text: str) -> None:
    with pytest.raises(error, match=f"^{text}"):
        call()
