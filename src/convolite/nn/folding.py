"""FoldedNorm: in inference a batch norm runs as part of the convolution in front of it."""

from __future__ import annotations

from typing import Any

from convolite.autograd import Differentiable, is_grad_enabled
from convolite.functional.folded import Norm, folded_conv2d
from convolite.nn.conv import Conv2d
from convolite.nn.norm import BatchNorm2d
from convolite.nn.pooling import MaxPool2d
from convolite.tensor import Tensor


class FoldedNorm:
    """A convolution and the batch norm behind it, run as one convolution where that is allowed.

    Scale and shift are computed from the running statistics at every call, so that they follow
    whatever changes these.

    Parameters
    ----------
    conv : Conv2d
    norm : BatchNorm2d
    """

    def __init__(self, conv: Conv2d, norm: BatchNorm2d) -> None:
        self._conv = conv
        self._norm = norm

    def applies(self, input: Any, residual: Any = None) -> bool:
        """Whether the norm uses running statistics and the result needs no gradient."""
        conv, norm = self._conv, self._norm
        if norm.training or norm.running_mean is None or norm.running_var is None:
            return False
        if not isinstance(input, Differentiable) or input._data.ndim != 4:
            return False
        if not is_grad_enabled():
            return True
        read = (input, residual, conv.weight, conv.bias, norm.weight, norm.bias)
        return not any(isinstance(each, Differentiable) and each._requires_grad for each in read)

    def run(
        self,
        input: Any,
        activation: str | None,
        pool: MaxPool2d | None = None,
        residual: Any = None,
    ) -> Tensor:
        """Convolve, normalise, add a residual or pool, and activate."""
        norm = self._norm
        state = Norm(norm.weight, norm.bias, norm.running_mean, norm.running_var, norm.eps)
        window = None if pool is None else pool.window()
        return self._conv._run(folded_conv2d, input, activation, state, residual, window)
