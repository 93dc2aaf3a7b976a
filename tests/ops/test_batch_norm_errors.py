"""Batch norm: every wrong argument is named before any work."""

from __future__ import annotations

import numpy as np
import pytest

from convolite import _core, functional
from support.compare import assert_exact
from support.errors import assert_error

IMAGE = np.zeros((2, 3, 4, 5), np.float32)
ZEROS, ONES = np.zeros(3, np.float32), np.ones(3, np.float32)


def frozen(array):
    array = array.copy()
    array.flags.writeable = False
    return array


ERRORS = {
    "axes": (
        lambda: functional.batch_norm(ZEROS, ZEROS, ONES),
        ValueError,
        "batch_norm: input must have 2 to 4 axes (n, c), (n, c, l) or (n, c, h, w), "
        "got input.shape = (3,)",
    ),
    "five_axes": (
        lambda: functional.batch_norm(IMAGE[np.newaxis], ZEROS, ONES),
        ValueError,
        "batch_norm: input must have 2 to 4 axes (n, c), (n, c, l) or (n, c, h, w), "
        "got input.shape = (1, 2, 3, 4, 5)",
    ),
    "one_value": (
        lambda: functional.batch_norm(
            np.zeros((1, 16, 1, 1), np.float32), None, None, training=True
        ),
        ValueError,
        "batch_norm: training needs more than one value per channel, "
        "got input.shape = (1, 16, 1, 1)",
    ),
    "dtype": (
        lambda: functional.batch_norm(IMAGE.astype(int), ZEROS, ONES),
        TypeError,
        "batch_norm: input must be float32 or float64, got int64",
    ),
    "weight_dtype": (
        lambda: functional.batch_norm(IMAGE, ZEROS, ONES, ONES.astype(np.float64)),
        TypeError,
        "batch_norm: weight must be float32 like input, got float64",
    ),
    "weight_shape": (
        lambda: functional.batch_norm(IMAGE, ZEROS, ONES, ONES[:2]),
        ValueError,
        "batch_norm: weight must have shape (3,), got (2,)",
    ),
    "bias_shape": (
        lambda: functional.batch_norm(IMAGE, ZEROS, ONES, ONES, np.ones((1, 3), np.float32)),
        ValueError,
        "batch_norm: bias must have shape (3,), got (1, 3)",
    ),
    "running_mean_shape": (
        lambda: functional.batch_norm(IMAGE, ZEROS[:2], ONES, training=True),
        ValueError,
        "batch_norm: running_mean must have shape (3,), got (2,)",
    ),
    "running_var_shape": (
        lambda: functional.batch_norm(IMAGE, ZEROS, ONES[:2]),
        ValueError,
        "batch_norm: running_var must have shape (3,), got (2,)",
    ),
    "running_dtype": (
        lambda: functional.batch_norm(IMAGE, ZEROS, ONES.astype(np.float64), training=True),
        TypeError,
        "batch_norm: running_var must be float32 like input and in native byte order, got float64",
    ),
    "read_only": (
        lambda: functional.batch_norm(IMAGE, frozen(ZEROS), ONES, training=True),
        ValueError,
        "batch_norm: running_mean is updated in place but is read-only",
    ),
    "strided": (
        lambda: functional.batch_norm(IMAGE, ZEROS, np.ones(6, np.float32)[::2], training=True),
        ValueError,
        "batch_norm: running_var is updated in place but is not C-contiguous and aligned",
    ),
    "list": (
        lambda: functional.batch_norm(IMAGE, [0.0] * 3, ONES),
        TypeError,
        "batch_norm: running_mean must be a Tensor or an array, got list",
    ),
    "core_list": (
        lambda: _core.batch_norm_forward_training(
            IMAGE, None, None, [0.0] * 3, None, 0.1, 0.0, "none"
        ),
        TypeError,
        "batch_norm: running_mean must be a numpy array, since it is updated in place",
    ),
    "missing": (
        lambda: functional.batch_norm(IMAGE, None, ONES),
        ValueError,
        "batch_norm: running_mean and running_var are needed unless training",
    ),
    "eps": (
        lambda: functional.batch_norm(IMAGE, ZEROS, ONES, training=True, eps=-1e-5),
        ValueError,
        "batch_norm: eps must not be negative, got -1e-05",
    ),
    "momentum": (
        lambda: functional.batch_norm(IMAGE, ZEROS, ONES, training=True, momentum="0.1"),
        TypeError,
        "batch_norm: momentum must be a number, got '0.1'",
    ),
    "activation": (
        lambda: functional.batch_norm(IMAGE, ZEROS, ONES, activation="tanh"),
        ValueError,
        "batch_norm: activation must be None, 'relu' or 'relu6', got 'tanh'",
    ),
    "residual shape": (
        lambda: functional.batch_norm(IMAGE, ZEROS, ONES, residual=IMAGE[:1]),
        ValueError,
        "batch_norm: residual must have shape (2, 3, 4, 5), got (1, 3, 4, 5)",
    ),
    "residual dtype": (
        lambda: functional.batch_norm(IMAGE, ZEROS, ONES, residual=IMAGE.astype(np.float64)),
        TypeError,
        "batch_norm: residual must be float32 like input, got float64",
    ),
    "output without activation": (
        lambda: _core.batch_norm_backward(
            IMAGE, IMAGE, None, ZEROS, ONES, True, None, "none", IMAGE
        ),
        ValueError,
        "batch_norm_backward: output is only needed behind an activation",
    ),
    "grad_output": (
        lambda: _core.batch_norm_backward(IMAGE[:1], IMAGE, None, ZEROS, ONES, True),
        ValueError,
        "batch_norm_backward: grad_output must have shape (2, 3, 4, 5), got (1, 3, 4, 5)",
    ),
    "mean": (
        lambda: _core.batch_norm_backward(IMAGE, IMAGE, None, ZEROS[:1], ONES, True),
        ValueError,
        "batch_norm_backward: mean must have shape (3,), got (1,)",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_bad_arguments_are_named_before_any_work(name: str) -> None:
    assert_error(*ERRORS[name])
    assert_exact(ZEROS, [0.0] * 3)
    assert_exact(ONES, [1.0] * 3)
