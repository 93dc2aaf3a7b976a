"""Automatic differentiation: Function (the one door of every operation) and the reverse walk.

Nothing here knows what an operation computes. `Function.apply` runs one and remembers how its
output was made; `run_backward` visits those memories from the newest to the oldest. Backward
functions return fresh gradients; only this file adds gradients up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ContextDecorator
from heapq import heappop, heappush
from itertools import count
from types import SimpleNamespace, TracebackType
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from convolite import _core

if TYPE_CHECKING:
    from convolite.tensor import Tensor

Array = np.ndarray[tuple[Any, ...], np.dtype[Any]]


class Differentiable:
    """What the walk needs to know of a tensor; `convolite.Tensor` adds everything else.

    `_creator` is the Context of the call that made it, or None for a leaf. `_grad` becomes a Tensor
    when somebody asks for it: most gradients are only read by an optimizer.
    """

    __slots__ = ("__weakref__", "_creator", "_data", "_grad", "_requires_grad")

    _data: Array
    _grad: Tensor | Array | None
    _requires_grad: bool
    _creator: Context | None


class Context:
    """One call of a Function: what forward leaves for backward, and a node of the graph.

    Forward leaves what backward needs in `saved`: a value, a tuple, or arrays by name with `save`.
    That and the links to the inputs are dropped as soon as backward has used them.

    While backward runs, `owns_grad_output` says that the walk has this gradient from a Function
    that gives new arrays, for this call alone: backward may write to it, and nobody will notice.
    """

    # With slots the contexts of all Functions look alike to Python, which is what makes them fast.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "edges",
        "function",
        "needs_input_grad",
        "order",
        "owns_grad_output",
        "saved",
    )

    function: type[Function]
    needs_input_grad: list[bool]
    edges: list[Context | Differentiable | None] | None
    order: int
    owns_grad_output: bool
    saved: Any

    def save(self, **arrays: Any) -> None:
        """Keep arrays for backward, which reads them back as ``ctx.saved.<name>``."""
        self.saved = SimpleNamespace(**arrays)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any: ...
        def __setattr__(self, name: str, value: Any) -> None: ...


class Function:
    """An operation with a gradient. Subclasses define two static methods.

    ``forward(ctx, *arguments)`` gets arrays in place of Tensors and every other argument as it
    was given; it returns one array. ``backward(ctx, grad_output)`` returns a tuple with one
    gradient array or None for each argument of forward, and computes only those that
    ``ctx.needs_input_grad`` asks for. Neither may change its arguments, but for a `grad_output` of
    which ``ctx.owns_grad_output`` is true.

    Examples
    --------
    >>> class Double(Function):
    ...     @staticmethod
    ...     def forward(ctx, input):
    ...         return input * 2
    ...
    ...     @staticmethod
    ...     def backward(ctx, grad_output):
    ...         return (grad_output * 2,)
    >>> output = Double.apply(input_tensor)
    """

    # Promises that no array from backward, but for `grad_output` and views of it or of each other,
    # is in other hands: such an array may become a leaf's gradient, take sums, or be overwritten by
    # the next backward, without a copy.
    gives_new_arrays: ClassVar[bool] = False
    forward: ClassVar[Callable[..., Any]]
    backward: ClassVar[Callable[..., tuple[Any, ...]]]
    tensor_type: ClassVar[type[Tensor]]  # set by convolite.tensor, which imports this file

    @classmethod
    def apply(cls, *arguments: Any) -> Tensor:
        """Run forward on Tensors or arrays and return a Tensor that remembers how it was made."""
        recording = _mode.recording
        arrays = list(arguments)
        edges: list[Context | Differentiable | None] = [None] * len(arrays)
        needs_input_grad = [False] * len(arrays)
        for i, argument in enumerate(arguments):
            if isinstance(argument, Differentiable):
                arrays[i] = argument._data
                if recording and argument._requires_grad:
                    edges[i] = argument._creator or argument
                    needs_input_grad[i] = True
        ctx = Context()
        ctx.needs_input_grad = needs_input_grad
        ctx.saved = None
        output = _around(cls.forward(ctx, *arrays), cls.tensor_type)
        if True in needs_input_grad:
            ctx.function = cls
            ctx.order = next(_calls)
            ctx.edges = edges
            output._creator = ctx
            output._requires_grad = True
        return output


def _around(array: Any, tensor_type: type[Tensor]) -> Tensor:
    """A Tensor around what forward returned."""
    if type(array) is not np.ndarray or array.dtype.char not in "fd":
        return tensor_type(array)
    output: Tensor = object.__new__(tensor_type)  # __init__ would ask the same again
    output._data = array
    output._grad = output._creator = None
    output._requires_grad = False
    return output


def run_backward(root: Differentiable, gradient: Array, retain_graph: bool) -> None:
    """Add the gradient of `root`, times `gradient`, to the `.grad` of every leaf it depends on.

    Calls are visited newest first: a call's inputs exist before its output, so every gradient
    is complete when its call is reached. A heap holds the frontier; there is no recursion, so
    depth is limited by memory only.
    """
    creator = root._creator
    if creator is None:
        _accumulate(root, gradient, is_new=False)
        return
    pending = {creator: (gradient, False)}  # and whether it is in no other hands
    frontier = [(-creator.order, creator)]
    while frontier:
        node = heappop(frontier)[1]
        grad_output, node.owns_grad_output = pending.pop(node)
        if node.edges is None:
            raise RuntimeError(_FREED)
        function = node.function
        grads = function.backward(node, grad_output)
        apart = function.gives_new_arrays and _core.are_apart(grads)
        for edge, grad in zip(node.edges, grads, strict=True):
            if edge is None or grad is None:
                continue
            if type(grad) is not np.ndarray:
                grad = np.asarray(grad)  # arithmetic without axes leaves numpy's scalars
            new = function.gives_new_arrays and grad is not grad_output
            if new and not apart:
                new = not _is_shared(grad, grads)
            if not isinstance(edge, Context):
                _accumulate(edge, grad, new)
            elif edge in pending:
                pending[edge] = _sum(*pending[edge], grad, new), True
            else:
                pending[edge] = grad, new
                heappush(frontier, (-edge.order, edge))
        if not retain_graph:
            node.edges = node.saved = None


def _is_shared(grad: Array, grads: tuple[Any, ...]) -> bool:
    """Whether `grad` may live in the memory of another array."""
    if not _core.are_apart((grad,)):
        return True
    others = [other for other in grads if other is not None and other is not grad]
    twice = sum(other is grad for other in grads) > 1
    return twice or any(other.base is grad for other in others)


def _sum(total: Array, total_is_new: bool, addend: Array, addend_is_new: bool) -> Array:
    """The sum of two gradients, in the memory of one of them if that is in no other hands."""
    if addend_is_new and not total_is_new:
        return _sum(addend, True, total, False)
    if total_is_new and _add_in_place(total, addend):
        return total
    return _core.binary("add", total, addend)


def _add_in_place(total: Array, addend: Array) -> bool:
    """Let the core add to `total` where it lies, if both are arrays that it can work on."""
    if type(addend) is not np.ndarray or addend.dtype != total.dtype:
        return False
    if total.dtype.char not in "fd" or not total.dtype.isnative:
        return False
    if addend.shape != total.shape or not total.flags.carray or np.may_share_memory(total, addend):
        return False
    _core.add_in_place(total, addend)
    return True


def _accumulate(leaf: Differentiable, grad: Array, is_new: bool) -> None:
    if leaf._grad is None:
        leaf._grad = grad if is_new else grad.copy()
        return
    total = gradient_of(leaf)
    if _add_in_place(total, grad):
        return
    if total.flags.writeable:
        np.add(total, grad, out=total)
    elif isinstance(leaf._grad, Differentiable):
        leaf._grad._data = np.asarray(total + grad)
    else:
        leaf._grad = np.asarray(total + grad)


def gradient_of(leaf: Differentiable) -> Array:
    """The array of a gradient that is there."""
    grad: Any = leaf._grad
    return grad if isinstance(grad, np.ndarray) else grad._data


_FREED = (
    "backward: the arrays saved by this computation were freed by an earlier backward; "
    "run the forward pass again, or pass retain_graph=True to the earlier call"
)
_calls = count()


class _Mode(threading.local):
    def __init__(self) -> None:
        self.recording = True
        self.outer: list[bool] = []


_mode = _Mode()


class no_grad(ContextDecorator):
    """Within this context (or decorated function) nothing is recorded for backward.

    The setting belongs to the current thread.

    Examples
    --------
    >>> with convolite.no_grad():
    ...     output = model(images)
    """

    _recording = False

    def __enter__(self) -> None:
        _mode.outer.append(_mode.recording)
        _mode.recording = self._recording

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        _mode.recording = _mode.outer.pop()


class enable_grad(no_grad):
    """The opposite of `no_grad`, for a part inside it that is to be differentiated."""

    _recording = True


def is_grad_enabled() -> bool:
    """Whether operations of this thread are recorded for backward at the moment."""
    return _mode.recording
