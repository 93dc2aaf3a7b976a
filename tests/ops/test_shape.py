"""functional.flatten, cat, pad, dropout and dropout2d."""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import Tensor
from convolite import functional as F
from support.compare import assert_exact
from support.gradcheck import assert_gradients

pytestmark = pytest.mark.smoke


def check_gradients(function, arrays, rng):
    inputs = [convolite.tensor(array, requires_grad=True) for array in arrays]
    output = function(*inputs)
    grad_output = rng.standard_normal(output.shape)
    output.backward(grad_output)
    gradients = [input.grad.numpy() for input in inputs]
    assert_gradients(
        lambda *values: function(*map(Tensor, values)).numpy(), arrays, gradients, grad_output, rng
    )


def test_flatten_merges_axes():
    array = np.arange(24.0).reshape(2, 3, 4)
    assert F.flatten(array).shape == (24,)
    assert F.flatten(array, 1).shape == (2, 12)
    assert F.flatten(np.zeros((0, 3, 4)), 1).shape == (0, 12)
    assert F.flatten(np.float32(1.0)).shape == (1,)


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_cat_puts_arrays_in_a_row_and_cuts_gradients_apart(dim, rng):
    shapes = [[2, 3, 4], [2, 3, 4], [2, 3, 4]]
    shapes[1][dim] = 1
    shapes[2][dim] = 0
    arrays = [rng.standard_normal(shape) for shape in shapes]
    assert_exact(F.cat(list(map(Tensor, arrays)), dim).numpy(), np.concatenate(arrays, dim))
    check_gradients(lambda *tensors: F.cat(tensors, dim), arrays, rng)


@pytest.mark.parametrize(
    ("widths", "numpys"),
    [
        ((1, 2), [(0, 0), (0, 0), (1, 2)]),
        ((1, 2, 3, 0), [(0, 0), (3, 0), (1, 2)]),
        ((0, 0, 0, 0, 1, 1), [(1, 1), (0, 0), (0, 0)]),
        ((), [(0, 0), (0, 0), (0, 0)]),
    ],
)
def test_pad_begins_with_the_last_axis(widths, numpys, rng):
    array = rng.standard_normal((2, 3, 4))
    expected = np.pad(array, numpys, constant_values=7.0)
    assert_exact(F.pad(Tensor(array), widths, value=7.0).numpy(), expected)
    check_gradients(lambda tensor: F.pad(tensor, widths), [array], rng)


def test_negative_pad_cuts_away(rng):
    array = rng.standard_normal((2, 3, 4))
    assert_exact(
        F.pad(Tensor(array), (-1, 2)).numpy(), np.pad(array, [(0, 0)] * 2 + [(0, 2)])[..., 1:]
    )
    assert F.pad(Tensor(array), (-2, -2)).shape == (2, 3, 0)
    check_gradients(lambda tensor: F.pad(tensor, (-1, 2, 1, -1)), [array], rng)


def test_dropout_blanks_a_share_and_keeps_the_mean():
    convolite.manual_seed(3)
    input = convolite.tensor(np.ones((100, 100)), requires_grad=True)
    output = F.dropout(input, 0.25)
    values = np.unique(output.numpy())
    assert values.tolist() == [0.0, 1.0 / 0.75]
    assert abs((output.numpy() == 0).mean() - 0.25) < 0.02
    output.backward(np.ones(output.shape))
    assert_exact(input.grad.numpy(), output.numpy())


def test_dropout_repeats_with_the_seed():
    outputs = []
    for seed in (1, 1, 2):
        convolite.manual_seed(seed)
        outputs.append(F.dropout(np.ones(50, np.float32)).numpy())
    assert_exact(outputs[0], outputs[1])
    assert (outputs[0] != outputs[2]).any()


def test_dropout_outside_training_returns_its_input():
    input = convolite.tensor([1.0])
    assert F.dropout(input, 0.5, training=False) is input
    assert F.dropout(input, 0.0) is input


def test_dropout_of_everything_leaves_zeros_and_no_nan():
    input = convolite.tensor([1.0, np.inf, np.nan], requires_grad=True)
    output = F.dropout(input, 1.0)
    output.backward(np.ones(3))
    assert_exact(output.numpy()[:1], np.zeros(1))
    assert_exact(input.grad.numpy(), np.zeros(3))


@pytest.mark.parametrize("shape", [(4, 30, 5, 6), (30, 5, 6)])
def test_dropout2d_blanks_whole_channels(shape):
    convolite.manual_seed(3)
    output = F.dropout2d(np.ones(shape, np.float32), 0.5).numpy()
    means = output.mean(axis=(-2, -1))
    assert set(np.unique(means)) == {0.0, 2.0}


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (lambda: F.cat([]), ValueError, "cat: tensors must hold at least one tensor"),
        (lambda: F.cat([np.zeros(2)], 1), ValueError, "cat: dim 1 is out of range for 1 axes"),
        (
            lambda: F.cat([np.zeros((2, 3)), np.zeros((3, 2))]),
            ValueError,
            r"cat: tensor 1 has shape \(3, 2\), but tensor 0 has \(2, 3\)",
        ),
        (lambda: F.cat([np.zeros((2, 3)), np.zeros(2)], 1), ValueError, "cat: tensor 1 has shape"),
        (
            lambda: F.cat([np.zeros(2), np.zeros(2, np.float32)]),
            TypeError,
            "cat: tensor 1 must be float64 like tensor 0, got float32",
        ),
        (lambda: F.pad(np.zeros(2), (1,)), ValueError, "pad: pad must hold two widths"),
        (lambda: F.pad(np.zeros(2), (1, 1, 1, 1)), ValueError, "for each of at most 1 axes"),
        (lambda: F.pad(np.zeros(2), (1.0, 1)), TypeError, "pad: pad must be an int, got 1.0"),
        (lambda: F.pad(np.zeros(2), (-2, -1)), ValueError, "pad: cannot cut 3 from an axis of 2"),
        (lambda: F.pad(np.zeros(2), (1, 1), "mirror"), ValueError, "pad: mode must be one of"),
        (lambda: F.dropout(np.ones(2, int)), TypeError, "dropout: input must hold floats, got int"),
        (lambda: F.dropout(np.zeros(2), 1.5), ValueError, r"dropout: p must be within \[0, 1\]"),
        (lambda: F.dropout(np.zeros(2), "a"), TypeError, "dropout: p must be a number, got 'a'"),
        (lambda: F.dropout2d(np.zeros((2, 3))), ValueError, r"dropout2d: input must be \(N, C"),
        (lambda: F.flatten(np.zeros(2), 1), ValueError, "flatten: start_dim 1 is out of"),
        (lambda: convolite.manual_seed(-1), ValueError, "manual_seed: seed must not be negative"),
        (lambda: convolite.manual_seed(1.5), TypeError, "manual_seed: seed must be an int"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()
