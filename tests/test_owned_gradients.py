"""Gradients that backward may write to: those that only one call of a Function can see."""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import _core, nn
from convolite import functional as F
from convolite.autograd import Function
from support.arrays import normals
from support.compare import assert_same_bits


class Twice(Function):
    """input * 2, a new array both ways; notes what its own gradient is said to be."""

    gives_new_arrays = True
    owned: list[bool] = []  # noqa: RUF012 - shared on purpose

    @staticmethod
    def forward(ctx, input):
        return input * 2.0

    @staticmethod
    def backward(ctx, grad_output):
        Twice.owned.append(ctx.owns_grad_output)
        return (grad_output * 2.0,)


class Handing(Function):
    """input + 0, whose backward hands on what `handed` makes of the gradient."""

    gives_new_arrays = True
    handed = staticmethod(lambda grad: grad)

    @staticmethod
    def forward(ctx, input):
        return input + 0.0

    @staticmethod
    def backward(ctx, grad_output):
        return (Handing.handed(grad_output),)


class Both(Function):
    """left + right; hands the same new array to both inputs."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx, left, right):
        return left + right

    @staticmethod
    def backward(ctx, grad_output):
        new = grad_output + 0.0
        return new, new


@pytest.fixture(autouse=True)
def nothing_noted():
    Twice.owned.clear()


def owned_of(make) -> list[bool]:
    """What the calls of Twice in ``make(input)`` are told, the newest first."""
    input = convolite.tensor(np.ones((2, 3)), requires_grad=True)
    output = make(input)
    output.backward(np.ones(output.shape))
    return list(Twice.owned)


def test_the_users_gradient_is_not_owned_and_new_arrays_are():
    assert owned_of(lambda input: Twice.apply(Twice.apply(input))) == [False, True]
    assert owned_of(lambda input: Twice.apply(input).sum())[-1]


@pytest.mark.parametrize(
    "handed",
    [
        lambda grad: grad,
        lambda grad: grad[:],
        lambda grad: grad.T.T,
        np.lib.stride_tricks.as_strided,
        np.from_dlpack,
        lambda grad: np.frombuffer(grad).reshape(grad.shape),
        lambda grad: np.broadcast_to(grad[:1, :1], grad.shape),
    ],
    ids=["itself", "view", "two views", "strided", "dlpack", "buffer", "broadcast"],
)
def test_the_memory_of_a_gradient_in_any_form_is_not_owned(handed, monkeypatch):
    monkeypatch.setattr(Handing, "handed", staticmethod(handed))
    assert owned_of(lambda input: Handing.apply(Twice.apply(input))) == [False]


def test_an_array_for_two_inputs_is_not_owned():
    assert owned_of(lambda input: Both.apply(Twice.apply(input), Twice.apply(input))) == [
        False,
        False,
    ]


def test_a_sum_of_gradients_is_owned():
    def used_twice(input):
        middle = Twice.apply(input)
        return F.cat([middle, middle])

    assert owned_of(used_twice) == [True]


def test_arrays_of_the_core_and_of_numpy_are_apart_and_others_are_not():
    made = _core.empty((3,), np.float64)
    assert _core.are_apart((made, np.zeros(3)))
    assert not _core.are_apart((np.from_dlpack(made),))
    assert not _core.are_apart((np.frombuffer(bytes(8)),))
    assert not _core.are_apart((made[:2],))


def conv(input, weight, bias):
    return F.conv2d(input, weight, bias, padding=1, activation="relu")


def linear(input, weight, bias):
    return F.linear(input, weight, bias, activation="relu6")


LAYERS = {conv: [(2, 4, 5, 6), (4, 4, 3, 3), (4,)], linear: [(7, 4), (4, 4), (4,)]}


def make_leaves(layer, dtype, rng):
    return [convolite.tensor(normals(rng, s, dtype), requires_grad=True) for s in LAYERS[layer]]


def gradients(leaves):
    found = [leaf.grad.numpy() for leaf in leaves]
    for leaf in leaves:
        leaf.grad = None
    return found


def told_in_place(monkeypatch) -> list[bool]:
    told = []
    for name in ("conv2d_backward_epilogue", "linear_backward_epilogue"):
        run = getattr(_core, name)
        monkeypatch.setattr(_core, name, lambda *a, run=run: told.append(a[5]) or run(*a))
    return told


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layer", LAYERS)
def test_layers_write_to_gradients_that_they_own_and_to_no_other(layer, dtype, rng, monkeypatch):
    told = told_in_place(monkeypatch)
    leaves = make_leaves(layer, dtype, rng)
    output = layer(layer(*leaves), *leaves[1:])
    given = normals(rng, output.shape, dtype)
    kept = given.copy()
    output.backward(given, retain_graph=True)
    first = gradients(leaves)
    assert told == [False, True]
    assert_same_bits(given, kept)
    output.backward(given)
    for one, other in zip(gradients(leaves), first, strict=True):
        assert_same_bits(one, other)
    assert_same_bits(given, kept)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_gradient_that_two_layers_share_reaches_both_whole(layer, rng, monkeypatch):
    leaves, others = make_leaves(layer, np.float64, rng), make_leaves(layer, np.float64, rng)
    given = normals(rng, LAYERS[layer][0], np.float64)
    expected = []
    for each in (leaves, others):
        layer(*each).backward(given.copy())
        expected += gradients(each)
    for joined in (Both.apply, lambda left, right: left + right):
        output = joined(layer(*leaves), layer(*others))
        output.backward(given)
        for one, other in zip(gradients(leaves) + gradients(others), expected, strict=True):
            assert_same_bits(one, other)


@pytest.mark.parametrize("layer", LAYERS)
def test_a_result_used_twice_gets_the_whole_sum(layer, rng, monkeypatch):
    told = told_in_place(monkeypatch)
    leaves = make_leaves(layer, np.float64, rng)
    given = normals(rng, LAYERS[layer][0], np.float64)
    layer(*leaves).backward(given * 5.0)
    expected = gradients(leaves)
    output = layer(*leaves)
    (output * 4.0 + output).backward(given)
    assert told == [False, True]
    for one, other in zip(gradients(leaves), expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-12)


@pytest.mark.parametrize("layer", LAYERS)
def test_gradients_of_any_layout_give_the_bits_of_contiguous_ones(layer, rng):
    leaves = make_leaves(layer, np.float32, rng)
    shape = LAYERS[layer][0]

    def through(change, back, given):
        output = change(layer(*leaves))
        output.backward(back(given))
        return gradients(leaves)

    values = np.broadcast_to(normals(rng, shape[:1] + (1,) * (len(shape) - 1)), shape)
    axes = tuple(reversed(range(len(shape))))
    straight = through(lambda x: x, lambda g: np.ascontiguousarray(g), values)
    for found in (
        through(lambda x: x, lambda g: g, values),
        through(lambda x: x.permute(axes), lambda g: g.transpose(), values),
        through(lambda x: x * 1.0, lambda g: g, values),
        through(lambda x: x.reshape(-1), lambda g: g.reshape(-1), values),
    ):
        for one, other in zip(found, straight, strict=True):
            assert_same_bits(one, other)


def test_a_hook_that_keeps_outputs_sees_them_unchanged(rng):
    model = nn.Sequential(nn.Conv2d(2, 3, 3), nn.ReLU(), nn.Conv2d(3, 2, 1), nn.ReLU6())
    images = normals(rng, (2, 2, 6, 6))
    seen = []
    handle = model[2].register_forward_hook(
        lambda module, inputs, output: seen.extend([*inputs, output])
    )
    output = model(images)
    seen.append(output)
    before = [tensor.numpy().copy() for tensor in seen]
    output.sum().backward()
    handle.remove()
    for tensor, values in zip(seen, before, strict=True):
        assert_same_bits(tensor.numpy(), values)
