"""JSON events: message and level of each, without decoding the rest of it."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from .batch import line_starts
from .errors import ConfigError
from .signals import SYSLOG
from .taxonomy import LEVELS, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

LEVEL_KEYS = tuple("level severity lvl levelname log_level loglevel severityText severity_text PRIORITY".split())

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
