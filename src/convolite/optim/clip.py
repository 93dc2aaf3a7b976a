"""Limiting gradients between backward and the optimizer's step."""

from __future__ import annotations

from collections.abc import Iterable
from math import inf, isfinite, sqrt
from typing import Any

import numpy as np

from convolite import _core
from convolite._args import excerpt, flag, items, number
from convolite.autograd import Array
from convolite.tensor import Tensor


def clip_grad_norm_(
    parameters: Tensor | Iterable[Tensor],
    max_norm: float,
    norm_type: float = 2.0,
    error_if_nonfinite: bool = False,
) -> Tensor:
    """Scale all gradients down, in place, so that their common norm is at most `max_norm`.

    Parameters
    ----------
    parameters : Tensor or iterable of Tensor
        Those without a gradient are passed over.
    max_norm : float
    norm_type : float
        2 for the Euclidean norm, ``inf`` for the largest magnitude.
    error_if_nonfinite : bool
        Whether a norm that is NaN or infinite is an error.

    Returns
    -------
    Tensor, ()
        The norm before scaling.

    Raises
    ------
    TypeError, ValueError
        If `parameters` holds other things, `max_norm` is negative or `norm_type` not positive.
    RuntimeError
        For a norm that is not finite, if that is asked for.
    """
    limit = _limit("clip_grad_norm_", "max_norm", max_norm)
    power = number("clip_grad_norm_", "norm_type", norm_type)
    if not power > 0.0:
        raise ValueError(f"clip_grad_norm_: norm_type must be positive, got {norm_type}")
    strict = flag("clip_grad_norm_", "error_if_nonfinite", error_if_nonfinite)
    gradients = _gradients("clip_grad_norm_", parameters)
    norm = _norm([_norm_of(gradient, power) for gradient in gradients], power)
    if strict and not isfinite(norm):
        raise RuntimeError(f"clip_grad_norm_: the norm of the gradients is {norm}")
    scale = limit / (norm + 1e-6)
    if not scale >= 1.0:
        for gradient in gradients:
            np.multiply(gradient, gradient.dtype.type(scale), out=gradient)
    return Tensor(np.asarray(norm, gradients[0].dtype if gradients else np.float32))


def clip_grad_value_(parameters: Tensor | Iterable[Tensor], clip_value: float) -> None:
    """Limit every element of the gradients, in place, to [-clip_value, clip_value].

    Raises
    ------
    TypeError, ValueError
        If `parameters` holds other things, or `clip_value` is negative.
    """
    limit = _limit("clip_grad_value_", "clip_value", clip_value)
    for gradient in _gradients("clip_grad_value_", parameters):
        np.clip(gradient, -limit, limit, out=gradient)


def _limit(op: str, argument: str, value: Any) -> float:
    limit = number(op, argument, value)
    if not limit >= 0.0:
        raise ValueError(f"{op}: {argument} must be 0 or more, got {value}")
    return limit


def _gradients(op: str, parameters: Tensor | Iterable[Tensor]) -> list[Array]:
    if isinstance(parameters, Tensor):
        parameters = [parameters]
    members = items(op, "parameters", parameters)
    for i, member in enumerate(members):
        if not isinstance(member, Tensor):
            raise TypeError(
                f"{op}: parameters must hold Tensors, but number {i} is {excerpt(member)}"
            )
    return [member.grad.numpy() for member in members if member.grad is not None]


def _norm_of(gradient: Array, power: float) -> float:
    if gradient.size == 0:
        return 0.0
    if power == 2.0:
        squares = _core.binary("multiply", gradient, gradient)
        return sqrt(_core.reduce("sum", squares, None, False))
    return _norm(np.abs(gradient).ravel(), power)


def _norm(values: Any, power: float) -> float:
    magnitudes = np.asarray(values, np.float64)
    if power == inf:
        return float(magnitudes.max(initial=0.0))
    return float(np.sum(magnitudes**power) ** (1.0 / power))
