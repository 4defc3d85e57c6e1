"""One read of a split: what is to be classified, and how its lines are written once they are labelled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Protocol

import numpy as np

from ..batch import Batch, Classified
from ..cascade import Cascade
from ..classifier import batch_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_SOURCES = 4096


class Unit(Protocol):
    """size: bytes of the input that it is, roughly, for the progress bar. batches: what is to be classified."""

    size: int
    batches: Sequence[Batch]

    def labelled(self, found: Sequence[Classified]) -> bytes:
        """Its bytes with the verdicts of its batches in them."""


class Units(Protocol):
    """A split's units, and what was odd about its lines once all have been read."""

    def __iter__(self) -> Iterator[Unit]: ...

    @property
    def oddities(self) -> dict[str, int]: ...


class Groups:
    """Messages in batches: one for all, or one for all sources that rules and routes treat alike."""

    def __init__(self, cascade: Cascade, source: str) -> None:
        self._cascade, self._source = cascade, source
        self._treatments: dict[bytes, tuple[tuple[str, ...], bytes]] = {}

    def batches(
        self, messages: Sequence[bytes], sources: Sequence[bytes] | None
    ) -> tuple[list[Batch], list[NDArray[np.int64]] | None]:
        """The batches and, where there are several, the rows of each."""
        if sources is None or not self._cascade.minds_source:
            whole = batch_of(messages, self._source)
            return [whole] if whole else [], None
        rows: dict[tuple[tuple[str, ...], bytes], list[int]] = {}
        for row, source in enumerate(sources):
            rows.setdefault(self._treatment(source), []).append(row)
        made = [
            batch_of([messages[row] for row in chosen], sources[chosen[0]].decode("utf-8", "replace"))
            for chosen in rows.values()
        ]
        return [batch for batch in made if batch], [np.array(chosen, np.int64) for chosen in rows.values()]

    def _treatment(self, source: bytes) -> tuple[tuple[str, ...], bytes]:
        found = self._treatments.get(source)
        if found is None:
            if len(self._treatments) >= MOST_SOURCES:  # as many sources as rows: remember some, not all
                self._treatments.clear()
            found = self._treatments[source] = self._cascade.treatment(source.decode("utf-8", "replace"))
        return found


def codes_of(found: Sequence[Classified], rows: Sequence[NDArray[np.int64]] | None, count: int) -> NDArray[np.int64]:
    """Verdict codes in the order of the rows."""
    if rows is None:
        return found[0].codes if found else np.zeros(0, np.int64)
    codes = np.zeros(count, np.int64)
    for classified, chosen in zip(found, rows, strict=True):
        codes[chosen] = classified.codes
    return codes
