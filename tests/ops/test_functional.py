"""functional.conv2d and linear as users call them: gradients, shapes, fused activations."""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import Tensor, _core
from convolite import functional as F
from support.compare import assert_exact
from support.errors import assert_error
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


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("batch", [(2,), ()])
@pytest.mark.parametrize(
    "options",
    [
        {},
        {"stride": (2, 1), "padding": ((1, 0), (2, 1)), "dilation": 2},
        {"padding": "same", "stride": 2, "groups": 2},
    ],
)
def test_conv2d_has_numerical_gradients(options, batch, activation, rng):
    channels = 4 // options.get("groups", 1)
    arrays = [
        2.0 * rng.standard_normal((*batch, 4, 6, 7)),
        rng.standard_normal((6, channels, 3, 2)),
        rng.standard_normal(6),
    ]

    def conv2d(*inputs):
        return F.conv2d(*inputs, activation=activation, **options)

    assert conv2d(*arrays).ndim == 3 + len(batch)
    check_gradients(conv2d, arrays, rng)
    check_gradients(lambda *inputs: conv2d(*inputs), arrays[:2], rng)


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("leading", [(), (3,), (2, 3), (2, 1, 3)])
def test_linear_has_numerical_gradients(leading, activation, rng):
    arrays = [
        3.0 * rng.standard_normal((*leading, 5)),
        rng.standard_normal((4, 5)),
        rng.standard_normal(4),
    ]

    def linear(*inputs):
        return F.linear(*inputs, activation=activation)

    assert linear(*arrays).shape == (*leading, 4)
    check_gradients(linear, arrays, rng)
    check_gradients(linear, arrays[:2], rng)


@pytest.mark.parametrize("function", [F.relu, F.relu6])
def test_a_fused_activation_equals_the_separate_one(function, rng):
    arrays = [rng.standard_normal(s).astype(np.float32) for s in [(2, 3, 6, 6), (4, 3, 3, 3), (4,)]]
    grad = rng.standard_normal((2, 4, 4, 4)).astype(np.float32)
    gradients = []
    for call in (
        lambda *inputs: F.conv2d(*inputs, activation=function.__name__),
        lambda *inputs: function(F.conv2d(*inputs)),
    ):
        inputs = [convolite.tensor(array, requires_grad=True) for array in arrays]
        output = call(*inputs)
        output.backward(grad)
        gradients.append([output.numpy(), *(input.grad.numpy() for input in inputs)])
    for fused, separate in zip(*gradients, strict=True):
        assert_exact(fused, separate)


@pytest.mark.parametrize("wanted", ["input", "weight", "bias"])
def test_only_the_gradients_that_are_asked_for_are_computed(wanted, monkeypatch, rng):
    computed = []
    for op in ("conv2d", "linear"):
        for name in ("input", "weight", "bias"):
            full = f"{op}_backward_{name}"
            original = getattr(_core, full)
            monkeypatch.setattr(
                _core,
                full,
                lambda *a, original=original, full=full: computed.append(full) or original(*a),
            )
    shapes = {"input": (1, 2, 4, 4), "weight": (3, 2, 3, 3), "bias": (3,)}
    inputs = [
        convolite.tensor(np.ones(shape), requires_grad=name == wanted)
        for name, shape in shapes.items()
    ]
    F.conv2d(*inputs).sum().backward()
    shapes = {"input": (2, 4), "weight": (3, 4), "bias": (3,)}
    inputs = [
        convolite.tensor(np.ones(shape), requires_grad=name == wanted)
        for name, shape in shapes.items()
    ]
    F.linear(*inputs).sum().backward()
    assert computed == [f"conv2d_backward_{wanted}", f"linear_backward_{wanted}"]


@pytest.mark.parametrize("batch", [0, 1])
def test_empty_batches_have_gradients_of_zero(batch):
    weight = convolite.tensor(np.ones((3, 2, 3, 3)), requires_grad=True)
    F.conv2d(np.zeros((batch, 2, 4, 4)), weight).sum().backward()
    assert_exact(weight.grad.numpy(), np.zeros(weight.shape))
    weight = convolite.tensor(np.ones((3, 4)), requires_grad=True)
    F.linear(np.zeros((batch, 5, 4)), weight).sum().backward()
    assert_exact(weight.grad.numpy(), np.zeros(weight.shape))


def test_paddings_of_numpy_are_those_of_python(rng):
    image, weight = rng.standard_normal((1, 2, 5, 5)), rng.standard_normal((3, 2, 3, 3))
    for given, plain in [([1, 2], (1, 2)), (1, 1), ([[1, 0], [2, 1]], ((1, 0), (2, 1)))]:
        padding = np.array(given)
        layer = convolite.nn.Conv2d(2, 3, 3, padding=padding, dtype=np.float64)
        layer.weight.numpy()[...] = weight
        layer.bias.numpy()[...] = 0.0
        expected = F.conv2d(image, weight, padding=plain).numpy()
        assert_exact(F.conv2d(image, weight, padding=padding).numpy(), expected)
        padding[...] = 5  # is the caller's, not the layer's
        assert layer.padding == plain
        assert_exact(layer(image).numpy(), expected)
        assert f"padding={plain}" in repr(layer)


@pytest.mark.parametrize("shape", [(), (3,), (3, 3), (1, 1, 3, 3, 3)])
@pytest.mark.parametrize("padding", [0, "same", "valid"])
def test_what_is_no_image_is_refused_with_any_padding(shape, padding):
    text = "conv2d: input must have 4 axes (n, c, h, w), got input.shape = " + str(shape)
    assert_error(
        lambda: F.conv2d(np.ones(shape), np.ones((1, 1, 1, 1)), padding=padding), ValueError, text
    )


def test_a_loss_without_weight_is_not_one_without_targets():
    scores = convolite.tensor(np.ones((2, 3)), requires_grad=True)
    F.nll_loss(scores, np.array([0, 0]), np.array([0.0, 1.0, 1.0])).backward()
    assert np.isnan(scores.grad.numpy()[:, 0]).all()  # 0 / 0 in each, as in cross_entropy
    scores.grad = None
    loss = F.nll_loss(scores, np.array([-100, -100]), np.array([0.0, 1.0, 1.0]))
    loss.backward()
    assert np.isnan(loss.item())
    assert_exact(scores.grad.numpy(), np.zeros((2, 3)))
