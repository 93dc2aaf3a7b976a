"""Tensor: a numpy array that knows how it was computed.

Its operators (+, @, <, ...) are in arithmetic.py, the gradients in operators.py and reductions.py,
and the walk that uses them in autograd.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from math import prod
from typing import Any

import numpy as np

from convolite import _args, operators, reductions
from convolite.arithmetic import Arithmetic
from convolite.autograd import Array, Context, Function, gradient_of, run_backward
from convolite.interop import REAL_KINDS, as_array, plain_index, without_tensors


class Tensor(Arithmetic):
    """An array of numbers with a gradient.

    Parameters
    ----------
    data : array_like
        An ndarray is shared, not copied. Python numbers and lists of them become float32.
    requires_grad : bool
        Whether `backward` shall leave a gradient in `.grad`. Floats only.

    Attributes
    ----------
    grad : Tensor or None
        What the calls of `backward` added up so far. It can be assigned; None clears it.
    requires_grad : bool
        Set it on leaves only: tensors that no operation made.
    """

    __slots__ = ()

    def __init__(self, data: Any, requires_grad: bool = False) -> None:
        if type(data) is not np.ndarray or data.dtype.kind not in REAL_KINDS:
            data = as_array(data)
        self._data = data
        self._grad: Tensor | Array | None = None
        self._creator: Context | None = None
        self._requires_grad = False
        if requires_grad is not False:
            self.requires_grad = requires_grad

    @property
    def shape(self) -> tuple[int, ...]:
        """Length of every axis."""
        return self._data.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """numpy dtype of the elements."""
        return self._data.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return self._data.ndim

    @property
    def size(self) -> int:
        """Number of elements."""
        return self._data.size

    @property
    def T(self) -> Tensor:
        """The tensor with its axes reversed."""
        return self.permute(*reversed(range(self.ndim)))

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made this tensor."""
        return self._creator is None

    @property
    def requires_grad(self) -> bool:
        """Whether operations on this tensor are recorded for `backward`."""
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        value = _args.flag("tensor", "requires_grad", value)
        if value and self._data.dtype.kind != "f":
            raise TypeError(
                f"requires_grad: only float tensors can require a gradient, got {self.dtype}"
            )
        if not value and self._creator is not None:
            raise RuntimeError(
                "requires_grad: only a leaf can stop requiring a gradient; "
                "use detach() on the result of an operation"
            )
        self._requires_grad = value

    @property
    def grad(self) -> Tensor | None:
        """Gradient accumulated by `backward`, or None."""
        if self._grad is not None and not isinstance(self._grad, Tensor):
            self._grad = Tensor(self._grad)
        return self._grad

    @grad.setter
    def grad(self, value: Any) -> None:
        if value is None:
            self._grad = None
            return
        matches = isinstance(value, Tensor) and value.dtype == self.dtype
        gradient = value if matches else Tensor(self._gradient("grad", value))
        if gradient.shape != self.shape:
            raise ValueError(f"grad: must have shape {self.shape}, got {gradient.shape}")
        self._grad = gradient

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradient, or fill it with zeros in place."""
        if set_to_none or self._grad is None:
            self._grad = None
        else:
            gradient_of(self)[...] = 0.0

    def numpy(self) -> Array:
        """Return the elements as an ndarray that shares memory with the tensor."""
        return self._data

    def item(self) -> Any:
        """Return the only element as a Python number.

        Raises
        ------
        ValueError
            If the tensor has more or fewer elements than one.
        """
        if self._data.size != 1:
            raise ValueError(f"item: the tensor must have one element, got shape {self.shape}")
        return self._data.item()

    def tolist(self) -> Any:
        """Return the elements as nested Python lists."""
        return self._data.tolist()

    def detach(self) -> Tensor:
        """Return a leaf that shares memory with this tensor and requires no gradient."""
        return Tensor(self._data)

    def requires_grad_(self, requires_grad: bool = True) -> Tensor:
        """Set `requires_grad` and return the tensor."""
        self.requires_grad = requires_grad
        return self

    def astype(self, dtype: Any) -> Tensor:
        """Return the tensor converted to a dtype; between floats this can be differentiated."""
        target = _args.real_dtype("astype", dtype)
        if target == self.dtype:
            return self
        if target.kind == "f":
            return operators.Cast.apply(self, target)
        return Tensor(self._data.astype(target))

    def backward(self, grad: Any = None, retain_graph: bool = False) -> None:
        """Add the gradient of this tensor to `.grad` of every leaf that it depends on.

        Parameters
        ----------
        grad : array_like, optional
            Gradient of the quantity of interest with respect to this tensor, of its shape.
            It may be left out if the tensor has a single element, and is then 1.
        retain_graph : bool
            Keep what the computation saved, so that `backward` can run again.

        Raises
        ------
        RuntimeError
            If nothing here requires a gradient, if `grad` is needed and missing, or if an
            earlier call has freed the computation.
        ValueError
            If `grad` has another shape.
        """
        keeping = retain_graph is not False and _args.flag("backward", "retain_graph", retain_graph)
        if not self._requires_grad:
            raise RuntimeError(
                "backward: the tensor does not depend on anything with requires_grad=True"
            )
        if grad is None:
            if self._data.size != 1:
                raise RuntimeError(
                    "backward: grad must be given for a tensor with more than one element "
                    f"(shape = {self.shape})"
                )
            gradient = np.empty_like(self._data)
            gradient.fill(1.0)
        else:
            gradient = self._gradient("backward", grad)
            if gradient.shape != self._data.shape:
                raise ValueError(
                    f"backward: grad must have shape {self.shape}, got {gradient.shape}"
                )
        run_backward(self, gradient, keeping)

    def sum(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
    ) -> Tensor:
        """Return the sum over an axis, a tuple of axes, or all; `dim`, `keepdim` mean the same."""
        axes = self._axes("sum", axis, dim)
        return reductions.Sum.apply(self, axes, _keeps("sum", keepdims, keepdim))

    def mean(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
    ) -> Tensor:
        """Return the mean over an axis, a tuple of axes, or all; `dim`, `keepdim` mean the same."""
        axes = self._axes("mean", axis, dim)
        return reductions.Mean.apply(self, axes, _keeps("mean", keepdims, keepdim))

    def max(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
    ) -> Tensor:
        """Return the largest values; equal ones share the gradient evenly."""
        axes = self._axes("max", axis, dim)
        return reductions.Extremum.apply(self, "max", axes, _keeps("max", keepdims, keepdim))

    def min(
        self, axis: Any = None, keepdims: bool = False, *, dim: Any = None, keepdim: bool = False
    ) -> Tensor:
        """Return the smallest values; equal ones share the gradient evenly."""
        axes = self._axes("min", axis, dim)
        return reductions.Extremum.apply(self, "min", axes, _keeps("min", keepdims, keepdim))

    def argmax(self, axis: int | None = None) -> Any:
        """Return the positions of the largest values, as integers (an ndarray, no gradient)."""
        return self._data.argmax(None if axis is None else self._axis("argmax", "axis", axis))

    def reshape(self, *shape: Any) -> Tensor:
        """Return the same elements in another shape, given as ints or one tuple; one may be -1."""
        given = shape[0] if len(shape) == 1 and isinstance(shape[0], (tuple, list)) else shape
        wanted = tuple([_args.integer("reshape", "shape", length) for length in given])
        if min(wanted, default=0) < -1 or wanted.count(-1) > 1:
            raise ValueError(f"reshape: shape may hold one -1 and no negative size, got {wanted}")
        try:
            return reductions.Reshape.apply(self, wanted)
        except (OverflowError, ValueError):
            raise ValueError(
                f"reshape: shape {wanted} does not hold {self.size} elements "
                f"(tensor.shape = {self.shape})"
            ) from None

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Tensor:
        """Return the tensor with the axes from `start_dim` to `end_dim` merged into one."""
        shape = self._data.shape
        if not shape:
            return self.reshape(1)
        first = self._axis("flatten", "start_dim", start_dim)
        last = self._axis("flatten", "end_dim", end_dim)
        if first > last:
            raise ValueError(
                f"flatten: start_dim {start_dim} comes after end_dim {end_dim} (shape = {shape})"
            )
        merged = prod(shape[first : last + 1])
        return reductions.Reshape.apply(self, (*shape[:first], merged, *shape[last + 1 :]))

    def transpose(self, dim0: int, dim1: int) -> Tensor:
        """Return the tensor with two axes exchanged."""
        axes = list(range(self.ndim))
        first = self._axis("transpose", "dim0", dim0)
        second = self._axis("transpose", "dim1", dim1)
        axes[first], axes[second] = second, first
        return reductions.Permute.apply(self, tuple(axes))

    def permute(self, *axes: Any) -> Tensor:
        """Return the tensor with its axes in another order, given as ints or one tuple."""
        given = tuple(axes[0]) if len(axes) == 1 and isinstance(axes[0], Sequence) else axes
        order = tuple([self._axis("permute", "axes", axis) for axis in given])
        if sorted(order) != list(range(self._data.ndim)):
            raise ValueError(
                f"permute: axes must name every axis once, got {given} (shape = {self.shape})"
            )
        return reductions.Permute.apply(self, order)

    def _gradient(self, op: str, value: Any) -> Array:
        if type(value) is np.ndarray and value.dtype == self._data.dtype:
            return value
        return as_array(value, op, "grad").astype(self.dtype, copy=False)

    def _axis(self, op: str, argument: str, axis: Any) -> int:
        ndim = self._data.ndim
        position = _args.integer(op, argument, axis)
        if not -ndim <= position < ndim:
            raise ValueError(
                f"{op}: {argument} {position} is out of range for {ndim} axes "
                f"(shape = {self.shape})"
            )
        return position % ndim

    def _axes(self, op: str, axis: Any, dim: Any) -> tuple[int, ...]:
        if dim is not None:
            if axis is not None:
                raise TypeError(f"{op}: axis and dim are two names of one argument, give one")
            axis = dim
        if axis is None:
            return tuple(range(self._data.ndim))
        given = tuple(axis) if isinstance(axis, (tuple, list)) else (axis,)
        axes = tuple([self._axis(op, "axis", item) for item in given])
        if len(set(axes)) != len(axes):
            raise ValueError(f"{op}: axis names an axis twice, got {axis!r}")
        return axes

    def __getitem__(self, index: Any) -> Tensor:
        try:
            return reductions.Index.apply(self, plain_index(index))
        except (IndexError, ValueError, OverflowError) as error:
            raise IndexError(
                f"tensor: index {_args.excerpt(index)} does not fit shape {self.shape} ({error})"
            ) from None

    def __iter__(self) -> Iterator[Tensor]:
        if self.ndim == 0:
            raise TypeError("a tensor without axes cannot be iterated over")
        return (self[i] for i in range(len(self)))

    def __len__(self) -> int:
        if self.ndim == 0:
            raise TypeError("a tensor without axes has no length")
        return int(self._data.shape[0])

    def __bool__(self) -> bool:
        return bool(self._data)

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __format__(self, spec: str) -> str:
        if not spec:
            return repr(self)
        if self._data.size != 1:
            raise TypeError(
                f"format: the tensor must have one element for {spec!r}, got shape {self.shape}"
            )
        return format(self.item(), spec)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        if copy:
            return np.array(self._data, dtype=dtype)
        if copy is False and dtype is not None and np.dtype(dtype) != self.dtype:
            raise ValueError(
                f"a {self.dtype} tensor cannot become {np.dtype(dtype)} without a copy"
            )
        return np.asarray(self._data, dtype=dtype)

    def __array_function__(
        self, function: Callable[..., Any], types: Any, args: Any, kwargs: Any
    ) -> Any:
        """Let numpy's functions work on tensors as on arrays; they return arrays."""
        return function(*without_tensors(args), **without_tensors(kwargs))

    def __dlpack__(self, **kwargs: Any) -> Any:
        return self._data.__dlpack__(**kwargs)

    def __dlpack_device__(self) -> tuple[int, int]:
        return self._data.__dlpack_device__()

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._data, self._requires_grad)

    def __repr__(self) -> str:
        text = np.array2string(self._data, separator=", ", prefix="tensor(", threshold=1000)
        if self.dtype != np.float32:
            text += f", dtype={self.dtype}"
        if self._creator is not None:
            text += f", made_by={self._creator.function.__name__}"
        elif self._requires_grad:
            text += ", requires_grad=True"
        return f"tensor({text})"


Function.tensor_type = Tensor


def tensor(data: Any, dtype: Any = None, requires_grad: bool = False) -> Tensor:
    """Return a Tensor made from an array, a number or nested lists of numbers.

    Parameters
    ----------
    data : array_like
        Always copied. Arrays keep their dtype; Python numbers and lists become float32.
    dtype : dtype, optional
        Convert to this dtype.
    requires_grad : bool
        Whether `backward` shall compute a gradient for it.

    Raises
    ------
    TypeError, ValueError
        If the data are no numbers, or rows of different lengths, or the dtype is not one of
        real numbers.
    """
    array = as_array(data)
    target = array.dtype if dtype is None else _args.real_dtype("tensor", dtype)
    return Tensor(np.array(array, dtype=target, order="C"), requires_grad)


def from_dlpack(source: Any) -> Tensor:
    """Return a Tensor that shares memory with another library's array through DLPack."""
    if not hasattr(source, "__dlpack__"):
        raise TypeError(f"from_dlpack: source has no __dlpack__, got {_args.kind(source)}")
    return Tensor(np.from_dlpack(source))


def _keeps(op: str, keepdims: bool, keepdim: bool) -> bool:
    """The two spellings of one flag."""
    return _args.flag(op, "keepdims", keepdims) or _args.flag(op, "keepdim", keepdim)


def as_tensor(value: Any, op: str = "tensor", argument: str = "data") -> Tensor:
    """Return `value` itself if it is a Tensor, else a Tensor around it (an ndarray is shared)."""
    return value if isinstance(value, Tensor) else Tensor(as_array(value, op, argument))
