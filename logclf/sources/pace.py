"""How much to read at a time: as much as is labelled within the time that a line may wait."""

from __future__ import annotations

LEAST, FIRST, MOST = 8 << 10, 32 << 10, 256 << 10  # bytes; more than the last no longer pays
MOST_LINES = 16_384  # of a batch: it holds a little for each line, and a quarter megabyte can be that many empty lines


class Pace:
    """`size` bytes to read next. Lines never seen before cost a hundred times more than others, so it adapts."""

    def __init__(self, seconds: float) -> None:
        self.size = FIRST
        self._seconds = seconds

    def took(self, seconds: float, lines: int) -> None:
        """What became of the last read: how long it took to be labelled and written, how many lines it was."""
        if seconds > self._seconds or lines > MOST_LINES:
            self.size = max(LEAST, self.size // 4)
        elif seconds < self._seconds / 4:
            self.size = min(MOST, self.size * 2)
