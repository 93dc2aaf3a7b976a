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


def target_outcome(stopping: EarlyStopping, history: History) -> str:
    """Return the line that says when a training reached its target, or how near it came."""
    accuracies = history.get(_MONITOR, [])
    target = f"target accuracy {stopping.stopping_threshold}"
    if not accuracies:
        return f"{target} not reached: no epoch was trained"
    if not stopping.reached(accuracies[-1]):
        best = max(accuracies)
        return (
            f"{target} not reached: {accuracies[-1]:.4f} after {_epochs(len(accuracies))}, "
            f"at best {best:.4f} after epoch {accuracies.index(best) + 1}"
        )
    first = next(i for i, value in enumerate(accuracies, 1) if stopping.reached(value))
    seconds = sum(history["seconds"][:first])
    return f"{target} reached after {_epochs(first)}, {seconds:.1f} s of training"


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"
