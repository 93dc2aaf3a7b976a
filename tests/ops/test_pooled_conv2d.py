"""Convolution, max pooling and activation in one pass: the bits of the parts."""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import functional as F
from convolite import nn
from convolite.functional.conv import pooled_conv2d
from convolite.functional.pool import max_window
from support.arrays import normals
from support.compare import assert_same_bits
from support.gradcheck import assert_gradients

# images, channels, size, filters, kernel, stride, padding, groups; pooling kernel, stride, padding
CASES = {
    "sample1": ((64, 1, 28, 32, 3, 1, 0, 1), (2, 2, 0)),
    "sample2_winograd": ((61, 32, 13, 64, 3, 1, 0, 1), (2, 2, 0)),
    "pointwise": ((40, 8, 20, 40, 1, 1, 0, 1), (3, 2, 1)),
    "depthwise": ((40, 24, 20, 24, 3, 1, 1, 24), (2, 2, 0)),
    "groups_strided": ((33, 8, 41, 64, 5, 2, 2, 2), (3, 1, 1)),
    "few_images": ((2, 3, 30, 16, 3, 1, 1, 1), (2, 2, 0)),
    "large_images": ((3, 4, 90, 16, 3, 1, 1, 1), (3, 2, 1)),
    "no_images": ((0, 3, 9, 4, 3, 1, 1, 1), (2, 2, 0)),
    "one_pixel": ((5, 3, 2, 4, 1, 1, 0, 1), (2, 2, 0)),
}


def results(run, arrays, rng_grad) -> list[np.ndarray]:
    """The output and the gradients of fresh leaves."""
    leaves = [convolite.tensor(array, requires_grad=True) for array in arrays]
    output = run(*leaves)
    output.backward(rng_grad(output.shape))
    return [output.numpy(), *(leaf.grad.numpy() for leaf in leaves)]


@pytest.mark.parametrize("activation", [None, "relu", "relu6"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CASES)
def test_one_pass_gives_the_bits_of_the_parts(name, dtype, activation, isa, rng) -> None:
    (n, c, size, out, kernel, stride, padding, groups), pool = CASES[name]
    arrays = [
        normals(rng, shape, dtype)
        for shape in [(n, c, size, size), (out, c // groups, kernel, kernel), (out,)]
    ]
    geometry = (stride, padding, 1, groups)
    window = max_window("max_pool2d", *pool, 1, False)

    def apart(*leaves):
        pooled = F.max_pool2d(F.conv2d(*leaves, *geometry), *pool)
        return pooled if activation is None else getattr(F, activation)(pooled)

    def grad(shape):
        return np.sin(np.arange(np.prod(shape), dtype=dtype)).reshape(shape)

    together = results(
        lambda *leaves: pooled_conv2d(*leaves, *geometry, activation, window), arrays, grad
    )
    for one, other in zip(together, results(apart, arrays, grad), strict=True):
        assert_same_bits(one, other)


@pytest.mark.smoke
@pytest.mark.parametrize("name", ["sample1", "sample2_winograd"])
def test_any_number_of_threads_gives_the_same_bits(name, isa, rng) -> None:
    (n, c, size, out, kernel, stride, padding, groups), pool = CASES[name]
    shapes = [(n, c, size, size), (out, c // groups, kernel, kernel), (out,)]
    arrays = [normals(rng, shape, np.float32) for shape in shapes]
    window = max_window("max_pool2d", *pool, 1, False)
    before = convolite.get_num_threads()
    found = []

    def run(*leaves):
        return pooled_conv2d(*leaves, stride, padding, 1, groups, "relu", window)

    def grad(shape):
        return np.sin(np.arange(np.prod(shape), dtype=np.float32)).reshape(shape)

    try:
        for threads in (1, 2, 3):
            convolite.set_num_threads(threads)
            found.append(results(run, arrays, grad))
    finally:
        convolite.set_num_threads(before)
    for others in found[1:]:
        for one, other in zip(found[0], others, strict=True):
            assert_same_bits(one, other)


@pytest.mark.parametrize("batched", [True, False])
@pytest.mark.parametrize("wanted", [(0,), (1,), (2,), (0, 1), (1, 2)])
def test_only_wanted_gradients_are_given(wanted, batched, rng) -> None:
    shapes = [(3, 2, 9, 8) if batched else (2, 9, 8), (4, 2, 3, 3), (4,)]
    arrays = [normals(rng, shape, np.float32) for shape in shapes]
    window = max_window("max_pool2d", 2, 2, 0, 1, False)
    gradients = []
    for asked in (wanted, (0, 1, 2)):
        leaves = [convolite.tensor(a, requires_grad=i in asked) for i, a in enumerate(arrays)]
        output = pooled_conv2d(*leaves, 1, 0, 1, 1, "relu", window)
        output.backward(np.ones(output.shape, np.float32))
        gradients.append([leaf.grad for leaf in leaves])
    for i in range(3):
        if i in wanted:
            assert_same_bits(gradients[0][i].numpy(), gradients[1][i].numpy())
        else:
            assert gradients[0][i] is None


# Winograd's method computes images with such results anew: no other image may change by that.
@pytest.mark.parametrize("pixel", [np.nan, np.inf, 3e38])
@pytest.mark.parametrize("threads", [1, 2, 64])
def test_an_image_that_is_not_finite_changes_no_other(threads, pixel, rng) -> None:
    images = normals(rng, (64, 16, 32, 32), np.float32)
    filters = normals(rng, (16, 16, 3, 3), np.float32)
    window = max_window("max_pool2d", 2, 2, 0, 1, False)

    def maxima(values):
        return pooled_conv2d(values, filters, None, 1, 1, 1, 1, None, window).numpy()

    expected = maxima(images)
    images[5, 3, 2, 2] = pixel
    before = convolite.get_num_threads()
    try:
        convolite.set_num_threads(threads)
        found = maxima(images)
    finally:
        convolite.set_num_threads(before)
    others = np.arange(64) != 5
    assert_same_bits(found[others], expected[others])
    assert_same_bits(found, F.max_pool2d(F.conv2d(images, filters, padding=1), 2).numpy())


@pytest.mark.parametrize("activation", [None, "relu"])
def test_gradients_are_those_of_differences(activation, rng) -> None:
    arrays = [normals(rng, shape, np.float64) for shape in [(3, 2, 7, 6), (4, 2, 3, 3), (4,)]]
    window = max_window("max_pool2d", 2, 2, 0, 1, False)
    grad_output = rng.standard_normal((3, 4, 3, 3))

    def function(*values):
        return pooled_conv2d(*values, 1, 1, 1, 1, activation, window)

    found = results(function, arrays, lambda _: grad_output)[1:]
    assert_gradients(
        lambda *values: function(*map(convolite.tensor, values)).numpy(),
        arrays,
        found,
        grad_output,
        rng,
    )


@pytest.mark.smoke
@pytest.mark.parametrize("shape", [(40, 1, 28, 28), (1, 28, 28)])
@pytest.mark.parametrize("order", ["activation first", "pool first", "no activation"])
def test_layers_in_a_row_run_in_one_pass(order, shape, rng, monkeypatch) -> None:
    pool, relu = nn.MaxPool2d(2), nn.ReLU()
    behind = {"activation first": [relu, pool], "pool first": [pool, relu], "no activation": [pool]}
    model = nn.Sequential(nn.Conv2d(1, 16, 3), *behind[order])
    images = normals(rng, shape, np.float32)
    expected = images
    for layer in model:
        expected = layer(expected)
    calls = []
    apply = F.conv.PooledConv2d.apply
    monkeypatch.setattr(
        F.conv.PooledConv2d, "apply", lambda *arguments: calls.append(1) or apply(*arguments)
    )
    assert_same_bits(model(images).numpy(), expected.numpy())
    assert len(calls) == 1


def trained(model, images, grad_output, fused) -> list[np.ndarray]:
    """The output and all gradients of the layers, run together or each by itself."""
    model.zero_grad()
    leaf = convolite.tensor(images, requires_grad=True)
    convolite.set_fusion(fused)
    try:
        output = model(leaf)
    finally:
        convolite.set_fusion(True)
    output.backward(grad_output)
    leaves = [leaf, *model.parameters()]
    return [output.numpy(), *(each.grad.numpy().copy() for each in leaves)]


# As many images as three threads take to the cache: with fewer the parts run one by one.
@pytest.mark.parametrize(
    ("channels", "side", "filters", "method"), [(1, 28, 32, "direct"), (32, 13, 64, "winograd")]
)
def test_fusion_changes_no_bit_of_a_training(
    channels, side, filters, method, threads, isa, rng
) -> None:
    model = nn.Sequential(nn.Conv2d(channels, filters, 3), nn.ReLU(), nn.MaxPool2d(2))
    images = normals(rng, (50, channels, side, side), np.float32)
    chosen = [
        (choice.computation, choice.method)
        for choice in convolite.explain(model, images.shape).choices
    ]
    assert ("forward", method) in chosen
    assert ("forward", "merged") in chosen
    grad_output = normals(rng, model(images).shape, np.float32)
    together, apart = (trained(model, images, grad_output, fused) for fused in (True, False))
    for one, other in zip(together, apart, strict=True):
        assert_same_bits(one, other)


def test_pooling_that_does_not_fit_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(5))
    with pytest.raises(ValueError, match=r"^max_pool2d: "):
        model(np.ones((1, 1, 6, 6), np.float32))
