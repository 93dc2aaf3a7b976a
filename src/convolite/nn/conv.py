"""Conv2d: a convolution layer that owns its filters."""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

import numpy as np

from convolite import functional
from convolite._args import (
    choice,
    count,
    excerpt,
    flag,
    float_dtype,
    padding4,
    plain,
    positive_pair,
)
from convolite.functional.conv import pooled_conv2d
from convolite.nn import init
from convolite.nn.module import Module
from convolite.nn.parameter import Parameter, empty_parameter
from convolite.nn.pooling import MaxPool2d
from convolite.tensor import Tensor

_LARGEST_FILTER = 2**25  # the core's limit, whatever the input


class Conv2d(Module):
    """Convolution of (N, C, H, W) or (C, H, W) images.

    Parameters
    ----------
    in_channels, out_channels : int
    kernel_size, stride, dilation : int or (h, w)
    padding : int, (h, w), "valid", "same" or ((top, bottom), (left, right))
    groups : int
        Must divide both channel counts.
    bias : bool
        Whether a bias is added.
    padding_mode : {"zeros"}
    device : {None, "cpu"}
    dtype : float32 or float64, optional

    Raises
    ------
    TypeError, ValueError
        For sizes, spellings and dtypes that no input could fit.
    MemoryError
        If there is no room for the weights.

    Attributes
    ----------
    weight : Parameter, (out_channels, in_channels / groups, kernel_h, kernel_w)
    bias : Parameter, (out_channels,), or None
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: Any,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        bias: bool = True,
        padding_mode: str = "zeros",
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_channels = count("Conv2d", "in_channels", in_channels)
        self.out_channels = count("Conv2d", "out_channels", out_channels)
        self.kernel_size = positive_pair("Conv2d", "kernel_size", kernel_size)
        self.stride = positive_pair("Conv2d", "stride", stride)
        self.padding = padding
        self.dilation = positive_pair("Conv2d", "dilation", dilation)
        self.groups = count("Conv2d", "groups", groups)
        self.padding_mode = choice("Conv2d", "padding_mode", padding_mode, ("zeros",))
        choice("Conv2d", "device", "cpu" if device is None else device, ("cpu",))
        self._check()
        self.padding = plain(padding)
        biased = flag("Conv2d", "bias", bias)
        element = float_dtype("Conv2d", dtype)
        shape = (self.out_channels, self.in_channels // self.groups, *self.kernel_size)
        if prod(shape[1:]) >= _LARGEST_FILTER:
            raise ValueError(
                f"Conv2d: one filter must be below 2^25 (weight.shape = {shape}, groups = {groups})"
            )
        self.weight = empty_parameter("Conv2d", "weight", shape, element)
        self.bias = Parameter(np.empty(self.out_channels, element)) if biased else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, evenly within ±1 / sqrt(fan_in)."""
        init.default_weight_and_bias_(self.weight, self.bias)

    def forward(self, input: Any) -> Tensor:
        """Convolve images (N, C, H, W) or one image (C, H, W)."""
        return self._run(functional.conv2d, input, None)

    def forward_activated(self, input: Any, activation: str | None) -> Tensor:
        """Convolve and apply "relu" or "relu6" in the same pass."""
        return self._run(functional.conv2d, input, activation)

    def forward_pooled(self, input: Any, pool: MaxPool2d, activation: str | None) -> Tensor:
        """Convolve, pool and apply "relu" or "relu6" in the same pass."""
        return self._run(pooled_conv2d, input, activation, pool.window())

    def _run(self, function: Callable[..., Tensor], input: Any, *behind: Any) -> Tensor:
        """Call a convolution with this layer's filters and what runs behind it."""
        return function(
            input,
            self.weight,
            self.bias,
            self.stride,
            self.padding,
            self.dilation,
            self.groups,
            *behind,
        )

    def extra_repr(self) -> str:
        """Return the arguments that differ from their defaults."""
        text = (
            f"{self.in_channels}, {self.out_channels}, kernel_size={self.kernel_size}, "
            f"stride={self.stride}"
        )
        if self.padding not in (0, (0, 0), "valid"):
            text += f", padding={self.padding!r}"
        if self.dilation != (1, 1):
            text += f", dilation={self.dilation}"
        if self.groups != 1:
            text += f", groups={self.groups}"
        return text if self.bias is not None else text + ", bias=False"

    def _check(self) -> None:
        for name in ("in_channels", "out_channels"):
            if getattr(self, name) % self.groups:
                raise ValueError(
                    f"Conv2d: {name} must be divisible by groups "
                    f"({name} = {getattr(self, name)}, groups = {self.groups})"
                )
        sides = padding4(
            "Conv2d", self.padding, self.kernel_size, self.kernel_size, self.stride, self.dilation
        )
        if min(sides) < 0:
            raise ValueError(f"Conv2d: padding must not be negative, got {excerpt(self.padding)}")
