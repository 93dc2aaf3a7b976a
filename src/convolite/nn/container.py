"""Sequential and ModuleList: modules that hold other modules in order.

Sequential, and every other module that calls `run`, runs a convolution, linear layer, batch norm or
max pooling together with the ReLU or ReLU6 right behind it, in one pass over memory; a convolution
or batch norm also with max pooling; and max pooling before the ReLU in front of it, which then has
fewer elements to read. The result is the same as one after the other: `convolite.set_fusion(False)`
asks for that. In inference a batch norm is folded into the convolution in front of it, which
changes results by rounding (`convolite.nn.folding`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from convolite._args import excerpt, integer, items
from convolite.config import get_fusion
from convolite.nn.activation import ReLU, ReLU6
from convolite.nn.conv import Conv2d
from convolite.nn.folding import FoldedNorm
from convolite.nn.linear import Linear
from convolite.nn.module import Module
from convolite.nn.norm import BatchNorm1d, BatchNorm2d
from convolite.nn.pooling import MaxPool2d

_ACTIVATED = frozenset([Conv2d, Linear, BatchNorm1d, BatchNorm2d, MaxPool2d])
_POOLED = frozenset([Conv2d, BatchNorm2d])
_ACTIVATED_SUMS = frozenset([BatchNorm1d, BatchNorm2d])  # that also add a residual
ACTIVATIONS: Mapping[type[Module], str] = {ReLU: "relu", ReLU6: "relu6"}


class _Ordered(Module):
    """Children under the names "0", "1", ... or under names of their own, in order."""

    def __init__(self, modules: Iterable[tuple[str, Any]]) -> None:
        super().__init__()
        for name, module in modules:
            self._append(name, module)

    def _append(self, name: str, module: Any) -> None:
        self._check_module(name, module)
        if hasattr(self, name):
            raise ValueError(f"{type(self).__name__}: the name {name!r} is already in use")
        setattr(self, name, module)

    def _names(self) -> list[str]:
        return [name for name, _ in self.named_children()]

    def append(self, module: Module) -> Any:
        """Put a module behind the last one and return this container."""
        self._append(str(len(self)), module)
        return self

    def __len__(self) -> int:
        return len(self._names())

    def __iter__(self) -> Iterator[Module]:
        return self.children()

    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            chosen = self._names()[index]
            return type(self)._from_children({name: getattr(self, name) for name in chosen})
        return getattr(self, self._name_at(index))

    def __setitem__(self, index: int, module: Module) -> None:
        name = self._name_at(index)
        self._check_module(name, module)
        setattr(self, name, module)

    def _check_module(self, name: str, module: Any) -> None:
        if not isinstance(module, Module):
            raise TypeError(
                f"{type(self).__name__}: module {name} must be a Module, got {excerpt(module)}"
            )

    def _name_at(self, index: int) -> str:
        names, position = self._names(), integer(type(self).__name__, "index", index)
        if not -len(names) <= position < len(names):
            raise IndexError(
                f"{type(self).__name__}: index {position} is out of range for {len(names)} modules"
            )
        return names[position]

    @classmethod
    def _from_children(cls, children: Mapping[str, Module]) -> Any:
        """A container of this class around some of the children."""
        return cls(children.items())


class Sequential(_Ordered):
    """Modules run one after the other.

    Parameters
    ----------
    *modules : Module, or one mapping of names to modules
        Without a mapping the names are "0", "1", ...

    Examples
    --------
    >>> model = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 36, 10))
    """

    def __init__(self, *modules: Module | Mapping[str, Module]) -> None:
        first = modules[0] if len(modules) == 1 else None
        if isinstance(first, Mapping):
            super().__init__(first.items())
        else:
            super().__init__((str(i), module) for i, module in enumerate(modules))

    def forward(self, input: Any) -> Any:
        """Run the modules in order."""
        return run(self.children(), input)

    def _chains(self) -> Sequence[Sequence[Module]]:
        return [list(self.children())]

    @classmethod
    def _from_children(cls, children: Mapping[str, Module]) -> Any:
        return cls(children)


def run(modules: Iterable[Module], input: Any) -> Any:
    """Run modules one after the other, merged where that saves a pass; see the top of this file.

    What a module's ``forward`` runs this way its ``_chains`` lists, for `convolite.explain`.
    """
    waiting: Conv2d | None = None  # a convolution whose batch norm may be the next step
    following = steps(modules)
    for step, behind in zip(following, [*following, None][1:], strict=True):
        module, pool, activation = step
        name = None if activation is None else ACTIVATIONS[type(activation)]
        if waiting is not None:
            input, waiting = FoldedNorm(waiting, module).run(input, name, pool), None
        elif behind is not None and _folds(step, behind.module, input):
            waiting = module
        elif pool is not None:
            input = module.forward_pooled(input, pool, name)
        elif name is not None:
            input = module.forward_activated(input, name)
        else:
            input = module(input)
    return input


def _folds(step: Step, norm: Any, input: Any, residual: Any = None) -> bool:
    """Whether a batch norm is computed by the convolution of the step in front of it."""
    return may_fold(step, norm) and FoldedNorm(step.module, norm).applies(input, residual)


def may_fold(step: Step, norm: Any) -> bool:
    """Whether the modules allow that, whatever they are given."""
    conv, pool, activation = step
    if not isinstance(conv, Conv2d) or pool is not None or activation is not None:
        return False
    return get_fusion() and is_plain(conv, [Conv2d]) and is_plain(norm, [BatchNorm2d])


class Step(NamedTuple):
    """A module, and what runs behind it in the same pass: first the pooling, then the activation.

    Without fusion everything is a step of its own.
    """

    module: Any
    pool: MaxPool2d | None = None
    activation: Module | None = None


def steps(modules: Iterable[Module]) -> list[Step]:
    """Modules in the order they run."""
    found: list[Step] = []
    fusing = get_fusion()
    for module in modules:
        merged = _merged(found[-1], module) if fusing and found else None
        if merged is None:
            found.append(Step(module))
        else:
            found[-1:] = merged
    return found


def _merged(last: Step, module: Module) -> list[Step] | None:
    """The steps that replace the last one if the module behind it can join it, else None."""
    host, pool, activation = last
    if is_plain(module, ACTIVATIONS):
        free = activation is None and is_plain(host, _ACTIVATED)
        return [Step(host, pool, module)] if free else None
    if not isinstance(module, MaxPool2d) or not is_plain(module, [MaxPool2d]) or pool is not None:
        return None
    if activation is not None and not _commutes_with_activations(module):
        return None
    if is_plain(host, _POOLED):
        return [Step(host, module, activation)]
    return None if activation is None else [Step(host), Step(module, activation=activation)]


def add_shortcut(last: Any, norm: Any, input: Any, shortcut: Any, activation: Module | None) -> Any:
    """``activation(norm(last(input)) + shortcut)``, a residual block's end, merged as in `run`."""
    plain = activation is None or is_plain(activation, ACTIVATIONS)
    if get_fusion() and plain and is_plain(norm, _ACTIVATED_SUMS):
        name = None if activation is None else ACTIVATIONS[type(activation)]
        if _folds(Step(last), norm, input, shortcut):
            return FoldedNorm(last, norm).run(input, name, residual=shortcut)
        return norm.forward_activated(last(input), name, shortcut)
    total = norm(last(input)) + shortcut
    return total if activation is None else activation(total)


def is_plain(module: Module, types: Iterable[type[Module]]) -> bool:
    """Whether the module is of these classes, and nothing else says what calling it does."""
    own_forward = "forward" in vars(module)  # given to this one object
    return type(module) in types and not module._forward_hooks and not own_forward


def _commutes_with_activations(pool: Any) -> bool:
    """Whether ReLU may as well run behind this pooling, on fewer elements.

    The greatest of clamped numbers is the clamped greatest number, and the gradient takes the
    same way: a window's first greatest pixel, if it is inside the clamp. A window without any
    pixel, which takes padding and dilation, would be -inf in front of the ReLU only.
    """
    return pool.dilation in (1, (1, 1)) or pool.padding in (0, (0, 0))


class ModuleList(_Ordered):
    """A list of modules whose parameters are found; calling them is up to the owner.

    Parameters
    ----------
    modules : iterable of Module, optional
    """

    def __init__(self, modules: Iterable[Module] = ()) -> None:
        given = items("ModuleList", "modules", modules)
        super().__init__((str(i), module) for i, module in enumerate(given))

    def extend(self, modules: Iterable[Module]) -> ModuleList:
        """Append all modules and return the list."""
        for module in items("ModuleList", "modules", modules):
            self.append(module)
        return self

    @classmethod
    def _from_children(cls, children: Mapping[str, Module]) -> Any:
        return cls(children.values())
