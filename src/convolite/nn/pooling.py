"""MaxPool2d, AvgPool2d and AdaptiveAvgPool2d: pooling as modules."""

from __future__ import annotations

from typing import Any

from convolite import functional
from convolite._args import Pair, flag, pair, plain, positive_pair, size
from convolite.functional.pool import max_window
from convolite.nn.module import Module
from convolite.tensor import Tensor


class MaxPool2d(Module):
    """Largest value of every window.

    Parameters
    ----------
    kernel_size : int or (h, w)
    stride : int or (h, w), optional
        The kernel size if left out.
    padding, dilation : int or (h, w)
    return_indices : bool
        Must be False.
    ceil_mode : bool
        Whether windows that reach beyond the padded image count.

    Raises
    ------
    TypeError, ValueError
        For windows and steps that are not positive, and padding above half the window.
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        return_indices: bool = False,
        ceil_mode: bool = False,
    ) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        _check_window("MaxPool2d", kernel_size, stride, padding, dilation)
        self.kernel_size, self.stride = plain(kernel_size), plain(stride)
        self.padding, self.dilation = plain(padding), plain(dilation)
        self.ceil_mode = flag("MaxPool2d", "ceil_mode", ceil_mode)
        if flag("MaxPool2d", "return_indices", return_indices):
            raise ValueError("MaxPool2d: return_indices must be False, got True")

    def forward(self, input: Any) -> Tensor:
        """Pool images (N, C, H, W) or one image (C, H, W)."""
        return self.forward_activated(input, None)

    def forward_activated(self, input: Any, activation: str | None) -> Tensor:
        """Pool, and apply "relu" or "relu6" in the same pass."""
        return functional.max_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            ceil_mode=self.ceil_mode,
            activation=activation,
        )

    def window(self) -> tuple[Any, ...]:
        """Return kernel, stride, padding, dilation and ceil mode as the core takes them."""
        return max_window(
            "MaxPool2d",
            self.kernel_size,
            self.stride,
            self.padding,
            self.dilation,
            self.ceil_mode,
        )

    def extra_repr(self) -> str:
        """Return the window."""
        return (
            f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}, "
            f"dilation={self.dilation}, ceil_mode={self.ceil_mode}"
        )


class AvgPool2d(Module):
    """Mean of every window.

    Parameters
    ----------
    kernel_size : int or (h, w)
    stride : int or (h, w), optional
        The kernel size if left out.
    padding : int or (h, w)
    ceil_mode : bool
        Whether windows that reach beyond the padded image count.
    count_include_pad : bool
        Whether the padding's zeros count in the mean.
    divisor_override : int, optional
        Divide the sums by this instead of the window's size.

    Raises
    ------
    TypeError, ValueError
        For windows and steps that are not positive, padding above half the window, and a
        divisor of zero.
    """

    def __init__(
        self,
        kernel_size: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor_override: int | None = None,
    ) -> None:
        super().__init__()
        stride = kernel_size if stride is None else stride
        _check_window("AvgPool2d", kernel_size, stride, padding, 1)
        self.kernel_size, self.stride = plain(kernel_size), plain(stride)
        self.padding = plain(padding)
        self.ceil_mode = flag("AvgPool2d", "ceil_mode", ceil_mode)
        self.count_include_pad = flag("AvgPool2d", "count_include_pad", count_include_pad)
        self.divisor_override = divisor_override
        if divisor_override is not None and not size(
            "AvgPool2d", "divisor_override", divisor_override
        ):
            raise ValueError("AvgPool2d: divisor_override must not be zero")

    def forward(self, input: Any) -> Tensor:
        """Pool images (N, C, H, W) or one image (C, H, W)."""
        return functional.avg_pool2d(
            input,
            self.kernel_size,
            self.stride,
            self.padding,
            self.ceil_mode,
            self.count_include_pad,
            self.divisor_override,
        )

    def extra_repr(self) -> str:
        """Return the window."""
        return f"kernel_size={self.kernel_size}, stride={self.stride}, padding={self.padding}"


class AdaptiveAvgPool2d(Module):
    """Means of a fixed number of windows, whatever the size of the image.

    Parameters
    ----------
    output_size : int or (h, w)
        A None in the pair keeps that side of the image.

    Raises
    ------
    TypeError, ValueError
        For sizes that are negative or no ints.
    """

    def __init__(self, output_size: Any) -> None:
        super().__init__()
        sides = output_size
        if isinstance(sides, (tuple, list)):
            sides = tuple(1 if side is None else side for side in sides)
        if min(pair("AdaptiveAvgPool2d", "output_size", sides)) < 0:
            raise ValueError(
                f"AdaptiveAvgPool2d: output_size must not be negative, got {output_size}"
            )
        self.output_size = plain(output_size)

    def forward(self, input: Any) -> Tensor:
        """Pool images (N, C, H, W) or one image (C, H, W) to the output size."""
        return functional.adaptive_avg_pool2d(input, self.output_size)

    def extra_repr(self) -> str:
        """Return the output size."""
        return f"output_size={self.output_size}"


def _check_window(op: str, kernel_size: Any, stride: Any, padding: Any, dilation: Any) -> None:
    """Raise what the function would raise for any input, with the module's name."""
    kernel = positive_pair(op, "kernel_size", kernel_size)
    positive_pair(op, "stride", stride)
    spacing = positive_pair(op, "dilation", dilation)
    borders = pair(op, "padding", padding)
    if min(borders) < 0:
        raise ValueError(f"{op}: padding must not be negative, got {borders}")
    if any(borders[i] > _span(kernel, spacing)[i] // 2 for i in range(2)):
        if spacing == (1, 1):
            raise ValueError(
                f"{op}: padding must be at most half the kernel "
                f"(kernel_size = {kernel}, padding = {borders})"
            )
        raise ValueError(
            f"{op}: padding must be at most half of what the dilated kernel spans "
            f"(kernel_size = {kernel}, dilation = {spacing}, padding = {borders})"
        )


def _span(kernel: Pair, dilation: Pair) -> Pair:
    return dilation[0] * (kernel[0] - 1) + 1, dilation[1] * (kernel[1] - 1) + 1
