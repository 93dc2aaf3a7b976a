"""Sizes and arrays that memory, the core's integers or its limits cannot hold, and long sums."""

from __future__ import annotations

import re

import numpy as np
import pytest

import convolite
from convolite import _core
from convolite import functional as F

pytestmark = pytest.mark.smoke


def repeated(*shape: int) -> np.ndarray:
    """Ones that take the memory of a single one."""
    return np.broadcast_to(np.float32(1), shape)


ROWS, IMAGES = repeated(2**44, 2), repeated(2**40, 1, 4, 4)
TOO_BIG = {
    "gather_rows": lambda: _core.gather_rows(ROWS, np.array([0])),
    "gather_rows, long rows": lambda: _core.gather_rows(repeated(1, 2**60), np.zeros(64, int)),
    "gather_images": lambda: _core.gather_images(
        IMAGES, np.array([0]), np.zeros(1, np.float32), np.ones(1, np.float32), None, None, None
    ),
    "linear": lambda: F.linear(ROWS, repeated(3, 2)),
    "relu": lambda: F.relu(ROWS),
    "softmax": lambda: F.softmax(ROWS, 1),
    "sum": lambda: convolite.Tensor(ROWS).sum(),
    "add": lambda: convolite.Tensor(ROWS) + 1.0,
    "conv2d": lambda: F.conv2d(IMAGES, repeated(1, 1, 3, 3)),
    "max_pool2d": lambda: F.max_pool2d(IMAGES, 2),
    "avg_pool2d": lambda: F.avg_pool2d(IMAGES, 2),
    "batch_norm": lambda: F.batch_norm(IMAGES, None, None, training=True),
    "cross_entropy": lambda: F.cross_entropy(ROWS, np.broadcast_to(np.int64(0), 2**44)),
    "empty": lambda: _core.empty((2**44,), np.float32),
    "zeros": lambda: _core.zeros((2**44,), np.float32),
}


@pytest.mark.parametrize("name", TOO_BIG)
def test_arrays_too_big_to_copy_are_memory_errors(name):
    with pytest.raises(MemoryError):
        TOO_BIG[name]()


REFUSED = [
    (lambda: F.relu([[1], [1, 2]]), "relu: input must have rows of one length"),
    (lambda: convolite.tensor([[1.0], [2.0, 3.0]]), "tensor: data must have rows of one length"),
    (lambda: convolite.conv2d([[1], [1, 2]], 1), "conv2d: input must have rows of one length"),
    (lambda: _core.empty((-1, 2), np.float32), r"empty: shape must not be negative, got \(-1, 2\)"),
    (lambda: _core.empty((2**40, 2**40), np.float32), "empty: sizes overflow 64 bits"),
    (lambda: _core.zeros((2, -1), np.float32), r"zeros: shape must not be negative, got \(2, -1\)"),
    (
        lambda: F.adaptive_avg_pool2d(repeated(4, 1, 1), 2**31 - 1),
        r"adaptive_avg_pool2d: output_size must give fewer than 2\^60 elements, got 2147483647",
    ),
    (lambda: F.pad(repeated(1, 1), (2**30,) * 4), r"pad: pad must give fewer than 2\^60 elements"),
    (lambda: convolite.set_num_threads(4097), "set_num_threads: count must be from 1 to 4096, got"),
    (lambda: convolite.set_num_threads(2**40), r"set_num_threads: threads must be below 2\^31"),
]
GRADIENT = repeated(1, 1, 4, 4)
WINDOW = ((2, 2), (2, 2), (0, 0, 0, 0))
NEGATIVE = [
    lambda: _core.conv2d_backward_input(
        GRADIENT, repeated(1, 1, 3, 3), (-1, 1, 4, 4), (1, 1), (1, 1, 1, 1), (1, 1), 1
    ),
    lambda: _core.conv2d_backward_weight(
        GRADIENT, GRADIENT, (1, 1, -3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 1
    ),
    lambda: _core.max_pool2d_backward(
        GRADIENT, np.zeros((1, 1, 4, 4), np.uint8), (1, -1, 8, 8), *WINDOW, (1, 1), False
    ),
    lambda: _core.avg_pool2d_backward(GRADIENT, (1, 1, -8, 8), *WINDOW, False, True, 0),
    lambda: _core.adaptive_avg_pool2d_backward(GRADIENT, (1, 1, -8, 8)),
    lambda: _core.adaptive_avg_pool2d_forward(GRADIENT, (-1, 2)),
]


@pytest.mark.parametrize(("call", "text"), REFUSED)
def test_sizes_and_rows_that_cannot_be_are_named(call, text):
    with pytest.raises(ValueError, match=f"^{text}"):
        call()


def test_long_tensors_are_flattened_and_reshaped():
    pixels = convolite.Tensor(np.empty((2**16, 2**15), np.uint8))  # of 2^31 elements, untouched
    assert pixels.flatten().shape == (2**31,)
    assert pixels.flatten().reshape(2**31, 1).shape == (2**31, 1)
    for shape in [(2**70,), (2**40, 2**40)]:
        with pytest.raises(ValueError, match=r"^reshape: shape .* does not hold 2147483648 elem"):
            pixels.reshape(shape)


@pytest.mark.parametrize("call", NEGATIVE)
def test_negative_sizes_are_refused(call):
    with pytest.raises(ValueError, match=r": .* must (not be negative|be positive)"):
        call()


@pytest.mark.parametrize("call", [F.relu, lambda array: _core.gather_rows(array, np.array([0]))])
def test_structured_arrays_that_hold_objects_are_refused(call):
    array = np.zeros(3, dtype=[("object", object), ("number", np.int64)])
    with pytest.raises(TypeError, match=r"must be real numbers|must not hold objects"):
        call(array)


@pytest.mark.parametrize(
    ("image", "filters", "padding", "text"),
    [
        (repeated(1, 1, 1, 2**25), repeated(1, 1, 1, 1), 0, "must be below 2^25 (input.shape = ("),
        (repeated(1, 2**25, 1, 1), repeated(1, 2**25, 1, 1), 0, "one filter must be below 2^25"),
        (repeated(1, 1, 1, 1), repeated(1, 1, 1, 1), (0, 2**24), "a padded side, stride times"),
        (
            repeated(1, 1, 1, 1),
            repeated(1, 1, 1, 1),
            2**24 - 1,
            "must have fewer than 2^31 elements",
        ),
    ],
)
def test_convolutions_beyond_the_limits_are_refused(image, filters, padding, text):
    with pytest.raises(ValueError, match=f"^conv2d: .*{re.escape(text)}"):
        F.conv2d(image, filters, padding=padding)


@pytest.mark.parametrize(
    ("backward_bias", "shape"),
    [
        (_core.conv2d_backward_bias, (2, 1, 1, 10_000_000)),
        (_core.linear_backward_bias, (20_000_000, 1)),
    ],
)
def test_long_sums_of_a_bias_gradient_are_exact(backward_bias, shape):
    """Beyond 2^24 ones a sum in float32 stands still."""
    np.testing.assert_array_equal(backward_bias(repeated(*shape)), np.float32(20_000_000))
