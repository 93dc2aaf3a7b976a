"""Linear: a fully connected layer, and Identity, which changes nothing."""

from __future__ import annotations

from typing import Any

import numpy as np

from convolite import functional
from convolite._args import choice, count, flag, float_dtype
from convolite.nn import init
from convolite.nn.module import Module
from convolite.nn.parameter import Parameter, empty_parameter
from convolite.tensor import Tensor, as_tensor

_MOST_FEATURES = 2**28 - 1  # the core's limit


class Linear(Module):
    """Fully connected layer: ``input @ weight.T + bias``.

    Parameters
    ----------
    in_features, out_features : int
    bias : bool
        Whether a bias is added.
    device : {None, "cpu"}
    dtype : float32 or float64, optional

    Raises
    ------
    TypeError, ValueError
        For sizes, spellings and dtypes that no input could fit.
    MemoryError
        If there is no room for the weights.

    Attributes
    ----------
    weight : Parameter, (out_features, in_features)
    bias : Parameter, (out_features,), or None
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        device: str | None = None,
        dtype: Any = None,
    ) -> None:
        super().__init__()
        self.in_features = _features("in_features", in_features)
        self.out_features = _features("out_features", out_features)
        choice("Linear", "device", "cpu" if device is None else device, ("cpu",))
        biased = flag("Linear", "bias", bias)
        element = float_dtype("Linear", dtype)
        shape = (self.out_features, self.in_features)
        self.weight = empty_parameter("Linear", "weight", shape, element)
        self.bias = Parameter(np.empty(self.out_features, element)) if biased else None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw new weights, evenly within ±1 / sqrt(in_features)."""
        init.default_weight_and_bias_(self.weight, self.bias)

    def forward(self, input: Any) -> Tensor:
        """Apply the layer to (..., in_features)."""
        return functional.linear(input, self.weight, self.bias)

    def forward_activated(self, input: Any, activation: str) -> Tensor:
        """Apply the layer and "relu" or "relu6" in the same pass."""
        return functional.linear(input, self.weight, self.bias, activation)

    def extra_repr(self) -> str:
        """Return the sizes."""
        return (
            f"in_features={self.in_features}, out_features={self.out_features}, "
            f"bias={self.bias is not None}"
        )


def _features(argument: str, value: Any) -> int:
    features = count("Linear", argument, value)
    if features > _MOST_FEATURES:
        raise ValueError(f"Linear: {argument} must be below 2^28, got {features}")
    return features


class Identity(Module):
    """Returns its input. Any constructor arguments are accepted and ignored."""

    def __init__(self, *_arguments: Any, **_options: Any) -> None:
        super().__init__()

    def forward(self, input: Any) -> Tensor:
        """Return the input."""
        return as_tensor(input, "Identity", "input")
