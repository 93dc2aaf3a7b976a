"""A module for each activation function. They hold no parameters.

``inplace`` is accepted wherever PyTorch has it; the input is never changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from convolite import functional
from convolite._args import choice, number, size
from convolite.nn.module import Module
from convolite.tensor import Tensor


class _Elementwise(Module):
    """An activation without other arguments than the input."""

    _function: ClassVar[Callable[[Any], Tensor]]

    def __init__(self, inplace: bool = False) -> None:
        super().__init__()
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        """Apply the function to every element."""
        return type(self)._function(input)

    def extra_repr(self) -> str:
        """Return ``inplace`` if it was asked for."""
        return "inplace=True" if self.inplace else ""


class ReLU(_Elementwise):
    """max(0, x)."""

    _function = functional.relu


class ReLU6(_Elementwise):
    """min(max(0, x), 6)."""

    _function = functional.relu6


class SiLU(_Elementwise):
    """x * sigmoid(x)."""

    _function = functional.silu


class Hardswish(_Elementwise):
    """x * min(max(0, x + 3), 6) / 6."""

    _function = functional.hardswish


class Hardsigmoid(_Elementwise):
    """min(max(0, x + 3), 6) / 6."""

    _function = functional.hardsigmoid


class Sigmoid(_Elementwise):
    """1 / (1 + exp(-x))."""

    _function = functional.sigmoid


class Tanh(_Elementwise):
    """Hyperbolic tangent."""

    _function = functional.tanh


class LeakyReLU(Module):
    """x where x > 0, else ``negative_slope * x``."""

    def __init__(self, negative_slope: float = 0.01, inplace: bool = False) -> None:
        super().__init__()
        self.negative_slope = number("LeakyReLU", "negative_slope", negative_slope)
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        """Apply the function to every element."""
        return functional.leaky_relu(input, self.negative_slope)

    def extra_repr(self) -> str:
        """Return the slope."""
        return f"negative_slope={self.negative_slope}"


class ELU(Module):
    """x where x > 0, else ``alpha * (exp(x) - 1)``."""

    def __init__(self, alpha: float = 1.0, inplace: bool = False) -> None:
        super().__init__()
        self.alpha = number("ELU", "alpha", alpha)
        self.inplace = inplace

    def forward(self, input: Any) -> Tensor:
        """Apply the function to every element."""
        return functional.elu(input, self.alpha)

    def extra_repr(self) -> str:
        """Return alpha."""
        return f"alpha={self.alpha}"


class GELU(Module):
    """x * Phi(x), with Phi the normal distribution, exactly or by the "tanh" formula."""

    def __init__(self, approximate: str = "none") -> None:
        super().__init__()
        self.approximate = choice("GELU", "approximate", approximate, ("none", "tanh"))

    def forward(self, input: Any) -> Tensor:
        """Apply the function to every element."""
        return functional.gelu(input, self.approximate)

    def extra_repr(self) -> str:
        """Return the formula's name."""
        return f"approximate={self.approximate!r}"


class Softmax(Module):
    """exp(x) divided by its sum along an axis."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = size("Softmax", "dim", dim)

    def forward(self, input: Any) -> Tensor:
        """Apply the function along the axis."""
        return functional.softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"


class LogSoftmax(Module):
    """Logarithm of softmax, computed without overflow."""

    def __init__(self, dim: int = -1) -> None:
        super().__init__()
        self.dim = size("LogSoftmax", "dim", dim)

    def forward(self, input: Any) -> Tensor:
        """Apply the function along the axis."""
        return functional.log_softmax(input, self.dim)

    def extra_repr(self) -> str:
        """Return the axis."""
        return f"dim={self.dim}"
