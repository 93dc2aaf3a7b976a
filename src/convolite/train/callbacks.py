"""Callbacks: what else happens during `Trainer.fit`. The progress bar is in `progress`."""

from __future__ import annotations

import csv
import io
import math
from os import PathLike
from typing import TYPE_CHECKING, Any

from convolite import _args
from convolite.io import write_atomically

if TYPE_CHECKING:
    from convolite.train.trainer import Trainer

_ROUNDING = 1e-12  # relative, of a mean over the batches of an epoch


class Callback:
    """Base of the callbacks: every method does nothing until a subclass says otherwise.

    `trainer` gives access to the rest: ``trainer.model``, ``trainer.optimizer``,
    ``trainer.history``, and ``trainer.stop_training = True`` ends the training after this epoch.

    Attributes
    ----------
    runs_last : bool
        Whether it is called after the others, and so sees what they did.
    """

    runs_last = False

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Before the first epoch of a call of `fit`."""

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Before each epoch, or before the rest of one that is resumed."""

    def on_batch_end(self, trainer: Trainer, batch: int, logs: dict[str, float]) -> None:
        """After each training step; `logs` are the means over the epoch so far."""

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """After each epoch and its validation; `logs` is what the history recorded."""

    def on_interrupt(self, trainer: Trainer) -> None:
        """After Ctrl-C, at a moment when the state can be saved."""

    def on_fit_end(self, trainer: Trainer) -> None:
        """After the last epoch, also when an error or Ctrl-C ended the training."""

    def state_dict(self) -> dict[str, Any]:
        """Return what a checkpoint must hold for this callback: values that JSON can hold.

        Asked at any time, also before the training.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""


class Checkpoint(Callback):
    """Saves the whole training state with `Trainer.save`, so that `Trainer.resume` can go on.

    Parameters
    ----------
    path : path
        Folder of the checkpoints. Saving is atomic: a process that is killed at any moment leaves
        a complete checkpoint.
    every_epochs : int, default 1
    every_batches : int, optional
        Save after every so many batches of an epoch as well.

    Notes
    -----
    Ctrl-C saves, too.
    """

    runs_last = True

    def __init__(
        self,
        path: str | PathLike[str],
        every_epochs: int = 1,
        every_batches: int | None = None,
    ) -> None:
        self.path = _args.path("Checkpoint", "path", path)
        self.every_epochs = _args.at_least("Checkpoint", "every_epochs", every_epochs, 1)
        self.every_batches = (
            None
            if every_batches is None
            else _args.at_least("Checkpoint", "every_batches", every_batches, 1)
        )

    def on_batch_end(self, trainer: Trainer, batch: int, logs: dict[str, float]) -> None:
        """Save after every `every_batches` batches."""
        if self.every_batches is not None and (batch + 1) % self.every_batches == 0:
            trainer.save(self.path)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """Save after every `every_epochs` epochs, and when it was the last one."""
        last = trainer.stop_training or epoch + 1 == trainer.epochs
        if last or (epoch + 1) % self.every_epochs == 0:
            trainer.save(self.path)

    def on_interrupt(self, trainer: Trainer) -> None:
        """Save what was trained so far."""
        trainer.save(self.path)


class CSVLogger(Callback):
    """Writes the history to a CSV file after every epoch: one row per epoch, names on top.

    The file is replaced as a whole, so that it is complete at any moment and a resumed training
    has every row once.

    Raises
    ------
    FileNotFoundError
        In `fit`, before any work, if the folder of the file is missing.
    """

    def __init__(self, path: str | PathLike[str]) -> None:
        self.path = _args.path("CSVLogger", "path", path)

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Check that there is a folder to write to."""
        if not self.path.parent.is_dir():
            raise FileNotFoundError(f"CSVLogger: {self.path.parent} is no folder, make it first")

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """Write the file."""
        rows = list(trainer.history.rows())
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        write_atomically(self.path, text.getvalue().encode())


class EarlyStopping(Callback):
    """Ends the training when a measurement is good enough, or has not improved for some epochs.

    Parameters
    ----------
    monitor : str, default "val_loss"
        A name of the history.
    patience : int, default 0
        How many epochs without improvement are borne.
    min_delta : float, default 0
        How much better counts as an improvement.
    mode : "auto", "min" or "max"
        Which way is better; "auto" takes "max" for names that end in accuracy, else "min".
    stopping_threshold : float, optional
        Good enough: the training ends after the first epoch whose value is as good, and a resumed
        one whose last epoch was as good trains no other. With a `patience` of the number of
        epochs nothing else ends it.

    Raises
    ------
    TypeError, ValueError
        For numbers and names of other types, a threshold that is not finite, and in `fit` if the
        history has no measurement of this name.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        patience: int = 0,
        min_delta: float = 0.0,
        mode: str = "auto",
        stopping_threshold: float | None = None,
    ) -> None:
        self.monitor = _args.text("EarlyStopping", "monitor", monitor)
        self.patience = _args.at_least("EarlyStopping", "patience", patience, 0)
        self.min_delta = abs(_args.number("EarlyStopping", "min_delta", min_delta))
        mode = _args.choice("EarlyStopping", "mode", mode, ("auto", "min", "max"))
        larger_is_better = mode == "max" or (mode == "auto" and monitor.endswith("accuracy"))
        self._sign = 1.0 if larger_is_better else -1.0
        self.stopping_threshold = (
            None
            if stopping_threshold is None
            else _args.finite("EarlyStopping", "stopping_threshold", stopping_threshold)
        )
        self.best = -self._sign * math.inf
        self.waited = 0

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Check that there is something to compare, and whether it is good enough already."""
        if self.monitor not in trainer.measured:
            raise ValueError(
                f"EarlyStopping: monitor {self.monitor!r} is not one of: "
                f"{', '.join(trainer.measured)}"
            )
        values = trainer.history.get(self.monitor, [])
        # In the middle of an epoch the last value is that of other weights.
        if trainer.batch == 0 and values and self.reached(values[-1]):
            trainer.stop_training = True

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """Compare with the threshold and with the best so far."""
        value = logs[self.monitor]
        if self.reached(value):
            trainer.stop_training = True
        if self._sign * (value - self.best) > self.min_delta:
            self.best, self.waited = value, 0
            return
        self.waited += 1
        if self.waited > self.patience:
            trainer.stop_training = True

    def reached(self, value: float) -> bool:
        """Return whether a value is as good as `stopping_threshold`, but for rounding.

        The mean over batches of 324 hits in 360 may be the float below 0.9.
        """
        threshold = self.stopping_threshold
        if threshold is None:
            return False
        return self._sign * (value - threshold) >= -_ROUNDING * abs(threshold)

    def state_dict(self) -> dict[str, Any]:
        """Return the best value and how long it is ago."""
        return {"best": self.best, "waited": self.waited}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""
        missing = sorted({"best", "waited"} - set(state))
        if missing:
            raise ValueError(f"EarlyStopping: the state lacks {', '.join(missing)}")
        best = _args.number("EarlyStopping", "best", state["best"])
        self.waited = _args.at_least("EarlyStopping", "waited", state["waited"], 0)
        self.best = best
