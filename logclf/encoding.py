"""Verdicts and lines → JSON lines (design §5).

Plain text becomes `{"message":…,"file":…,"logclf":{…}}`; a JSON event keeps its own bytes and gains one member. A
line's output is two pieces: its own text, escaped together with the whole block, and a tail that all lines with the
same verdict share. Joining pieces is all that is done per line.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np

from .batch import Batch, Classified, Verdict, VerdictTable

OUTPUT_KEY = "logclf"
# JSON's short escapes; any other control character sends a block down the thorough path.
ESCAPES = ((b"\\", b"\\\\"), (b'"', b'\\"'), (b"\t", b"\\t"))
CONTROL = bytes(code for code in range(32) if code not in b"\t\n")

_encode = msgspec.json.encode
_encoder = msgspec.json.Encoder()


class Encoder:
    """Encodes classified batches; `key` names the member that carries the verdict.

    cached: say which verdicts were remembered; without it, equal lines are encoded alike whatever came before them.
    files: name the file of lines of plain text.
    """

    def __init__(self, table: VerdictTable, key: str = OUTPUT_KEY, *, cached: bool = True, files: bool = True) -> None:
        self._table, self._cached, self._files = table, cached, files
        self._member = b"," + _encode(key) + b":"
        self._name, self._key = key, _encode(key)
        self._tails: dict[tuple[str | None, bool], Tails] = {}

    def encode(self, batch: Batch, classified: Classified) -> bytes:
        """One JSON object a line, in order, each with a newline behind it."""
        plain = batch.events is None
        tails = self._tails_for(batch.path if plain else None, plain)
        endings = list(map(tails.__getitem__, classified.codes.tolist()))
        for line in {*classified.fields, *batch.flaws}:
            more = dict(batch.flaws.get(line, ()))
            if classified.fields.get(line):
                more["fields"] = classified.fields[line]
            if more:
                endings[line] = tails.extended(endings[line], more)
        pieces = escape(batch.text) if batch.events is None else self._events(batch, batch.events, endings)
        whole: list[bytes] = [b""] * (2 * batch.count)
        whole[0::2] = pieces
        whole[1::2] = endings
        if not plain:
            return b"".join(whole)
        whole[-1] = whole[-1].removesuffix(START)
        return START + b"".join(whole)

    def _tails_for(self, path: str | None, plain: bool) -> Tails:
        """The tails of a file's lines, or of events; few enough to keep, and dropped when files come and go."""
        key = (path, plain)
        if key not in self._tails:
            if len(self._tails) >= 256:
                self._tails.clear()
            before = self._file_member(path) if plain else b""
            self._tails[key] = Tails(self._table, before + self._member, START if plain else b"", self._cached)
        return self._tails[key]

    def _events(self, batch: Batch, events: Sequence[bytes | None], endings: list[bytes]) -> list[bytes]:
        """Events open for one more member: without their closing brace and without an older verdict."""
        pieces = [event[:-1] if event else b"" for event in events]
        texts: list[bytes] = []
        for line in self._uncommon(events):
            event = events[line]
            if event is None:
                texts = texts or batch.text.split(b"\n")
                pieces[line] = START + escape(texts[line])[0] + self._file_member(batch.path)
                continue
            pieces[line] = self._opened(event)
            if pieces[line] == b"{":
                endings[line] = endings[line][1:]  # the first member has no comma before it
        return pieces

    def _file_member(self, path: str | None) -> bytes:
        """What closes the message and names its file."""
        return b'"' if path is None or not self._files else b'","file":' + _encode(path)

    def _uncommon(self, events: Sequence[bytes | None]) -> Sequence[int]:
        """Which lines need more than their last byte cut off; found for all of them together."""
        whole = [event for event in events if event is not None]
        joined = b"\n".join(whole)
        if self._key in joined or len(whole) < len(events):
            return range(len(events))
        data = np.frombuffer(joined, np.uint8)
        last = np.cumsum(np.fromiter(map(len, whole), np.int64, len(whole)) + 1) - 2
        usual = (data[last] == ord("}")) & ~MAYBE_EMPTY[data[last - 1]]
        uncommon: list[int] = np.flatnonzero(~usual).tolist()
        return uncommon

    def _opened(self, event: bytes) -> bytes:
        """One event open for one more member, for any event; its own bytes, unless it has an older verdict."""
        own = event.rstrip()[:-1].rstrip()
        if self._key not in own:
            return own
        try:
            members = msgspec.json.decode(event, type=dict[str, msgspec.Raw])
        except RecursionError:  # nested as deep as Python's stack: with two members of the name, the last one counts
            return own
        if members.pop(self._name, None) is None:
            return own
        return _encode(members)[:-1]


START = b'{"message":"'
MAYBE_EMPTY = np.isin(np.arange(256), list(b"{ \t\r"))  # what may stand before the brace that closes an empty object


class Tails(dict[int, bytes]):
    """What follows a line, by verdict code, up to and including the next line's `start`; made when first asked for."""

    def __init__(self, table: VerdictTable, before: bytes, start: bytes, cached: bool = True) -> None:
        super().__init__()
        self._table, self._before, self._start, self._cached = table, before, start, cached
        self._end = b"}}\n" + start

    def __missing__(self, code: int) -> bytes:
        members = verdict_members(self._table.verdicts[code])
        if not self._cached:
            members.pop("cached", None)
        verdict = _encode(members)
        tail = self[code] = self._before + verdict[:-1] + self._end
        return tail

    def extended(self, tail: bytes, more: dict[str, object]) -> bytes:
        """A tail with more members in its verdict, for one line."""
        return tail[: -len(self._end)] + b"," + _encode(more)[1:-1] + self._end


def verdict_members(verdict: Verdict) -> dict[str, object]:
    """A verdict as the output shows it."""
    members: dict[str, object] = {
        "label": verdict.label,
        "severity": verdict.severity,
        "stage": verdict.stage,
        "confidence": verdict.confidence,
    }
    cached = verdict.cached or None
    optional = {"rule": verdict.rule, "reason": verdict.reason, "guess": verdict.guess, "cached": cached}
    return members | {name: value for name, value in optional.items() if value is not None}


def escape(text: bytes) -> list[bytes]:
    """Lines as the insides of JSON strings. Lines must be UTF-8 (see decoding.py)."""
    if len(text.translate(None, CONTROL)) != len(text):
        quoted = _encoder.encode_lines(text.decode().split("\n"))
        return [line[1:-1] for line in quoted.split(b"\n")[:-1]]
    for raw, escaped in ESCAPES:
        text = text.replace(raw, escaped)
    return text.split(b"\n")
