"""ProgressBar: a tqdm bar on a terminal, one line per epoch anywhere else."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TextIO

from convolite._args import excerpt
from convolite.train.callbacks import Callback

if TYPE_CHECKING:
    from convolite.train.trainer import Trainer


class ProgressBar(Callback):
    """Shows seconds, images per second, loss and metrics.

    Parameters
    ----------
    file : text stream, optional
        Default: standard output, looked up when the training begins. On a terminal a bar moves;
        in a file or a pipe each epoch leaves one line and nothing else.

    Raises
    ------
    TypeError
        If `file` is no stream.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        if file is not None and not all(
            callable(getattr(file, method, None)) for method in ("write", "flush", "isatty")
        ):
            raise TypeError(f"ProgressBar: file must be a text stream, got {excerpt(file)}")
        self._file = file
        self._stream: TextIO = sys.stdout
        self._bar: Any = None

    def on_fit_begin(self, trainer: Trainer) -> None:
        """Find out where to write."""
        self._stream = self._file or sys.stdout

    def on_epoch_begin(self, trainer: Trainer, epoch: int) -> None:
        """Draw an empty bar, or one that is filled as far as a resumed epoch had come."""
        if not self._stream.isatty():
            return
        from tqdm import tqdm

        self._bar = tqdm(
            desc=_title(trainer, epoch),
            total=trainer.samples_per_epoch,
            initial=trainer.samples_seen,
            unit=" images",
            unit_scale=True,
            file=self._stream,
            dynamic_ncols=True,
        )

    def on_batch_end(self, trainer: Trainer, batch: int, logs: dict[str, float]) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(_measured(logs), refresh=False)
            self._bar.update(trainer.samples_seen - self._bar.n)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """Leave the finished bar, or write the epoch's line."""
        if self._bar is not None:
            self._bar.set_postfix_str(_measured(logs))
            self._close()
            return
        seconds = logs["seconds"]
        rate = trainer.samples_per_epoch / seconds if seconds > 0 else float("inf")
        self._stream.write(
            f"{_title(trainer, epoch)}  {seconds:.1f} s  {rate:.0f} images/s  {_measured(logs)}\n"
        )
        self._stream.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Leave the bar where it stopped."""
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.close()
            self._bar = None


def _title(trainer: Trainer, epoch: int) -> str:
    return f"epoch {epoch + 1}/{trainer.epochs}"


def _measured(logs: dict[str, float]) -> str:
    return "  ".join(
        f"{name.replace('_', ' ')} {value:.4f}"
        for name, value in logs.items()
        if name not in ("lr", "seconds")
    )
