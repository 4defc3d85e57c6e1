"""Figures agree with their definitions, and with scikit-learn where it has them."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logclf.scoring import by_label, calibration_bins, calibration_error, confusion, coverage_curve, macro_f1

COUNT = 4
ANSWERS = st.lists(
    st.tuples(st.integers(0, COUNT - 1), st.integers(-1, COUNT - 1), st.integers(0, 5)), min_size=1, max_size=60
)
SURE = st.lists(st.tuples(st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0]), st.booleans()), min_size=1, max_size=60)


def columns(rows: list[tuple[Any, ...]]) -> list[Any]:
    return [np.array(column) for column in zip(*rows, strict=True)]


@settings(deadline=None)
@given(ANSWERS)
def test_scores_are_scikit_learns(rows: list[tuple[int, int, int]]) -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, answers, _ = columns(rows)
    found = by_label(truth, answers, COUNT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # scikit-learn says so where it divides by zero
        expected = metrics.precision_recall_fscore_support(truth, answers, labels=range(COUNT), zero_division=0)
    np.testing.assert_allclose(np.array(found).T, np.array(expected, float))
    present = [score.f1 for score in found if score.support]
    assert macro_f1(truth, answers, COUNT) == pytest.approx(sum(present) / len(present))


@given(ANSWERS)
def test_a_weight_counts_as_often_as_that_many_examples(rows: list[tuple[int, int, int]]) -> None:
    truth, answers, weight = columns(rows)
    repeated = np.repeat(truth, weight), np.repeat(answers, weight)
    np.testing.assert_array_equal(confusion(truth, answers, COUNT, weight), confusion(*repeated, COUNT))
    assert by_label(truth, answers, COUNT, weight) == by_label(*repeated, COUNT)
    assert macro_f1(truth, answers, COUNT, weight) == pytest.approx(macro_f1(*repeated, COUNT))


def test_a_huge_weight_takes_no_memory() -> None:
    assert macro_f1(np.array([0, 1]), np.array([0, -1]), 2, np.array([10**12, 1])) == pytest.approx(0.5)


def test_confusion_leaves_out_what_was_not_answered() -> None:
    assert confusion(np.array([0, 0, 1]), np.array([1, -1, 1]), 2).tolist() == [[0, 1], [0, 1]]


def test_calibration_error_of_a_perfect_and_a_vain_forecaster() -> None:
    sure = np.full(1000, 0.8, np.float32)
    assert calibration_error(sure, np.arange(1000) < 800) == pytest.approx(0, abs=1e-6)
    assert calibration_error(sure, np.zeros(1000, bool)) == pytest.approx(0.8, abs=1e-6)
    assert calibration_error(np.zeros(0), np.zeros(0, bool)) == 0.0


@given(SURE)
def test_every_example_is_in_one_bin(rows: list[tuple[float, bool]]) -> None:
    sureness, right = columns(rows)
    bins = calibration_bins(sureness, right)
    assert sum(size for _, _, size in bins) == len(rows)
    assert sum(share * size for _, share, size in bins) == pytest.approx(right.sum())
    assert 0 <= calibration_error(sureness, right) <= 1


@given(SURE)
def test_the_curve_says_what_each_threshold_answers_and_how_much_of_it_is_right(
    rows: list[tuple[float, bool]],
) -> None:
    sureness, right = columns(rows)
    thresholds, coverage, precision = coverage_curve(sureness, right)
    assert sorted(set(sureness.tolist()), reverse=True) == thresholds.tolist()
    for threshold, covered, correct in zip(thresholds, coverage, precision, strict=True):
        chosen = sureness >= threshold
        assert covered == pytest.approx(chosen.mean())
        assert correct == pytest.approx(right[chosen].mean())
