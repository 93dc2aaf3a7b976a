"""Losses: cross-entropy with logits, negative log-likelihood, mean squared error."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from convolite import _core
from convolite._args import choice, integer, number
from convolite.autograd import Array, Context, Function
from convolite.functional.activation import log_softmax
from convolite.interop import numpys_array
from convolite.operators import operands
from convolite.tensor import Tensor, as_tensor

REDUCTIONS = ("none", "mean", "sum")


class CrossEntropy(Function):
    """Log-softmax and the loss of class numbers in one pass over the logits (N, C, ...)."""

    gives_new_arrays = True

    @staticmethod
    def forward(
        ctx: Context,
        input: Array,
        target: NDArray[np.int64],
        weight: Array | None,
        label_smoothing: float,
        ignore_index: int,
        reduction: str,
    ) -> Array:
        loss, log_probabilities, total_weight = _core.cross_entropy_forward(
            input, target, weight, label_smoothing, ignore_index, reduction
        )
        options = weight, label_smoothing, ignore_index, reduction, total_weight
        ctx.saved = log_probabilities, target, options
        return loss

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        log_probabilities, target, options = ctx.saved
        grad_input = _core.cross_entropy_backward(grad_output, log_probabilities, target, *options)
        return grad_input, None, None, None, None, None


class NegativeLogLikelihood(Function):
    """``-input[i, target[i]] * weight[target[i]]``, their sum or mean; ignored samples give 0."""

    gives_new_arrays = True

    @staticmethod
    def forward(
        ctx: Context,
        input: Array,
        target: NDArray[np.int64],
        weight: Array | None,
        ignore_index: int,
        reduction: str,
    ) -> Array:
        loss, total_weight = _core.nll_loss_forward(input, target, weight, ignore_index, reduction)
        ctx.saved = input.shape, target, weight, ignore_index, reduction, total_weight
        return loss

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        return _core.nll_loss_backward(grad_output, *ctx.saved), None, None, None, None


class SquaredError(Function):
    """``(left - right) ** 2``, and its mean or sum if asked for; both sides have one shape."""

    gives_new_arrays = True

    @staticmethod
    def forward(ctx: Context, left: Array, right: Array, reduction: str) -> Array:
        difference = _core.binary("subtract", left, right)
        squares = _core.binary("multiply", difference, difference)
        ctx.saved = difference, 2.0 / max(squares.size, 1) if reduction == "mean" else 2.0
        return squares if reduction == "none" else _core.reduce(reduction, squares, None, False)

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        difference, slope = ctx.saved
        upstream = grad_output * difference.dtype.type(slope)
        grad_left = _core.binary("multiply", difference, upstream)
        grad_right = _core.unary("negative", grad_left) if ctx.needs_input_grad[1] else None
        return grad_left, grad_right, None


def cross_entropy(
    input: Any,
    target: Any,
    weight: Any = None,
    label_smoothing: float = 0.0,
    reduction: str = "mean",
    ignore_index: int = -100,
) -> Tensor:
    """Cross-entropy between logits and classes, or class probabilities.

    For the log-probabilities ``z = log_softmax(input)`` of one sample of class t the loss is
    ``-sum_c weight_c * q_c * z_c`` with ``q_c = (1 - s) * [c == t] + s / C`` for a label
    smoothing of s (Szegedy et al. 2016); options and reductions are PyTorch's.

    Parameters
    ----------
    input : Tensor or array, (N, C), (C,) or (N, C, ...)
        Logits.
    target : Tensor or array, (N,), () or (N, ...) of any integer dtype
        Classes in [0, C). Or floats in the shape of `input`: the probability of each class.
    weight : Tensor or array, (C,), optional
        Weight of each class.
    label_smoothing : float, from 0 to 1
    reduction : {"none", "mean", "sum"}
        "mean" divides by the sum of the targets' weights; with class probabilities by the number
        of samples.
    ignore_index : int
        Targets of this value count for nothing. If no other is left, the mean is NaN.

    Returns
    -------
    Tensor, shape () or, with reduction "none", the shape of the classes

    Raises
    ------
    TypeError, ValueError
        For dtypes, shapes and options that do not fit, and for a target outside [0, C).

    Notes
    -----
    Backward reads the classes and weights again: they must not be written to before it.
    """
    op = "cross_entropy"
    logits = as_tensor(input, op, "input")
    labels = numpys_array(target, op, "target")
    class_weight = None if weight is None else _weights(op, weight, logits)
    smoothing = number(op, "label_smoothing", label_smoothing)
    choice(op, "reduction", reduction, REDUCTIONS)
    ignored = _ignored(op, ignore_index)
    if labels.dtype.kind == "f":
        return _with_probabilities(logits, labels, class_weight, smoothing, reduction)
    classes = _classes(op, labels)
    options = (class_weight, smoothing, ignored, reduction)
    if classes.ndim == 0 and logits.ndim == 1:
        loss = CrossEntropy.apply(logits.reshape(1, logits.size), classes.reshape(1), *options)
        return loss.reshape(())
    return CrossEntropy.apply(logits, classes, *options)


def _with_probabilities(
    logits: Tensor, labels: Array, weight: Array | None, smoothing: float, reduction: str
) -> Tensor:
    if labels.shape != logits.shape or logits.ndim == 0:
        hint = ""
        if labels.ndim < max(logits.ndim, 1):
            hint = "; convolite.tensor(labels, dtype=np.int64) makes integers"
        raise ValueError(
            "cross_entropy: target must be integers (classes) or floats in the shape of input, "
            f"got {labels.dtype} of shape {labels.shape} (input.shape = {logits.shape}){hint}"
        )
    if not 0.0 <= smoothing <= 1.0:
        raise ValueError(f"cross_entropy: label_smoothing must be from 0 to 1, got {smoothing}")
    axis = min(1, logits.ndim - 1)
    count = logits.shape[axis]
    share = labels.astype(logits.dtype) * (1.0 - smoothing) + smoothing / max(count, 1)
    if weight is not None:
        if weight.shape != (count,):
            raise ValueError(
                f"cross_entropy: weight must have one value for each of {count} classes, "
                f"got weight.shape = {weight.shape}"
            )
        share = share * weight.reshape(-1, *[1] * (logits.ndim - axis - 1))
    loss = -(log_softmax(logits, axis) * share.astype(logits.dtype)).sum(axis)
    return _reduced(loss, reduction)


def nll_loss(
    input: Any,
    target: Any,
    weight: Any = None,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Negative log-likelihood: what `cross_entropy` does after its log-softmax.

    Parameters
    ----------
    input : Tensor or array, (N, C), (C,) or (N, C, ...)
        Log-probabilities.
    target : Tensor or array, (N,), () or (N, ...) of any integer dtype
        Classes in [0, C).
    weight : Tensor or array, (C,), optional
    ignore_index : int
    reduction : {"none", "mean", "sum"}
        "mean" divides by the sum of the targets' weights.

    Raises
    ------
    TypeError, ValueError
        For dtypes and shapes that do not fit, and for a target outside [0, C).

    Notes
    -----
    Backward reads the classes and weights again: they must not be written to before it.
    """
    op = "nll_loss"
    likelihood = as_tensor(input, op, "input")
    classes = _classes(op, numpys_array(target, op, "target"))
    ignored = _ignored(op, ignore_index)
    choice(op, "reduction", reduction, REDUCTIONS)
    unbatched = classes.ndim == 0 and likelihood.ndim == 1
    if unbatched:
        likelihood, classes = likelihood.reshape(1, likelihood.size), classes.reshape(1)
    class_weight = None if weight is None else _class_weights(op, weight, likelihood)
    loss = NegativeLogLikelihood.apply(likelihood, classes, class_weight, ignored, reduction)
    return loss.reshape(()) if unbatched else loss


def mse_loss(input: Any, target: Any, reduction: str = "mean") -> Tensor:
    """Squared differences of two tensors of one shape, and their mean or sum.

    Parameters
    ----------
    input, target : Tensor or array
    reduction : {"none", "mean", "sum"}

    Raises
    ------
    ValueError
        If the shapes differ.
    """
    left = as_tensor(input, "mse_loss", "input")
    right = as_tensor(target, "mse_loss", "target")
    choice("mse_loss", "reduction", reduction, REDUCTIONS)
    if left.shape != right.shape:
        raise ValueError(
            f"mse_loss: target must have the shape of input, got {right.shape} "
            f"(input.shape = {left.shape})"
        )
    return SquaredError.apply(*operands(left, right), reduction)


def _reduced(loss: Tensor, reduction: str) -> Tensor:
    if reduction == "none":
        return loss
    return loss.mean() if reduction == "mean" else loss.sum()


def _weights(op: str, weight: Any, input: Tensor) -> Array:
    return numpys_array(weight, op, "weight").astype(input.dtype, copy=False)


def _ignored(op: str, value: Any) -> int:
    label = integer(op, "ignore_index", value)
    if not -(2**63) <= label < 2**63:
        raise ValueError(f"{op}: ignore_index must fit int64, got {label}")
    return label


def _classes(op: str, labels: Array) -> NDArray[np.int64]:
    if labels.dtype == np.int64:
        return labels
    if labels.dtype.kind not in "iu":
        raise TypeError(f"{op}: target must hold integers, got {labels.dtype}")
    if labels.dtype.itemsize == 8 and labels.dtype.kind == "u" and (labels >> 63).any():
        raise ValueError(f"{op}: target {labels.max()} does not fit int64")
    return labels.astype(np.int64, copy=False)


def _class_weights(op: str, weight: Any, input: Tensor) -> Array:
    weights = _weights(op, weight, input)
    if input.ndim > 1 and weights.shape != (input.shape[1],):
        raise ValueError(
            f"{op}: weight must have one value for each of {input.shape[1]} classes, "
            f"got weight.shape = {weights.shape} (input.shape = {input.shape})"
        )
    return weights
