"""Parameter: a Tensor that a Module owns and an optimizer changes."""

from __future__ import annotations

from typing import Any

import numpy as np

from convolite.interop import as_array
from convolite.tensor import Tensor


class Parameter(Tensor):
    """A Tensor that counts as a parameter of the Module it is assigned to.

    Parameters
    ----------
    data : array_like of floats
        A writable C-contiguous array is shared; anything else is copied.
    requires_grad : bool
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = True) -> None:
        array = as_array(data, "Parameter", "data")
        native = array.astype(array.dtype.newbyteorder("="), copy=False)
        super().__init__(np.require(native, requirements=["C", "W"]), requires_grad)

    def __repr__(self) -> str:
        return f"Parameter({super().__repr__()})"


def empty_parameter(op: str, name: str, shape: tuple[int, ...], dtype: Any) -> Parameter:
    """Return a Parameter whose values are yet to be set.

    Raises
    ------
    MemoryError
        If there is no room for it.
    """
    try:
        return Parameter(np.empty(shape, dtype))
    except (MemoryError, ValueError):  # numpy raises the latter beyond 2^63 bytes
        raise MemoryError(f"{op}: {name} of shape {shape} does not fit into memory") from None
