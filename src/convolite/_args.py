"""Types and spellings of arguments: what a stride, a padding or a dtype may look like.

Every public function normalises its arguments here, before any work. Whether the numbers make
sense together (window inside the input, channels that match) is decided by the core alone.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from math import inf, isfinite, prod
from operator import index as exact_integer
from typing import TYPE_CHECKING, Any, TypeGuard, TypeVar

import numpy as np

from convolite._rules import NUMBERS
from convolite.autograd import Differentiable

if TYPE_CHECKING:
    from pathlib import Path

Pair = tuple[int, int]
Quadruple = tuple[int, int, int, int]


def integer(op: str, argument: str, value: Any) -> int:
    """Return `value` as a Python int; bools and floats are refused with ``TypeError``."""
    if type(value) is int:
        return value
    if not isinstance(value, (bool, np.bool_)):
        try:
            return exact_integer(value)
        except TypeError:
            pass
    raise TypeError(f"{op}: {argument} must be an int, got {excerpt(value)}")


def size(op: str, argument: str, value: Any) -> int:
    """Return `value` as an int of ordinary size, as counts are; larger ones are ValueErrors."""
    if type(value) is int and -_LIMIT < value < _LIMIT:
        return value
    return _bounded(op, argument, (integer(op, argument, value),))[0]


def pair(op: str, argument: str, value: Any) -> Pair:
    """Return a size-like argument, an int or a pair (h, w), as a tuple of two ints.

    Raises
    ------
    TypeError
        For bools, floats, strings and anything else that is not an int or a sequence of ints.
    ValueError
        For a sequence whose length is not 2, and for numbers of 2^31 or more.
    """
    if type(value) is int and -_LIMIT < value < _LIMIT:
        return value, value
    if _is_plain_pair(value):
        return value
    if isinstance(value, np.ndarray) and not value.ndim:
        value = value[()]
    if not isinstance(value, (tuple, list, np.ndarray)):
        if _is_integer(value):
            return _bounded(op, argument, (int(value), int(value)))
        raise TypeError(f"{op}: {argument} must be an int or a pair (h, w), got {excerpt(value)}")
    if len(value) != 2:
        raise ValueError(f"{op}: {argument} must be an int or a pair (h, w), got {excerpt(value)}")
    if not all(_is_integer(item) for item in value):
        raise TypeError(f"{op}: {argument} must be an int or a pair (h, w), got {excerpt(value)}")
    return _bounded(op, argument, (int(value[0]), int(value[1])))


def padding4(
    op: str,
    value: Any,
    input_hw: Sequence[int],
    kernel: Sequence[int],
    stride: Pair,
    dilation: Pair,
) -> Quadruple:
    """Return a convolution's padding as (top, bottom, left, right).

    Parameters
    ----------
    input_hw, kernel
        Of longer shapes the last two lengths count.
    value
        An int, a pair (h, w), ``"valid"`` (none), ``"same"`` (the output is ``ceil(H / stride)``
        by ``ceil(W / stride)``; an odd pixel goes to the bottom and to the right), or
        ``((top, bottom), (left, right))``.

    Raises
    ------
    TypeError, ValueError
        For any other type or spelling.
    """
    if type(value) is int and -_LIMIT < value < _LIMIT:
        return value, value, value, value
    if _is_plain_pair(value):
        height, width = value
        return height, height, width, width
    if isinstance(value, str):
        return _named_padding(op, value, input_hw, kernel, stride, dilation)
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (tuple, list)) and len(value) == 2:
        if all(isinstance(side, (tuple, list)) for side in value):
            return _four_sides(op, value)
        if all(_is_integer(item) for item in value):
            height, width = pair(op, "padding", value)
            return height, height, width, width
    elif _is_integer(value):
        return _bounded(op, "padding", (int(value), int(value), int(value), int(value)))
    error = ValueError if isinstance(value, (tuple, list)) and len(value) != 2 else TypeError
    raise error(f"{op}: padding must be {_PADDING_SPELLINGS}, got {excerpt(value)}")


def plain(value: Any) -> Any:
    """Return sizes, checked before, as ints and tuples of Python: nobody else can change those."""
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, (tuple, list)):
        return tuple(plain(item) for item in value)
    return value if value is None or isinstance(value, str) else exact_integer(value)


def choice(op: str, argument: str, value: Any, allowed: Sequence[str]) -> str:
    """Return `value` if it is one of the spellings in `allowed`.

    Raises
    ------
    TypeError, ValueError
        If it is not a string, or not one of them.
    """
    if isinstance(value, str) and value in allowed:
        return value
    error = ValueError if isinstance(value, str) else TypeError
    spellings = ", ".join(repr(name) for name in allowed)
    raise error(f"{op}: {argument} must be one of {spellings}, got {excerpt(value)}")


def fused_activation(op: str, value: Any) -> str:
    """Return the core's name of an ``activation=None | "relu" | "relu6"`` argument."""
    if value is None:
        return "none"
    if isinstance(value, str) and value in ("relu", "relu6"):
        return value
    error = ValueError if isinstance(value, str) else TypeError
    raise error(f"{op}: activation must be None, 'relu' or 'relu6', got {excerpt(value)}")


def shape_of(op: str, argument: str, value: Any) -> tuple[int, ...]:
    """Return the shape of a Tensor or array; anything else raises ``TypeError``."""
    if isinstance(value, Differentiable):
        return value._data.shape
    if isinstance(value, np.ndarray):
        shape: tuple[int, ...] = value.shape
        return shape
    raise TypeError(f"{op}: {argument} must be a Tensor or an array, got {kind(value)}")


def number(op: str, argument: str, value: Any) -> float:
    """Return a real number as a float; bools, strings and arrays raise ``TypeError``."""
    if type(value) is float:
        return value
    if isinstance(value, NUMBERS) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            raise ValueError(f"{op}: {argument} must fit a float, got {excerpt(value)}") from None
    raise TypeError(f"{op}: {argument} must be a number, got {excerpt(value)}")


def not_negative(op: str, argument: str, value: Any) -> float:
    """Return `value` as a float, if it is a finite number of 0 or more."""
    if type(value) is float and 0.0 <= value < inf:
        return value
    amount = finite(op, argument, value)
    if amount < 0.0:
        raise ValueError(f"{op}: {argument} must not be negative, got {value}")
    return amount


def finite(op: str, argument: str, value: Any) -> float:
    """Return `value` as a float, if it is a number but neither NaN nor infinite."""
    amount = number(op, argument, value)
    if not isfinite(amount):
        raise ValueError(f"{op}: {argument} must be finite, got {amount}")
    return amount


def flag(op: str, argument: str, value: Any) -> bool:
    """Return `value` as a bool, if it is one, or 0 or 1."""
    if value is True or value is False:
        return value
    if isinstance(value, np.bool_) or (type(value) is int and value in (0, 1)):
        return bool(value)
    raise TypeError(f"{op}: {argument} must be True or False, got {excerpt(value)}")


def at_least(op: str, argument: str, value: Any, smallest: int) -> int:
    """Return `value` as a Python int, if it is one and not below `smallest`, which is 0 or 1."""
    count = integer(op, argument, value)
    if count < smallest:
        rule = "must be positive" if smallest else "must not be negative"
        raise ValueError(f"{op}: {argument} {rule}, got {excerpt(count)}")
    return count


def positive_pair(op: str, argument: str, value: Any) -> Pair:
    """Return a size-like argument as two ints, if both are positive."""
    sizes = pair(op, argument, value)
    if min(sizes) < 1:
        raise ValueError(f"{op}: {argument} must be positive, got {sizes}")
    return sizes


def room(op: str, argument: str, value: Any, shape: Iterable[int]) -> None:
    """Raise ValueError if an argument asks for a result of more elements than can be counted."""
    if prod(shape) >= _MOST_ELEMENTS:
        raise ValueError(
            f"{op}: {argument} must give fewer than 2^60 elements, got {excerpt(value)}"
        )


def items(op: str, argument: str, value: Iterable[Any]) -> list[Any]:
    """Return what an iterable yields; strings and things without items raise ``TypeError``."""
    if type(value) is tuple or type(value) is list:
        return list(value)
    try:
        if isinstance(value, (str, bytes)):
            raise TypeError
        iterator = iter(value)
    except TypeError:
        raise TypeError(f"{op}: {argument} must be a sequence, got {excerpt(value)}") from None
    return list(iterator)


def text(op: str, argument: str, value: Any) -> str:
    """Return `value` if it is a string."""
    if isinstance(value, str):
        return value
    raise TypeError(f"{op}: {argument} must be a string, got {excerpt(value)}")


def path(op: str, argument: str, value: Any) -> Path:
    """Return a string or path object as a Path."""
    from pathlib import Path  # here, since importing it takes as long as the rest of this file

    if not isinstance(value, (str, os.PathLike)) or isinstance(os.fspath(value), bytes):
        raise TypeError(f"{op}: {argument} must be a path, got {excerpt(value)}")
    if "\0" in os.fspath(value):
        raise ValueError(f"{op}: {argument} must not hold a null character, got {excerpt(value)}")
    return Path(value)


def kind(value: Any) -> str:
    """Return the name of a value's type, and None as itself."""
    return "None" if value is None else type(value).__name__


def excerpt(value: Any) -> str:
    """Return the beginning of ``repr(value)``, on one line."""
    words = " ".join(repr(value).split())
    return words if len(words) <= 60 else words[:57] + "..."


def real_dtype(op: str, value: Any) -> np.dtype[Any]:
    """Return a dtype argument as a numpy dtype of floats, integers or bools."""
    try:
        dtype: np.dtype[Any] | None = None if value is None else np.dtype(value)
    except (TypeError, ValueError, SyntaxError, DeprecationWarning):
        dtype = None
    if dtype is None or dtype.kind not in "fiub":
        raise TypeError(f"{op}: dtype must be a dtype of real numbers, got {excerpt(value)}")
    return dtype


def count(op: str, argument: str, value: Any) -> int:
    """Return `value` as an int, if it is a positive one of ordinary size."""
    return at_least(op, argument, size(op, argument, value), 1)


def float_dtype(op: str, value: Any) -> np.dtype[Any]:
    """Return a dtype argument as numpy's float32 or float64; None means float32."""
    if value is None:
        return np.dtype(np.float32)
    try:
        dtype: np.dtype[Any] = np.dtype(value)
    except (TypeError, ValueError, SyntaxError, DeprecationWarning):
        raise TypeError(f"{op}: dtype must be float32 or float64, got {excerpt(value)}") from None
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"{op}: dtype must be float32 or float64, got {dtype}")
    return dtype


_PADDING_SPELLINGS = (
    "an int, a pair (h, w), 'valid', 'same' or ((top, bottom), (left, right)) of ints"
)


_LIMIT = 2**31  # the core's own limit for sizes
_MOST_ELEMENTS = 2**60  # of 8 bytes each; beyond it their bytes cannot be counted
Sizes = TypeVar("Sizes", bound=tuple[int, ...])


def _bounded(op: str, argument: str, sizes: Sizes) -> Sizes:
    for number in sizes:
        if not -_LIMIT < number < _LIMIT:
            rule = "below 2^31" if number > 0 else "above -2^31"
            raise ValueError(f"{op}: {argument} must be {rule}, got {excerpt(number)}")
    return sizes


def _is_plain_pair(value: Any) -> TypeGuard[Pair]:
    """The usual spelling, which needs no further questions."""
    return (
        type(value) is tuple
        and len(value) == 2
        and type(value[0]) is type(value[1]) is int
        and -_LIMIT < value[0] < _LIMIT
        and -_LIMIT < value[1] < _LIMIT
    )


def _is_integer(value: Any) -> bool:
    if isinstance(value, (bool, np.bool_)):
        return False
    try:
        exact_integer(value)
    except TypeError:
        return False
    return True


def _four_sides(op: str, value: Sequence[Sequence[Any]]) -> Quadruple:
    if any(len(side) != 2 for side in value):
        raise ValueError(f"{op}: padding must be {_PADDING_SPELLINGS}, got {excerpt(value)}")
    if not all(_is_integer(item) for side in value for item in side):
        raise TypeError(f"{op}: padding must be {_PADDING_SPELLINGS}, got {excerpt(value)}")
    (top, bottom), (left, right) = value
    return _bounded(op, "padding", (int(top), int(bottom), int(left), int(right)))


def _named_padding(
    op: str,
    value: str,
    input_hw: Sequence[int],
    kernel: Sequence[int],
    stride: Pair,
    dilation: Pair,
) -> Quadruple:
    if value == "valid":
        return 0, 0, 0, 0
    if value != "same":
        raise ValueError(f"{op}: padding must be {_PADDING_SPELLINGS}, got {excerpt(value)}")
    positive_pair(op, "stride", stride)
    vertical, horizontal = (
        max(
            (-(-input_hw[i] // stride[i]) - 1) * stride[i]
            + (kernel[i] - 1) * dilation[i]
            + 1
            - input_hw[i],
            0,
        )
        for i in (-2, -1)
    )
    return (
        vertical // 2,
        vertical - vertical // 2,
        horizontal // 2,
        horizontal - horizontal // 2,
    )
