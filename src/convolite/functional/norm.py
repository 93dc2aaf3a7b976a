"""Batch normalization: the Function and its public call."""

from __future__ import annotations

from typing import Any

import numpy as np

from convolite import _core
from convolite._args import flag, fused_activation, kind, not_negative, shape_of
from convolite.autograd import Array, Context, Function
from convolite.tensor import Tensor


class BatchNorm(Function):
    """Normalise each channel, scale, shift and activate, in one pass behind the statistics."""

    gives_new_arrays = True

    @staticmethod
    def forward(
        ctx: Context,
        input: Array,
        weight: Array | None,
        bias: Array | None,
        residual: Array | None,
        running: tuple[Any, Any],
        rules: tuple[bool, float, float, str],
    ) -> Array:
        running_mean, running_var = running
        training, momentum, eps, activation = rules
        if training:
            output, mean, inv_std = _core.batch_norm_forward_training(
                input, weight, bias, running_mean, running_var, momentum, eps, activation, residual
            )
        else:
            output = _core.batch_norm_forward_inference(
                input, weight, bias, running_mean, running_var, eps, activation, residual
            )
            if True not in ctx.needs_input_grad:
                return output
            mean, inv_std = _core.batch_norm_statistics(running_mean, running_var, eps)
        # x_hat and the activation's derivative are recomputed from these: C floats each, not
        # another N*C*H*W. With a residual the output tells what passed, and is kept anyway.
        passed = None if residual is None or activation == "none" else output
        ctx.saved = input, weight, mean, inv_std, training, bias, activation, passed
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        grad_input, grad_weight, grad_bias, passed = _core.batch_norm_backward(
            grad_output, *ctx.saved
        )
        needs_input, needs_weight, needs_bias, needs_residual = ctx.needs_input_grad[:4]
        return (
            grad_input if needs_input else None,
            grad_weight if needs_weight else None,
            grad_bias if needs_bias else None,
            (grad_output if passed is None else passed) if needs_residual else None,
            None,
            None,
        )


class PooledBatchNorm(Function):
    """Normalise each channel, take each window's greatest pixel and activate, in one pass."""

    gives_new_arrays = True

    @staticmethod
    def forward(
        ctx: Context,
        input: Array,
        weight: Array | None,
        bias: Array | None,
        running: tuple[Any, Any],
        rules: tuple[bool, float, float, str],
        window: tuple[Any, ...],
    ) -> Array:
        running_mean, running_var = running
        training, momentum, eps, activation = rules
        if training:
            output, offsets, mean, inv_std = _core.pooled_batch_norm_forward_training(
                input, weight, bias, running_mean, running_var, momentum, eps, activation, *window
            )
        else:
            output, offsets = _core.pooled_batch_norm_forward_inference(
                input, weight, bias, running_mean, running_var, eps, activation, *window
            )
            if True not in ctx.needs_input_grad:
                return output
            mean, inv_std = _core.batch_norm_statistics(running_mean, running_var, eps)
        passed = None if activation == "none" else output
        pooling = offsets, input.shape, *window, activation, passed
        ctx.saved = pooling, (input, weight, mean, inv_std, training)
        return output

    @staticmethod
    def backward(ctx: Context, grad_output: Array) -> tuple[Array | None, ...]:
        pooling, normalisation = ctx.saved
        unpooled = _core.max_pool2d_backward(grad_output, *pooling)
        grad_input, grad_weight, grad_bias, _ = _core.batch_norm_backward(unpooled, *normalisation)
        needed = ctx.needs_input_grad
        return (
            grad_input if needed[0] else None,
            grad_weight if needed[1] else None,
            grad_bias if needed[2] else None,
            None,
            None,
            None,
        )


def batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any = None,
    bias: Any = None,
    training: bool = False,
    momentum: float = 0.1,
    eps: float = 1e-5,
    activation: str | None = None,
    residual: Any = None,
) -> Tensor:
    """Normalise each channel to mean 0 and variance 1, then scale, shift and activate.

    ``output = activation((input - mean) / sqrt(variance + eps) * weight + bias + residual)``

    Parameters
    ----------
    input : Tensor, (N, C), (N, C, L) or (N, C, H, W)
    running_mean, running_var : Tensor or array, (C,), or None
        Used as they are unless `training`. In training the batch's own statistics are used, and
        these are updated in place: ``running = (1 - momentum) running + momentum batch``, with
        the unbiased variance of the batch. So they must be C-contiguous, writeable and in native
        byte order.
    weight, bias : Tensor, (C,), optional
        1 and 0 unless given.
    training : bool
    momentum : float
    eps : float
    activation : {None, "relu", "relu6"}
        Applied in the same pass over memory.
    residual : Tensor, of the input's shape, optional
        Added in the same pass, before the activation.

    Returns
    -------
    Tensor, of the input's shape

    Raises
    ------
    TypeError, ValueError
        For dtypes and shapes that do not fit together, for training with one value a channel,
        and for a momentum or eps that is negative or not finite.

    Notes
    -----
    Ioffe and Szegedy, Batch Normalization (2015), algorithm 1; running statistics as
    ``torch.nn.functional.batch_norm``. With a residual and an activation backward reads the
    output, so its array must not be written to before.
    """
    shape_of("batch_norm", "input", input)
    if not training and (running_mean is None or running_var is None):
        raise ValueError("batch_norm: running_mean and running_var are needed unless training")
    running, rules = _settings(running_mean, running_var, training, momentum, eps, activation)
    return BatchNorm.apply(input, weight, bias, residual, running, rules)


def pooled_batch_norm(
    input: Any,
    running_mean: Any,
    running_var: Any,
    weight: Any,
    bias: Any,
    training: bool,
    momentum: float,
    eps: float,
    activation: str | None,
    window: tuple[Any, ...],
) -> Tensor:
    """Return ``activation(max_pool2d(batch_norm(input)))`` in one pass over memory.

    What is normalised never goes to memory. `window` is what `pool.max_window` returns, `input`
    (N, C, H, W); all else as in `batch_norm`.
    """
    running, rules = _settings(running_mean, running_var, training, momentum, eps, activation)
    return PooledBatchNorm.apply(input, weight, bias, running, rules, window)


def _settings(
    running_mean: Any, running_var: Any, training: Any, momentum: Any, eps: Any, activation: Any
) -> tuple[tuple[Array | None, Array | None], tuple[bool, float, float, str]]:
    """Running statistics and rules as the Functions take them."""
    running = _statistics("running_mean", running_mean), _statistics("running_var", running_var)
    return running, (
        flag("batch_norm", "training", training),
        not_negative("batch_norm", "momentum", momentum),
        not_negative("batch_norm", "eps", eps),
        fused_activation("batch_norm", activation),
    )


def _statistics(argument: str, value: Any) -> Array | None:
    """The array behind running statistics, which must be changeable in place."""
    if value is None or type(value) is np.ndarray:
        return value
    array = value.numpy() if isinstance(value, Tensor) else value
    if not isinstance(array, np.ndarray):
        raise TypeError(f"batch_norm: {argument} must be a Tensor or an array, got {kind(value)}")
    return array
