"""Ctrl-C at a safe moment: between two batches, when the training state is whole."""

from __future__ import annotations

import signal
import threading
from types import FrameType, TracebackType


class SafeInterrupt(KeyboardInterrupt):
    """Ctrl-C was pressed, and nothing is half done."""


class InterruptGuard:
    """While it is entered, the first Ctrl-C only takes effect at the next `check`.

    A second one interrupts at once. In other threads than the main one, and where the program
    has its own handler, nothing is changed.
    """

    def __init__(self) -> None:
        self._requested = False
        self._installed = False

    def __enter__(self) -> InterruptGuard:
        """Take over Ctrl-C."""
        self._requested = False
        in_main_thread = threading.current_thread() is threading.main_thread()
        if in_main_thread and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
            signal.signal(signal.SIGINT, self._handle)
            self._installed = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Give Ctrl-C back."""
        self._requested = False
        if self._installed:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            self._installed = False

    def check(self) -> None:
        """Raise SafeInterrupt if Ctrl-C was pressed."""
        if self._requested:
            raise SafeInterrupt

    def _handle(self, number: int, frame: FrameType | None) -> None:
        if self._requested:
            raise KeyboardInterrupt
        self._requested = True
