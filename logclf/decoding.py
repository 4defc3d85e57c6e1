"""Bytes as they arrive → batches of messages.

`Framer` cuts chunks into whole lines, `Decoder` finds the message in each line: plain text, JSON events (the first of
the message keys that is there), or CRI container logs (partial lines joined). The form is detected per line; a block
of one form costs a call or two per block. Whatever cannot be decoded goes on as raw text, and is counted.
"""

from __future__ import annotations

import codecs
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
import numpy as np

from .batch import Batch, line_starts, shown_path
from .errors import ConfigError
from .signals import SYSLOG
from .taxonomy import LEVELS, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

Flaws = dict[int, dict[str, object]]
TEXT, JSON, CRI = "text", "json", "cri"
ALL_FORMS = frozenset((TEXT, JSON, CRI))
EVENT_FORMS = frozenset((TEXT, JSON))  # one line in, one event out: nothing is joined

MESSAGE_KEYS = ("message", "log", "msg", "body", "MESSAGE")
LEVEL_KEYS = tuple("level severity lvl levelname log_level loglevel severityText severity_text PRIORITY".split())
MAX_LINE = 1 << 20

LEVEL_NAMES: dict[str, int] = {
    name: LEVELS[severity]
    for severity, names in {
        Severity.TRACE: "trace verbose finest finer silly",
        Severity.DEBUG: "debug fine dbg",
        Severity.INFO: "info information informational notice log config",
        Severity.WARN: "warn warning",
        Severity.ERROR: "error err severe failure",
        Severity.FATAL: "fatal critical crit alert emerg emergency panic dpanic",
    }.items()
    for name in names.split()
}
BUNYAN_LEVELS = {step * 10: level for step, level in enumerate(range(1, 7), 1)}  # 10 is trace, 60 is fatal


@dataclass(slots=True)
class DecodeCounts:
    """What was odd about the lines that went through."""

    lines: int = 0
    bytes: int = 0
    truncated: int = 0
    invalid_utf8: int = 0
    broken_json: int = 0


class Block(NamedTuple):
    """Whole lines without their newlines' last; `cut` has the original length of each line that was too long."""

    text: bytes
    cut: dict[int, int]


class Row(NamedTuple):
    """One line of a block of mixed forms: its message, its event if it has one, the level that the event states."""

    message: bytes
    event: bytes | None
    level: int
    flaw: dict[str, object]


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
        cri = CRI in self._forms and (self._joiner.pending > 0 or _maybe_cri(text))
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
                rows += [joined] if joined else []
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
NOT_EVENTS = (msgspec.DecodeError, RecursionError)


class EventReader:
    """Messages and levels of JSON events, without decoding the rest of them.

    Raises:
        ConfigError: a message key that cannot be looked for.
    """

    def __init__(self, message_keys: Sequence[str]) -> None:
        keys = list(dict.fromkeys((*message_keys, *LEVEL_KEYS)))
        self._message_count = len(dict.fromkeys(message_keys))
        self._fields = [f"key{number}" for number in range(len(keys))]
        try:
            shape = msgspec.defstruct(
                "Event",
                [(name, Any, None) for name in self._fields],
                rename=dict(zip(self._fields, keys, strict=True)),
                gc=False,
            )
        except ValueError as error:
            raise ConfigError(f"message keys {list(message_keys)}: {error}") from error
        self._decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(shape)
        self._first = operator.attrgetter(self._fields[0])
        self._all = operator.attrgetter(*self._fields)
        self._level_values = operator.attrgetter(*(self._fields[keys.index(key)] for key in LEVEL_KEYS))
        self._unstated = (None,) * len(LEVEL_KEYS)

    def read(self, text: bytes) -> list[Any]:
        """One event a line; every line begins with a brace.

        Raises:
            msgspec.DecodeError, RecursionError: a line is not one JSON object, or the whole must be read line by line.
        """
        starts = line_starts(text)
        ends = np.append(starts[1:] - 2, len(text) - 1)
        # The decoder minds values, not lines: one could go on in the next line, and a line could hold two. Neither can
        # be where every line ends with a brace and there are as many values as lines.
        if not (np.frombuffer(text, np.uint8)[ends] == ord("}")).all():
            raise msgspec.DecodeError("a line does not end with its object")
        events: list[Any] = self._decoder.decode_lines(text)
        if len(events) != len(starts):
            raise msgspec.DecodeError("more than one object in a line")
        return events

    def read_each(self, lines: Sequence[bytes | None]) -> list[Any | None]:
        """An event where a line is one, else None; by halves, so that few bad lines cost few extra calls."""
        wanted = [line for line in lines if line is not None]
        found = iter(self._halves(wanted))
        return [next(found) if line is not None else None for line in lines]

    def _halves(self, lines: Sequence[bytes]) -> list[Any | None]:
        if len(lines) < 2:
            return [self._read_one(line) for line in lines]
        try:
            return self.read(b"\n".join(lines))
        except NOT_EVENTS:
            middle = len(lines) // 2
            return self._halves(lines[:middle]) + self._halves(lines[middle:])

    def _read_one(self, line: bytes) -> Any | None:
        try:
            return self._decoder.decode(line)
        except NOT_EVENTS:
            return None

    def messages(self, found: Sequence[Any], events: Sequence[bytes | None]) -> bytes:
        """The events' messages, one to a line; line breaks within one become blanks."""
        texts: list[Any] = list(map(self._first, found))
        if set(map(type, texts)) != {str}:
            for number, text in enumerate(texts):
                if type(text) is not str:
                    texts[number] = self._other_message(found[number], events[number])
        joined = "\n".join(texts)
        if joined.count("\n") != len(texts) - 1:
            joined = "\n".join([text.rstrip("\r\n").replace("\n", " ") if "\n" in text else text for text in texts])
        return joined.encode()

    def _other_message(self, event: Any, raw: bytes | None) -> str:
        """Under another key, or no string at all: then its JSON text."""
        for value in self._all(event)[: self._message_count]:
            if isinstance(value, str):
                return value
            if value is not None:
                return msgspec.json.encode(value).decode()
        return (raw or b"").decode("utf-8", "replace")

    def levels(self, found: Sequence[Any]) -> Integers:
        """The severity number that each event states for itself, 0 where it states none."""
        levels = np.zeros(len(found), np.int64)
        for number, values in enumerate(map(self._level_values, found)):
            if values != self._unstated:
                levels[number] = next(filter(None, map(event_level, values)), 0)
        return levels


def event_level(value: object) -> int:
    """A level field's meaning: a name, a syslog severity (0 to 7), or a bunyan/pino level (10 to 60); 0 if unknown."""
    if isinstance(value, str):
        known = LEVEL_NAMES.get(value)
        if known is None:
            known = LEVEL_NAMES.get(value.strip().lower(), 0)
        return known or (event_level(int(value)) if value.isascii() and value.isdecimal() and len(value) < 3 else 0)
    if isinstance(value, int) and not isinstance(value, bool):
        return SYSLOG[value] if 0 <= value < 8 else BUNYAN_LEVELS.get(value, 0)
    return 0


def _maybe_cri(text: bytes) -> bool:
    """Whether a line may be in CRI format; those begin with the year."""
    dated = not text.startswith(b"{") or b"\n2" in text
    return dated and (b" stdout " in text or b" stderr " in text)


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
