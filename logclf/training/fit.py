"""Fitting: readings and labels → heads, mix, temperature, threshold, and what to expect of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..encoders import Encoder, NGrams, count_ngrams
from ..features import Reading, words
from ..model import Heads, log_softmax, with_levels
from ..scoring import calibration_error, coverage_curve, macro_f1

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Integers = NDArray[np.int64]
    Bools = NDArray[np.bool_]

WIDTH = 1 << 16
FOLDS = 5
TRIAL_FOLDS = 2  # that choose the regularisation
# Inverse regularisation of the vector head and the n-gram head. C = 1 is under-confident on both.
STRENGTHS = ((3.0, 10.0), (10.0, 30.0), (30.0, 100.0))
USUAL_STRENGTH = STRENGTHS[1]
SURE = 0.95  # of Clopper-Pearson's one-sided bound
MAX_KNOWN_WORDS = 0.6  # real systems' lines have 86 % at the median and 55 % at the lowest hundredth; random words none
TOLERANCE = 1e-3  # of the optimiser: ten times finer costs twice the time and changes no figure
ABSENT = -30.0  # log-probability of a label that a fold's training part lacks
LOWEST = 0.5  # threshold: what is less likely than not is no answer, however right such guesses happened to be
RARE = 500  # training texts: for each so many, up to twice, an n-gram must be in one more of them to get a weight

Progress = Callable[[str], None]


class Companion(NamedTuple):
    """A text that is always trained on and never tested.

    label: an index into the labels' names; one beyond them is the background.
    """

    reading: Reading
    label: int
    weight: float = 1.0


@dataclass(frozen=True)
class Examples:
    """What is learnt from: one reading each with its label's index, and texts that go along with all of them.

    weight: how much each example counts in fitting, (examples,); 1 without it.
    """

    readings: Sequence[Reading]
    truth: Integers
    names: tuple[str, ...]
    companions: Sequence[Companion] = ()
    weight: Floats | None = None

    @property
    def classes(self) -> int:
        return len(self.names) + any(each.label == len(self.names) for each in self.companions)


@dataclass(frozen=True)
class Features:
    """dense: (texts, dimensions + levels). sparse: a scipy CSR matrix (texts, WIDTH). vectors: (texts, dimensions).

    The examples come first, their companions behind them; `truth` and `weight` cover both.
    """

    dense: Floats
    sparse: Any
    vectors: Floats
    truth: Integers
    weight: Floats
    examples: int
    classes: int

    def with_companions(self, rows: Integers) -> Integers:
        """Rows to train on: the chosen examples and all companions."""
        return np.concatenate((rows, np.arange(self.examples, len(self.truth))))


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


@dataclass(frozen=True)
class Fitted:
    """Everything an artifact needs, and the figures measured on held-out examples.

    thin: labels with too few examples to be answered. answerable: the held-out examples that the gate lets through.
    """

    names: tuple[str, ...]
    idf: Floats
    heads: Heads
    calibration: Calibration
    threshold: Threshold
    familiarity: float
    known_words: float
    anchors: NDArray[np.int8]
    held_out: HeldOut
    strength: tuple[float, float]
    found: Features
    thin: tuple[str, ...]
    answerable: Bools
    estimators: tuple[Any, Any]

    @property
    def classes(self) -> int:
        return self.found.classes

    def weights(self) -> dict[str, NDArray[Any]]:
        """What the artifact's weights hold beside those of the encoder."""
        heads = self.heads
        return {
            "dense": heads.dense,
            "dense_bias": heads.dense_bias,
            "ngrams": heads.ngrams,
            "ngrams_bias": heads.ngrams_bias,
            "idf": self.idf,
            "anchors": self.anchors,
        }


def fit(
    examples: Examples,
    groups: Sequence[str] | None,
    encoder: Encoder,
    target_precision: float,
    unfamiliar: float,
    strengths: Sequence[tuple[float, float]] = STRENGTHS,
    few: int = 0,
    progress: Progress = lambda _: None,
) -> Fitted:
    """Fit both heads on everything; all else on predictions for examples that were held out.

    groups: what must not be split between training and held-out examples, such as the system that one is from; None
    where each example stands for itself.
    target_precision: the threshold is the lowest at which held-out answers to familiar texts reach it.
    unfamiliar: the share of held-out texts to be taken for too far from all that is known.
    few: a label with fewer examples is not to be answered.
    """
    idf = inverse_document_frequency([each.hinted for each in examples.readings])
    found = features_of(examples, encoder, NGrams(idf))
    parts = list(folds(examples, groups))
    strength, held_out, calibration = choose_strength(examples, found, parts, strengths, progress)
    familiarity = floor_to(np.quantile(held_out.nearness, unfamiliar))
    known_words = min(MAX_KNOWN_WORDS, floor_to(np.quantile(held_out.known, unfamiliar)))
    thin = np.flatnonzero(np.bincount(examples.truth, minlength=len(examples.names)) < few)
    familiar = (held_out.nearness >= familiarity) & (held_out.known >= known_words)
    answerable = familiar & ~np.isin(held_out.best, thin)
    threshold = find_threshold(held_out, answerable, target_precision)
    progress("fitting on everything")
    dense, sparse = fit_heads(found, found.with_companions(np.arange(found.examples)), strength)
    dense_weights, dense_bias = softmax_weights(dense, found.dense.shape[1], found.classes)
    sparse_weights, sparse_bias = softmax_weights(sparse, WIDTH, found.classes)
    vectors = np.unique(found.vectors[: found.examples], axis=0)
    heads = Heads(dense_weights, dense_bias, sparse_weights.astype(np.float16), sparse_bias, vectors.T)
    anchors = np.round(vectors * 127).astype(np.int8)
    return Fitted(
        examples.names, idf, heads, calibration, threshold, familiarity, known_words, anchors, held_out, strength,
        found, tuple(examples.names[number] for number in thin.tolist()), answerable, (dense, sparse),
    )  # fmt: skip


def floor_to(value: Any, digits: int = 3) -> float:
    """Rounded down: a limit that was measured must not exclude what it was measured on."""
    return float(np.floor(float(value) * 10**digits) / 10**digits)


def inverse_document_frequency(texts: Sequence[str], width: int = WIDTH) -> Floats:
    """Smoothed IDF of every n-gram column."""
    _, columns, _ = count_ngrams(texts, width)
    present = np.bincount(columns, minlength=width)
    return (np.log((1 + len(texts)) / (1 + present)) + 1).astype(np.float32)


def features_of(examples: Examples, encoder: Encoder, ngrams: NGrams) -> Features:
    """The features of examples and companions."""
    from scipy.sparse import csr_matrix

    readings = [*examples.readings, *(each.reading for each in examples.companions)]
    vectors = encoder.encode([each.text for each in readings])
    rows, columns, values = ngrams.encode([each.hinted for each in readings])
    sparse = csr_matrix((values, (rows, columns)), shape=(len(readings), ngrams.width))
    truth = np.append(examples.truth, [each.label for each in examples.companions]).astype(np.int64)
    own = np.ones(len(examples.truth)) if examples.weight is None else examples.weight
    weight = np.append(own, [each.weight for each in examples.companions]).astype(np.float32)
    dense = with_levels(vectors, readings)
    return Features(dense, sparse, vectors, truth, weight, len(examples.readings), examples.classes)


def folds(examples: Examples, groups: Sequence[str] | None) -> Iterator[tuple[Integers, Integers]]:
    """Training and held-out rows of each fold."""
    from sklearn.model_selection import GroupKFold, StratifiedKFold

    places = np.arange(len(examples.truth))
    if groups is not None:
        yield from GroupKFold(min(FOLDS, len(set(groups)))).split(places, examples.truth, groups)
        return
    smallest = int(np.bincount(examples.truth).max())
    count = max(2, min(FOLDS, smallest))
    with warnings.catch_warnings(action="ignore", category=UserWarning):
        # A label with fewer examples than folds is in some folds only, which is said elsewhere.
        found = list(StratifiedKFold(count, shuffle=True, random_state=0).split(places, examples.truth))
    yield from found


def choose_strength(
    examples: Examples,
    found: Features,
    parts: Sequence[tuple[Integers, Integers]],
    strengths: Sequence[tuple[float, float]],
    progress: Progress,
) -> tuple[tuple[float, float], HeldOut, Calibration]:
    """The regularisation whose calibrated held-out probabilities are the most likely, with those."""
    best = strengths[0]
    if len(strengths) > 1:
        progress("cross-validation of the regularisation")
        best = min(strengths, key=lambda each: _loss(examples, found, parts[:TRIAL_FOLDS], each))
    progress(f"cross-validation, C = {best[0]:g} and {best[1]:g}")
    dense, sparse = held_out_scores(found, parts, best)
    calibration, _ = calibrate(dense, sparse, examples.truth)
    nearness, known = familiarity_of(examples, found, parts)
    held_out = HeldOut(calibration.apply(dense, sparse), examples.truth, nearness, known, len(examples.names))
    return best, held_out, calibration


def _loss(
    examples: Examples, found: Features, parts: Sequence[tuple[Integers, Integers]], strength: tuple[float, float]
) -> float:
    """How unlikely the held-out labels of some folds are, calibrated."""
    dense, sparse = held_out_scores(found, parts, strength)
    rows = np.concatenate([held_out for _, held_out in parts])
    return calibrate(dense[rows], sparse[rows], examples.truth[rows])[1]


def held_out_scores(
    found: Features, parts: Sequence[tuple[Integers, Integers]], strength: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Both heads' log-probabilities (examples, classes), each row by heads that did not see it."""
    dense = np.full((found.examples, found.classes), ABSENT, np.float32)
    sparse = dense.copy()
    for train, held_out in parts:
        heads = fit_heads(found, found.with_companions(train), strength)
        dense[held_out], sparse[held_out] = scores(heads, found, held_out)
    return dense, sparse


def fit_heads(found: Features, rows: Integers, strength: tuple[float, float]) -> tuple[Any, Any]:
    from sklearn.linear_model import LogisticRegression
    from threadpoolctl import threadpool_limits

    chosen, truth, weight = found.sparse[rows], found.truth[rows], found.weight[rows]
    enough = 1 + min(len(rows) // RARE, 2)
    used = np.flatnonzero(np.bincount(chosen.indices, minlength=chosen.shape[1]) >= enough)
    with threadpool_limits(1):  # many small products: threads would cost ten times the time, and the reproducibility
        dense = LogisticRegression(C=strength[0], max_iter=1000, tol=TOLERANCE).fit(found.dense[rows], truth, weight)
        sparse = LogisticRegression(C=strength[1], max_iter=1000, tol=TOLERANCE).fit(chosen[:, used], truth, weight)
    sparse.columns_ = used
    return dense, sparse


def scores(heads: tuple[Any, Any], found: Features, rows: Integers) -> tuple[Floats, Floats]:
    """Both heads' log-probabilities for some rows, over all classes."""
    dense, sparse = heads
    with np.errstate(divide="ignore"):  # a probability that rounds to 0: _all_classes bounds its logarithm
        return (
            _all_classes(dense, dense.predict_log_proba(found.dense[rows]), found.classes),
            _all_classes(sparse, sparse.predict_log_proba(found.sparse[rows][:, sparse.columns_]), found.classes),
        )


def _all_classes(head: Any, table: NDArray[np.float64], classes: int) -> Floats:
    whole = np.full((len(table), classes), ABSENT, np.float32)
    whole[:, head.classes_] = np.maximum(table, ABSENT)
    return whole


def softmax_weights(head: Any, width: int, classes: int) -> tuple[Floats, Floats]:
    """Weights (width, classes) and bias (classes,) of a fitted head.

    Of two labels scikit-learn keeps the second alone, against 0. A class that the head never saw gets a bias so low
    that it is never answered.
    """
    weights, bias = head.coef_.T, head.intercept_
    if weights.shape[1] == 1:
        weights, bias = np.hstack((np.zeros_like(weights), weights)), np.concatenate(([0.0], bias))
    whole = np.zeros((width, classes), np.float32)
    columns = getattr(head, "columns_", np.arange(width))
    whole[np.ix_(columns, head.classes_)] = weights
    biases = np.full(classes, ABSENT, np.float32)
    biases[head.classes_] = bias
    return whole, biases


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


def familiarity_of(
    examples: Examples, found: Features, parts: Sequence[tuple[Integers, Integers]]
) -> tuple[Floats, Floats]:
    """For each example, its nearest training example's cosine and the share of its words that training knows."""
    nearness, known = np.zeros(found.examples, np.float32), np.zeros(found.examples, np.float32)
    spelt = [words(each.text) for each in examples.readings]
    for train, held_out in parts:
        nearness[held_out] = nearest(found.vectors[held_out], found.vectors[train])
        vocabulary = {word for row in train.tolist() for word in spelt[row]}
        known[held_out] = [_known(spelt[row], vocabulary) for row in held_out.tolist()]
    return nearness, known


def _known(found: Sequence[str], vocabulary: set[str]) -> float:
    return sum(word in vocabulary for word in found) / len(found) if found else 0.0


def nearest(vectors: Floats, others: Floats) -> Floats:
    """The cosine of each vector to the nearest of the others; all of length 1."""
    blocks = [(vectors[start : start + 256] @ others.T).max(axis=1) for start in range(0, len(vectors), 256)]
    return np.concatenate(blocks)


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


def describe(fitted: Fitted) -> dict[str, Any]:
    """Figures of held-out predictions, for the manifest and the card."""
    from ..scoring import by_label

    held_out, threshold = fitted.held_out, fitted.threshold
    per_label = by_label(held_out.truth, held_out.best, len(fitted.names))
    return {
        "templates": len(held_out.truth),
        "accuracy": round(float(held_out.right.mean()), 4),
        "macro_f1": round(macro_f1(held_out.truth, held_out.best, len(fitted.names)), 4),
        "f1": {name: round(score.f1, 3) for name, score in zip(fitted.names, per_label, strict=True)},
        "calibration_error": round(calibration_error(held_out.sureness, held_out.right), 4),
        "coverage": round(threshold.coverage, 4),
        "precision": round(threshold.precision, 4),
        "precision_bound": round(threshold.bound, 4),
    }
