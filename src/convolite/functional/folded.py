"""A convolution with the batch norm behind it folded into its filters, for inference."""

from __future__ import annotations

from typing import Any, NamedTuple

from convolite import _core
from convolite._args import fused_activation, not_negative
from convolite.autograd import Array, Context, Function
from convolite.functional.conv import convolution_geometry
from convolite.tensor import Tensor


class Norm(NamedTuple):
    """Batch norm by running statistics: tensors (C,) or None, and eps."""

    weight: Any
    bias: Any
    running_mean: Any
    running_var: Any
    eps: float


class FoldedConv2d(Function):
    """Convolve, normalise, add a residual and activate in one pass. There is no backward."""

    @staticmethod
    def forward(
        ctx: Context,
        input: Array,
        weight: Array,
        bias: Array | None,
        residual: Array | None,
        norm_weight: Array | None,
        norm_bias: Array | None,
        running_mean: Array,
        running_var: Array,
        rules: tuple[Any, ...],
    ) -> Array:
        (stride, padding, dilation, groups), activation, eps, window = rules
        norm = norm_weight, norm_bias, running_mean, running_var, eps
        shared = stride, padding, dilation, groups, activation
        if window is None:
            return _core.conv2d_forward(input, weight, bias, *shared, norm, residual)
        output, _, _ = _core.pooled_conv2d_forward(input, weight, bias, *shared, window, norm)
        return output


def folded_conv2d(
    input: Any,
    weight: Any,
    bias: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    groups: int,
    activation: str | None,
    norm: Norm,
    residual: Any = None,
    window: tuple[Any, ...] | None = None,
) -> Tensor:
    """Return ``activation(pool(norm(conv2d(input))) + residual)``, where nothing needs a gradient.

    ``norm(x) = scale * x + shift`` with ``scale = weight / sqrt(running_var + eps)``: the filters
    are multiplied by the scale while they are laid out, which changes results by rounding.

    Parameters
    ----------
    input : Tensor, (N, C, H, W)
    activation : {None, "relu", "relu6"}
    norm : Norm
    residual : Tensor, of the output's shape, optional
        Not with a window.
    window : tuple, optional
        Of max pooling, as `pool.max_window` returns it.

    All else as in `conv2d`.
    """
    geometry = convolution_geometry(input, weight, stride, padding, dilation, groups)
    eps = not_negative("batch_norm", "eps", norm.eps)
    rules = geometry, fused_activation("batch_norm", activation), eps, window
    return FoldedConv2d.apply(input, weight, bias, residual, *norm[:4], rules)
