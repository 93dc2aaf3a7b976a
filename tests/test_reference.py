"""The reference against hand-made values, identities and plain loops: nothing here is convolite's.

Its gradients are checked by differences in test_reference_gradients.py.
"""

from __future__ import annotations

import ast
import itertools
import math
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given

from convolite import reference
from convolite.reference import document
from support.arrays import integers
from support.compare import assert_close, assert_exact
from support.strategies import conv2d_cases

ARANGE_4X4 = np.arange(16.0).reshape(1, 1, 4, 4)


def test_reference_imports_only_numpy_and_itself() -> None:
    allowed = {"__future__", "collections", "math", "numpy", "typing"}
    for path in Path(reference.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                own = name.startswith("convolite.reference")
                assert own or name.split(".")[0] in allowed, f"{path.name} imports {name}"


def test_conv2d_does_not_flip_the_filter() -> None:
    weight = np.array([[[[1.0, 2.0], [3.0, 4.0]]]])
    output = reference.conv2d(ARANGE_4X4, weight, bias=[100.0])
    corner = 0 * 1 + 1 * 2 + 4 * 3 + 5 * 4 + 100
    assert_exact(output[0, 0], corner + 10 * (np.arange(3.0)[:, None] * 4 + np.arange(3.0)))


def test_conv2d_reads_zeros_outside_the_image() -> None:
    output = reference.conv2d(np.ones((1, 1, 2, 2)), np.ones((1, 1, 2, 2)), padding=(1, 0, 0, 2))
    assert_exact(output[0, 0], [[2, 1, 0], [4, 2, 0]])


def test_conv2d_steps_by_stride_and_dilation() -> None:
    weight = np.array([[[[1.0, 10.0]]]])
    output = reference.conv2d(ARANGE_4X4, weight, stride=(3, 1), dilation=(1, 2))
    assert_exact(output[0, 0], [[20, 31], [152, 163]])


def test_conv2d_groups_do_not_see_each_other() -> None:
    image = np.array([1.0, 2.0, 10.0, 20.0]).reshape(1, 4, 1, 1)
    weight = np.array([[1.0, 1.0], [1.0, -1.0]]).reshape(2, 2, 1, 1)
    assert_exact(reference.conv2d(image, weight, groups=2).ravel(), [3, -10])


@given(case=conv2d_cases())
def test_conv2d_equals_seven_plain_loops(case) -> None:
    rng = np.random.default_rng(case.h * 100 + case.w)
    image = integers(rng, (case.n, case.c, case.h, case.w), np.float64)
    weight = integers(rng, (case.oc, case.c // case.groups, case.kh, case.kw), np.float64)
    output = reference.conv2d(
        image,
        weight,
        None,
        (case.stride_h, case.stride_w),
        (case.pad_top, case.pad_bottom, case.pad_left, case.pad_right),
        (case.dil_h, case.dil_w),
        case.groups,
    )
    for place in itertools.islice(np.ndindex(*output.shape), 0, None, max(1, output.size // 20)):
        assert output[place] == _one_pixel(image, weight, case, place)


def _one_pixel(image, weight, case, place) -> float:
    n, filter_number, row, column = place
    first_channel = filter_number // (case.oc // case.groups) * weight.shape[1]
    total = 0.0
    for c, i, j in np.ndindex(*weight.shape[1:]):
        y = row * case.stride_h - case.pad_top + i * case.dil_h
        x = column * case.stride_w - case.pad_left + j * case.dil_w
        if 0 <= y < case.h and 0 <= x < case.w:
            total += image[n, first_channel + c, y, x] * weight[filter_number, c, i, j]
    return total


@given(case=conv2d_cases())
def test_conv2d_gradients_are_adjoint_to_it(case) -> None:
    rng = np.random.default_rng(case.h * 100 + case.w)
    image = integers(rng, (case.n, case.c, case.h, case.w), np.float64)
    weight = integers(rng, (case.oc, case.c // case.groups, case.kh, case.kw), np.float64)
    geometry = (
        (case.stride_h, case.stride_w),
        (case.pad_top, case.pad_bottom, case.pad_left, case.pad_right),
        (case.dil_h, case.dil_w),
        case.groups,
    )
    output = reference.conv2d(image, weight, None, *geometry)
    grad_output = integers(rng, output.shape, np.float64)
    grad_input = reference.conv2d_backward_input(grad_output, weight, image.shape, *geometry)
    grad_weight = reference.conv2d_backward_weight(grad_output, image, weight.shape, *geometry)
    assert (output * grad_output).sum() == (image * grad_input).sum()
    assert (output * grad_output).sum() == (weight * grad_weight).sum()


def test_activation_comes_after_the_bias() -> None:
    image, weight = np.ones((1, 1, 1, 1)), np.ones((2, 1, 1, 1))
    output = reference.conv2d(image, weight, bias=[-3.0, 9.0], activation="relu6")
    assert_exact(output.ravel(), [0, 6])
    assert_exact(reference.linear([[1.0]], [[1.0], [1.0]], [-3.0, 9.0], "relu"), [[0, 10]])


def test_max_pool_takes_the_first_of_equal_maxima() -> None:
    image = np.array([[1.0, 7.0], [7.0, 7.0]]).reshape(1, 1, 2, 2)
    output, offsets = reference.max_pool2d(image, (2, 2), (2, 2))
    assert (output.item(), offsets.item()) == (7.0, 1)
    grad_input = reference.max_pool2d_backward([[[[5.0]]]], offsets, (1, 1, 2, 2), (2, 2), (2, 2))
    assert_exact(grad_input[0, 0], [[0, 5], [0, 0]])


def test_max_pool_lets_the_last_nan_win() -> None:
    image = np.array([3.0, np.nan, np.inf, np.nan, 5.0]).reshape(1, 1, 1, 5)
    output, offsets = reference.max_pool2d(image, (1, 5), (1, 1))
    assert math.isnan(output.item())
    assert offsets.item() == 3


def test_max_pool_never_chooses_padding() -> None:
    image = np.full((1, 1, 2, 2), -5.0)
    output, offsets = reference.max_pool2d(image, (2, 2), (2, 2), padding=(1, 1, 1, 1))
    assert_exact(output[0, 0], [[-5, -5], [-5, -5]])
    assert_exact(offsets[0, 0], [[3, 2], [1, 0]])
    image[:] = -np.inf
    output, offsets = reference.max_pool2d(image, (2, 2), (2, 2), padding=(1, 1, 1, 1))
    assert_exact(offsets[0, 0], [[3, 2], [1, 0]])


def test_max_pool_windows_overlap_and_dilate() -> None:
    output, offsets = reference.max_pool2d(ARANGE_4X4, (2, 2), (1, 1), dilation=(2, 1))
    assert_exact(output[0, 0], [[9, 10, 11], [13, 14, 15]])
    assert_exact(offsets, np.full((1, 1, 2, 3), 3))


@pytest.mark.parametrize(
    ("size", "kernel", "stride", "padding", "floor", "ceil"),
    [
        (5, 2, 2, (0, 0), 2, 3),
        (4, 2, 2, (0, 0), 2, 2),
        (3, 2, 3, (0, 0), 1, 1),  # the second window would start beyond the image
        (4, 2, 3, (1, 1), 2, 2),  # a third would start in the padding at the end
        (6, 3, 2, (1, 0), 3, 3),
        (7, 3, 3, (0, 1), 2, 3),
    ],
)
def test_ceil_mode_keeps_an_overhanging_window_that_starts_inside(
    size: int, kernel: int, stride: int, padding: tuple[int, int], floor: int, ceil: int
) -> None:
    image = np.zeros((1, 1, 1, size))
    for ceil_mode, expected in ((False, floor), (True, ceil)):
        window = ((1, kernel), (1, stride), (0, 0, *padding))
        output, _ = reference.max_pool2d(image, *window, ceil_mode=ceil_mode)
        assert output.shape == (1, 1, 1, expected)
        assert reference.avg_pool2d(image, *window, ceil_mode=ceil_mode).shape == output.shape


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [1 / 4, 1.0, 1.0]),  # the last window has two places: one pixel, one padding
        ({"count_include_pad": False}, [1.0, 1.0, 2.0]),
        ({"divisor_override": 3}, [1 / 3, 4 / 3, 2 / 3]),
    ],
)
def test_avg_pool_divides_as_asked(options: dict[str, int], expected: list[float]) -> None:
    image = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 2.0]).reshape(1, 1, 1, 6)
    window = ((1, 4), (1, 4), (0, 0, 3, 1))
    output = reference.avg_pool2d(image, *window, ceil_mode=True, **options)
    assert_exact(output.ravel() * 12, np.array(expected) * 12)


def test_adaptive_avg_pool_parts_overlap() -> None:
    image = np.array([1.0, 2.0, 4.0, 8.0, 16.0]).reshape(1, 1, 1, 5)
    output = reference.adaptive_avg_pool2d(image, (1, 3))
    assert_close(output.ravel(), [3 / 2, 14 / 3, 24 / 2], scale=output.ravel())
    assert_exact(reference.adaptive_avg_pool2d(ARANGE_4X4, (1, 1)).ravel(), [7.5])
    assert_exact(reference.adaptive_avg_pool2d(ARANGE_4X4, (4, 4)), ARANGE_4X4)


def test_batch_norm_training_of_two_values() -> None:
    output, mean, inv_std = reference.batch_norm_training([[1.0], [3.0]], [2.0], [5.0], eps=3.0)
    assert (mean.item(), inv_std.item()) == (2.0, 0.5)
    assert_exact(output, [[4], [6]])


@pytest.mark.parametrize("shape", [(6, 3), (4, 3, 5), (2, 3, 4, 5)])
def test_batch_norm_makes_every_channel_standard(shape: tuple[int, ...]) -> None:
    image = np.random.default_rng(1).standard_normal(shape) * 3 + 7
    output, _, _ = reference.batch_norm_training(image, eps=0.0)
    axes = tuple(axis for axis in range(len(shape)) if axis != 1)
    assert_close(output.mean(axis=axes), np.zeros(3), scale=10.0)
    assert_close(output.var(axis=axes), np.ones(3), scale=10.0)


def test_running_variance_is_the_unbiased_one() -> None:
    mean, variance = reference.running_statistics([[1.0], [3.0]], [10.0], [10.0], momentum=0.25)
    assert (mean.item(), variance.item()) == (0.75 * 10 + 0.25 * 2, 0.75 * 10 + 0.25 * 2)


def test_batch_norm_inference_uses_the_given_statistics() -> None:
    arguments = ([2.0], [5.0], [1.0], [4.0])
    assert_exact(reference.batch_norm_inference([[3.0]], *arguments, eps=0.0), [[7]])
    output = reference.batch_norm_inference([[-9.0]], *arguments, eps=0.0, activation="relu")
    assert_exact(output, [[0]])


def test_linear_and_matmul_equal_the_matrix_product(rng: np.random.Generator) -> None:
    a, b = integers(rng, (5, 7), np.float64), integers(rng, (3, 7), np.float64)
    grad = integers(rng, (5, 3), np.float64)
    assert_exact(reference.matmul(a, b.T), a @ b.T)
    assert_exact(reference.linear(a, b, [1.0, 2.0, 3.0]), a @ b.T + [1, 2, 3])
    assert_exact(reference.linear_backward_input(grad, b), grad @ b)
    assert_exact(reference.linear_backward_weight(grad, a), grad.T @ a)
    assert_exact(reference.linear_backward_bias(grad), grad.sum(axis=0))


@pytest.mark.parametrize(
    ("name", "parameter", "point", "value"),
    [
        ("relu", 0.0, -2.0, 0.0),
        ("leaky_relu", 0.25, -2.0, -0.5),
        ("relu6", 0.0, 7.0, 6.0),
        ("elu", 2.0, -1.0, 2.0 * (math.exp(-1.0) - 1.0)),
        ("gelu", 0.0, 1.0, 0.8413447460685429),
        ("gelu_tanh", 0.0, 1.0, 0.8411919906082768),
        ("silu", 0.0, math.log(3.0), 0.75 * math.log(3.0)),
        ("hardswish", 0.0, 1.0, 4.0 / 6.0),
        ("hardsigmoid", 0.0, -1.0, 2.0 / 6.0),
        ("sigmoid", 0.0, -math.log(3.0), 0.25),
        ("tanh", 0.0, 0.5 * math.log(3.0), 0.5),
    ],
)
def test_activation_values(name: str, parameter: float, point: float, value: float) -> None:
    assert_close(reference.activation(name, [point], parameter), [value], scale=abs(value) + 0.1)


@pytest.mark.parametrize("name", ["relu", "relu6", "sigmoid", "tanh", "gelu", "silu", "hardswish"])
def test_activations_keep_nan_and_survive_large_numbers(name: str) -> None:
    output = reference.activation(name, [np.nan, 1e4, -1e4, 1e300, -1e300])
    assert math.isnan(output[0])
    assert np.isfinite(output[1:]).all()


def test_softmax_of_large_numbers() -> None:
    output = reference.softmax([[1000.0, 1000.0 + math.log(3.0)], [-np.inf, -1e5]])
    assert_close(output, [[0.25, 0.75], [0.0, 1.0]], scale=1000.0)
    assert_exact(reference.log_softmax([[0.0], [0.0]], axis=1), [[0], [0]])
    assert_close(reference.softmax(np.zeros((2, 5)), axis=0), np.full((2, 5), 0.5), scale=1.0)


def test_cross_entropy_options_by_hand() -> None:
    # Probabilities 1/4, 3/4 in both rows.
    logits, target = np.log([[1.0, 3.0], [1.0, 3.0]]), np.array([0, 1])
    first, second = math.log(4.0), math.log(4.0 / 3.0)
    expected = {
        "none": [first, second],
        "sum": first + second,
        "mean": (first + second) / 2,
    }
    for reduction, loss in expected.items():
        actual = reference.cross_entropy(logits, target, reduction=reduction)
        assert_close(actual, loss, scale=10.0)
    weighted = reference.cross_entropy(logits, target, weight=[1.0, 4.0])
    assert_close(weighted, (first + 4 * second) / 5, scale=10.0)
    smoothed = reference.cross_entropy(logits, target, [1.0, 4.0], label_smoothing=0.5)
    expected_sum = 0.75 * first + 0.25 * 4 * second + 0.25 * first + 0.75 * 4 * second
    assert_close(smoothed, expected_sum / 5, scale=10.0)
    ignored = reference.cross_entropy(logits, target, ignore_index=0)
    assert_close(ignored, second, scale=10.0)


def test_cross_entropy_without_any_counted_target() -> None:
    logits, target = np.zeros((2, 3)), np.array([-100, -100])
    assert np.isnan(reference.cross_entropy(logits, target))
    assert reference.cross_entropy(logits, target, reduction="sum") == 0.0
    assert_exact(reference.cross_entropy(logits, target, reduction="none"), [0, 0])


def test_cross_entropy_of_an_impossible_other_class() -> None:
    assert reference.cross_entropy([[0.0, -np.inf]], [0]) == 0.0


def test_cross_entropy_of_images_equals_that_of_their_pixels(rng: np.random.Generator) -> None:
    logits, target = rng.standard_normal((2, 5, 3, 4)), rng.integers(0, 5, (2, 3, 4))
    rows = logits.transpose(0, 2, 3, 1).reshape(-1, 5)
    for reduction in ("mean", "sum"):
        pixels = reference.cross_entropy(rows, target.ravel(), reduction=reduction)
        image = reference.cross_entropy(logits, target, reduction=reduction)
        assert_close(image, pixels, scale=abs(pixels))


def test_sgd_by_hand() -> None:
    assert_exact(reference.sgd_step([1.0], [2.0], None, lr=0.5)[0], [0])
    value, buffer = reference.sgd_step([1.0], [2.0], None, 0.5, momentum=0.5, dampening=0.5)
    assert_exact([value, buffer], [[0], [2]])
    value, buffer = reference.sgd_step(value, [2.0], buffer, 0.5, momentum=0.5, dampening=0.5)
    assert_exact([value, buffer], [[-1], [2]])
    value, _ = reference.sgd_step([1.0], [2.0], [4.0], 0.5, 0.5, weight_decay=2.0, nesterov=True)
    assert_exact(value, [1 - 0.5 * (4 + 0.5 * (0.5 * 4 + 4))])


def test_adam_first_step_has_the_size_of_the_learning_rate() -> None:
    zeros = np.zeros(2)
    value, _, _ = reference.adam_step([1.0, 1.0], [3.0, -1e-3], zeros, zeros, 1, lr=0.25, eps=0.0)
    assert_close(value, [0.75, 1.25], scale=1.0)


def test_adam_decays_the_gradient_or_the_weight() -> None:
    zero = np.zeros(1)
    options = {"lr": 0.5, "beta1": 0.5, "beta2": 0.5, "eps": 1.0, "weight_decay": 0.5}
    coupled, exp_avg, exp_avg_sq = reference.adam_step([2.0], [1.0], zero, zero, 1, **options)
    assert_close(np.stack([coupled, exp_avg, exp_avg_sq]), [[5 / 3], [1], [2]], scale=2.0)
    decoupled, exp_avg, exp_avg_sq = reference.adam_step(
        [2.0], [1.0], zero, zero, 1, **options, decoupled=True
    )
    assert_close(np.stack([decoupled, exp_avg, exp_avg_sq]), [[1.25], [0.5], [0.5]], scale=2.0)


@pytest.mark.parametrize(("stride", "padding"), [(1, 0), (2, 1), (3, 4)])
def test_document_conv2d_is_conv2d_in_another_layout(
    stride: int, padding: int, rng: np.random.Generator
) -> None:
    image, filters = integers(rng, (2, 7, 6, 3), np.float64), integers(rng, (3, 2, 3, 5))
    expected = reference.conv2d(
        image.transpose(0, 3, 1, 2),
        filters.transpose(3, 2, 0, 1),
        None,
        (stride,) * 2,
        (padding,) * 4,
    )
    actual = document.conv2d(image, filters, stride, padding)
    assert_exact(actual, expected.transpose(0, 2, 3, 1))


@pytest.mark.parametrize(("size", "stride"), [(2, 2), (3, 1), (2, 3)])
def test_document_max_pooling_is_max_pool2d_in_another_layout(
    size: int, stride: int, rng: np.random.Generator
) -> None:
    image = rng.standard_normal((2, 7, 6, 3))
    expected, _ = reference.max_pool2d(image.transpose(0, 3, 1, 2), (size,) * 2, (stride,) * 2)
    assert_exact(document.max_pooling(image, size, stride), expected.transpose(0, 2, 3, 1))


def test_document_batch_normalization_of_rows_and_images(rng: np.random.Generator) -> None:
    image, gamma, beta = rng.standard_normal((2, 4, 5, 3)), np.arange(1.0, 4.0), np.ones(3)
    expected, _, _ = reference.batch_norm_training(image.transpose(0, 3, 1, 2), gamma, beta)
    actual = document.batch_normalization(image, gamma, beta)
    assert_close(actual, expected.transpose(0, 2, 3, 1), scale=10.0)
    rows, _, _ = reference.batch_norm_training(image[0, 0], gamma, beta)
    assert_close(document.batch_normalization(image[0, 0], gamma, beta), rows, scale=10.0)
