"""Stateless functions on Tensors, with PyTorch's names and argument order.

Each file holds one family: the Function with its gradient and the public call side by side.
"""

from __future__ import annotations

from convolite.functional.conv import conv2d
from convolite.functional.linear import linear
from convolite.functional.shape import cat, dropout, dropout2d, flatten, pad

__all__ = ["cat", "conv2d", "dropout", "dropout2d", "flatten", "linear", "pad"]
