"""Text that is no log: it is read as the model reads lines, and hardly ever answered."""

from __future__ import annotations

from logclf import Classifier
from logclf.training.background import BACKGROUND, background_readings

from .bench import quality


def test_what_is_no_log_is_not_answered() -> None:
    classifier = Classifier.default()
    for kind, lines in quality.far_texts().items():
        answered = [verdict.stage != "none" for verdict in classifier.classify(lines)]
        assert sum(answered) <= 0.04 * len(answered), kind


def test_the_shipped_background_is_many_different_texts_without_levels() -> None:
    readings = background_readings()
    assert len(readings) == len(set(readings)) > 2000
    assert not any(reading.level for reading in readings)
    lines = BACKGROUND.read_text("utf-8").splitlines()
    assert len(set(lines)) == len(lines)
    far = {line for texts in quality.far_texts().values() for line in texts if len(line) > 20}
    assert len(far & set(lines)) < 0.01 * len(far)  # what is measured with is not what is trained on, idioms apart
