"""Cross-entropy between logits and class numbers, with PyTorch's options, and its gradient.

Goodfellow et al. 2016, section 6.2.2.3; label smoothing after Szegedy et al. 2016; weights,
`ignore_index` and reductions as in PyTorch's `CrossEntropyLoss`.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import ArrayLike, NDArray

from convolite.reference._window import Array, as_array
from convolite.reference.softmax import log_softmax


def cross_entropy(
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Array:
    """Cross-entropy loss.

    For logits x of one sample with class t, log p = log_softmax(x) and the smoothed label
    ``q_c = (1 - label_smoothing) * [c == t] + label_smoothing / C``, the loss is
    ``-sum over c of weight_c * q_c * log p_c``.

    Parameters
    ----------
    input : array_like, shape (n, C) or (n, C, ...)
    target : array_like of int, shape (n,) or (n, ...)
        A class in [0, C), or `ignore_index`, which gives loss 0.
    weight : array_like, shape (C,), optional
    label_smoothing : float
    ignore_index : int
    reduction : {"none", "mean", "sum"}
        "mean" divides the sum by the targets' weights, ignored ones left out; when none is left the
        loss is NaN.

    Returns
    -------
    ndarray of float64, shape of `target` for reduction "none", else ()
    """
    input, target = as_array(input), np.asarray(target, dtype=np.int64)
    log_probabilities = log_softmax(input, axis=1)
    loss = np.zeros(target.shape)
    for place, logits in _samples(target, ignore_index):
        label = _weighted_label(target[place], weight, label_smoothing, input.shape[1])
        present = label != 0.0
        loss[place] = -(label[present] * log_probabilities[logits][present]).sum()
    if reduction == "none":
        return loss
    return np.asarray(loss.sum() * _reduction_factor(target, weight, ignore_index, reduction))


def cross_entropy_backward(
    grad_loss: ArrayLike,
    input: ArrayLike,
    target: ArrayLike,
    weight: ArrayLike | None = None,
    label_smoothing: float = 0.0,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Array:
    """Gradient of `cross_entropy` with respect to the logits.

    For one sample, with the weighted label ``v_c = weight_c * q_c`` and the probabilities p it is
    ``p_c * sum(v) - v_c``: for plain cross-entropy the famous ``p - onehot``.

    Parameters
    ----------
    grad_loss : array_like
        Of the shape of the loss.

    Returns
    -------
    ndarray of float64, shape of `input`
    """
    input, target = as_array(input), np.asarray(target, dtype=np.int64)
    probabilities = np.exp(log_softmax(input, axis=1))
    factor = _reduction_factor(target, weight, ignore_index, reduction)
    grad_each = np.broadcast_to(as_array(grad_loss) * factor, target.shape)
    grad_input = np.zeros(input.shape)
    for place, logits in _samples(target, ignore_index):
        label = _weighted_label(target[place], weight, label_smoothing, input.shape[1])
        grad_input[logits] = grad_each[place] * (probabilities[logits] * label.sum() - label)
    return grad_input


def _samples(
    target: NDArray[np.int64], ignore_index: int
) -> Iterator[tuple[tuple[int, ...], tuple[int | slice, ...]]]:
    """Yield (index of a target, index of its C logits) for every target that is not ignored."""
    for place in np.ndindex(*target.shape):
        if target[place] != ignore_index:
            yield place, (place[0], slice(None), *place[1:])


def _weighted_label(
    target: int, weight: ArrayLike | None, label_smoothing: float, classes: int
) -> Array:
    """``weight_c * q_c`` for one sample, shape (C,)."""
    label = np.full(classes, label_smoothing / classes)
    label[target] += 1.0 - label_smoothing
    return label if weight is None else as_array(weight) * label


def _reduction_factor(
    target: NDArray[np.int64], weight: ArrayLike | None, ignore_index: int, reduction: str
) -> float:
    """What the sum of the samples' losses is multiplied by; 1 unless the reduction is "mean"."""
    if reduction != "mean":
        return 1.0
    counted = target[target != ignore_index]
    total = float(counted.size) if weight is None else float(as_array(weight)[counted].sum())
    return 1.0 / total if total else float("nan")
