"""Metrics of a batch, and their means over an epoch."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from convolite._args import excerpt, items

Array = npt.NDArray[Any]
Metric = Callable[[Array, Array], float]


def accuracy(output: Array, labels: Array) -> float:
    """Share of the samples whose largest output, over axis 1, is at their label.

    Labels of the outputs' shape are probabilities of the classes; the likeliest is the label.

    Raises
    ------
    ValueError
        If the labels have neither shape.
    """
    chosen = output.argmax(axis=1) if output.ndim > 1 else output
    classes = labels.argmax(axis=1) if labels.shape == output.shape and labels.ndim > 1 else labels
    if output.ndim < 2 or classes.shape != chosen.shape:
        raise ValueError(
            "accuracy: output must be (N, classes, ...) and labels (N, ...) or of its shape, "
            f"got output.shape = {output.shape}, labels.shape = {labels.shape}"
        )
    return float(np.mean(chosen == classes))


_BY_NAME: dict[str, Metric] = {"accuracy": accuracy}


def named_metrics(metrics: Iterable[str | Metric]) -> dict[str, Metric]:
    """Metrics by the name under which they are reported.

    Raises
    ------
    ValueError, TypeError
        For a name that is not known, for one that comes twice, and for what is neither a name nor
        callable.
    """
    found: dict[str, Metric] = {}
    for metric in items("Trainer", "metrics", metrics):
        if isinstance(metric, str):
            if metric not in _BY_NAME:
                raise ValueError(
                    f"Trainer: metrics must be among {', '.join(_BY_NAME)} or callables, "
                    f"got {metric!r}"
                )
            name, function = metric, _BY_NAME[metric]
        elif callable(metric):
            name, function = getattr(metric, "__name__", type(metric).__name__), metric
        else:
            raise TypeError(f"Trainer: metrics must hold names or callables, got {excerpt(metric)}")
        if name == "loss":
            raise ValueError("Trainer: a metric cannot be named 'loss'")
        if name in found:
            raise ValueError(f"Trainer: metric {name!r} is given twice")
        found[name] = function
    return found


class RunningMeans:
    """Means over the batches of an epoch so far, weighted by their number of samples."""

    def __init__(self) -> None:
        self.count = 0
        self.seconds = 0.0
        self._sums: dict[str, float] = {}

    def add(self, count: int, values: dict[str, float]) -> None:
        """Add a batch of `count` samples."""
        self.count += count
        for name, value in values.items():
            self._sums[name] = self._sums.get(name, 0.0) + value * count

    def means(self) -> dict[str, float]:
        """Return the mean of each value."""
        return {name: total / self.count for name, total in self._sums.items()}

    def state_dict(self) -> dict[str, Any]:
        """Return everything, as JSON can hold it without loss."""
        return {"count": self.count, "seconds": self.seconds, "sums": dict(self._sums)}

    @classmethod
    def of(cls, state: dict[str, Any], names: Sequence[str]) -> RunningMeans:
        """Return what goes on with some of the names from what `state_dict` returned.

        Raises
        ------
        ValueError
            If the state lacks one of them in the middle of an epoch.
        """
        missing = [name for name in names if name not in state["sums"]]
        if missing and state["count"] > 0:
            raise ValueError(f"running: sums lack {', '.join(missing)}")
        means = cls()
        means.count, means.seconds = state["count"], state["seconds"]
        means._sums = {name: state["sums"][name] for name in names if means.count > 0}
        return means
