"""The reference against PyTorch in float64, where PyTorch is installed."""

from __future__ import annotations

import numpy as np
import pytest

from convolite import reference
from support.arrays import integers
from support.cases import case_parameters
from support.compare import assert_close, assert_exact

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

#: Both sides compute in float64, in another order: far above rounding, far below any mistake.
UNITS = 1000.0


SMALL_CONVOLUTIONS = [row for row in case_parameters("conv2d") if row.values[0].use == "test"]


def _leaf(array):
    return torch.from_numpy(np.array(array, dtype=np.float64)).requires_grad_()


def _check(expected_tensor, actual, units: float = UNITS) -> None:
    expected = expected_tensor.detach().numpy()
    scale = np.abs(np.nan_to_num(expected, posinf=0.0, neginf=0.0)).max(initial=1.0)
    assert_close(np.asarray(actual), expected, scale=scale, units=units)


@pytest.mark.parametrize("case", SMALL_CONVOLUTIONS)
def test_conv2d(case, rng: np.random.Generator) -> None:
    image = rng.standard_normal((case.n, case.c, case.h, case.w))
    weight = rng.standard_normal((case.oc, case.c // case.groups, case.kh, case.kw))
    bias = rng.standard_normal(case.oc)
    stride, dilation = (case.stride_h, case.stride_w), (case.dil_h, case.dil_w)
    padding = (case.pad_top, case.pad_bottom, case.pad_left, case.pad_right)
    geometry = (stride, padding, dilation, case.groups)
    leaves = _leaf(image), _leaf(weight), _leaf(bias)
    padded = torch.nn.functional.pad(leaves[0], (*padding[2:], *padding[:2]))
    expected = torch.nn.functional.conv2d(
        padded, *leaves[1:], stride=stride, dilation=dilation, groups=case.groups
    )
    grad_output = rng.standard_normal(expected.shape)
    expected.backward(torch.from_numpy(grad_output))
    _check(expected, reference.conv2d(image, weight, bias, *geometry))
    grad_input = reference.conv2d_backward_input(grad_output, weight, image.shape, *geometry)
    _check(leaves[0].grad, grad_input)
    grad_weight = reference.conv2d_backward_weight(grad_output, image, weight.shape, *geometry)
    _check(leaves[1].grad, grad_weight)
    _check(leaves[2].grad, reference.conv2d_backward_bias(grad_output))


def _pools() -> list[tuple]:
    """(image size, kernel, stride, padding, dilation) with PyTorch's two-sided padding."""
    return [
        ((7, 6), (2, 2), (2, 2), (0, 0), (1, 1)),
        ((7, 6), (3, 2), (1, 3), (1, 0), (1, 1)),
        ((5, 9), (3, 3), (2, 2), (1, 1), (1, 1)),
        ((4, 4), (2, 2), (3, 3), (1, 1), (1, 1)),
        ((9, 8), (3, 2), (2, 1), (1, 1), (2, 3)),
        ((1, 5), (1, 5), (7, 7), (0, 2), (1, 1)),
    ]


@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation"), _pools())
def test_max_pool2d(size, kernel, stride, padding, dilation, ceil_mode, rng) -> None:
    image = integers(rng, (2, 3, *size), np.float64)
    image[0, 0, 0, :2] = np.nan, -np.inf
    leaf = _leaf(image)
    expected = torch.nn.functional.max_pool2d(leaf, kernel, stride, padding, dilation, ceil_mode)
    four_sided = (padding[0], padding[0], padding[1], padding[1])
    output, offsets = reference.max_pool2d(image, kernel, stride, four_sided, dilation, ceil_mode)
    assert_exact(output, expected.detach().numpy())
    grad_output = integers(rng, output.shape, np.float64)
    expected.backward(torch.from_numpy(grad_output))
    grad_input = reference.max_pool2d_backward(
        grad_output, offsets, image.shape, kernel, stride, four_sided, dilation
    )
    assert_exact(grad_input, leaf.grad.numpy())


@pytest.mark.parametrize("count_include_pad", [False, True])
@pytest.mark.parametrize("divisor", [None, 3])
@pytest.mark.parametrize("ceil_mode", [False, True])
@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "dilation"), _pools())
def test_avg_pool2d(
    size, kernel, stride, padding, dilation, ceil_mode, divisor, count_include_pad, rng
) -> None:
    image = rng.standard_normal((2, 3, *size))
    leaf = _leaf(image)
    expected = torch.nn.functional.avg_pool2d(
        leaf, kernel, stride, padding, ceil_mode, count_include_pad, divisor
    )
    window = (kernel, stride, (padding[0], padding[0], padding[1], padding[1]))
    options = {"count_include_pad": count_include_pad, "divisor_override": divisor}
    _check(expected, reference.avg_pool2d(image, *window, ceil_mode=ceil_mode, **options))
    grad_output = rng.standard_normal(expected.shape)
    expected.backward(torch.from_numpy(grad_output))
    _check(leaf.grad, reference.avg_pool2d_backward(grad_output, image.shape, *window, **options))


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (7, 6), (9, 8)])
def test_adaptive_avg_pool2d(size, rng: np.random.Generator) -> None:
    image = rng.standard_normal((2, 3, 7, 6))
    leaf = _leaf(image)
    expected = torch.nn.functional.adaptive_avg_pool2d(leaf, size)
    _check(expected, reference.adaptive_avg_pool2d(image, size))
    grad_output = rng.standard_normal(expected.shape)
    expected.backward(torch.from_numpy(grad_output))
    _check(leaf.grad, reference.adaptive_avg_pool2d_backward(grad_output, image.shape))


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("shape", [(5, 3), (4, 3, 2), (2, 3, 4, 5)])
def test_batch_norm(shape, training: bool, rng: np.random.Generator) -> None:
    image, grad_output = rng.standard_normal(shape) * 2 + 1, rng.standard_normal(shape)
    weight, bias, running_mean = rng.standard_normal((3, 3))
    running_var = rng.uniform(0.5, 2.0, 3)
    leaves = _leaf(image), _leaf(weight), _leaf(bias)
    statistics = torch.from_numpy(running_mean.copy()), torch.from_numpy(running_var.copy())
    expected = torch.nn.functional.batch_norm(
        leaves[0], *statistics, *leaves[1:], training=training, momentum=0.3, eps=1e-3
    )
    expected.backward(torch.from_numpy(grad_output))
    if training:
        output, mean, inv_std = reference.batch_norm_training(image, weight, bias, 1e-3)
        updated = reference.running_statistics(image, running_mean, running_var, 0.3)
    else:
        arguments = (weight, bias, running_mean, running_var)
        output = reference.batch_norm_inference(image, *arguments, 1e-3)
        mean, inv_std = running_mean, 1 / np.sqrt(running_var + 1e-3)
        updated = (running_mean, running_var)
    gradients = reference.batch_norm_backward(grad_output, image, weight, mean, inv_std, training)
    _check(expected, output)
    for tensor, array in zip(statistics, updated, strict=True):
        _check(tensor, array)
    for leaf, gradient in zip(leaves, gradients, strict=True):
        _check(leaf.grad, gradient)


ACTIVATIONS = {
    "relu": torch.nn.functional.relu,
    "leaky_relu": lambda x: torch.nn.functional.leaky_relu(x, 0.3),
    "relu6": torch.nn.functional.relu6,
    "elu": lambda x: torch.nn.functional.elu(x, 0.3),
    "gelu": torch.nn.functional.gelu,
    "gelu_tanh": lambda x: torch.nn.functional.gelu(x, approximate="tanh"),
    "silu": torch.nn.functional.silu,
    "hardswish": torch.nn.functional.hardswish,
    "hardsigmoid": torch.nn.functional.hardsigmoid,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
}


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(name: str) -> None:
    # Kinks and far ends included: what PyTorch does there is the rule.
    points = np.concatenate([np.arange(-8.0, 8.5, 0.5), [-800.0, 800.0]])
    leaf, grad_output = _leaf(points), np.arange(1.0, points.size + 1)
    expected = ACTIVATIONS[name](leaf)
    expected.backward(torch.from_numpy(grad_output))
    _check(expected, reference.activation(name, points, 0.3))
    # PyTorch's derivative of hardsigmoid is the float32 nearest to 1/6, also in float64.
    units = 2.0**30 if name == "hardsigmoid" else UNITS
    _check(leaf.grad, reference.activation_backward(name, grad_output, points, 0.3), units)


@pytest.mark.parametrize("axis", [0, 1, -1])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_softmax(name: str, axis: int, rng: np.random.Generator) -> None:
    logits, grad_output = rng.standard_normal((2, 3, 4, 5)) * 5
    leaf = _leaf(logits)
    expected = getattr(torch.nn.functional, name)(leaf, dim=axis)
    expected.backward(torch.from_numpy(grad_output))
    output = getattr(reference, name)(logits, axis)
    _check(expected, output)
    _check(leaf.grad, getattr(reference, f"{name}_backward")(grad_output, output, axis))


@pytest.mark.parametrize("spatial", [(), (2, 3)])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.3])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_cross_entropy(reduction, weighted, label_smoothing, spatial, rng) -> None:
    logits = rng.standard_normal((6, 5, *spatial))
    target = rng.integers(0, 5, (6, *spatial))
    target[0] = -100
    weight = rng.uniform(0.5, 2.0, 5) if weighted else None
    leaf = _leaf(logits)
    expected = torch.nn.functional.cross_entropy(
        leaf,
        torch.from_numpy(target),
        None if weight is None else torch.from_numpy(weight),
        reduction=reduction,
        label_smoothing=label_smoothing,
    )
    options = (target, weight, label_smoothing, -100, reduction)
    _check(expected, reference.cross_entropy(logits, *options))
    grad_loss = np.asarray(rng.standard_normal(expected.shape))
    expected.backward(torch.from_numpy(grad_loss))
    _check(leaf.grad, reference.cross_entropy_backward(grad_loss, logits, *options))


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"momentum": 0.9},
        {"momentum": 0.9, "dampening": 0.2, "weight_decay": 0.1},
        {"momentum": 0.9, "weight_decay": 0.1, "nesterov": True},
    ],
)
def test_sgd(options, rng: np.random.Generator) -> None:
    value, buffer = rng.standard_normal(7), None
    leaf = _leaf(value)
    optimizer = torch.optim.SGD([leaf], lr=0.1, **options)
    for gradient in rng.standard_normal((4, 7)):
        leaf.grad = torch.from_numpy(gradient)
        optimizer.step()
        value, buffer = reference.sgd_step(value, gradient, buffer, 0.1, **options)
        _check(leaf, value)


@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam(decoupled: bool, weight_decay: float, rng: np.random.Generator) -> None:
    value, exp_avg, exp_avg_sq = rng.standard_normal(7), np.zeros(7), np.zeros(7)
    leaf = _leaf(value)
    rule = torch.optim.AdamW if decoupled else torch.optim.Adam
    optimizer = rule([leaf], lr=0.1, betas=(0.8, 0.95), eps=1e-3, weight_decay=weight_decay)
    for step, gradient in enumerate(rng.standard_normal((4, 7)), start=1):
        leaf.grad = torch.from_numpy(gradient)
        optimizer.step()
        value, exp_avg, exp_avg_sq = reference.adam_step(
            value,
            gradient,
            exp_avg,
            exp_avg_sq,
            step,
            lr=0.1,
            beta1=0.8,
            beta2=0.95,
            eps=1e-3,
            weight_decay=weight_decay,
            decoupled=decoupled,
        )
        _check(leaf, value)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
@pytest.mark.parametrize("centered", [False, True])
def test_rmsprop(centered: bool, momentum: float, rng: np.random.Generator) -> None:
    value, state = rng.standard_normal(7), [np.zeros(7) for _ in range(3)]
    leaf = _leaf(value)
    options = {"lr": 0.1, "alpha": 0.8, "eps": 1e-3, "weight_decay": 0.1}
    options |= {"momentum": momentum, "centered": centered}
    optimizer = torch.optim.RMSprop([leaf], **options)
    for gradient in rng.standard_normal((4, 7)):
        leaf.grad = torch.from_numpy(gradient)
        optimizer.step()
        value, *state = reference.rmsprop_step(value, gradient, *state, **options)
        _check(leaf, value)
