"""``convolite train --target-accuracy``: what ends the training, and what is said about it."""

from __future__ import annotations

from convolite.cli.recipe import Settings
from convolite.train import EarlyStopping, History

_MONITOR = "val_accuracy"


def stopping_at_target(settings: Settings) -> EarlyStopping | None:
    """Return what ends the training at its target accuracy, if it has one, and at nothing else."""
    if settings.target_accuracy is None:
        return None
    return EarlyStopping(
        _MONITOR, patience=settings.epochs, stopping_threshold=settings.target_accuracy
    )


def reached_target(stopping: EarlyStopping, history: History) -> str:
    """Return the line about a training that reached its target."""
    seconds = sum(history["seconds"])
    return (
        f"target accuracy {stopping.stopping_threshold} reached after "
        f"{_epochs(len(history.epochs))}, {seconds:.1f} s of training"
    )


def missed_target(stopping: EarlyStopping, history: History) -> str | None:
    """Return the line about a training that ended below its target, or None."""
    target = f"target accuracy {stopping.stopping_threshold} not reached"
    accuracies = history.get(_MONITOR, [])
    if not accuracies:
        return f"{target}: no epoch was trained"
    if stopping.reached(accuracies[-1]):
        return None
    best = max(accuracies)
    return (
        f"{target}: {accuracies[-1]:.4f} after {_epochs(len(accuracies))}, "
        f"at best {best:.4f} after epoch {accuracies.index(best) + 1}"
    )


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"
