"""Pooling: max, average and adaptive average, each a Function and its public call.

Windows that leave the image, `ceil_mode` and the divisors follow PyTorch. Images without a batch
axis, (C, H, W), are accepted and returned so.
"""

from __future__ import annotations

from typing import Any, Literal, overload

import numpy as np

from convolite import _core
from convolite._args import Pair, Quadruple, flag, fused_activation, pair, room, shape_of, size
from convolite.autograd import Array, Context, Function
from convolite.tensor import Tensor


class MaxPool2d(Function):
    """The greatest pixel of each window; the gradient goes to the first of equal ones."""

    gives_new_arrays = True

    @staticmethod
    def forward(
        ctx: Context,
        input: Array,
        window: tuple[Pair, Pair, Quadruple, Pair, bool],
        activation: str,
        found: list[Array] | None,
    ) -> Array:
        images = _batched(input)
        output, offsets = _core.max_pool2d_forward(images, *window, activation)
        # One byte for each output pixel, and the output if it tells what passed the activation.
        passed = None if activation == "none" else output
        ctx.saved = offsets, (images.shape, *window, activation, passed), input.ndim == 3
        if found is not None:
            found.append(offsets)
        return output[0] if input.ndim == 3 else output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        offsets, rules, unbatched = ctx.saved
        grad_input = _core.max_pool2d_backward(_batched(grad_output), offsets, *rules)
        return grad_input[0] if unbatched else grad_input, None, None, None


class AvgPool2d(Function):
    """The mean of each window."""

    gives_new_arrays = True

    @staticmethod
    def forward(
        ctx: Context, input: Array, rules: tuple[Pair, Pair, Quadruple, bool, bool, int]
    ) -> Array:
        images = _batched(input)
        ctx.saved = (images.shape, *rules), input.ndim == 3
        output = _core.avg_pool2d_forward(images, *rules)
        return output[0] if input.ndim == 3 else output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        geometry, unbatched = ctx.saved
        grad_input = _core.avg_pool2d_backward(_batched(grad_output), *geometry)
        return grad_input[0] if unbatched else grad_input, None


class AdaptiveAvgPool2d(Function):
    """The means of windows that cut the image into a given number of rows and columns."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, input: Array, output_size: Pair) -> Array:
        images = _batched(input)
        ctx.saved = images.shape, input.ndim == 3
        output = _core.adaptive_avg_pool2d_forward(images, output_size)
        return output[0] if input.ndim == 3 else output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        input_shape, unbatched = ctx.saved
        grad_input = _core.adaptive_avg_pool2d_backward(_batched(grad_output), input_shape)
        return grad_input[0] if unbatched else grad_input, None


@overload
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: Literal[False] = False,
    activation: str | None = None,
) -> Tensor: ...


@overload
def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    *,
    return_indices: Literal[True],
    activation: str | None = None,
) -> tuple[Tensor, Tensor]: ...


def max_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
    activation: str | None = None,
) -> Tensor | tuple[Tensor, Tensor]:
    """Take the greatest pixel of each window; NaN counts as the greatest.

    Parameters
    ----------
    input : Tensor, (N, C, H, W) or (C, H, W)
    kernel_size : int or (h, w)
    stride : int or (h, w), optional
        The kernel size unless given.
    padding : int or (h, w)
        Pixels below every number around the image; at most half the kernel.
    dilation : int or (h, w)
    ceil_mode : bool
        Round the output size up: the last window may leave the image, but must begin inside
        the image or its padding above and to the left.
    return_indices : bool
        Also return where each of these pixels stands.
    activation : {None, "relu", "relu6"}
        Applied to the output in the same pass over memory.

    Returns
    -------
    Tensor, (N, C, out_h, out_w), without N if the input had none
        ``out_h = floor((H + 2 padding - dilation (kernel_h - 1) - 1) / stride) + 1``.
    Tensor of int64, of the same shape
        Row * W + column of the pixel; only with `return_indices`.

    Raises
    ------
    TypeError, ValueError
        For dtypes, spellings and sizes that do not fit together.

    Notes
    -----
    Goodfellow, Bengio and Courville, Deep Learning (2016), section 9.3; conventions of
    ``torch.nn.functional.max_pool2d``.
    """
    shape = _image_shape("max_pool2d", input)
    window = max_window("max_pool2d", kernel_size, stride, padding, dilation, ceil_mode)
    found: list[Array] | None = [] if flag("max_pool2d", "return_indices", return_indices) else None
    output = MaxPool2d.apply(input, window, fused_activation("max_pool2d", activation), found)
    if not found:
        return output
    kernel, steps, borders, spacing, _ = window
    rows, columns = np.divmod(found[0].astype(np.int64), kernel[1])
    tops = np.arange(rows.shape[2]) * steps[0] - borders[0]
    lefts = np.arange(rows.shape[3]) * steps[1] - borders[2]
    rows = rows * spacing[0] + tops[:, np.newaxis]
    indices = rows * shape[-1] + columns * spacing[1] + lefts
    return output, Tensor(indices[0] if output.ndim == 3 else indices)


def avg_pool2d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor_override: int | None = None,
) -> Tensor:
    """Take the mean of each window.

    Parameters
    ----------
    input : Tensor, (N, C, H, W) or (C, H, W)
    kernel_size : int or (h, w)
    stride : int or (h, w), optional
        The kernel size unless given.
    padding : int or (h, w)
        Zeros around the image; at most half the kernel.
    ceil_mode : bool
        Round the output size up, as in `max_pool2d`.
    count_include_pad : bool
        Whether padding counts in the divisor.
    divisor_override : int, optional
        Divide by this number instead.

    Returns
    -------
    Tensor, (N, C, out_h, out_w), without N if the input had none

    Raises
    ------
    TypeError, ValueError
        For dtypes, spellings and sizes that do not fit together.

    Notes
    -----
    Conventions of ``torch.nn.functional.avg_pool2d``.
    """
    _image_shape("avg_pool2d", input)
    kernel, steps, borders = _window("avg_pool2d", kernel_size, stride, padding)
    divisor = 0
    if divisor_override is not None:
        divisor = size("avg_pool2d", "divisor_override", divisor_override)
        if divisor == 0:
            raise ValueError("avg_pool2d: divisor_override must not be zero")
    ceiling = flag("avg_pool2d", "ceil_mode", ceil_mode)
    counting = flag("avg_pool2d", "count_include_pad", count_include_pad)
    return AvgPool2d.apply(input, (kernel, steps, borders, ceiling, counting, divisor))


def adaptive_avg_pool2d(input: Any, output_size: Any) -> Tensor:
    """Take means over windows chosen so that the output has a given size.

    Parameters
    ----------
    input : Tensor, (N, C, H, W) or (C, H, W)
    output_size : int or (h, w)
        Row i covers the input rows from ``floor(i H / h)`` to ``ceil((i + 1) H / h)``; 1 gives
        the mean of each plane. None in the pair keeps that side of the image.

    Returns
    -------
    Tensor, (N, C, h, w), without N if the input had none

    Raises
    ------
    TypeError, ValueError
        For dtypes, spellings and sizes that do not fit together.

    Notes
    -----
    Conventions of ``torch.nn.functional.adaptive_avg_pool2d``.
    """
    op = "adaptive_avg_pool2d"
    shape = _image_shape(op, input)
    if isinstance(output_size, (tuple, list)) and len(output_size) == 2:
        sides = zip(output_size, shape[-2:], strict=True)
        output_size = tuple(own if wanted is None else wanted for wanted, own in sides)
    sides_out = pair(op, "output_size", output_size)
    room(op, "output_size", output_size, (*shape[:-2], *sides_out))
    return AdaptiveAvgPool2d.apply(input, sides_out)


def max_window(
    op: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: Any
) -> tuple[Pair, Pair, Quadruple, Pair, bool]:
    """Return the window of max pooling as the core takes it."""
    return (
        *_window(op, kernel_size, stride, padding),
        pair(op, "dilation", dilation),
        flag(op, "ceil_mode", ceil_mode),
    )


def _batched(images: Array) -> Array:
    return images if images.ndim != 3 else images[None]


def _image_shape(op: str, input: Any) -> tuple[int, ...]:
    shape = shape_of(op, "input", input)
    if len(shape) not in (3, 4):
        raise ValueError(
            f"{op}: input must be (N, C, H, W) or (C, H, W), got input.shape = {tuple(shape)}"
        )
    return shape


def _window(op: str, kernel_size: Any, stride: Any, padding: Any) -> tuple[Pair, Pair, Quadruple]:
    """Kernel, stride and padding as the core takes them."""
    kernel = pair(op, "kernel_size", kernel_size)
    steps = kernel if stride is None else pair(op, "stride", stride)
    rows, columns = pair(op, "padding", padding)
    return kernel, steps, (rows, rows, columns, columns)
