"""Bytes as they arrive → batches of messages.

`Framer` cuts chunks into whole lines, `Decoder` finds the message in each line: plain text, JSON events (the first of
the message keys that is there), or CRI container logs (partial lines joined). The form is detected per line; a block
of one form costs a call or two per block. Whatever cannot be decoded goes on as raw text, and is counted.
"""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .batch import Batch, DecodeCounts, line_starts, shown_path
from .cri import CriJoiner, Row, cri_parts, maybe_cri
from .events import NOT_EVENTS, EventReader

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

Flaws = dict[int, dict[str, object]]
TEXT, JSON, CRI = "text", "json", "cri"
ALL_FORMS = frozenset((TEXT, JSON, CRI))
EVENT_FORMS = frozenset((TEXT, JSON))  # one line in, one event out: nothing is joined

MESSAGE_KEYS = ("message", "log", "msg", "body", "MESSAGE")
MAX_LINE = 1 << 20


class Block(NamedTuple):
    """Whole lines without their newlines' last; `cut` has the original length of each line that was too long."""

    text: bytes
    cut: dict[int, int]


class Framer:
    """Cuts a byte stream into blocks of whole lines, in memory bounded by one line's limit.

    `pending` is the number of bytes taken in since the last newline: what a reader must read again after a restart.
    """

    def __init__(self, max_line: int = MAX_LINE) -> None:
        self.pending = 0
        self._max = max_line
        self._head: list[bytes] = []
        self._held = 0

    def feed(self, chunk: bytes) -> Block | None:
        """The lines that this chunk completes, or None."""
        end = chunk.rfind(b"\n")
        if end < 0:
            self._hold(chunk)
            return None
        begun = self.pending
        first = chunk.find(b"\n")
        if begun:
            self._hold(chunk[:first])
            head, length = b"".join(self._head), self.pending
            text = head + chunk[first:end]
        else:
            head, length = b"", first
            text = chunk[:end]
        self._head, self._held, self.pending = [], 0, 0
        self._hold(chunk[end + 1 :])
        return self._cut(text, {0: length} if length > len(head) > 0 else {})

    def flush(self) -> Block | None:
        """What is left when no more will come: the last line, if it has no newline."""
        if not self.pending:
            return None
        text, length = b"".join(self._head), self.pending
        self._head, self._held, self.pending = [], 0, 0
        return self._cut(text, {0: length} if length > len(text) else {})

    def _hold(self, part: bytes) -> None:
        self.pending += len(part)
        room = self._max - self._held
        if part and room > 0:
            self._head.append(part[:room])
            self._held += min(room, len(part))

    def _cut(self, text: bytes, cut: dict[int, int]) -> Block:
        """Cut lines that are too long; looks at single lines only where the block could hold one."""
        if len(text) > self._max:
            lines = text.split(b"\n")
            for number, line in enumerate(lines):
                if len(line) > self._max:
                    cut.setdefault(number, len(line))
                    lines[number] = line[: self._max]
            text = b"\n".join(lines)
        return Block(text, cut)


class Decoder:
    """Blocks of lines → batches, with one origin for all of them.

    forms: which forms are looked for; a line that is none of them is text. message_keys: where a JSON event's message
    is looked for, in order; an event that has none of them is its own message. counts: to share among decoders.
    """

    def __init__(
        self,
        source: str = "",
        path: str | None = None,
        forms: frozenset[str] = ALL_FORMS,
        message_keys: Sequence[str] = MESSAGE_KEYS,
        max_line: int = MAX_LINE,
        counts: DecodeCounts | None = None,
    ) -> None:
        self.counts = counts if counts is not None else DecodeCounts()
        self._source, self._path, self._forms = source, None if path is None else shown_path(path), forms
        self._framer = Framer(max_line)
        self._reader = EventReader(message_keys)
        self._joiner = CriJoiner(max_line, self._path, self.counts)

    @property
    def source(self) -> str:
        """The name of where the bytes are from."""
        return self._source

    @property
    def pending(self) -> int:
        """Bytes taken in that no batch holds yet; a checkpoint stays before them."""
        return self._framer.pending + self._joiner.pending

    def decode(self, chunk: bytes) -> Batch | None:
        """The lines that this chunk completes."""
        block = self._framer.feed(chunk)
        return self._batch(block.text, block.cut) if block else None

    def flush(self) -> Batch | None:
        """What is left when no more will come."""
        block = self._framer.flush()
        batch = self._batch(block.text, block.cut) if block else None
        held = self._mixed(self._joiner.flush())  # after the batch, whose last line may end what is held, or join it
        return _both(batch, held) if batch and held else batch or held

    def _batch(self, text: bytes, cut: dict[int, int]) -> Batch | None:
        self.counts.bytes += len(text) + 1
        self.counts.truncated += len(cut)
        flaws: Flaws = {number: {"truncated": True, "raw_bytes": size} for number, size in cut.items()}
        cri = CRI in self._forms and (self._joiner.pending > 0 or maybe_cri(text))
        sizes = _sizes(text, cut) if cri else None  # as they were read, before anything is replaced
        if b"\r" in text:
            text = text.replace(b"\r\n", b"\n").removesuffix(b"\r")
        text = self._valid(text, flaws)
        starts = line_starts(text)
        braces = _count_first(text, starts, ord("{")) if JSON in self._forms else 0
        if not cri and braces == len(starts):
            batch = self._json(text, flaws)
            if batch is not None:
                return batch
        if not cri and not braces:
            self.counts.lines += len(starts)
            return Batch(text, starts, self._source, self._path, flaws=flaws)
        return self._mixed(self._rows(text, flaws, sizes))

    def _valid(self, text: bytes, flaws: Flaws) -> bytes:
        """Valid UTF-8: bytes that are not become U+FFFD, and the line says how long it was."""
        if text.isascii():
            return text
        try:
            text.decode()
        except UnicodeDecodeError:
            lines = text.split(b"\n")
            for number, line in enumerate(lines):
                # A cut may have fallen inside a character; what is left of that is no fault of the line's.
                decoded, used = codecs.utf_8_decode(line, "replace", number not in flaws)
                fixed = lines[number] = decoded.encode()
                if fixed != line[:used]:
                    self.counts.invalid_utf8 += 1
                    flaws[number] = {"invalid_utf8": True, "raw_bytes": len(line)} | flaws.get(number, {})
            return b"\n".join(lines)
        return text

    def _json(self, text: bytes, flaws: Flaws) -> Batch | None:
        """The usual block of events: all of them well-formed, which one call finds out. None where one is not."""
        try:
            found = self._reader.read(text)
        except NOT_EVENTS:
            return None
        events: list[bytes | None] = list(text.split(b"\n"))
        self.counts.lines += len(events)
        messages = self._reader.messages(found, events)
        levels = self._reader.levels(found)
        return Batch(messages, line_starts(messages), self._source, self._path, events, levels, flaws)

    def _rows(self, text: bytes, flaws: Flaws, sizes: list[int] | None) -> list[Row]:
        """Line by line, for blocks of mixed forms; `sizes`, bytes read a line, where some may be CRI."""
        rows: list[Row] = []
        lines = text.split(b"\n")
        candidates = [line if line.startswith(b"{") and JSON in self._forms else None for line in lines]
        for number, (line, event) in enumerate(zip(lines, self._reader.read_each(candidates), strict=True)):
            flaw = flaws.get(number, {})
            parts = cri_parts(line) if sizes and event is None else None
            if sizes and parts:
                joined = self._joiner.join(parts, sizes[number], flaw)
                rows += [self._inside(joined)] if joined else []
                continue
            if sizes:
                self._joiner.passed(sizes[number])
            if event is not None:
                message = self._reader.messages([event], [line])
                rows.append(Row(message, line, int(self._reader.levels([event])[0]), flaw))
            else:
                self.counts.broken_json += candidates[number] is not None
                rows.append(Row(line, None, 0, flaw))
        return rows

    def _inside(self, row: Row) -> Row:
        """A container's line; where it is a JSON event itself, the verdict is about that event's message and level."""
        if JSON not in self._forms or not row.message.startswith(b"{"):
            return row
        event = self._reader.read_each([row.message])[0]
        if event is None:
            return row
        message = self._reader.messages([event], [row.message])
        return row._replace(message=message, level=int(self._reader.levels([event])[0]))

    def _mixed(self, rows: Sequence[Row]) -> Batch | None:
        if not rows:
            return None
        self.counts.lines += len(rows)
        levels = np.array([row.level for row in rows], np.int64)
        events = [row.event for row in rows]
        messages = b"\n".join(row.message for row in rows)
        flaws: Flaws = {number: row.flaw for number, row in enumerate(rows) if row.flaw}
        return Batch(messages, line_starts(messages), self._source, self._path, events, levels, flaws)


def _both(first: Batch, second: Batch) -> Batch:
    """Two batches of one origin as one."""
    text = first.text + b"\n" + second.text
    events = [*(first.events or [None] * first.count), *(second.events or [None] * second.count)]
    known = [np.zeros(batch.count, np.int64) if batch.levels is None else batch.levels for batch in (first, second)]
    flaws = first.flaws | {first.count + number: flaw for number, flaw in second.flaws.items()}
    return Batch(text, line_starts(text), first.source, first.path, events, np.concatenate(known), flaws)


def _sizes(text: bytes, cut: dict[int, int]) -> list[int]:
    """Bytes that were read for each line, its newline included."""
    return [cut.get(number, len(line)) + 1 for number, line in enumerate(text.split(b"\n"))]


def _count_first(text: bytes, starts: Integers, char: int) -> int:
    """How many lines begin with a character."""
    first = np.frombuffer(text + b"\n", np.uint8)[starts]
    return int(np.count_nonzero(first == char))


# What msgspec raises for lines that are no events; the last for an event nested deeper than Python's stack.
