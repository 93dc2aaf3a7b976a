"""functional.flatten, cat, pad, dropout and dropout2d."""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import Tensor, _core
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


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_dropout_draws_one_float32_for_each_element_and_keeps_those_from_p_on(dtype):
    convolite.manual_seed(5)
    noise = np.random.Generator(np.random.PCG64(5)).random((3, 70), np.float32)
    output = F.dropout(np.ones((3, 70), dtype), 0.3).numpy()
    assert output.dtype == dtype
    assert_exact(output, (noise >= np.float32(0.3)) * dtype(1 / (1 - 0.3)))


def test_dropout2d_draws_one_number_for_each_channel():
    convolite.manual_seed(5)
    noise = np.random.Generator(np.random.PCG64(5)).random((2, 6, 1, 1), np.float32)
    image = np.arange(2 * 6 * 3 * 5, dtype=np.float32).reshape(2, 6, 3, 5)
    input = convolite.tensor(image, requires_grad=True)
    output = F.dropout2d(input, 0.5)
    assert_exact(output.numpy(), (noise >= 0.5) * image * np.float32(2))
    output.backward(image)
    assert_exact(input.grad.numpy(), output.numpy())


@pytest.mark.parametrize("dtype", [np.bool_, np.uint8, np.int64, np.float16, ">f4", np.longdouble])
def test_any_numbers_can_be_padded_and_put_in_a_row(dtype):
    array = np.arange(24).reshape(2, 3, 4).astype(dtype).transpose(2, 0, 1)
    padded = F.pad(array, (1, 2, 0, -1), value=1).numpy()
    expected = np.pad(array[:, :-1], [(0, 0), (0, 0), (1, 2)], constant_values=1)
    joined = F.cat([array, array[1:2]]).numpy()
    assert padded.dtype == joined.dtype == array.dtype
    np.testing.assert_array_equal(padded, expected)
    np.testing.assert_array_equal(joined, np.concatenate([array, array[1:2]]))


def test_large_arrays_give_the_same_for_any_number_of_threads(rng, threads):
    array = rng.standard_normal((40, 50, 60))
    assert_exact(F.pad(array, (1, 2, 3, 4)).numpy(), np.pad(array, [(0, 0), (3, 4), (1, 2)]))
    joined = F.cat([array, array[:, :7]], 1).numpy()
    assert_exact(joined, np.concatenate([array, array[:, :7]], 1))
    convolite.manual_seed(1)
    noise = np.random.Generator(np.random.PCG64(1)).random(array.shape, np.float32)
    assert_exact(F.dropout(array).numpy(), np.where(noise >= 0.5, 2 * array, 0.0))


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
        (
            lambda: F.dropout(np.ones(2, "f2")),
            TypeError,
            "dropout: input must be float32 or float64",
        ),
        (
            lambda: _core.dropout_forward(np.zeros(3), np.zeros(2, np.float32), 0.5),
            ValueError,
            "dropout: noise must cut input into equal parts, got 2 for 3 elements",
        ),
        (
            lambda: _core.split(np.zeros(3), [(2,), (2,)], 0, [True, True]),
            ValueError,
            r"split: array must have shape \(4,\), got \(3,\)",
        ),
        (
            lambda: _core.concatenate([np.array([None])], 0),
            TypeError,
            "cat: tensors must not hold objects",
        ),
        (
            lambda: _core.concatenate([np.zeros(2, ">f4"), np.zeros(2, "<f4")], 0),
            TypeError,
            "cat: tensor 1 must be >f4 like tensor 0, got float32",
        ),
        (
            lambda: _core.pad_backward(np.zeros(5), [-(2**63), 0]),
            ValueError,
            "pad: widths must be smaller than 2\\^60",
        ),
        (lambda: _core.pad(np.array([None]), [1, 1], 0.0), TypeError, "pad: input must not hold"),
        (lambda: convolite.manual_seed(-1), ValueError, "manual_seed: seed must not be negative"),
        (lambda: convolite.manual_seed(1.5), TypeError, "manual_seed: seed must be an int"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()


@pytest.mark.parametrize("dtype", ["i1", "?", "f2", "c16", "V3", ">f8"])
def test_elements_of_any_size_are_padded_joined_and_split(dtype):
    whole = np.frombuffer(bytes(range(96)), "i1")[: 6 * np.dtype(dtype).itemsize].view(dtype)
    parts = whole[:4].reshape(2, 2), whole[4:].reshape(2, 1)
    joined = _core.concatenate(list(parts), 1)
    assert joined.dtype == whole.dtype
    assert joined.tobytes() == whole[[[0, 1, 4], [2, 3, 5]]].tobytes()
    shapes = [(2, 2), (2, 1)]
    for part, cut in zip(parts, _core.split(joined, shapes, 1, [True, True]), strict=True):
        assert cut.tobytes() == part.tobytes()
    first, second = _core.split(joined, shapes, 1, [False, True])
    assert first is None
    assert second.tobytes() == parts[1].tobytes()
    assert _core.pad(joined, [-1, 0, 0, -1], 0.0).tobytes() == joined[:1, 1:].tobytes()


def test_arrays_are_apart_unless_one_is_a_view_or_there_twice():
    array, other = np.zeros((2, 3)), np.zeros(3)
    assert _core.are_apart((array, None, other))
    assert _core.are_apart([])
    assert not _core.are_apart((array, None, array))
    assert not _core.are_apart((other, array[0]))
    assert not _core.are_apart(array)  # whose rows are views that nobody keeps


def test_joining_copies_no_gradient_that_nobody_wants(monkeypatch):
    wanted = []
    split = _core.split
    monkeypatch.setattr(
        _core, "split", lambda *arguments: wanted.append(list(arguments[3])) or split(*arguments)
    )
    part = convolite.tensor([[1.0, 2.0]], requires_grad=True)
    F.cat([np.ones((3, 2), np.float32), part], 0).sum().backward()
    assert wanted == [[False, True]]
    assert part.grad.tolist() == [[1, 1]]
