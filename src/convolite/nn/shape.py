"""Flatten, Dropout and Dropout2d: modules without parameters that move or blank values."""

from __future__ import annotations

from typing import Any

from convolite import functional
from convolite._args import number, size
from convolite.nn.module import Module
from convolite.tensor import Tensor


class Flatten(Module):
    """Merges the axes from `start_dim` to `end_dim`; by default all but the batch axis."""

    def __init__(self, start_dim: int = 1, end_dim: int = -1) -> None:
        super().__init__()
        self.start_dim = size("Flatten", "start_dim", start_dim)
        self.end_dim = size("Flatten", "end_dim", end_dim)

    def forward(self, input: Any) -> Tensor:
        """Return the input with merged axes."""
        return functional.flatten(input, self.start_dim, self.end_dim)

    def extra_repr(self) -> str:
        """Return the two axes."""
        return f"start_dim={self.start_dim}, end_dim={self.end_dim}"


class Dropout(Module):
    """In training, blanks each element with probability `p` and scales the others up.

    Parameters
    ----------
    p : float
        Within [0, 1].
    inplace : bool
        Accepted for PyTorch's sake; the input is never changed.
    """

    def __init__(self, p: float = 0.5, inplace: bool = False) -> None:
        super().__init__()
        self.p = number(type(self).__name__, "p", p)
        self.inplace = inplace
        if not 0.0 <= self.p <= 1.0:
            raise ValueError(f"{type(self).__name__}: p must be within [0, 1], got {p}")

    def forward(self, input: Any) -> Tensor:
        """Return the input with elements blanked, or as it is outside training."""
        return functional.dropout(input, self.p, self.training)

    def extra_repr(self) -> str:
        """Return the probability."""
        return f"p={self.p}, inplace={self.inplace}"


class Dropout2d(Dropout):
    """In training, blanks whole channels with probability `p` and scales the others up."""

    def forward(self, input: Any) -> Tensor:
        """Return the images with channels blanked, or as they are outside training."""
        return functional.dropout2d(input, self.p, self.training)
