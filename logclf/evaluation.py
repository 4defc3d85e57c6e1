"""How good the cascade is on labelled lines: the figures that `logclf eval` shows.

*Full coverage* takes the model's best guess where it was not sure enough to answer; *answered* counts what a stream
would show. Rows are counted as they are, and each template once, since a log repeats its templates.
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from . import masking
from .batch import MODEL, NONE, Verdict
from .classifier import Classifier
from .pretty import visible
from .scoring import by_label, calibration_error, macro_f1
from .taxonomy import Severity
from .training.labelled import one_line, usable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .training.labelled import Rows

STAGES = ("rules", "people", "model", "llm", "none")
SEVERITY_WORDS = {"WARNING": "WARN", "CRITICAL": "FATAL", "ERR": "ERROR", "INFORMATION": "INFO", "NOTICE": "INFO"}
MOST_SHOWN = 20
LONGEST_SAMPLE = 160


class Figures(msgspec.Struct, frozen=True):
    """One view of the answers; shares are of `examples`, and `right` is None where there is nothing to be right about.

    accuracy, macro_f1: at full coverage. answered: share that a stage answered; right: of those.
    """

    examples: int
    accuracy: float
    macro_f1: float
    answered: float
    right: float | None


class Share(msgspec.Struct, frozen=True):
    """A stage's or source's part of the rows, and how much of it is right (at full coverage for "none")."""

    name: str
    examples: int
    share: float
    right: float


class LabelLine(msgspec.Struct, frozen=True):
    """One label at full coverage."""

    name: str
    examples: int
    precision: float
    recall: float
    f1: float


class Confused(msgspec.Struct, frozen=True):
    """A pair of labels that was mixed up, how often, and one line of it."""

    label: str
    answer: str
    examples: int
    sample: str


class Evaluation(msgspec.Struct, frozen=True):
    """Everything `logclf eval` says. weighted: by the table's count column, None without one; severity likewise.

    rules: those that were wrong anywhere, the most often wrong first.
    """

    rows: Figures
    templates: Figures
    weighted: Figures | None
    severity: float | None
    calibration_error: float
    stages: list[Share]
    rules: list[Share]
    sources: list[Share]
    labels: list[LabelLine]
    confused: list[Confused]


@dataclass
class Tested:
    """What was asked and answered, a row each: label indexes, -1 for no answer at all."""

    names: tuple[str, ...]
    truth: array[int] = field(default_factory=lambda: array("h"))
    guess: array[int] = field(default_factory=lambda: array("h"))
    stage: array[int] = field(default_factory=lambda: array("b"))
    confidence: array[float] = field(default_factory=lambda: array("f"))
    first: array[int] = field(default_factory=lambda: array("b"))  # of its template
    count: array[int] = field(default_factory=lambda: array("q"))
    source: list[str] = field(default_factory=list)
    rule: list[str] = field(default_factory=list)
    severity: Counter[bool] = field(default_factory=Counter)
    samples: dict[tuple[int, int], str] = field(default_factory=dict)
    dropped: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    seen: set[bytes] = field(default_factory=set)
    counted: bool = False

    def add(self, rows: Rows, classifier: Classifier) -> None:
        """Ask about a chunk of a table; rows with no text or no label are counted and left out."""
        places = {name: number for number, name in enumerate(self.names)}
        pairs = zip(rows.text, rows.label, strict=True)
        kept = [at for at, pair in enumerate(pairs) if usable(*pair, places, self.dropped, self.unknown)]
        lines = [one_line(rows.text[at]) for at in kept]
        sources = [rows.source[at] if rows.source else "" for at in kept]
        verdicts = by_source(lines, sources, classifier)
        for at, line, template, verdict, source in zip(
            kept, lines, masking.mask(lines), verdicts, sources, strict=True
        ):
            truth, guess = places[rows.label[at].strip()], places.get(verdict.guess or verdict.label, -1)
            self.truth.append(truth)
            self.guess.append(guess)
            self.stage.append(STAGES.index(verdict.stage))
            self.confidence.append(verdict.confidence)
            self.first.append(template not in self.seen)
            self.seen.add(template)
            self.source.append(source)
            self.rule.append(verdict.rule or "")
            self.counted = self.counted or rows.count is not None
            self.count.append(rows.count[at] if rows.count else 1)
            if rows.severity and (stated := severity_named(rows.severity[at])):
                self.severity[stated == verdict.severity] += 1
            if truth != guess:
                self.samples.setdefault((truth, guess), visible(line.decode("utf-8", "replace"))[:LONGEST_SAMPLE])

    def result(self) -> Evaluation:
        """The figures."""
        truth, guess = np.array(self.truth, np.int64), np.array(self.guess, np.int64)
        stage, confidence = np.array(self.stage, np.int64), np.array(self.confidence)
        everything, first = np.ones(len(truth), np.int64), np.array(self.first, np.int64)
        count = np.array(self.count, np.int64)
        modelled = (stage >= STAGES.index(MODEL)) & (guess >= 0)
        agreed = self.severity
        return Evaluation(
            rows=self._figures(everything),
            templates=self._figures(first),
            weighted=self._figures(count) if self.counted else None,
            severity=_ratio(agreed[True], agreed.total()) if agreed else None,
            calibration_error=round(calibration_error(confidence[modelled], (truth == guess)[modelled]), 4),
            stages=self._shares([STAGES[number] for number in self.stage]),
            rules=sorted(
                (each for each in self._shares(self.rule) if each.name and each.right < 1), key=_wrong, reverse=True
            )[:MOST_SHOWN],
            sources=self._shares(self.source) if len(set(self.source)) > 1 else [],
            labels=self._labels(truth, guess),
            confused=self._confused(),
        )

    def _figures(self, weight: NDArray[np.int64]) -> Figures:
        truth, guess = np.array(self.truth, np.int64), np.array(self.guess, np.int64)
        answered = np.array(self.stage) != STAGES.index(NONE)
        total, right = int(weight.sum()), truth == guess
        given = int(weight[answered].sum())
        return Figures(
            total,
            _ratio(int(weight[right].sum()), total),
            round(macro_f1(truth, guess, len(self.names), weight), 4),
            _ratio(given, total),
            _ratio(int(weight[answered & right].sum()), given) if given else None,
        )

    def _shares(self, names: Sequence[str]) -> list[Share]:
        total, good = Counter(names), Counter[str]()
        for name, truth, guess in zip(names, self.truth, self.guess, strict=True):
            good[name] += truth == guess
        return [
            Share(name, count, _ratio(count, len(names)), _ratio(good[name], count))
            for name, count in total.most_common()
        ]

    def _labels(self, truth: NDArray[np.int64], guess: NDArray[np.int64]) -> list[LabelLine]:
        scores = by_label(truth, guess, len(self.names))
        return [
            LabelLine(name, score.support, round(score.precision, 4), round(score.recall, 4), round(score.f1, 4))
            for name, score in zip(self.names, scores, strict=True)
            if score.support or (guess == self.names.index(name)).any()
        ]

    def _confused(self) -> list[Confused]:
        pairs = Counter((t, g) for t, g in zip(self.truth, self.guess, strict=True) if t != g)
        return [
            Confused(self.names[t], self.names[g] if g >= 0 else "(no guess)", count, self.samples[t, g])
            for (t, g), count in pairs.most_common(MOST_SHOWN)
        ]


def evaluate(chunks: Iterable[Rows], classifier: Classifier, names: Sequence[str]) -> tuple[Tested, Evaluation | None]:
    """Ask about every row of a table; None where no row could be used."""
    tested = Tested(tuple(names))
    for rows in chunks:
        tested.add(rows, classifier)
    return tested, tested.result() if tested.truth else None


def by_source(lines: Sequence[bytes], sources: Sequence[str], classifier: Classifier) -> list[Verdict]:
    """Verdicts in order, each line asked about under its own source."""
    places: dict[str, list[int]] = {}
    for at, source in enumerate(sources):
        places.setdefault(source, []).append(at)
    found: dict[int, Verdict] = {}
    for source, chosen in places.items():
        found.update(zip(chosen, classifier.classify([lines[at] for at in chosen], source), strict=True))
    return [found[at] for at in range(len(lines))]


def severity_named(text: str) -> str | None:
    """A severity by one of its usual names; None for other words."""
    name = text.strip().upper()
    name = SEVERITY_WORDS.get(name, name)
    return name if name in Severity.__members__ else None


def _wrong(share: Share) -> float:
    return share.examples * (1 - share.right)


def _ratio(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def tables(result: Evaluation, dropped: Counter[str]) -> str:
    """The figures for people."""
    views = [("rows", result.rows), ("each template once", result.templates), ("by count", result.weighted)]
    lines = [f"{'':22}{'examples':>10}{'accuracy':>10}{'macro-F1':>10}{'answered':>10}{'right':>8}"]
    for name, view in views:
        if view:
            right = "-" if view.right is None else f"{view.right:.3f}"
            lines.append(
                f"{name:22}{view.examples:10,}{view.accuracy:10.3f}{view.macro_f1:10.3f}{view.answered:10.3f}{right:>8}"
            )
    lines.append("accuracy and macro-F1 count the best guess where no stage was sure; right is of what was answered")
    if result.severity is not None:
        lines.append(f"severity agrees in {result.severity:.1%}")
    lines.append(f"calibration error of the model's confidence {result.calibration_error:.4f}")
    for title, shares in (
        ("stage", result.stages),
        ("rule that is wrong", result.rules),
        ("source", result.sources),
    ):
        if shares:
            lines += ["", f"{title:32}{'examples':>10}{'share':>10}{'right':>10}"]
            lines += [f"{visible(s.name)[:31]:32}{s.examples:10,}{s.share:10.3f}{s.right:10.3f}" for s in shares]
    lines += ["", f"{'label':22}{'examples':>10}{'precision':>10}{'recall':>10}{'F1':>10}"]
    lines += [
        f"{visible(each.name)[:21]:22}{each.examples:10,}{each.precision:10.3f}{each.recall:10.3f}{each.f1:10.3f}"
        for each in result.labels
    ]
    if result.confused:
        lines += ["", "most confused"]
        lines += [
            f"{each.examples:7,}  {visible(each.label)} taken for {visible(each.answer)}: {each.sample}"
            for each in result.confused
        ]
    lines += [f"left out: {count:,} rows with {visible(reason)}" for reason, count in dropped.items()]
    return "\n".join(lines)
