"""BatchNorm1d and BatchNorm2d: batch normalization with running statistics."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np

from convolite import functional
from convolite._args import choice, count, flag, float_dtype, not_negative, shape_of
from convolite.functional.norm import pooled_batch_norm
from convolite.nn import init
from convolite.nn.module import Module
from convolite.nn.parameter import Parameter
from convolite.nn.pooling import MaxPool2d
from convolite.tensor import Tensor


class _BatchNorm(Module):
    """What the two batch norms share; they differ in the inputs they accept."""

    _input_ndims: ClassVar[tuple[int, ...]]
    _input_shapes: ClassVar[str]

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        self.num_features = count(name, "num_features", num_features)
        choice(name, "device", "cpu" if device is None else device, ("cpu",))
        self.eps = not_negative(name, "eps", eps)
        self.momentum = None if momentum is None else not_negative(name, "momentum", momentum)
        self.affine = affine = flag(name, "affine", affine)
        self.track_running_stats = tracked = flag(name, "track_running_stats", track_running_stats)
        element = float_dtype(name, dtype)
        self.weight = Parameter(np.ones(num_features, element)) if affine else None
        self.bias = Parameter(np.zeros(num_features, element)) if affine else None
        self.running_mean: Tensor | None
        self.running_var: Tensor | None
        self.num_batches_tracked: Tensor | None
        self.register_buffer("running_mean", np.zeros(num_features, element) if tracked else None)
        self.register_buffer("running_var", np.ones(num_features, element) if tracked else None)
        self.register_buffer("num_batches_tracked", np.array(0, np.int64) if tracked else None)

    def reset_parameters(self) -> None:
        """Return scale, shift and running statistics to their first values."""
        if self.weight is not None and self.bias is not None:
            init.ones_(self.weight)
            init.zeros_(self.bias)
        self.reset_running_stats()

    def reset_running_stats(self) -> None:
        """Forget all batches."""
        if self.running_mean is not None and self.running_var is not None:
            init.zeros_(self.running_mean)
            init.ones_(self.running_var)
        if self.num_batches_tracked is not None:
            init.zeros_(self.num_batches_tracked)

    def forward(self, input: Any) -> Tensor:
        """Normalise each channel: with the batch's statistics in training, else the running."""
        return self.forward_activated(input, None)

    def forward_activated(self, input: Any, activation: str | None, residual: Any = None) -> Tensor:
        """Normalise, add a residual and apply "relu" or "relu6" in the same pass."""
        return self._run(functional.batch_norm, input, activation, residual)

    def _run(self, function: Callable[..., Tensor], input: Any, *arguments: Any) -> Tensor:
        """Call a batch norm with this layer's state, then count the batch."""
        shape = shape_of(type(self).__name__, "input", input)
        if len(shape) not in self._input_ndims:
            raise ValueError(
                f"{type(self).__name__}: input must be {self._input_shapes}, "
                f"got input.shape = {tuple(shape)}"
            )
        updating = self.training and self.track_running_stats
        known = updating or not self.training
        output = function(
            input,
            self.running_mean if known else None,
            self.running_var if known else None,
            self.weight,
            self.bias,
            self.training or self.running_mean is None,
            self._momentum() if updating else 0.0,
            self.eps,
            *arguments,
        )
        if updating and self.num_batches_tracked is not None:
            self.num_batches_tracked.numpy()[...] += 1
        return output

    def _momentum(self) -> float:
        """How much the statistics of the coming batch weigh in the running ones."""
        if self.momentum is not None:
            return self.momentum
        before = 0 if self.num_batches_tracked is None else self.num_batches_tracked.item()
        return 1.0 / (before + 1)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return (
            f"{self.num_features}, eps={self.eps}, momentum={self.momentum}, "
            f"affine={self.affine}, track_running_stats={self.track_running_stats}"
        )


class BatchNorm1d(_BatchNorm):
    """Batch normalization of (N, C) or (N, C, L); arguments as for `BatchNorm2d`."""

    _input_ndims = (2, 3)
    _input_shapes = "(N, C) or (N, C, L)"


class BatchNorm2d(_BatchNorm):
    """Batch normalization of (N, C, H, W), Ioffe and Szegedy 2015 (arXiv 1502.03167).

    Parameters
    ----------
    num_features : int
        Channels.
    eps : float
        Added to the variance.
    momentum : float or None
        Weight of the new statistics in the running ones; None averages all batches equally.
    affine : bool
        Whether there are a learned scale and shift.
    track_running_stats : bool
        Whether running statistics are kept and used in inference.
    device : {None, "cpu"}
    dtype : float32 or float64, optional

    Raises
    ------
    TypeError, ValueError
        For a number of channels that is not positive, a negative eps or momentum and other
        types.

    Attributes
    ----------
    weight, bias : Parameter, (num_features,), or None
    running_mean, running_var : Tensor, (num_features,), or None
    num_batches_tracked : Tensor of int64, (), or None
    """

    _input_ndims = (4,)
    _input_shapes = "(N, C, H, W)"

    def forward_pooled(self, input: Any, pool: MaxPool2d, activation: str | None) -> Tensor:
        """Normalise, pool and apply "relu" or "relu6" in the same pass."""
        return self._run(pooled_batch_norm, input, activation, pool.window())
