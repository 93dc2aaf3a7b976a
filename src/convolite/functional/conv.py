"""conv2d: the Function and its public call.

Which method computes a convolution is decided by the core; see `convolite.explain`.
"""

from __future__ import annotations

from typing import Any

from convolite import _core
from convolite._args import Pair, Quadruple, fused_activation, padding4, pair, shape_of, size
from convolite.autograd import Array, Context, Function
from convolite.tensor import Tensor


class Conv2d(Function):
    """Cross-correlation of images with filters, plus bias and activation in the same pass."""

    gives_new_arrays = True

    @staticmethod
    def forward(
        ctx: Context,
        input: Array,
        weight: Array,
        bias: Array | None,
        geometry: tuple[Pair, Quadruple, Pair, int],
        activation: str,
    ) -> Array:
        stride, padding, dilation, groups = geometry  # a call with a star takes longer
        unbatched = input.ndim == 3
        images = input[None] if unbatched else input
        output = _core.conv2d_forward(
            images, weight, bias, stride, padding, dilation, groups, activation
        )
        passed = None if activation == "none" else output
        ctx.saved = _operands(ctx, images, weight), geometry, activation, passed, unbatched
        return output[0] if unbatched else output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        operands, geometry, activation, output, unbatched = ctx.saved
        if unbatched:
            grad_output = grad_output[None]
        needs_input, needs_weight, needs_bias, _, _ = ctx.needs_input_grad
        grad_bias = None
        if output is not None:
            wants_passed = needs_input or needs_weight
            passed, grad_bias = _core.conv2d_backward_epilogue(
                activation, grad_output, output, wants_passed, needs_bias, ctx.owns_grad_output
            )
            if passed is None:
                return None, None, grad_bias, None, None
            grad_output = passed
        elif needs_bias:
            grad_bias = _core.conv2d_backward_bias(grad_output)
        grad_input, grad_weight = _product_gradients(operands, geometry, grad_output, unbatched)
        return grad_input, grad_weight, grad_bias, None, None


class PooledConv2d(Function):
    """Convolve, take each window's greatest pixel and activate, in one pass."""

    gives_new_arrays = True

    @staticmethod
    def forward(
        ctx: Context,
        input: Array,
        weight: Array,
        bias: Array | None,
        geometry: tuple[Pair, Quadruple, Pair, int],
        activation: str,
        window: tuple[Pair, Pair, Quadruple, Pair, bool],
    ) -> Array:
        unbatched = input.ndim == 3
        images = input[None] if unbatched else input
        output, offsets, convolved_shape = _core.pooled_conv2d_forward(
            images, weight, bias, *geometry, activation, window
        )
        passed = None if activation == "none" else output
        pooling = offsets, convolved_shape, window, activation, passed
        ctx.saved = _operands(ctx, images, weight), geometry, pooling, unbatched
        return output[0] if unbatched else output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        operands, geometry, pooling, unbatched = ctx.saved
        offsets, shape, window, activation, passed = pooling
        if unbatched:
            grad_output = grad_output[None]
        grad_bias = None
        if ctx.needs_input_grad[2]:
            grad_bias = _core.empty((shape[1],), grad_output.dtype)
        rules = *window, activation, passed, grad_bias
        unpooled = _core.max_pool2d_backward(grad_output, offsets, shape, *rules)
        grad_input, grad_weight = _product_gradients(operands, geometry, unpooled, unbatched)
        return grad_input, grad_weight, grad_bias, None, None, None


# Images where the gradient of the filters is wanted, filters where that of the images is, and the
# shapes of both.
Operands = tuple[Array | None, Array | None, tuple[int, ...], tuple[int, ...]]


def _operands(ctx: Context, images: Array, weight: Array) -> Operands:
    """What the gradients of images and filters need of each other."""
    needs_images, needs_weight = ctx.needs_input_grad[:2]
    return (
        images if needs_weight else None,
        weight if needs_images else None,
        images.shape,
        weight.shape,
    )


def _product_gradients(
    operands: Operands,
    geometry: tuple[Pair, Quadruple, Pair, int],
    grad_convolved: Array,
    unbatched: bool,
) -> tuple[Array | None, Array | None]:
    """The gradients of the images and of the filters, where they are wanted."""
    images, weight, images_shape, weight_shape = operands
    grad_images = grad_weight = None
    if weight is not None:
        grad_images = _core.conv2d_backward_input(grad_convolved, weight, images_shape, *geometry)
        if unbatched:
            grad_images = grad_images[0]
    if images is not None:
        grad_weight = _core.conv2d_backward_weight(grad_convolved, images, weight_shape, *geometry)
    return grad_images, grad_weight


def conv2d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
    activation: str | None = None,
) -> Tensor:
    """Convolve images with filters (a cross-correlation, as everywhere in deep learning).

    Parameters
    ----------
    input : Tensor, (N, C, H, W) or (C, H, W)
    weight : Tensor, (out_channels, C / groups, kernel_h, kernel_w)
    bias : Tensor, (out_channels,), optional
    stride, dilation : int or (h, w)
        Steps of the window over the image, and between the filter's taps.
    padding : int, (h, w), "valid", "same" or ((top, bottom), (left, right))
        Zeros around the image. "same" gives an output of ``ceil(H / stride)``; an odd pixel
        goes to the bottom and to the right.
    groups : int
        Channels are split into this many independent convolutions.
    activation : {None, "relu", "relu6"}
        Applied in the same pass over memory.

    Returns
    -------
    Tensor, (N, out_channels, out_h, out_w), without N if the input had none
        ``out_h = floor((H + top + bottom - dilation * (kernel_h - 1) - 1) / stride) + 1``.

    Raises
    ------
    TypeError, ValueError
        For dtypes, spellings and sizes that do not fit together.

    Notes
    -----
    Goodfellow, Bengio and Courville, Deep Learning (2016), equation 9.6.

    In float32 most 3x3 convolutions with stride 1 run by Winograd's method, whose rounding error
    is in proportion to the largest pixel of 6x6 around a result: `convolite.set_fast_math`.

    NaN and infinity in `input` spread as the equation says. For those in `weight` the methods
    differ where the window leaves the image: padding times infinity is NaN, or left out.
    """
    geometry = convolution_geometry(input, weight, stride, padding, dilation, groups)
    return Conv2d.apply(input, weight, bias, geometry, fused_activation("conv2d", activation))


def pooled_conv2d(
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    activation: str | None,
    window: tuple[Any, ...],
) -> Tensor:
    """Return ``activation(max_pool2d(conv2d(input)))`` in one pass over memory.

    The convolved images do not go to memory where they fit the cache. `window` is what
    `pool.max_window` returns; all else as in `conv2d`.
    """
    geometry = convolution_geometry(input, weight, stride, padding, dilation, groups)
    return PooledConv2d.apply(
        input, weight, bias, geometry, fused_activation("conv2d", activation), window
    )


def convolution_geometry(
    input: Any, weight: Any, stride: Any, padding: Any, dilation: Any, groups: Any
) -> tuple[Pair, Quadruple, Pair, int]:
    """Stride, padding, dilation and groups as the core takes them, for arrays that fit them."""
    input_shape = shape_of("conv2d", "input", input)
    weight_shape = shape_of("conv2d", "weight", weight)
    if len(weight_shape) != 4:
        raise ValueError(
            "conv2d: weight must have 4 axes (out_channels, channels / groups, kernel_h, "
            f"kernel_w), got weight.shape = {weight_shape}"
        )
    if len(input_shape) not in (3, 4):
        raise ValueError(
            f"conv2d: input must have 4 axes (n, c, h, w), got input.shape = {tuple(input_shape)}"
        )
    steps = pair("conv2d", "stride", stride)
    spacing = pair("conv2d", "dilation", dilation)
    borders = padding4("conv2d", padding, input_shape, weight_shape, steps, spacing)
    return steps, borders, spacing, size("conv2d", "groups", groups)
