"""The loop: read a batch, classify it, write it, acknowledge it.

Everything that logclf does with a stream is in `run`; the rest of the program decides what stands on either side.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np

from .batch import Batch, Classified, VerdictTable
from .cascade import Cascade


class Delivery(Protocol):
    """A batch under way. `acknowledge` tells its source that the sink has it, and only then may positions move."""

    @property
    def batch(self) -> Batch: ...

    def acknowledge(self) -> None: ...


class Sink(Protocol):
    def write(self, batch: Batch, classified: Classified) -> None:
        """Take a batch.

        Raises:
            OutputError: it could not be written.
        """

    def flush(self) -> None:
        """Hand on what is still held."""


@dataclass(slots=True)
class Tally:
    """How many lines got each verdict since `started` (seconds of the monotonic clock)."""

    started: float
    lines: int = 0
    codes: np.ndarray[tuple[int], np.dtype[np.int64]] = field(default_factory=lambda: np.zeros(0, np.int64))

    def add(self, classified: Classified) -> None:
        counts = np.bincount(classified.codes, minlength=len(self.codes))
        counts[: len(self.codes)] += self.codes
        self.codes = counts
        self.lines += len(classified.codes)

    def by(self, attribute: str, table: VerdictTable) -> Counter[str]:
        """Lines by one of a verdict's attributes ("stage", "label", "severity", "rule")."""
        counts: Counter[str] = Counter()
        for code in np.flatnonzero(self.codes).tolist():
            counts[str(getattr(table.verdicts[code], attribute))] += int(self.codes[code])
        return counts

    def remembered(self, table: VerdictTable) -> int:
        """Lines whose verdict came from memory."""
        used = np.flatnonzero(self.codes).tolist()
        return sum(int(self.codes[code]) for code in used if table.verdicts[code].cached)


def run(
    deliveries: Iterable[Delivery],
    cascade: Cascade,
    sink: Sink,
    tally: Tally | None = None,
    before_batch: Callable[[], None] | None = None,
) -> Tally:
    """Label everything that a source delivers, until it ends. `before_batch` may change the cascade between batches."""
    tally = tally or Tally(time.monotonic())
    for delivery in deliveries:
        if before_batch:
            before_batch()
        classified = cascade.classify(delivery.batch)
        sink.write(delivery.batch, classified)
        delivery.acknowledge()
        tally.add(classified)
    sink.flush()
    return tally
