"""Asking a source to stop, also while it waits for input."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType


class Stop:
    """Set once, by a signal or a call; waiting on it ends at once then. `fd` becomes readable for `select`."""

    def __init__(self) -> None:
        self.fd, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else os.pipe()
        self.signal: int | None = None
        self._set = False

    def __bool__(self) -> bool:
        return self._set

    def set(self) -> None:
        if not self._set:
            self._set = True
            os.write(self._write, b"x")

    def wait(self, seconds: float) -> bool:
        """Sleep, but not past being stopped; whether it is."""
        if not self._set and seconds > 0:
            select.select([self.fd], [], [], seconds)
        return self._set

    def on_signals(self) -> None:
        """Stop on SIGINT and SIGTERM; a second signal ends the process at once, as if nothing had been installed."""

        def handle(number: int, _frame: FrameType | None) -> None:
            self.signal = number
            signal.signal(number, signal.SIG_DFL)
            self.set()

        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, handle)
