"""Held-out predictions → probabilities that can be believed, and the threshold that keeps a promise."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..model import log_softmax
from ..scoring import coverage_curve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Integers = NDArray[np.int64]
    Bools = NDArray[np.bool_]

SURE = 0.95  # of Clopper-Pearson's one-sided bound
LOWEST = 0.5  # threshold: what is less likely than not is no answer, however right such guesses happened to be


@dataclass(frozen=True)
class Calibration:
    """How two heads' log-probabilities become one probability."""

    mix: float
    temperature: float

    def apply(self, dense: Floats, sparse: Floats) -> Floats:
        scores = (dense * (1 - self.mix) + sparse * self.mix) / self.temperature
        return np.exp(log_softmax(scores.astype(np.float32)))


@dataclass(frozen=True)
class HeldOut:
    """Predictions for examples by models that did not see them: what every figure is measured on.

    table: calibrated probabilities (examples, classes). nearness, known: what familiarity is judged by.
    """

    table: Floats
    truth: Integers
    nearness: Floats
    known: Floats
    labels: int

    @property
    def best(self) -> Integers:
        found: Integers = self.table[:, : self.labels].argmax(axis=1)
        return found

    @property
    def sureness(self) -> Floats:
        found: Floats = self.table[:, : self.labels].max(axis=1)
        return found

    @property
    def right(self) -> Bools:
        found: Bools = self.best == self.truth
        return found


@dataclass(frozen=True)
class Threshold:
    """Where the model begins to answer, and what that promises on held-out examples.

    bound: Clopper-Pearson's lower bound of the precision, at 95 %. needed: how many more labelled examples a promise
    of the target would take at this precision; 0 where it holds, None where more examples do not help. Where nothing
    is answered, how many more it takes at the least: None where there are enough for that.
    """

    value: float
    precision: float
    coverage: float
    bound: float
    needed: int | None

    @property
    def promised(self) -> bool:
        return self.needed == 0


def calibrate(dense: Floats, sparse: Floats, truth: Integers) -> tuple[Calibration, float]:
    """The mix and temperature that make held-out probabilities the most likely (Guo et al. 2017), with their loss.

    One weight for each head says both: their sum is 1 / temperature, and the second's share is the mix. Where every
    held-out answer is right, ever colder would be ever likelier: so one more example is taken to be wrong than was
    seen (Platt's target, 1999).
    """
    from scipy.optimize import minimize

    rows, doubt = np.arange(len(truth)), 1 / (len(truth) + 2)

    def loss(weights: NDArray[np.float64]) -> float:
        table = log_softmax((dense * weights[0] + sparse * weights[1]).astype(np.float32))
        own = table[rows, truth]
        others = (table.sum(axis=1) - own) / max(table.shape[1] - 1, 1)
        return float(-((1 - doubt) * own + doubt * others).mean())

    best = minimize(loss, [0.5, 0.5], method="Nelder-Mead", bounds=[(0.0, 20.0)] * 2)
    total = max(float(best.x.sum()), 1e-3)
    return Calibration(float(np.round(best.x[1] / total, 4)), float(np.round(1 / total, 4))), float(best.fun)


def find_threshold(held_out: HeldOut, answerable: Bools, target: float) -> Threshold:
    """The lowest threshold whose precision is surely the target, by Clopper-Pearson's lower bound at 95 %.

    Where there are too few examples to be sure, the lowest whose measured precision is the target, and how many more
    examples the promise takes; where not even that is reached, one that answers nothing.
    """
    chosen = answerable & (held_out.sureness >= LOWEST)
    sureness, right = held_out.sureness[chosen], held_out.right[chosen]
    nothing = Threshold(1.0, 0.0, 0.0, 0.0, max(least_answers(target) - len(held_out.truth), 0) or None)
    if not len(right):
        return nothing
    thresholds, _, precision = coverage_curve(sureness, right)
    answered = np.searchsorted(np.sort(-sureness), -thresholds, side="right")
    bounds = lower_bound(np.round(precision * answered).astype(int), answered)
    for reached, sure in ((bounds >= target, True), (precision >= target, False)):
        if reached.any():
            last = int(np.flatnonzero(reached)[-1])
            share = int(answered[last]) / len(held_out.truth)
            needed = 0 if sure else more_needed(float(precision[last]), int(answered[last]), target)
            value = max(floor_to(thresholds[last], 4), LOWEST)
            return Threshold(value, float(precision[last]), share, float(bounds[last]), needed)
    return nothing


def least_answers(target: float) -> int:
    """How many answers without one mistake promise the target, by the same bound."""
    return int(np.ceil(np.log(1 - SURE) / np.log(target)))


def lower_bound(right: Integers, answered: Integers) -> NDArray[np.float64]:
    """Clopper and Pearson's lower bound (1934) of the precision, one-sided at 95 %."""
    from scipy.stats import beta

    bound = beta.ppf(1 - SURE, np.maximum(right, 1), answered - right + 1)
    return np.where(right > 0, bound, 0.0)


def more_needed(precision: float, answered: int, target: float) -> int | None:
    """How many more answered examples, at this precision, a promise of the target takes; None if no number does."""
    if precision <= target:
        return None
    for total in (int(answered * 1.1**step) + step for step in range(200)):
        if lower_bound(np.array([int(precision * total)]), np.array([total]))[0] >= target:
            return max(total - answered, 1)
    return None


def floor_to(value: Any, digits: int = 3) -> float:
    """Rounded down: a limit that was measured must not exclude what it was measured on."""
    return float(np.floor(float(value) * 10**digits) / 10**digits)
