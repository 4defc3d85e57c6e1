"""The values that flow: `Batch` in, verdict codes out.

Nothing here is made once per line. A batch holds its lines as one run of bytes; a verdict exists once for all the
lines it is given to, and a line's verdict is an integer, its *code*.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from .taxonomy import SEVERITIES, UNCLASSIFIED, Severity, Taxonomy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Codes = NDArray[np.int64]

NEWLINE = 10
RULES, PEOPLE, MODEL, LLM, NONE = "rules", "people", "model", "llm", "none"


class Verdict(msgspec.Struct, frozen=True, omit_defaults=True):
    """What logclf says about a line. Shared by all lines it holds for; never changed.

    label: one of the taxonomy's, or "Unclassified".
    severity: an OpenTelemetry severity name.
    stage: "rules", "people", "model", "llm", or "none" when no stage answered.
    confidence: 0 to 1; rules and people are certain, a model's is calibrated and rounded to two places.
    rule: the id of the rule that answered.
    model: name and version of the model that answered or guessed.
    cached: the answer was remembered from an earlier line of the same template.
    reason: why no stage answered ("low_confidence", "route", ...).
    guess: the model's best label where it was not sure enough to give it.
    """

    label: str
    severity: str
    stage: str
    confidence: float
    rule: str | None = None
    model: str | None = None
    cached: bool = False
    reason: str | None = None
    guess: str | None = None


@dataclass(slots=True)
class Batch:
    """The messages of one read, one to a line.

    text: the messages joined by newlines, without one at the end; line breaks within a message are blanks here.
    starts: offset in the text of each message, at least one.
    source: the name that routes and rules' `where` know it by; `path` the file's path, if it has one.
    events: each line's own JSON object, None for a line of plain text; None instead of a list where all are plain.
    levels: severity numbers (0 where unknown) that the events themselves state.
    flaws: by line, what was wrong with it ("raw_bytes": original length; "truncated": cut).
    """

    text: bytes
    starts: NDArray[np.int64]
    source: str = ""
    path: str | None = None
    events: list[bytes | None] | None = None
    levels: NDArray[np.int64] | None = None
    flaws: dict[int, dict[str, object]] = field(default_factory=dict)

    @property
    def count(self) -> int:
        return len(self.starts)

    def line(self, number: int) -> bytes:
        """One message."""
        end = int(self.starts[number + 1]) - 1 if number + 1 < len(self.starts) else len(self.text)
        return self.text[int(self.starts[number]) : end]


def shown_path(path: str) -> str:
    """A path that can be written as UTF-8: bytes of its name that are not appear as `\\xNN`."""
    return path.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def line_starts(text: bytes) -> NDArray[np.int64]:
    """The offset of each line in lines joined by newlines."""
    newlines = np.flatnonzero(np.frombuffer(text, np.uint8) == NEWLINE)
    starts = np.zeros(len(newlines) + 1, np.int64)
    np.add(newlines, 1, out=starts[1:])
    return starts


@dataclass(slots=True)
class DecodeCounts:
    """What was odd about the lines that went through."""

    lines: int = 0
    bytes: int = 0
    truncated: int = 0
    invalid_utf8: int = 0
    broken_json: int = 0


@dataclass(slots=True)
class Classified:
    """A batch's verdicts: one code a line, and by line the fields that rules captured."""

    codes: Codes
    fields: dict[int, dict[str, object]]


LIKELY = 0.5
WIDTH = 8  # codes per verdict: itself, and one for each severity a line may state


class VerdictTable:
    """Every verdict that was ever given, once; a *base* code for each, `base + level` for one with its own severity.

    Bounded by nature: rules are finite and confidences are rounded, so a few thousand verdicts are all there can be.
    """

    def __init__(self, taxonomy: Taxonomy) -> None:
        self.taxonomy = taxonomy
        self.verdicts: list[Verdict] = []
        self._bases: dict[Verdict, int] = {}

    def code(self, verdict: Verdict) -> int:
        """The base code of a verdict, for a line that states no severity of its own."""
        base = self._bases.get(verdict)
        if base is None:
            base = self._bases[verdict] = len(self.verdicts)
            own = [msgspec.structs.replace(verdict, severity=self._stated(verdict, s).name) for s in SEVERITIES]
            self.verdicts += [verdict, *own, verdict]
        return base

    def _stated(self, verdict: Verdict, level: Severity) -> Severity:
        """The severity of a line that states a level: that level, within what the label allows.

        Below the label's floor it is raised to it. Above its ceiling a verdict of rules or people keeps its own; that
        of a model, which may be wrong, goes down to ERROR at most.
        """
        own, label = Severity[verdict.severity], self.taxonomy.find(verdict.label)
        if label is None:
            return level
        if level > label.ceiling:
            return own if verdict.stage in (RULES, PEOPLE) else max(label.ceiling, min(level, Severity.ERROR))
        return max(level, min(own, label.floor))

    def rule(self, rule_id: str, label: str, severity: Severity | None) -> int:
        """The base code of a rule's verdict."""
        chosen = severity or self.taxonomy.severity(label)
        return self.code(Verdict(label, chosen.name, RULES, 1.0, rule=rule_id))

    def answer(self, label: str, confidence: float, stage: str, model: str | None, cached: bool = False) -> int:
        """The base code of a model's or LLM's answer."""
        severity = self.taxonomy.severity(label).name
        rounded = 1.0 if stage == PEOPLE else min(round(confidence, 2), 0.99)  # only rules and people are certain
        return self.code(Verdict(label, severity, stage, rounded, model=model, cached=cached))

    def unclassified(
        self,
        reason: str,
        guess: str | None = None,
        confidence: float = 0.0,
        model: str | None = None,
        cached: bool = False,
    ) -> int:
        """The base code of "no stage answered"; confidence is that of the guess.

        A guess that is more likely wrong than right says nothing about how serious a line is.
        """
        believed = guess if guess and confidence >= LIKELY else UNCLASSIFIED
        severity = self.taxonomy.severity(believed).name
        return self.code(
            Verdict(
                UNCLASSIFIED,
                severity,
                NONE,
                round(confidence, 2),
                model=model,
                cached=cached,
                reason=reason,
                guess=guess,
            )
        )
