"""Initial values of parameters. Every function fills a tensor in place and returns it.

Random values come from the generator that `convolite.manual_seed` restarts.
"""

from __future__ import annotations

from math import isfinite, prod, sqrt
from typing import Any, TypeVar

import numpy as np

from convolite import random
from convolite._args import choice, excerpt, finite, not_negative, number
from convolite.autograd import Array
from convolite.tensor import Tensor

AnyTensor = TypeVar("AnyTensor", bound=Tensor)


def zeros_(tensor: AnyTensor) -> AnyTensor:
    """Fill with 0."""
    _array_of("zeros_", tensor)[...] = 0.0
    return tensor


def ones_(tensor: AnyTensor) -> AnyTensor:
    """Fill with 1."""
    _array_of("ones_", tensor)[...] = 1.0
    return tensor


def constant_(tensor: AnyTensor, value: float) -> AnyTensor:
    """Fill with a number."""
    array = _array_of("constant_", tensor)
    amount = number("constant_", "value", value)
    if isfinite(amount):
        _check_room("constant_", "value", value, amount, array)
    array[...] = amount
    return tensor


def uniform_(tensor: AnyTensor, a: float = 0.0, b: float = 1.0) -> AnyTensor:
    """Fill with numbers spread evenly over [a, b)."""
    array = _array_of("uniform_", tensor)
    low, high = finite("uniform_", "a", a), finite("uniform_", "b", b)
    if low > high:
        raise ValueError(f"uniform_: b must not be below a, got a = {a}, b = {b}")
    _check_room("uniform_", "a", a, low, array)
    _check_room("uniform_", "b", b, high - low, array)
    array[...] = random.generator().uniform(low, high, array.shape)
    return tensor


def normal_(tensor: AnyTensor, mean: float = 0.0, std: float = 1.0) -> AnyTensor:
    """Fill with normally distributed numbers."""
    array = _array_of("normal_", tensor)
    centre, deviation = finite("normal_", "mean", mean), not_negative("normal_", "std", std)
    _check_room("normal_", "mean", mean, centre, array)
    _check_room("normal_", "std", std, deviation, array)
    array[...] = random.generator().normal(centre, deviation, array.shape)
    return tensor


def kaiming_uniform_(
    tensor: AnyTensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> AnyTensor:
    """Fill evenly within ±gain * sqrt(3 / fan), He et al. 2015 (arXiv 1502.01852).

    Parameters
    ----------
    a : float
        Negative slope of the leaky ReLU behind the layer.
    mode : {"fan_in", "fan_out"}
        Keep the variance of the forward pass or of the gradients.
    nonlinearity : str
        See `calculate_gain`.
    """
    bound = sqrt(3.0) * _kaiming_std("kaiming_uniform_", tensor, a, mode, nonlinearity)
    return uniform_(tensor, -bound, bound)


def kaiming_normal_(
    tensor: AnyTensor, a: float = 0.0, mode: str = "fan_in", nonlinearity: str = "leaky_relu"
) -> AnyTensor:
    """Fill normally with deviation gain / sqrt(fan); parameters as in `kaiming_uniform_`."""
    return normal_(tensor, 0.0, _kaiming_std("kaiming_normal_", tensor, a, mode, nonlinearity))


def xavier_uniform_(tensor: AnyTensor, gain: float = 1.0) -> AnyTensor:
    """Fill evenly within ±gain * sqrt(6 / (fan_in + fan_out)), Glorot and Bengio 2010."""
    op = "xavier_uniform_"
    bound = not_negative(op, "gain", gain) * sqrt(6.0 / sum(fans(op, tensor)))
    _check_room(op, "gain", gain, 2.0 * bound, _array_of(op, tensor))
    return uniform_(tensor, -bound, bound)


def xavier_normal_(tensor: AnyTensor, gain: float = 1.0) -> AnyTensor:
    """Fill normally with deviation gain * sqrt(2 / (fan_in + fan_out))."""
    op = "xavier_normal_"
    deviation = not_negative(op, "gain", gain) * sqrt(2.0 / sum(fans(op, tensor)))
    _check_room(op, "gain", gain, deviation, _array_of(op, tensor))
    return normal_(tensor, 0.0, deviation)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return the factor by which a nonlinearity asks weights to be enlarged.

    Parameters
    ----------
    nonlinearity : {"linear", "conv2d", "sigmoid", "tanh", "relu", "leaky_relu", "selu"}
    param : float, optional
        Negative slope of the leaky ReLU; 0.01 if left out.
    """
    slope = 0.01 if param is None else finite("calculate_gain", "param", param)
    return _gain("calculate_gain", nonlinearity, slope)


def _gain(op: str, nonlinearity: str, slope: float) -> float:
    gains = {
        "linear": 1.0,
        "conv2d": 1.0,
        "sigmoid": 1.0,
        "tanh": 5.0 / 3.0,
        "relu": sqrt(2.0),
        "leaky_relu": sqrt(2.0 / (1.0 + slope * slope)),
        "selu": 0.75,
    }
    return gains[choice(op, "nonlinearity", nonlinearity, tuple(gains))]


def fans(op: str, tensor: Tensor) -> tuple[int, int]:
    """Return how many inputs an output has, and how many outputs an input has.

    Raises
    ------
    TypeError, ValueError
        For what is no tensor, and for tensors with fewer than two axes.
    """
    _array_of(op, tensor)
    if tensor.ndim < 2:
        raise ValueError(f"{op}: tensor must have at least 2 axes, got shape {tensor.shape}")
    window = prod(tensor.shape[2:])
    return tensor.shape[1] * window, tensor.shape[0] * window


def default_weight_and_bias_(weight: Tensor, bias: Tensor | None) -> None:
    """Fill a layer as PyTorch does: both evenly within ±1 / sqrt(fan_in)."""
    if weight.size == 0:
        return
    kaiming_uniform_(weight, a=sqrt(5.0))
    if bias is not None:
        bound = 1.0 / sqrt(fans("bias", weight)[0])
        uniform_(bias, -bound, bound)


def _kaiming_std(op: str, tensor: Tensor, a: float, mode: str, nonlinearity: str) -> float:
    choice(op, "mode", mode, ("fan_in", "fan_out"))
    fan = fans(op, tensor)[mode == "fan_out"]
    return _gain(op, nonlinearity, finite(op, "a", a)) / sqrt(fan)


def _check_room(op: str, argument: str, value: Any, largest: float, array: Array) -> None:
    """Raise ValueError if an argument asks for a number that the tensor's floats do not reach."""
    if array.dtype.kind == "f" and abs(largest) > float(np.finfo(array.dtype).max):
        raise ValueError(f"{op}: {argument} must fit {array.dtype}, got {value}")


def _array_of(op: str, tensor: Any) -> Array:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{op}: tensor must be a Tensor, got {excerpt(tensor)}")
    return tensor.numpy()
