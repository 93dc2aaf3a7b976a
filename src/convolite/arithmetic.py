"""Arithmetic: the operators of Tensor. Their gradients are in operators.py.

Comparisons are not differentiable and give arrays.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from convolite import operators
from convolite._args import excerpt
from convolite.autograd import Differentiable
from convolite.interop import array_of

if TYPE_CHECKING:
    from convolite.tensor import Tensor


class Arithmetic(Differentiable):
    """What makes ``a + b``, ``a @ b``, ``a < b`` and the like work on tensors."""

    __slots__ = ()
    __array_priority__ = 1000.0  # an ndarray on the left leaves the operator to the tensor

    def __add__(self, other: Any) -> Tensor:
        return operators.Add.apply(*operators.operands(self, other))

    def __radd__(self, other: Any) -> Tensor:
        return operators.Add.apply(*operators.operands(other, self))

    def __sub__(self, other: Any) -> Tensor:
        return operators.Subtract.apply(*operators.operands(self, other))

    def __rsub__(self, other: Any) -> Tensor:
        return operators.Subtract.apply(*operators.operands(other, self))

    def __mul__(self, other: Any) -> Tensor:
        return operators.Multiply.apply(*operators.operands(self, other))

    def __rmul__(self, other: Any) -> Tensor:
        return operators.Multiply.apply(*operators.operands(other, self))

    def __truediv__(self, other: Any) -> Tensor:
        return operators.Divide.apply(*operators.operands(self, other))

    def __rtruediv__(self, other: Any) -> Tensor:
        return operators.Divide.apply(*operators.operands(other, self))

    def __pow__(self, other: Any) -> Tensor:
        return operators.Power.apply(*operators.operands(self, other))

    def __rpow__(self, other: Any) -> Tensor:
        return operators.Power.apply(*operators.operands(other, self))

    def __matmul__(self, other: Any) -> Tensor:
        return operators.MatrixMultiply.apply(*operators.matrices(self, other))

    def __rmatmul__(self, other: Any) -> Tensor:
        return operators.MatrixMultiply.apply(*operators.matrices(other, self))

    def __neg__(self) -> Tensor:
        return operators.Negative.apply(self)

    def __abs__(self) -> Tensor:
        return operators.Absolute.apply(self)

    def exp(self) -> Tensor:
        """Return e to the power of every element."""
        return operators.Exponential.apply(self)

    def log(self) -> Tensor:
        """Return the natural logarithm of every element."""
        return operators.Logarithm.apply(self)

    def __eq__(self, other: object) -> Any:
        return self._compared(operator.eq, other)

    def __ne__(self, other: object) -> Any:
        return self._compared(operator.ne, other)

    def __lt__(self, other: Any) -> Any:
        return self._compared(operator.lt, other)

    def __le__(self, other: Any) -> Any:
        return self._compared(operator.le, other)

    def __gt__(self, other: Any) -> Any:
        return self._compared(operator.gt, other)

    def __ge__(self, other: Any) -> Any:
        return self._compared(operator.ge, other)

    __hash__ = object.__hash__

    def _compared(self, comparison: Callable[[Any, Any], Any], other: Any) -> Any:
        """The comparison of every element, as an array of bools."""
        try:
            values = np.asarray(array_of(other))
        except ValueError:
            raise TypeError(f"a tensor cannot be compared with {excerpt(other)}") from None
        try:
            return comparison(self._data, values)
        except TypeError:
            raise TypeError(f"a tensor cannot be compared with {excerpt(other)}") from None
        except ValueError:
            raise ValueError(
                f"{comparison.__name__}: shapes do not broadcast "
                f"(a.shape = {self._data.shape}, b.shape = {values.shape})"
            ) from None
