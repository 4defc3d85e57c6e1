"""Text and JSON events: one line in, one event out, as the streaming path writes it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ..batch import Batch, Classified, DecodeCounts
from ..cascade import Cascade
from ..decoding import EVENT_FORMS, TEXT, Decoder
from ..encoding import Encoder
from . import names
from .plan import Input, Settings, Split
from .reading import read


@dataclass(frozen=True, slots=True)
class LineUnit:
    """A batch of the streaming path."""

    size: int
    batches: Sequence[Batch]
    encoder: Encoder

    def labelled(self, found: Sequence[Classified]) -> bytes:
        pairs = zip(self.batches, found, strict=True)
        return b"".join(self.encoder.encode(batch, classified) for batch, classified in pairs)


class LineUnits:
    """A split's lines. Raises what `reading.read` raises."""

    def __init__(self, about: Input, split: Split, settings: Settings, cascade: Cascade) -> None:
        self._chunks = read(about.file, about.compression, settings.encoding, split.start, split.end)
        # A file's name says no more than that it has lines: events among them are found, unless text was asked for.
        forms = frozenset((TEXT,)) if settings.kind == names.TEXT else EVENT_FORMS
        self._counts = DecodeCounts()
        source = settings.source or about.file.name
        self._decoder = Decoder(source, about.path, forms, settings.message_keys, counts=self._counts)
        self._encoder = Encoder(cascade.table, cached=False, files=settings.files)

    def __iter__(self) -> Iterator[LineUnit]:
        for chunk in self._chunks:
            yield self._unit(len(chunk), self._decoder.decode(chunk))
        yield self._unit(0, self._decoder.flush())

    def _unit(self, size: int, batch: Batch | None) -> LineUnit:
        return LineUnit(size, [batch] if batch else [], self._encoder)

    @property
    def oddities(self) -> dict[str, int]:
        counts = self._counts
        return {
            "cut at 1 MiB": counts.truncated,
            "not UTF-8": counts.invalid_utf8,
            "broken JSON": counts.broken_json,
        }
