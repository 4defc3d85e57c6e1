"""Fitting: readings and labels → heads, mix, temperature, threshold, and what to expect of them."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..encoders import Encoder, NGrams, count_ngrams
from ..features import Reading, words
from ..model import Heads, with_levels
from ..scoring import calibration_error, macro_f1
from .calibration import Calibration, HeldOut, Threshold, calibrate, find_threshold, floor_to

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
MAX_KNOWN_WORDS = 0.6  # real systems' lines have 86 % at the median and 55 % at the lowest hundredth; random words none
TOLERANCE = 1e-3  # of the optimiser: ten times finer costs twice the time and changes no figure
ABSENT = -30.0  # log-probability of a label that a fold's training part lacks
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
