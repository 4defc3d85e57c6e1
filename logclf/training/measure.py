"""What can be expected of a model: every split, curve and list that the report shows.

Three figures, because they answer different questions: *by template* (no template of the test is in training: what new
lines of known systems get), *random rows* (what others quote; it flatters, since near-copies are on both sides), and
*by source* (a whole source left out: what a new system gets).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from ..scoring import by_label, calibration_bins, calibration_error, confusion, coverage_curve, macro_f1
from .fit import Features, Fitted, fit_heads, scores
from .prepared import Data, row_weights

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float32]

TEST_SHARE = 0.3
DRAWS = 3  # of a 70/30 split: one alone swings by a template or two
CURVE = (0.1, 0.2, 0.4, 0.7, 1.0)
MOST_SOURCES = 12
MOST_SHOWN = 30
MOST_POINTS = 200
SEED = 0


class LabelFigures(msgspec.Struct, frozen=True):
    """One label: what it has, and how held-out templates of it fared. `thin`: too few examples to be answered."""

    name: str
    rows: int
    templates: int
    precision: float
    recall: float
    f1: float
    thin: bool


class Split(msgspec.Struct, frozen=True):
    """Accuracy and macro-F1 of a split; `examples` were tested, of what `name` says."""

    name: str
    examples: int
    accuracy: float
    macro_f1: float


class Mistake(msgspec.Struct, frozen=True):
    """A held-out template with another answer than its label."""

    sample: str
    label: str
    answer: str
    confidence: float
    rows: int


class Conflict(msgspec.Struct, frozen=True):
    """A template whose rows do not have one label; `labels` with their rows, the most frequent first."""

    sample: str
    labels: list[tuple[str, int]]


class Report(msgspec.Struct, frozen=True):
    """All that a training run found out, ready for JSON, the model card and the HTML page.

    reliability: (sureness, share right, templates) by bin. coverage: (threshold, coverage, precision) points.
    confusion: templates by label (row) and held-out answer (column), in the order of `labels`.
    learning: (training templates, accuracy on the test templates).
    """

    rows: int
    templates: int
    dropped: dict[str, int]
    labels: list[LabelFigures]
    splits: list[Split]
    by_source: list[Split]
    accuracy: float
    macro_f1: float
    calibration_error: float
    target_precision: float
    threshold: float
    precision: float
    precision_bound: float
    coverage: float
    coverage_rows: float
    needed: int | None
    strength: tuple[float, float]
    reliability: list[tuple[float, float, int]]
    coverage_points: list[tuple[float, float, float]]
    confusion: list[list[int]]
    learning: list[tuple[int, float]]
    confused: list[Mistake]
    doubtful: list[Mistake]
    conflicts: list[Conflict]
    encoder: str
    seconds: float = 0.0
    overruled: int = 0  # rows with another label than most rows of their template


@dataclass(frozen=True)
class Bench:
    """Fits on some templates and tests on others, as the final model is fitted."""

    data: Data
    found: Features
    fitted: Fitted

    def answers(self, train: Integers, test: Integers, tally: Integers | None = None) -> Integers:
        """Answers for the test templates; `tally`: rows of each template by label, where not all rows are known."""
        found = self.found
        if tally is not None:
            truth, weight = found.truth.copy(), found.weight.copy()
            truth[: len(tally)], weight[: len(tally)] = tally.argmax(axis=1), row_weights(tally)
            found = replace(found, truth=truth, weight=weight)
        heads = fit_heads(found, found.with_companions(train), self.fitted.strength)
        table = self.fitted.calibration.apply(*scores(heads, found, test))
        best: Integers = table[:, : len(self.data.examples.names)].argmax(axis=1)
        return best

    def by_template(self, parts: Sequence[tuple[Integers, Integers]], name: str) -> Split:
        """Templates held out, over some pairs of training and test templates."""
        truths = [self.data.examples.truth[test] for _, test in parts]
        answers = [self.answers(train, test) for train, test in parts]
        return self._split(name, np.concatenate(truths), np.concatenate(answers))

    def random_rows(self) -> Split:
        """30 % of the rows, drawn without looking, a few times: what is quoted elsewhere."""
        truths, answers = zip(*(self._random_rows(number) for number in range(DRAWS)), strict=True)
        return self._split("random rows", np.concatenate(truths), np.concatenate(answers))

    def _random_rows(self, seed: int) -> tuple[Integers, Integers]:
        labelled, names = self.data.labelled, self.data.examples.names
        template = np.array(labelled.template, np.int64)
        known = {name: number for number, name in enumerate(names)}
        to_known = np.array([known.get(name, 0) for name in labelled.labels])
        label = to_known[np.array(labelled.label, np.int64)]
        order = np.random.default_rng(seed).permutation(len(template))
        tested, kept = np.split(order, [max(1, int(len(order) * TEST_SHARE))])
        tally = np.bincount(template[kept] * len(names) + label[kept], minlength=len(self.data.tally) * len(names))
        tally = tally.reshape(-1, len(names))
        train = np.flatnonzero(tally.sum(axis=1))
        asked, place = np.unique(template[tested], return_inverse=True)
        answers = self.answers(train, asked, tally)[place]
        return label[tested], answers

    def learning(self, train: Integers, test: Integers) -> list[tuple[int, float]]:
        """Accuracy on the test templates from ever more training templates."""
        truth = self.data.examples.truth[test]
        sizes = sorted({max(2, int(share * len(train))) for share in CURVE})
        several = [size for size in sizes if len(set(self.data.examples.truth[train[:size]].tolist())) > 1]
        return [(n, round(float((self.answers(train[:n], test) == truth).mean()), 4)) for n in several]

    def sources(self) -> list[Split]:
        """Each of the largest sources left out."""
        labelled = self.data.labelled
        if len(labelled.sources) < 2:
            return []
        template, source = np.array(labelled.template, np.int64), np.array(labelled.source, np.int64)
        wide = len(labelled.sources)
        counts = np.bincount(template * wide + source, minlength=len(self.data.tally) * wide).reshape(-1, wide)
        home = counts.argmax(axis=1)
        largest = np.argsort(-np.bincount(home, minlength=wide), kind="stable")[:MOST_SOURCES]
        found: list[Split] = []
        for number in largest.tolist():
            test, train = np.flatnonzero(home == number), np.flatnonzero(home != number)
            if len(test) and len(set(self.data.examples.truth[train].tolist())) > 1:
                found.append(self.by_template([(train, test)], labelled.sources[number]))
        return found

    def _split(self, name: str, truth: Integers, answers: Integers) -> Split:
        count = len(self.data.examples.names)
        accuracy = float((truth == answers).mean()) if len(truth) else 0.0
        return Split(name, len(truth), round(accuracy, 4), round(macro_f1(truth, answers, count), 4))


def report_of(data: Data, fitted: Fitted, bench: Bench, target: float, progress: Callable[[str], None]) -> Report:
    """Everything in numbers."""
    held_out, names, weights = fitted.held_out, data.examples.names, data.weights
    parts = [seventy_thirty(held_out.truth, seed) for seed in range(DRAWS)]
    splits = [bench.random_rows(), bench.by_template(parts, "templates")]
    progress("one source left out at a time")
    by_source = bench.sources()
    progress("learning curve")
    learning = bench.learning(*parts[0])
    answered = fitted.answerable & (held_out.sureness >= fitted.threshold.value)
    thresholds, coverage, precision = coverage_curve(held_out.sureness, held_out.right)
    points = np.unique(np.linspace(0, len(thresholds) - 1, MOST_POINTS).astype(int))
    return Report(
        rows=data.labelled.rows,
        templates=len(held_out.truth),
        dropped=dict(data.labelled.dropped),
        labels=label_figures(data, fitted),
        splits=splits,
        by_source=by_source,
        accuracy=round(float(held_out.right.mean()), 4),
        macro_f1=round(macro_f1(held_out.truth, held_out.best, len(names)), 4),
        calibration_error=round(calibration_error(held_out.sureness, held_out.right), 4),
        target_precision=target,
        threshold=fitted.threshold.value,
        precision=round(fitted.threshold.precision, 4),
        precision_bound=round(fitted.threshold.bound, 4),
        coverage=round(fitted.threshold.coverage, 4),
        coverage_rows=round(float(weights[answered].sum() / weights.sum()), 4),
        needed=fitted.threshold.needed,
        strength=fitted.strength,
        reliability=calibration_bins(held_out.sureness, held_out.right),
        coverage_points=[
            (round(float(thresholds[at]), 4), round(float(coverage[at]), 4), round(float(precision[at]), 4))
            for at in points.tolist()
        ],
        confusion=confusion(held_out.truth, held_out.best, len(names)).tolist(),
        learning=learning,
        confused=mistakes(data, fitted, np.flatnonzero(~held_out.right), weights * held_out.sureness),
        doubtful=doubtful_labels(data, fitted),
        conflicts=conflicts(data),
        encoder="",
        overruled=int((weights - data.tally.max(axis=1)).sum()),
    )


def seventy_thirty(truth: Integers, seed: int) -> tuple[Integers, Integers]:
    """Templates to train on and to test on, with as much of each label on both sides as can be; in random order."""
    order = np.random.default_rng(seed).permutation(len(truth))
    place = np.zeros(len(truth))
    for label in set(truth.tolist()):
        rows = order[truth[order] == label]
        place[rows] = (np.arange(len(rows)) + 0.5) / len(rows)
    train, test = order[place[order] >= TEST_SHARE], order[place[order] < TEST_SHARE]
    return train, test


def label_figures(data: Data, fitted: Fitted) -> list[LabelFigures]:
    """By label, in the order of the names."""
    held_out, names = fitted.held_out, data.examples.names
    templates = np.bincount(held_out.truth, minlength=len(names)).tolist()
    rows = data.tally.sum(axis=0).tolist()
    figures = by_label(held_out.truth, held_out.best, len(names))
    return [
        LabelFigures(
            name, rows[n], templates[n], round(score.precision, 4), round(score.recall, 4), round(score.f1, 4),
            name in fitted.thin,
        )
        for n, (name, score) in enumerate(zip(names, figures, strict=True))
    ]  # fmt: skip


def mistakes(data: Data, fitted: Fitted, rows: Integers, weight: NDArray[Any]) -> list[Mistake]:
    """Some held-out templates, the heaviest first."""
    held_out, names, weights = fitted.held_out, data.examples.names, data.weights
    chosen = rows[np.argsort(-weight[rows], kind="stable")][:MOST_SHOWN]
    return [
        Mistake(
            data.labelled.samples[at],
            names[held_out.truth[at]],
            names[held_out.best[at]],
            round(float(held_out.sureness[at]), 3),
            int(weights[at]),
        )
        for at in chosen.tolist()
    ]


def doubtful_labels(data: Data, fitted: Fitted) -> list[Mistake]:
    """Likely label errors: held-out models are as sure of another label as they usually are of that label's own
    templates (confident learning; Northcutt et al. 2021). The surest first."""
    held_out, count = fitted.held_out, len(data.examples.names)
    table, rows = held_out.table[:, :count], np.arange(len(held_out.truth))
    own = table[rows, held_out.truth]
    sums = np.bincount(held_out.truth, own, count)
    usual = sums / np.maximum(np.bincount(held_out.truth, minlength=count), 1)
    suspects = np.flatnonzero(~held_out.right & (held_out.sureness >= usual[held_out.best]))
    return mistakes(data, fitted, suspects, held_out.sureness - own)


def conflicts(data: Data) -> list[Conflict]:
    """Templates whose rows have several labels, by the rows that the majority overrules."""
    overruled = data.weights - data.tally.max(axis=1)
    rows = np.flatnonzero(overruled)
    chosen = rows[np.argsort(-overruled[rows], kind="stable")][:MOST_SHOWN]
    names = data.examples.names
    return [
        Conflict(
            data.labelled.samples[at],
            [(names[n], int(data.tally[at, n])) for n in np.argsort(-data.tally[at]).tolist() if data.tally[at, n]],
        )
        for at in chosen.tolist()
    ]
