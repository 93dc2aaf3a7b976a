"""Losses as modules; `functional` has the same as functions."""

from __future__ import annotations

from typing import Any

from convolite import functional
from convolite._args import choice, integer, number
from convolite.functional.loss import REDUCTIONS
from convolite.nn.module import Module
from convolite.tensor import Tensor, as_tensor


class _ClassLoss(Module):
    """What the losses over class labels share: class weights, ignored labels, reduction."""

    def __init__(self, weight: Any, ignore_index: int, reduction: str) -> None:
        super().__init__()
        self.weight: Tensor | None
        name = type(self).__name__
        self.register_buffer(
            "weight", None if weight is None else as_tensor(weight, name, "weight")
        )
        self.ignore_index = integer(name, "ignore_index", ignore_index)
        self.reduction = choice(name, "reduction", reduction, REDUCTIONS)


class CrossEntropyLoss(_ClassLoss):
    """Cross-entropy between logits and classes (or class probabilities).

    Parameters
    ----------
    weight : array_like, (C,), optional
        Weight of each class.
    ignore_index : int
        Targets of this value do not count.
    reduction : {"none", "mean", "sum"}
    label_smoothing : float
        Share of the target that is spread evenly over all classes.
    """

    def __init__(
        self,
        weight: Any = None,
        *,
        ignore_index: int = -100,
        reduction: str = "mean",
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight, ignore_index, reduction)
        self.label_smoothing = number("CrossEntropyLoss", "label_smoothing", label_smoothing)
        if not 0.0 <= self.label_smoothing <= 1.0:
            raise ValueError(
                f"CrossEntropyLoss: label_smoothing must be from 0 to 1, got {label_smoothing}"
            )

    def forward(self, input: Any, target: Any) -> Tensor:
        """Return the loss of logits (N, C, ...) for targets (N, ...)."""
        return functional.cross_entropy(
            input,
            target,
            weight=self.weight,
            label_smoothing=self.label_smoothing,
            reduction=self.reduction,
            ignore_index=self.ignore_index,
        )


class NLLLoss(_ClassLoss):
    """Negative log-likelihood of classes, for an input of log-probabilities.

    Parameters
    ----------
    weight : array_like, (C,), optional
    ignore_index : int
    reduction : {"none", "mean", "sum"}
    """

    def __init__(
        self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"
    ) -> None:
        super().__init__(weight, ignore_index, reduction)

    def forward(self, input: Any, target: Any) -> Tensor:
        """Return the loss of log-probabilities (N, C, ...) for targets (N, ...)."""
        return functional.nll_loss(
            input,
            target,
            weight=self.weight,
            ignore_index=self.ignore_index,
            reduction=self.reduction,
        )


class MSELoss(Module):
    """Mean of squared differences.

    Parameters
    ----------
    reduction : {"none", "mean", "sum"}
    """

    def __init__(self, *, reduction: str = "mean") -> None:
        super().__init__()
        self.reduction = choice("MSELoss", "reduction", reduction, REDUCTIONS)

    def forward(self, input: Any, target: Any) -> Tensor:
        """Return the loss of an input for a target of its shape."""
        return functional.mse_loss(input, target, reduction=self.reduction)
