"""Container logs in CRI format: taken out of their wrapping, the pieces of long lines put together."""

from __future__ import annotations

import codecs
from typing import NamedTuple

import msgspec

from .batch import DecodeCounts


class Row(NamedTuple):
    """One line of a block of mixed forms: its message, its event if it has one, the level that the event states."""

    message: bytes
    event: bytes | None
    level: int
    flaw: dict[str, object]


def maybe_cri(text: bytes) -> bool:
    """Whether a line may be in CRI format; those begin with the year."""
    dated = not text.startswith(b"{") or b"\n2" in text
    return dated and b" std" in text and (b" stdout " in text or b" stderr " in text)


def cri_parts(line: bytes) -> tuple[bytes, bytes, bytes, bytes] | None:
    """Time, stream, tag and message of a container log line in CRI format, or None.

    `2016-10-06T00:17:09.669794202Z stdout F message`
    """
    parts = line.split(b" ", 3)
    if len(parts) < 3 or parts[1] not in (b"stdout", b"stderr") or parts[2].split(b":")[0] not in (b"F", b"P"):
        return None
    time = parts[0]
    if len(time) < 20 or time[4:5] != b"-" or time[10:11] != b"T" or not time[:4].isdigit():
        return None
    return time, parts[1], parts[2], parts[3] if len(parts) == 4 else b""


class Held:
    """The pieces of one stream's line so far, and how long they were before the limit."""

    def __init__(self, time: bytes) -> None:
        self.time = time
        self.pieces: list[bytes] = []
        self.kept = self.length = 0
        self.flaw: dict[str, object] = {}

    def add(self, message: bytes, flaw: dict[str, object], limit: int) -> None:
        self.length += len(message)
        self.flaw = self.flaw | flaw
        piece = message[: limit - self.kept]
        if piece:  # a stream of empty pieces must not fill memory
            self.pieces.append(piece)
            self.kept += len(piece)


class CriJoiner:
    """Puts the pieces of long container lines together; holds at most one line's limit per stream.

    `pending` is the number of bytes read since the first piece that is still held.
    """

    def __init__(self, max_line: int, path: str | None, counts: DecodeCounts) -> None:
        self.pending = 0
        self._max = max_line
        self._path = path
        self._counts = counts
        self._held: dict[bytes, Held] = {}

    def join(self, parts: tuple[bytes, bytes, bytes, bytes], size: int, flaw: dict[str, object]) -> Row | None:
        """The line that this piece, read as `size` bytes, completes; None while more is to come."""
        time, stream, tag, message = parts
        held = self._held.setdefault(stream, Held(time))
        held.add(message, flaw, self._max)
        if tag.startswith(b"P"):
            self.pending += size
            return None
        row = self._row(stream)
        self.passed(size)
        return row

    def passed(self, size: int) -> None:
        """A line went by; it counts while an earlier one waits for its end."""
        self.pending = self.pending + size if self._held else 0

    def flush(self) -> list[Row]:
        """What is held when no more will come."""
        rows = [self._row(stream) for stream in list(self._held)]
        self.pending = 0
        return rows

    def _row(self, stream: bytes) -> Row:
        held = self._held.pop(stream)
        flaw = held.flaw
        whole = held.kept == held.length
        if not whole:
            self._counts.truncated += 1
            flaw = flaw | {"truncated": True, "raw_bytes": held.length}
        message, _ = codecs.utf_8_decode(b"".join(held.pieces), "replace", whole)
        members = {"message": message, "stream": stream.decode(), "time": held.time.decode("utf-8", "replace")}
        if self._path is not None:
            members["file"] = self._path
        return Row(message.encode(), msgspec.json.encode(members), 0, flaw)
