"""Pooling: every wrong argument is named before any work."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from convolite import _core, functional
from support.errors import assert_error

NO_PADDING = (0, 0, 0, 0)
IMAGE = np.zeros((2, 3, 8, 6), np.float32)


def _sum_gradients(grad_bias: Any) -> None:
    """Pooling's backward with that array for the gradient of a bias."""
    grad_output, offsets = IMAGE[:, :, :4, :3], np.zeros((2, 3, 4, 3), np.uint8)
    window = (2, 2), (2, 2), NO_PADDING, (1, 1), False
    _core.max_pool2d_backward(
        grad_output, offsets, IMAGE.shape, *window, "none", None, grad_bias=grad_bias
    )


ERRORS = {
    "axes": (
        lambda: functional.max_pool2d(IMAGE[0, 0], 2),
        ValueError,
        "max_pool2d: input must be (N, C, H, W) or (C, H, W), got input.shape = (8, 6)",
    ),
    "no_array": (
        lambda: functional.avg_pool2d([1.0], 2),
        TypeError,
        "avg_pool2d: input must be a Tensor or an array, got list",
    ),
    "dtype": (
        lambda: functional.max_pool2d(IMAGE.astype(np.int64), 2),
        TypeError,
        "max_pool2d: input must be float32 or float64, got int64",
    ),
    "half": (
        lambda: functional.adaptive_avg_pool2d(IMAGE.astype(np.float16), 2),
        TypeError,
        "adaptive_avg_pool2d: input must be float32 or float64, got float16",
    ),
    "spelling": (
        lambda: functional.max_pool2d(IMAGE, 2.0),
        TypeError,
        "max_pool2d: kernel_size must be an int or a pair (h, w), got 2.0",
    ),
    "kernel": (
        lambda: functional.max_pool2d(IMAGE, (0, 2)),
        ValueError,
        "max_pool2d: kernel_size must be positive, got (0, 2)",
    ),
    "stride": (
        lambda: functional.avg_pool2d(IMAGE, 2, (2, 0)),
        ValueError,
        "avg_pool2d: stride must be positive, got (2, 0)",
    ),
    "dilation": (
        lambda: functional.max_pool2d(IMAGE, 2, dilation=(1, -1)),
        ValueError,
        "max_pool2d: dilation must be positive, got (1, -1)",
    ),
    "negative_padding": (
        lambda: functional.max_pool2d(IMAGE, 2, padding=-1),
        ValueError,
        "max_pool2d: padding must not be negative, got (-1, -1)",
    ),
    "padding": (
        lambda: functional.max_pool2d(IMAGE, 2, padding=2),
        ValueError,
        "max_pool2d: padding must be at most half the kernel "
        "(kernel_size = (2, 2), padding = (2, 2))",
    ),
    "four_paddings": (
        lambda: _core.avg_pool2d_forward(IMAGE, (2, 2), (2, 2), (0, 2, 0, 0), False, True, 0),
        ValueError,
        "avg_pool2d: padding must be at most half the kernel "
        "(kernel_size = (2, 2), padding = ((0, 2), (0, 0)))",
    ),
    "dilated_padding": (
        lambda: functional.max_pool2d(IMAGE, 3, padding=(3, 2), dilation=2),
        ValueError,
        "max_pool2d: padding must be at most half of what the dilated kernel spans "
        "(kernel_size = (3, 3), dilation = (2, 2), padding = (3, 2))",
    ),
    "too_large": (
        lambda: functional.avg_pool2d(IMAGE, (9, 2)),
        ValueError,
        "avg_pool2d: window does not fit, kernel 9x2 spans 9x2 but the padded input is 8x6 "
        "(input.shape = (2, 3, 8, 6), padding = (0, 0))",
    ),
    "too_large_dilated": (
        lambda: functional.max_pool2d(IMAGE, 5, padding=1, dilation=(2, 2)),
        ValueError,
        "max_pool2d: window does not fit, kernel 5x5 with dilation (2, 2) spans 9x9 but the "
        "padded input is 10x8 (input.shape = (2, 3, 8, 6), padding = (1, 1))",
    ),
    "no_pixels": (
        lambda: functional.max_pool2d(IMAGE[:, :, :0], 2, ceil_mode=True),
        ValueError,
        "max_pool2d: window does not fit, kernel 2x2 spans 2x2 but the padded input is 0x6 "
        "(input.shape = (2, 3, 0, 6), padding = (0, 0))",
    ),
    "huge_kernel": (
        lambda: functional.max_pool2d(IMAGE, 2**31 - 1),
        ValueError,
        "max_pool2d: kernel_size must span at most 2147483647 pixels, got (2147483647, 2147483647)",
    ),
    "huge_extent": (
        lambda: _core.max_pool2d_forward(IMAGE, (2, 2), (2**31, 1), NO_PADDING, (1, 1), False),
        ValueError,
        "max_pool2d: stride must be at most 2147483647, got (2147483648, 1)",
    ),
    "divisor": (
        lambda: functional.avg_pool2d(IMAGE, 2, divisor_override=0),
        ValueError,
        "avg_pool2d: divisor_override must not be zero",
    ),
    "output_size": (
        lambda: functional.adaptive_avg_pool2d(IMAGE, (2, -1)),
        ValueError,
        "adaptive_avg_pool2d: output_size must not be negative, got (2, -1)",
    ),
    "adaptive_no_pixels": (
        lambda: functional.adaptive_avg_pool2d(IMAGE[:, :, :, :0], 2),
        ValueError,
        "adaptive_avg_pool2d: input must have at least one pixel, got input.shape = (2, 3, 8, 0)",
    ),
    "core_axes": (
        lambda: _core.adaptive_avg_pool2d_forward(IMAGE[0], (2, 2)),
        ValueError,
        "adaptive_avg_pool2d: input must have 4 axes (n, c, h, w), got input.shape = (3, 8, 6)",
    ),
    "grad_output": (
        lambda: _core.avg_pool2d_backward(
            IMAGE, IMAGE.shape, (2, 2), (2, 2), NO_PADDING, False, True, 0
        ),
        ValueError,
        "avg_pool2d_backward: grad_output must have shape (2, 3, 4, 3), got (2, 3, 8, 6)",
    ),
    "adaptive_grad_output": (
        lambda: _core.adaptive_avg_pool2d_backward(IMAGE, (2, 4, 8, 6)),
        ValueError,
        "adaptive_avg_pool2d_backward: grad_output must have shape (2, 4, 8, 6), got (2, 3, 8, 6)",
    ),
    "offsets": (
        lambda: _core.max_pool2d_backward(
            IMAGE[:, :, :4, :3], IMAGE, IMAGE.shape, (2, 2), (2, 2), NO_PADDING, (1, 1), False
        ),
        TypeError,
        "max_pool2d_backward: offsets must be uint8 for this kernel, got float32",
    ),
    "grad_bias": (
        lambda: _sum_gradients(np.empty(2, np.float32)),
        ValueError,
        "max_pool2d_backward: grad_bias must have shape (3,), got (2,)",
    ),
    "grad_bias_dtype": (
        lambda: _sum_gradients(np.empty(3)),
        TypeError,
        "max_pool2d_backward: grad_bias must be float32 like grad_output and in native byte order, "
        "got float64",
    ),
    "grad_bias_strides": (
        lambda: _sum_gradients(np.empty(6, np.float32)[::2]),
        ValueError,
        "max_pool2d_backward: grad_bias is updated in place but is not C-contiguous and aligned",
    ),
    "grad_bias_list": (
        lambda: _sum_gradients([0.0, 0.0, 0.0]),
        TypeError,
        "max_pool2d_backward: grad_bias must be a numpy array, since it is updated in place",
    ),
}


@pytest.mark.parametrize("name", ERRORS)
def test_bad_arguments_are_named(name: str) -> None:
    assert_error(*ERRORS[name])
