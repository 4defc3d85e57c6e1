"""Figures that say how good answers are, over integer labels: numpy alone, so that `eval` needs no training extra.

Throughout: truth and answers are integers below `count`, one for each example; an answer of -1 is "none given".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.floating]
    Bools = NDArray[np.bool_]

BINS = 15


class LabelScore(NamedTuple):
    """One label's figures; 0 where there is nothing to divide by."""

    precision: float
    recall: float
    f1: float
    support: int


def confusion(truth: Integers, answers: Integers, count: int, weight: Integers | None = None) -> Integers:
    """How often each truth (row) got each answer (column); answers of -1 are left out.

    weight: how often each example counts; once without it.
    """
    given = answers >= 0
    times = None if weight is None else weight[given]
    flat = np.bincount(truth[given] * count + answers[given], times, minlength=count * count)
    return flat.astype(np.int64).reshape(count, count)


def by_label(truth: Integers, answers: Integers, count: int, weight: Integers | None = None) -> list[LabelScore]:
    """Precision, recall and F1 of each label, in order; weight as for `confusion`."""
    table = confusion(truth, answers, count, weight)
    right, given = np.diag(table), table.sum(axis=0)
    true = np.bincount(truth, weight, minlength=count).astype(np.int64)
    return [
        LabelScore(_share(r, g), _share(r, t), _share(2 * r, g + t), t)
        for r, g, t in zip(right.tolist(), given.tolist(), true.tolist(), strict=True)
    ]


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0


def macro_f1(truth: Integers, answers: Integers, count: int, weight: Integers | None = None) -> float:
    """The mean F1 of the labels that occur in truth; weight as for `confusion`."""
    scores = [score.f1 for score in by_label(truth, answers, count, weight) if score.support]
    return sum(scores) / len(scores) if scores else 0.0


def calibration_bins(sureness: Floats, right: Bools, bins: int = BINS) -> list[tuple[float, float, int]]:
    """By equal-width bin of sureness that is not empty: mean sureness, share that is right, how many."""
    which = np.minimum((sureness * bins).astype(int), bins - 1)
    chosen = [which == number for number in range(bins)]
    return [(float(sureness[c].mean()), float(right[c].mean()), int(c.sum())) for c in chosen if c.any()]


def calibration_error(sureness: Floats, right: Bools, bins: int = BINS) -> float:
    """Expected calibration error: the mean gap between how sure and how right (Naeini et al. 2015)."""
    if not len(right):
        return 0.0
    gaps = [abs(sure - share) * size for sure, share, size in calibration_bins(sureness, right, bins)]
    return sum(gaps) / len(right)


def coverage_curve(sureness: Floats, right: Bools) -> tuple[Floats, Floats, Floats]:
    """Thresholds falling, the share of examples at least that sure, and the share of those that is right.

    Examples with equal sureness are answered together, so each threshold stands once.
    """
    order = np.argsort(-sureness, kind="stable")
    sorted_sureness = sureness[order]
    last = np.append(np.flatnonzero(np.diff(sorted_sureness)), len(order) - 1)
    answered = last + 1
    return sorted_sureness[last], answered / len(order), np.cumsum(right[order])[last] / answered
