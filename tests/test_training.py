"""Fitting learns what it is shown, says how sure one can be, and writes an artifact that loads and agrees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from logclf import resources
from logclf.cascade import Novel
from logclf.encoders import NGrams, StaticEncoder
from logclf.model import Manifest, load_model, save_model
from logclf.training.fit import calibration_error, fit, fit_temperature, precision_threshold

WORDS = {
    "Error": ["failed", "refused", "broken", "lost"],
    "System Notification": ["started", "ready", "loaded", "listening"],
}


@pytest.fixture(scope="module")
def static() -> StaticEncoder:
    encoder = load_model(resources.MODELS / "default")._encoder
    assert isinstance(encoder, StaticEncoder)
    return encoder


def texts() -> tuple[list[str], list[str], list[str]]:
    rows = [
        (f"{part}: {word} {thing}", label, part)
        for label, words in WORDS.items()
        for word in words
        for thing in ("disk", "socket", "worker", "cache", "module")
        for part in ("alpha", "beta", "gamma")
    ]
    return [row[0] for row in rows], [row[1] for row in rows], [row[2] for row in rows]


def test_fit_save_load_agree(static: StaticEncoder, tmp_path: Path) -> None:
    lines, labels, groups = texts()
    fitted = fit(lines, labels, groups, static, target_precision=0.95)
    assert fitted.metrics["accuracy"] > 0.95
    assert fitted.metrics["coverage"] > 0.5
    weights = {"static": static._vectors, "static_scales": static._scales, **fitted.weights()}
    manifest = Manifest(
        1, "small", "0.1", list(fitted.labels), "static", fitted.temperature, fitted.threshold, {}, fitted.familiarity
    )
    save_model(tmp_path / "m", manifest, weights, {"tokenizer.json": static._tokenizer.to_str()})
    model = load_model(tmp_path / "m")
    table = model.probabilities(lines)
    assert np.allclose(table.sum(axis=1), 1, atol=1e-5)
    assert [model.labels[n] for n in table.argmax(axis=1)] == labels
    answers = model.answer([Novel(text, b"", "") for text in (*lines[:20], "thy silver moon hath kissed mine eyes")])
    assert all(answer and answer.sure for answer in answers[:20])
    assert answers[20]
    assert (answers[20].sure, answers[20].reason) == (False, "unfamiliar")
    assert NGrams(fitted.idf).width == 1 << 16


def test_temperature_cools_the_overconfident() -> None:
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 3, 3000)
    scores = np.log(np.full((3000, 3), 0.1) + np.eye(3)[np.where(rng.random(3000) < 0.7, truth, (truth + 1) % 3)])
    calm = fit_temperature(scores, truth)
    assert fit_temperature(scores * 5, truth) == pytest.approx(5 * calm, rel=0.01)


def test_threshold_keeps_the_promise() -> None:
    table = np.array([[0.9, 0.1], [0.8, 0.2], [0.7, 0.3], [0.6, 0.4]], np.float32)
    assert precision_threshold(table, np.array([0, 0, 0, 1]), 1.0) == pytest.approx(0.7)
    assert precision_threshold(table, np.array([1, 0, 0, 0]), 1.0) == 1.0


def test_calibration_error_of_a_perfect_and_a_vain_forecaster() -> None:
    sure = np.full(1000, 0.8, np.float32)
    assert calibration_error(sure, np.arange(1000) < 800) == pytest.approx(0, abs=1e-6)
    assert calibration_error(sure, np.zeros(1000, bool)) == pytest.approx(0.8, abs=1e-6)
