"""Every gradient of the reference against differences of its forward function, in float64."""

from __future__ import annotations

import numpy as np
import pytest

from convolite import reference
from convolite.reference.activation import FORMULAS
from support.arrays import distinct
from support.cases import case_parameters
from support.gradcheck import assert_gradients

# Rows that the benchmarks share are larger than differences need.
SMALL_CONVOLUTIONS = [row for row in case_parameters("conv2d") if row.values[0].use == "test"]

POOLS = [
    {"kernel": (2, 2), "stride": (2, 2)},
    {"kernel": (3, 2), "stride": (1, 3), "padding": (1, 1, 0, 1)},
    {"kernel": (3, 3), "stride": (2, 2), "padding": (1, 0, 1, 1), "ceil_mode": True},
]


@pytest.mark.parametrize("case", SMALL_CONVOLUTIONS)
def test_conv2d(case, rng: np.random.Generator) -> None:
    image = rng.standard_normal((case.n, case.c, case.h, case.w))
    weight = rng.standard_normal((case.oc, case.c // case.groups, case.kh, case.kw))
    bias = rng.standard_normal(case.oc)
    geometry = (
        (case.stride_h, case.stride_w),
        (case.pad_top, case.pad_bottom, case.pad_left, case.pad_right),
        (case.dil_h, case.dil_w),
        case.groups,
    )

    def forward(image, weight, bias):
        return reference.conv2d(image, weight, bias, *geometry)

    grad_output = rng.standard_normal(forward(image, weight, bias).shape)
    gradients = (
        reference.conv2d_backward_input(grad_output, weight, image.shape, *geometry),
        reference.conv2d_backward_weight(grad_output, image, weight.shape, *geometry),
        reference.conv2d_backward_bias(grad_output),
    )
    assert_gradients(forward, (image, weight, bias), gradients, grad_output, rng)


@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
@pytest.mark.parametrize("pool", POOLS)
def test_max_pool2d(pool, dilation, rng: np.random.Generator) -> None:
    image = distinct(rng, (2, 3, 7, 6))
    output, offsets = reference.max_pool2d(image, **pool, dilation=dilation)
    grad_output = rng.standard_normal(output.shape)
    window = {name: value for name, value in pool.items() if name != "ceil_mode"}
    grad_input = reference.max_pool2d_backward(
        grad_output, offsets, image.shape, **window, dilation=dilation
    )

    def forward(image):
        return reference.max_pool2d(image, **pool, dilation=dilation)[0]

    assert_gradients(forward, (image,), (grad_input,), grad_output, rng)


@pytest.mark.parametrize("options", [{}, {"count_include_pad": False}, {"divisor_override": 5}])
@pytest.mark.parametrize("pool", POOLS)
def test_avg_pool2d(pool, options, rng: np.random.Generator) -> None:
    image = rng.standard_normal((2, 3, 7, 6))
    output = reference.avg_pool2d(image, **pool, **options)
    grad_output = rng.standard_normal(output.shape)
    window = {name: value for name, value in pool.items() if name != "ceil_mode"}
    grad_input = reference.avg_pool2d_backward(grad_output, image.shape, **window, **options)

    def forward(image):
        return reference.avg_pool2d(image, **pool, **options)

    assert_gradients(forward, (image,), (grad_input,), grad_output, rng)


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (7, 6), (9, 8)])
def test_adaptive_avg_pool2d(size, rng: np.random.Generator) -> None:
    image = rng.standard_normal((2, 3, 7, 6))
    grad_output = rng.standard_normal((2, 3, *size))
    grad_input = reference.adaptive_avg_pool2d_backward(grad_output, image.shape)

    def forward(image):
        return reference.adaptive_avg_pool2d(image, size)

    assert_gradients(forward, (image,), (grad_input,), grad_output, rng)


@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2), (2, 3, 4, 5)])
def test_batch_norm_training(shape, rng: np.random.Generator) -> None:
    image, grad_output = rng.standard_normal(shape) * 2 + 1, rng.standard_normal(shape)
    weight, bias = rng.standard_normal(3), rng.standard_normal(3)

    def forward(image, weight, bias):
        return reference.batch_norm_training(image, weight, bias, eps=0.1)[0]

    _, mean, inv_std = reference.batch_norm_training(image, weight, bias, eps=0.1)
    gradients = reference.batch_norm_backward(grad_output, image, weight, mean, inv_std)
    assert_gradients(forward, (image, weight, bias), gradients, grad_output, rng)


def test_batch_norm_training_without_weight(rng: np.random.Generator) -> None:
    image, grad_output = rng.standard_normal((2, 6, 3, 4, 5))
    _, mean, inv_std = reference.batch_norm_training(image)
    gradients = reference.batch_norm_backward(grad_output, image, None, mean, inv_std)

    def forward(image):
        return reference.batch_norm_training(image)[0]

    assert_gradients(forward, (image,), gradients[:1], grad_output, rng)


def test_batch_norm_inference(rng: np.random.Generator) -> None:
    image, grad_output = rng.standard_normal((2, 2, 3, 4, 5))
    weight, bias, mean = rng.standard_normal((3, 3))
    variance = rng.uniform(0.5, 2.0, 3)

    def forward(image, weight, bias):
        return reference.batch_norm_inference(image, weight, bias, mean, variance, eps=0.1)

    inv_std = 1.0 / np.sqrt(variance + 0.1)
    gradients = reference.batch_norm_backward(
        grad_output, image, weight, mean, inv_std, training=False
    )
    assert_gradients(forward, (image, weight, bias), gradients, grad_output, rng)


def test_linear(rng: np.random.Generator) -> None:
    rows, weight, bias = (rng.standard_normal(shape) for shape in ((4, 5), (3, 5), (3,)))
    grad_output = rng.standard_normal((4, 3))
    gradients = (
        reference.linear_backward_input(grad_output, weight),
        reference.linear_backward_weight(grad_output, rows),
        reference.linear_backward_bias(grad_output),
    )
    assert_gradients(reference.linear, (rows, weight, bias), gradients, grad_output, rng)


@pytest.mark.parametrize("name", FORMULAS)
def test_activation(name: str, rng: np.random.Generator) -> None:
    # The kinks are at -3, 0, 3 and 6; points are odd multiples of 1/16.
    points = distinct(rng, (200,))
    grad_output = rng.standard_normal(points.shape)

    def forward(points):
        return reference.activation(name, points, 0.3)

    gradient = reference.activation_backward(name, grad_output, points, 0.3)
    assert_gradients(forward, (points,), (gradient,), grad_output, rng)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name: str, axis: int, rng: np.random.Generator) -> None:
    forward = getattr(reference, name)
    backward = getattr(reference, f"{name}_backward")
    logits, grad_output = rng.standard_normal((2, 3, 4, 5))
    gradient = backward(grad_output, forward(logits, axis), axis)
    assert_gradients(lambda x: forward(x, axis), (logits,), (gradient,), grad_output, rng)


@pytest.mark.parametrize("spatial", [(), (3,), (2, 3)])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy(
    reduction: str, weighted: bool, label_smoothing: float, spatial, rng: np.random.Generator
) -> None:
    logits = rng.standard_normal((6, 5, *spatial))
    target = rng.integers(0, 5, (6, *spatial))
    target[0] = -1
    weight = rng.uniform(0.5, 2.0, 5) if weighted else None
    options = (target, weight, label_smoothing, -1, reduction)

    def forward(logits):
        return reference.cross_entropy(logits, *options)

    grad_loss = rng.standard_normal(forward(logits).shape)
    gradient = reference.cross_entropy_backward(grad_loss, logits, *options)
    assert_gradients(forward, (logits,), (gradient,), np.asarray(grad_loss), rng)
