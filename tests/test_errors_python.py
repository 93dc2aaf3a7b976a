"""Argument spellings and types that Python refuses before the core is asked, with their texts."""

from __future__ import annotations

import numpy as np
import pytest

import convolite
from convolite import _args, data, models, nn
from convolite import functional as F

pytestmark = pytest.mark.smoke

IMAGE = np.zeros((1, 2, 6, 6), np.float32)
FILTERS = np.zeros((4, 2, 3, 3), np.float32)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (2, (2, 2)),
        ((1, 2), (1, 2)),
        ([1, 2], (1, 2)),
        (np.int64(3), (3, 3)),
        ((np.int32(1), 2), (1, 2)),
        (np.array([1, 2]), (1, 2)),
        (np.array(4), (4, 4)),
    ],
)
def test_pair_spellings(value, expected):
    result = _args.pair("op", "stride", value)
    assert result == expected
    assert all(type(item) is int for item in result)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (1.5, TypeError),
        (True, TypeError),
        (np.True_, TypeError),
        ("2", TypeError),
        (None, TypeError),
        ((1, 2.0), TypeError),
        ((True, 1), TypeError),
        ((1,), ValueError),
        ((1, 2, 3), ValueError),
    ],
)
def test_pair_refuses_other_spellings(value, error):
    with pytest.raises(error, match=r"^op: stride must be an int or a pair \(h, w\), got "):
        _args.pair("op", "stride", value)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (1, (1, 1, 1, 1)),
        (np.int64(1), (1, 1, 1, 1)),
        ((1, 2), (1, 1, 2, 2)),
        ([1, 2], (1, 1, 2, 2)),
        ("valid", (0, 0, 0, 0)),
        (((1, 2), (3, 4)), (1, 2, 3, 4)),
        ([[1, 2], [3, 4]], (1, 2, 3, 4)),
    ],
)
def test_padding_spellings(value, expected):
    assert _args.padding4("conv2d", value, (6, 6), (3, 3), (1, 1), (1, 1)) == expected


@pytest.mark.parametrize("size", [(5, 6), (7, 7), (1, 2)])
@pytest.mark.parametrize("kernel", [(3, 3), (2, 5), (1, 1)])
@pytest.mark.parametrize("stride", [(1, 1), (2, 3)])
@pytest.mark.parametrize("dilation", [(1, 1), (2, 1)])
def test_same_padding_gives_the_input_size_over_the_stride(size, kernel, stride, dilation):
    top, bottom, left, right = _args.padding4("conv2d", "same", size, kernel, stride, dilation)
    assert 0 <= bottom - top <= 1
    assert 0 <= right - left <= 1
    image = np.zeros((1, 1, *size), np.float32)
    output = F.conv2d(
        image,
        np.zeros((1, 1, *kernel), np.float32),
        stride=stride,
        dilation=dilation,
        padding="same",
    )
    assert output.shape[2:] == (-(-size[0] // stride[0]), -(-size[1] // stride[1]))


@pytest.mark.parametrize(
    ("value", "error"),
    [
        ("full", ValueError),
        ("SAME", ValueError),
        (1.0, TypeError),
        (True, TypeError),
        (None, TypeError),
        ((1, 2, 3), ValueError),
        ((1, 2, 3, 4), ValueError),
        ((1.0, 2), TypeError),
        (((1, 2), 3), TypeError),
        (((1, 2), (3,)), ValueError),
        (((1, 2), (3, 4.0)), TypeError),
    ],
)
def test_padding_refuses_other_spellings(value, error):
    with pytest.raises(error, match=r"^conv2d: padding must be an int, a pair"):
        F.conv2d(IMAGE, FILTERS, padding=value)


@pytest.mark.parametrize(
    ("call", "error", "text"),
    [
        (
            lambda: F.conv2d(IMAGE, FILTERS, stride=(0, 1), padding="same"),
            ValueError,
            r"conv2d: stride must be positive, got \(0, 1\)",
        ),
        (lambda: F.conv2d(IMAGE, FILTERS, stride=0), ValueError, "conv2d: stride must be positive"),
        (
            lambda: F.conv2d(IMAGE, FILTERS, groups=2.0),
            TypeError,
            "conv2d: groups must be an int, got 2.0",
        ),
        (
            lambda: F.conv2d(IMAGE, FILTERS, activation="tanh"),
            ValueError,
            "conv2d: activation must be None, 'relu' or 'relu6', got 'tanh'",
        ),
        (lambda: F.conv2d(IMAGE, FILTERS, activation=1), TypeError, "conv2d: activation must be"),
        (lambda: F.conv2d(IMAGE, FILTERS[0]), ValueError, "conv2d: weight must have 4 axes"),
        (lambda: F.conv2d(IMAGE[0, 0], FILTERS), ValueError, r"conv2d: input must .*\(6, 6\)"),
        (lambda: F.linear(IMAGE, FILTERS), ValueError, "linear: weight"),
        (lambda: F.linear(np.array(1, np.float32), FILTERS[0, 0]), ValueError, "linear: input"),
        (lambda: F.linear(IMAGE.astype(int), FILTERS[0, 0]), TypeError, "linear: input"),
        (
            lambda: F.linear(IMAGE[0, 0], np.zeros((3, 6))),
            TypeError,
            "linear: weight must be float32 like input, got float64",
        ),
        (
            lambda: F.conv2d(IMAGE, FILTERS, stride=10**30),
            ValueError,
            r"conv2d: stride must be below 2\^31, got 10{30}",
        ),
        (lambda: F.conv2d(IMAGE, FILTERS, dilation=(1, 2**31)), ValueError, "dilation must be be"),
        (
            lambda: F.conv2d(IMAGE, FILTERS, padding=-(2**70)),
            ValueError,
            r"padding must be above -2\^31",
        ),
        (lambda: F.conv2d(IMAGE, FILTERS, padding=[2**70, 0]), ValueError, "padding must be below"),
        (lambda: F.conv2d(IMAGE, FILTERS, groups=2**70), ValueError, "groups must be below"),
        (lambda: F.conv2d(IMAGE, FILTERS, [1, 2]), TypeError, "bias must be an array or None"),
        (lambda: F.conv2d([[1]], FILTERS), TypeError, "input must be a Tensor or an array, got l"),
        (lambda: F.conv2d(np.float32(2), FILTERS), TypeError, "or an array, got float32$"),
        (lambda: F.linear(IMAGE, np.float32(2)), TypeError, "weight must be a .* got float32$"),
        (lambda: F.batch_norm(np.float64(1), None, None, training=True), TypeError, "got float64$"),
        (
            lambda: F.conv2d(IMAGE, FILTERS, stride=np.array(1.5)),
            TypeError,
            r"^conv2d: stride must be an int or a pair \(h, w\), got .*1.5",
        ),
        (
            lambda: F.conv2d(IMAGE, FILTERS, padding=2**30),
            ValueError,
            r"^conv2d: a padded side, .* must be below 2\^25 .*padding = \(\(1073741824, ",
        ),
        (lambda: nn.BatchNorm2d(3, momentum=np.nan), ValueError, "momentum must be finite, got n"),
        (lambda: nn.BatchNorm2d(3, momentum=-1), ValueError, "momentum must not be negative"),
        (lambda: nn.BatchNorm2d(3, affine="no"), TypeError, "affine must be True or False, got"),
        (lambda: nn.Conv2d(1, 1, 1, bias="no"), TypeError, "bias must be True or False, got 'no'"),
        (lambda: nn.Linear(1, 1, bias=2), TypeError, "bias must be True or False, got 2"),
        (
            lambda: models.sample_cnn(batch_norm="no"),
            TypeError,
            "^sample_cnn: batch_norm must be True or False, got 'no'$",
        ),
        (
            lambda: data.MNIST(mirrors=["http://localhost", 1]),
            TypeError,
            r"^MNIST: mirrors\[1\] must be a string, got 1$",
        ),
        (lambda: convolite.set_num_threads(2**70), ValueError, "threads must be below"),
        (lambda: convolite.set_num_threads(0), ValueError, "threads must be positive, got 0"),
        (lambda: convolite.set_num_threads(1.5), TypeError, "threads must be an int, got 1.5"),
    ],
)
def test_wrong_calls_say_what_is_wrong(call, error, text):
    with pytest.raises(error, match=text):
        call()


LONG = [1.5] * 500


@pytest.mark.parametrize(
    "call",
    [
        lambda: F.conv2d(IMAGE, FILTERS, stride=LONG),
        lambda: F.conv2d(IMAGE, FILTERS, padding=LONG),
        lambda: F.conv2d(IMAGE, FILTERS, padding=(LONG, LONG)),
        lambda: F.conv2d(IMAGE, FILTERS, groups=LONG),
        lambda: F.conv2d(IMAGE, FILTERS, activation=LONG),
        lambda: F.mse_loss(IMAGE, IMAGE, reduction=LONG),
        lambda: convolite.nn.Linear(2, 2, dtype=LONG),
        lambda: F.conv2d(IMAGE, FILTERS, groups=10**400),
    ],
)
def test_long_values_are_cut_short(call):
    with pytest.raises((TypeError, ValueError), match=r"got .{57}\.\.\.$"):
        call()


def test_integers_beyond_64_bits_are_named():
    with pytest.raises(ValueError, match=r"^tensor: data must fit 64 bits, got \[1180591620717"):
        convolite.tensor([2**70])


def test_an_error_of_an_object_of_ones_own_is_its_own():
    class Broken:
        def __array__(self, *_arguments: object, **_options: object) -> np.ndarray:
            raise ValueError("mine")

    with pytest.raises(ValueError, match=r"^mine$"):
        F.relu(Broken())
