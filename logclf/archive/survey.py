"""Which templates of an archive are new: the first of two passes.

Rules are applied and keys are made as in the real pass, and nobody is asked. What several processes find is put
together, asked once, and given to all of them for the second pass.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import numpy as np

from ..batch import WIDTH, Classified, Verdict
from ..cascade import Cascade, Novel, Outcome

MOST = 200_000  # templates that are kept; others are asked in the second pass, so that novelty costs time, not memory

Allowed = tuple[str, ...]


class Found(msgspec.Struct, frozen=True):
    """A template that is new: the stages it may meet, its key in memory, and how many lines have it."""

    allowed: Allowed
    key: bytes
    novel: Novel
    count: int


class Answers(msgspec.Struct, frozen=True):
    """What the stages said of templates, for lines that may meet these stages."""

    allowed: Allowed
    verdicts: dict[bytes, Verdict]


class Surveyor(Cascade):
    """A cascade that gives every new template a number instead of asking."""

    def __init__(self, like: Cascade) -> None:
        super().__init__(like.table.taxonomy, like.rules, like.stages, like.routes)
        self._numbers: dict[tuple[Allowed, bytes], int] = {}
        self._novel: list[Novel] = []
        self._counts = np.zeros(0, np.int64)
        self._first = len(self.table.verdicts)  # codes from here on are numbers of templates

    def _ask(self, asked: Mapping[bytes, Novel], allowed: Allowed) -> list[Outcome]:
        outcomes: list[Outcome] = []
        for key, novel in asked.items():
            number = self._numbers.get((allowed, key))
            if number is None and len(self._novel) < MOST:
                number = self._numbers[allowed, key] = len(self._novel)
                self._novel.append(novel)
            code = 0 if number is None else self._first + number * WIDTH
            outcomes.append(Outcome(code, code, True))
        return outcomes

    def add(self, classified: Classified) -> None:
        """Count the lines of a batch."""
        numbers = (classified.codes[classified.codes >= self._first] - self._first) // WIDTH
        counts = np.bincount(numbers, minlength=len(self._novel))
        counts[: len(self._counts)] += self._counts
        self._counts = counts

    def take(self) -> list[Found]:
        """What was found since the last time, counts included."""
        counts, self._counts = self._counts.tolist(), np.zeros(0, np.int64)
        return [
            Found(allowed, key, self._novel[number], counts[number])
            for (allowed, key), number in self._numbers.items()
            if number < len(counts) and counts[number]
        ]


class Merged:
    """The templates of all splits."""

    def __init__(self) -> None:
        self._found: dict[tuple[Allowed, bytes], Found] = {}

    def __len__(self) -> int:
        return len(self._found)

    def add(self, found: list[Found]) -> None:
        for each in found:
            known = self._found.get((each.allowed, each.key))
            if known is not None:
                self._found[each.allowed, each.key] = msgspec.structs.replace(known, count=known.count + each.count)
            elif len(self._found) < MOST:
                self._found[each.allowed, each.key] = each

    def by_stages(self) -> dict[Allowed, list[Found]]:
        """Templates that may meet the same stages, those of most lines first: a budget should go to them."""
        groups: dict[Allowed, list[Found]] = {}
        for each in sorted(self._found.values(), key=lambda found: -found.count):
            groups.setdefault(each.allowed, []).append(each)
        return groups
