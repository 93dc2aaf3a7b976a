"""Every formula of convolite as slow, readable float64 loops: the lesson, and the tests' oracle.

Only numpy is used.  Nothing in the fast path imports this package, and it imports nothing of the
fast path: when the two agree, they agree by themselves.  Gradients are functions called
``<op>_backward...``; they return what the chain rule gives for a loss whose gradient with respect
to the output is ``grad_output``.  `convolite.reference.document` holds the source document's own
three functions in its own layout.
"""

from __future__ import annotations

from convolite.reference import document
from convolite.reference.activation import activation, activation_backward
from convolite.reference.batch_norm import (
    batch_norm_backward,
    batch_norm_inference,
    batch_norm_training,
    running_statistics,
)
from convolite.reference.conv2d import (
    conv2d,
    conv2d_backward_bias,
    conv2d_backward_input,
    conv2d_backward_weight,
)
from convolite.reference.cross_entropy import cross_entropy, cross_entropy_backward
from convolite.reference.linear import (
    linear,
    linear_backward_bias,
    linear_backward_input,
    linear_backward_weight,
    matmul,
)
from convolite.reference.optimizer import adam_step, rmsprop_step, sgd_step
from convolite.reference.pool2d import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    max_pool2d,
    max_pool2d_backward,
)
from convolite.reference.softmax import (
    log_softmax,
    log_softmax_backward,
    softmax,
    softmax_backward,
)

__all__ = [
    "activation",
    "activation_backward",
    "adam_step",
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "batch_norm_backward",
    "batch_norm_inference",
    "batch_norm_training",
    "conv2d",
    "conv2d_backward_bias",
    "conv2d_backward_input",
    "conv2d_backward_weight",
    "cross_entropy",
    "cross_entropy_backward",
    "document",
    "linear",
    "linear_backward_bias",
    "linear_backward_input",
    "linear_backward_weight",
    "log_softmax",
    "log_softmax_backward",
    "matmul",
    "max_pool2d",
    "max_pool2d_backward",
    "rmsprop_step",
    "running_statistics",
    "sgd_step",
    "softmax",
    "softmax_backward",
]
