"""`logclf train`: labelled rows → a fitted model and a report of what can be expected of it.

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

from .. import resources
from ..encoders import Encoder
from ..errors import ConfigError
from ..features import Reading, words
from ..model import FORMAT, Manifest
from ..scoring import by_label, calibration_bins, calibration_error, confusion, coverage_curve, macro_f1
from ..taxonomy import DEFAULT
from .background import background_readings, read_lines
from .corpus import CorpusTemplate, read_corpus, samples
from .fit import (
    STRENGTHS,
    USUAL_STRENGTH,
    Companion,
    Examples,
    Features,
    Fitted,
    fit,
    fit_heads,
    scores,
)
from .labelled import Labelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float32]

UNFAMILIAR = 0.02  # of held-out templates of the same systems
FEW = 5  # templates: with fewer a label is not answered, but handed on (to the LLM, where there is one)
TEST_SHARE = 0.3
DRAWS = 3  # of a 70/30 split: one alone swings by a template or two
CURVE = (0.1, 0.2, 0.4, 0.7, 1.0)
MOST_SOURCES = 12
LEAST_BACKGROUND = 300
REHEARSED = 50  # templates of each label
REHEARSAL_WEIGHT = 0.1
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
class Trained:
    """A fitted model with its report."""

    fitted: Fitted
    report: Report
    readings: Sequence[Reading]


@dataclass(frozen=True)
class Data:
    """Templates with one label each: the most frequent of their rows."""

    examples: Examples
    tally: Integers
    labelled: Labelled

    @property
    def weights(self) -> Integers:
        """Rows of each template."""
        found: Integers = self.tally.sum(axis=1)
        return found


def prepare(labelled: Labelled, rehearse: bool = True) -> Data:
    """One label for each template.

    rehearse: learn from templates of the shipped corpus too where its labels are these.

    Raises:
        ConfigError: there is not enough to learn from.
    """
    tally = labelled.tally()
    check_enough(labelled, tally)
    present = np.flatnonzero(tally.sum(axis=0))
    tally = tally[:, present]
    names = tuple(labelled.labels[number] for number in present.tolist())
    truth = tally.argmax(axis=1)
    company = [*background_sample(len(names), len(truth)), *(rehearsal(names) if rehearse else [])]
    return Data(Examples(labelled.readings, truth, names, company, row_weights(tally)), tally, labelled)


def check_enough(labelled: Labelled, tally: Integers) -> None:
    """Refuse what nothing can be learnt from; each template has the label of most of its rows.

    Raises:
        ConfigError: why, and how many rows were left out.
    """
    won = np.bincount(tally.argmax(axis=1), minlength=1) if len(tally) else np.zeros(1, np.int64)
    labels = np.flatnonzero(won)
    if len(labels) > 1 and won.max() > 1:
        return
    left = "".join(f"; {count:,} rows with {reason} were left out" for reason, count in labelled.dropped.items())
    if len(labels) > 1:
        raise ConfigError(f"training needs several templates of a label, and each label has only one{left}")
    only = f"only {labelled.labels[labels[0]]!r}" if len(labels) else "none"
    raise ConfigError(f"training needs templates with at least two different labels, and there is {only}{left}")


def row_weights(tally: Integers) -> Floats:
    """How much each template counts: a frequent one more, so that it is surely learnt, though not by its rows."""
    found: Floats = (1 + np.log(np.maximum(tally.sum(axis=1), 1))).astype(np.float32)
    return found


def background_sample(label: int, examples: int) -> list[Companion]:
    """As much text that is no log as goes well with so many examples."""
    everything = background_readings()
    size = min(len(everything), max(LEAST_BACKGROUND, examples // 2))
    chosen = np.random.default_rng(SEED).choice(len(everything), size, replace=False)
    return [Companion(everything[at], label) for at in sorted(chosen.tolist())]


def rehearsal(names: Sequence[str]) -> list[Companion]:
    """Templates of the shipped corpus with these labels, so that few examples of a label don't make it forgotten."""
    by_name: dict[str, list[CorpusTemplate]] = {}
    for template in read_corpus(resources.MODELS / "default" / "corpus", DEFAULT):
        by_name.setdefault(template.label, []).append(template)
    rng = np.random.default_rng(SEED)
    chosen = [
        by_name[name][at]
        for name in names
        if name in by_name
        for at in sorted(rng.choice(len(by_name[name]), min(REHEARSED, len(by_name[name])), replace=False).tolist())
    ]
    lines = [line for _, line in samples(chosen, 1, SEED)]
    return [
        Companion(reading._replace(level=""), names.index(template.label), REHEARSAL_WEIGHT)
        for template, reading in zip(chosen, read_lines(lines), strict=True)
    ]


def train(data: Data, encoder: Encoder, target_precision: float, progress: Callable[[str], None]) -> Trained:
    """Fit, and measure by every split."""
    examples = data.examples
    few = len(examples.truth) < 100
    strengths = [USUAL_STRENGTH] if few else STRENGTHS
    fitted = fit(examples, None, encoder, target_precision, UNFAMILIAR, strengths, FEW, progress)
    progress("splits")
    bench = Bench(data, fitted.found, fitted)
    return Trained(fitted, report_of(data, fitted, bench, target_precision, progress), examples.readings)


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


def manifest_of(trained: Trained, name: str, version: str, encoder: Encoder, taxonomy: str) -> Manifest:
    """What the artifact says about itself."""
    import hashlib
    from datetime import UTC, datetime

    fitted, report = trained.fitted, trained.report
    digest = hashlib.sha256("\n".join(sorted(reading.hinted for reading in trained.readings)).encode())
    return Manifest(
        format=FORMAT,
        name=name,
        version=version,
        labels=list(fitted.names),
        encoder=encoder.name,
        temperature=fitted.calibration.temperature,
        mix=fitted.calibration.mix,
        background=fitted.classes > len(fitted.names),
        threshold=fitted.threshold.value,
        familiarity=fitted.familiarity,
        known_words=fitted.known_words,
        thin=list(fitted.thin),
        files={},
        training={
            "rows": report.rows,
            "templates": report.templates,
            "sha256": digest.hexdigest(),
            "taxonomy": taxonomy,
            "trained": datetime.now(UTC).isoformat(timespec="seconds"),
            "held_out": "templates, five folds",
        },
        metrics={
            "templates": report.templates,
            "accuracy": report.accuracy,
            "macro_f1": report.macro_f1,
            "f1": {each.name: each.f1 for each in report.labels},
            "calibration_error": report.calibration_error,
            "coverage": report.coverage,
            "precision": report.precision,
            "precision_bound": report.precision_bound,
            "target_precision": report.target_precision,
            **{split.name.replace(" ", "_"): split.accuracy for split in report.splits},
        },
    )


def vocabulary_of(readings: Sequence[Reading]) -> str:
    """The words of the training texts, for the artifact."""
    return "\n".join(sorted({word for reading in readings for word in words(reading.text)}))
