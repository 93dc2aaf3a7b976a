"""What `Trainer` is made of, checked before any work."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from convolite._args import excerpt
from convolite.nn import Module
from convolite.optim import Optimizer
from convolite.train.callbacks import Callback


def check_parts(
    model: Any, optimizer: Any, loss: Any, callbacks: Sequence[Any], scheduler: Any
) -> None:
    """Refuse a part that lacks what the trainer calls; classes of one's own may do.

    Raises
    ------
    TypeError
        For such a part.
    ValueError
        For an optimizer of another model's parameters.
    """
    if not isinstance(model, Module):
        raise TypeError(f"Trainer: model must be a Module, got {excerpt(model)}")
    if not _can(optimizer, "step", "zero_grad", "state_dict", "load_state_dict"):
        raise TypeError(f"Trainer: optimizer must be an Optimizer, got {excerpt(optimizer)}")
    if _holds_nothing_of(model, optimizer):
        raise ValueError("Trainer: optimizer holds none of the model's parameters")
    if not callable(loss):
        raise TypeError(f"Trainer: loss must be callable, got {excerpt(loss)}")
    if isinstance(loss, type):
        raise TypeError(f"Trainer: loss must be an instance, got the class {loss.__name__}")
    for i, callback in enumerate(callbacks):
        if not isinstance(callback, Callback):
            raise TypeError(
                f"Trainer: callbacks must hold Callbacks, but number {i} is {excerpt(callback)}"
            )
    if scheduler is not None and not _can(scheduler, "step", "state_dict", "load_state_dict"):
        raise TypeError(f"Trainer: scheduler must be a schedule, got {excerpt(scheduler)}")


def _holds_nothing_of(model: Module, optimizer: Any) -> bool:
    if not isinstance(optimizer, Optimizer):
        return False
    held = {id(each) for group in optimizer.param_groups for each in group["params"]}
    return held.isdisjoint(id(parameter) for parameter in model.parameters())


def _can(part: Any, *methods: str) -> bool:
    return not isinstance(part, type) and all(
        callable(getattr(part, method, None)) for method in methods
    )
