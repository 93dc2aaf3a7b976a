"""Module: what every layer and model is, and how its parameters are found, saved and loaded.

A module's parameters, buffers and children are simply its attributes, in the order in which
they were first assigned. Containers and layers have files of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from convolite._args import excerpt, flag, float_dtype, text
from convolite.autograd import Array
from convolite.nn.parameter import Parameter
from convolite.nn.state import LoadResult, load_arrays
from convolite.tensor import Tensor, as_tensor

if TYPE_CHECKING:
    from convolite.nn.summary import Summary

Self = TypeVar("Self", bound="Module")
Hook = Callable[["Module", tuple[Any, ...], Any], Any]


class Module:
    """Base class of layers and models. Subclasses define ``forward``.

    Assigning a Parameter or a Module to an attribute registers it; arrays that belong to the
    state but are not trained are registered with `register_buffer`.

    Examples
    --------
    >>> class Block(nn.Module):
    ...     def __init__(self, channels):
    ...         super().__init__()
    ...         self.conv = nn.Conv2d(channels, channels, 3, padding=1)
    ...
    ...     def forward(self, input):
    ...         return input + self.conv(input)
    """

    training: bool = True
    _buffer_names: Mapping[str, bool] = {}
    _forward_hooks: Mapping[int, Hook] = {}

    def forward(self, *inputs: Any, **options: Any) -> Any:
        """Compute the output; every subclass that is called defines it."""
        raise NotImplementedError(f"{type(self).__name__}: the class defines no forward")

    def __call__(self, *inputs: Any, **options: Any) -> Tensor:
        """Run `forward`, then the hooks."""
        output: Tensor = self.forward(*inputs, **options)
        for hook in tuple(self._forward_hooks.values()):
            replacement = hook(self, inputs, output)
            output = output if replacement is None else replacement
        return output

    def register_buffer(self, name: str, value: Any, persistent: bool = True) -> None:
        """Register state that is not trained, such as running statistics.

        Parameters
        ----------
        name : str
            The attribute under which it is found.
        value : array_like or None
        persistent : bool
            Whether `state_dict` contains it.
        """
        text("register_buffer", "name", name)
        buffer = None if value is None else as_tensor(value, "register_buffer", "value")
        self._buffer_names = {**self._buffer_names, name: persistent}
        setattr(self, name, buffer)

    def register_forward_hook(self, hook: Hook) -> HookHandle:
        """Call ``hook(module, inputs, output)`` after each forward pass of this module.

        A value other than None that it returns takes the place of the output. A module with
        hooks is never merged with its neighbours. Call ``remove()`` on the result to end it.
        """
        if not callable(hook):
            raise TypeError(f"register_forward_hook: hook must be callable, got {excerpt(hook)}")
        key = next(_hook_keys)
        self._forward_hooks = {**self._forward_hooks, key: hook}
        return HookHandle(self, key)

    def add_module(self, name: str, module: Module | None) -> None:
        """Register a child under a name; the same as assigning an attribute."""
        if module is not None and not isinstance(module, Module):
            raise TypeError(f"add_module: module must be a Module or None, got {excerpt(module)}")
        setattr(self, text("add_module", "name", name), module)

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the direct children with their names."""
        for name, value in self.__dict__.items():
            if isinstance(value, Module):
                yield name, value

    def children(self) -> Iterator[Module]:
        """Yield the direct children."""
        return (child for _, child in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, each once, with dotted names."""
        seen: set[int] = set()
        for name, module in self._walk(text("named_modules", "prefix", prefix)):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Yield every parameter once, with its dotted name."""
        seen: set[int] = set()
        for name, parameter in self._named_values(Module._own_parameters):
            if id(parameter) not in seen:
                seen.add(id(parameter))
                yield name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Yield every parameter once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self) -> Iterator[tuple[str, Tensor]]:
        """Yield every buffer with its dotted name."""
        return self._named_values(Module._own_buffers)

    def buffers(self) -> Iterator[Tensor]:
        """Yield every buffer."""
        return (buffer for _, buffer in self.named_buffers())

    def train(self: Self, mode: bool = True) -> Self:
        """Set training mode (dropout active, batch statistics used) here and below."""
        for module in self.modules():
            module.training = mode
        return self

    def eval(self: Self) -> Self:
        """Set inference mode here and below."""
        return self.train(False)

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear the gradient of every parameter, or fill it with zeros in place."""
        for parameter in self.parameters():
            parameter.zero_grad(set_to_none)

    def requires_grad_(self: Self, requires_grad: bool = True) -> Self:
        """Set whether the parameters are trained."""
        for parameter in self.parameters():
            parameter.requires_grad = requires_grad
        return self

    def apply(self: Self, function: Callable[[Module], Any]) -> Self:
        """Call a function on every module, children first."""
        if not callable(function):
            raise TypeError(f"apply: function must be callable, got {excerpt(function)}")
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def float(self: Self) -> Self:
        """Convert float parameters and buffers to float32; optimizers keep knowing them."""
        return self._convert(np.float32)

    def double(self: Self) -> Self:
        """Convert float parameters and buffers to float64; optimizers keep knowing them."""
        return self._convert(np.float64)

    def state_dict(self, prefix: str = "") -> dict[str, Array]:
        """Return the state by dotted name, as arrays that share memory with the module.

        Names and order are PyTorch's: a module's parameters, its persistent buffers, then its
        children's.
        """
        state = {}
        for name, module in self._walk(text("state_dict", "prefix", prefix).rstrip(".")):
            lead = f"{name}." if name else ""
            for key, parameter in module._own_parameters():
                state[lead + key] = parameter.numpy()
            for key, buffer in module._own_buffers():
                if module._buffer_names[key]:
                    state[lead + key] = buffer.numpy()
        return state

    def load_state_dict(self, state: Mapping[str, Any], strict: bool = True) -> LoadResult:
        """Copy arrays into the parameters and buffers of the same names.

        Parameters
        ----------
        state : mapping of str to array_like
        strict : bool
            Whether missing and unexpected names are errors.

        Returns
        -------
        LoadResult
            A pair of lists, ``missing_keys`` and ``unexpected_keys``.

        Raises
        ------
        ValueError
            With every name and shape that does not fit; nothing has been copied then.
        TypeError
            If a value is not an array of numbers.
        """
        whole = flag("load_state_dict", "strict", strict)
        return load_arrays(type(self).__name__, self.state_dict(), state, whole)

    def summary(self, input_shape: tuple[int, ...]) -> Summary:
        """Return a table of the layers for an input of a shape; print it to read it.

        Parameters
        ----------
        input_shape : tuple of int
            With the batch axis; (C, H, W) and (features,) stand for a batch of one.

        Returns
        -------
        Summary
            Rows with output shape, parameters, multiply-adds and bytes of output.

        Raises
        ------
        TypeError, ValueError
            If the shape is not one, or does not fit the module.
        """
        from convolite.nn.summary import summarize

        return summarize(self, input_shape)

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of ``repr``."""
        return ""

    def __repr__(self) -> str:
        lines = [
            f"({name}): " + repr(child).replace("\n", "\n  ")
            for name, child in self.named_children()
        ]
        if not lines:
            return f"{type(self).__name__}({self.extra_repr()})"
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"

    def _chains(self) -> Sequence[Sequence[Module]]:
        """The children that `forward` runs with `container.run`, which merges neighbours."""
        return ()

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        """This module and all below it in depth-first order; shared ones come repeatedly."""
        yield prefix, self
        for name, child in self.named_children():
            yield from child._walk(f"{prefix}.{name}" if prefix else name)

    def _own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        for name, value in self.__dict__.items():
            if isinstance(value, Parameter):
                yield name, value

    def _own_buffers(self) -> Iterator[tuple[str, Tensor]]:
        for name in self._buffer_names:
            if self.__dict__[name] is not None:
                yield name, as_tensor(self.__dict__[name])

    def _named_values(self, own: Callable[[Module], Iterator[tuple[str, Any]]]) -> Iterator[Any]:
        for prefix, module in self.named_modules():
            for name, value in own(module):
                yield (f"{prefix}.{name}" if prefix else name), value

    def _convert(self: Self, dtype: Any) -> Self:
        target = float_dtype(type(self).__name__, dtype)
        for tensor in (*self.parameters(), *self.buffers()):
            if tensor.dtype.kind == "f":
                tensor._data = tensor._data.astype(target, copy=False)
                tensor._grad = None
        return self


class HookHandle:
    """What `Module.register_forward_hook` returns; ``remove()`` ends the hook."""

    def __init__(self, module: Module, key: int) -> None:
        self._module = module
        self._key = key

    def remove(self) -> None:
        """Stop calling the hook; calling this again changes nothing."""
        hooks = self._module._forward_hooks
        self._module._forward_hooks = {k: v for k, v in hooks.items() if k != self._key}


_hook_keys = count()
