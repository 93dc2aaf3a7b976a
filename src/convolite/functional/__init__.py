"""Stateless functions on Tensors, with PyTorch's names and argument order.

Each file holds one family: the Function with its gradient and the public call side by side.
"""

from __future__ import annotations

from convolite.functional.activation import (
    elu,
    gelu,
    hardsigmoid,
    hardswish,
    leaky_relu,
    log_softmax,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    tanh,
)
from convolite.functional.conv import conv2d
from convolite.functional.linear import linear
from convolite.functional.loss import cross_entropy, mse_loss, nll_loss
from convolite.functional.norm import batch_norm
from convolite.functional.pool import adaptive_avg_pool2d, avg_pool2d, max_pool2d
from convolite.functional.shape import cat, dropout, dropout2d, flatten, pad

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "batch_norm",
    "cat",
    "conv2d",
    "cross_entropy",
    "dropout",
    "dropout2d",
    "elu",
    "flatten",
    "gelu",
    "hardsigmoid",
    "hardswish",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "nll_loss",
    "pad",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "tanh",
]
