"""`logclf train`: prepared templates → a fitted model, a report of what can be expected of it, and its manifest."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ..encoders import Encoder
from ..features import Reading, words
from ..model import FORMAT, Manifest
from .fit import STRENGTHS, USUAL_STRENGTH, Fitted, fit
from .measure import Bench, Report, report_of
from .prepared import Data

UNFAMILIAR = 0.02  # of held-out templates of the same systems
FEW = 5  # templates: with fewer a label is not answered, but handed on (to the LLM, where there is one)


@dataclass(frozen=True)
class Trained:
    """A fitted model with its report."""

    fitted: Fitted
    report: Report
    readings: Sequence[Reading]


def train(data: Data, encoder: Encoder, target_precision: float, progress: Callable[[str], None]) -> Trained:
    """Fit, and measure by every split."""
    examples = data.examples
    few = len(examples.truth) < 100
    strengths = [USUAL_STRENGTH] if few else STRENGTHS
    fitted = fit(examples, None, encoder, target_precision, UNFAMILIAR, strengths, FEW, progress)
    progress("splits")
    bench = Bench(data, fitted.found, fitted)
    return Trained(fitted, report_of(data, fitted, bench, target_precision, progress), examples.readings)


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
