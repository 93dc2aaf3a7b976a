"""ProgressBar: one line per epoch, and on a terminal a tqdm bar until it is there."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, TextIO

from convolite._args import excerpt
from convolite.train.callbacks import Callback

if TYPE_CHECKING:
    from convolite.train.trainer import Trainer

# The bar itself takes the columns that are left; on narrow terminals the end is cut.
_FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {rate_noinv_fmt}{postfix}  {remaining} left"


class ProgressBar(Callback):
    """Shows seconds, images per second, loss and metrics.

    Parameters
    ----------
    file : text stream, optional
        Default: standard output, looked up when the training begins. Each epoch leaves one line.
        On a terminal whose size is known a bar moves meanwhile.

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
        if not (self._stream.isatty() and _columns(self._stream)):
            return
        from tqdm import tqdm

        self._bar = tqdm(
            desc=_title(trainer, epoch),
            total=trainer.samples_per_epoch,
            initial=trainer.samples_seen,
            unit=" images",
            unit_scale=True,
            bar_format=_FORMAT,
            file=self._stream,
            dynamic_ncols=True,
        )

    def on_batch_end(self, trainer: Trainer, batch: int, logs: dict[str, float]) -> None:
        """Move the bar."""
        if self._bar is not None:
            self._bar.set_postfix_str(_measured(logs), refresh=False)
            self._bar.update(trainer.samples_seen - self._bar.n)

    def on_epoch_end(self, trainer: Trainer, epoch: int, logs: dict[str, float]) -> None:
        """Write the epoch's line, in the place of the bar."""
        self._close(leave=False)
        seconds = logs["seconds"]
        rate = trainer.samples_per_epoch / seconds if seconds > 0 else float("inf")
        self._stream.write(
            f"{_title(trainer, epoch)}  {seconds:.1f} s  {rate:.0f} images/s  {_measured(logs)}\n"
        )
        self._stream.flush()

    def on_fit_end(self, trainer: Trainer) -> None:
        """Leave the bar where it stopped."""
        self._close(leave=True)

    def _close(self, leave: bool) -> None:
        if self._bar is not None:
            self._bar.leave = leave
            self._bar.close()
            self._bar = None


def _columns(stream: TextIO) -> int:
    """The width of a terminal, 0 if it cannot be known."""
    try:
        return os.get_terminal_size(stream.fileno()).columns
    except (AttributeError, OSError, ValueError):
        return 0


def _title(trainer: Trainer, epoch: int) -> str:
    return f"epoch {epoch + 1}/{trainer.epochs}"


def _measured(logs: dict[str, float]) -> str:
    return "  ".join(
        f"{name.replace('_', ' ')} {value:.4f}"
        for name, value in logs.items()
        if name not in ("lr", "seconds")
    )
