"""Fitting: texts and labels → heads, temperature, threshold, and what to expect of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from ..encoders import Encoder, NGrams, count_ngrams
from ..model import Heads, log_softmax

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH = 1 << 16
DENSE_C = 10.0
NGRAMS_C = 30.0
FOLDS = 5
# Of texts of systems that were held out, this share is taken for too far from all that is known to be answered.
UNFAMILIAR = 0.25


@dataclass(frozen=True)
class Fitted:
    """Everything an artifact needs, and the figures measured on held-out groups."""

    labels: tuple[str, ...]
    idf: NDArray[np.float32]
    heads: Heads
    temperature: float
    threshold: float
    familiarity: float
    anchors: NDArray[np.int8]
    metrics: dict[str, Any]

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


@dataclass(frozen=True)
class Features:
    """A text list's features: dense (texts, dimensions), sparse a scipy CSR matrix (texts, width)."""

    dense: NDArray[np.float32]
    sparse: Any


def inverse_document_frequency(texts: Sequence[str], width: int = WIDTH) -> NDArray[np.float32]:
    """Smoothed IDF of every n-gram column."""
    _, columns, _ = count_ngrams(texts, width)
    present = np.bincount(columns, minlength=width)
    return (np.log((1 + len(texts)) / (1 + present)) + 1).astype(np.float32)


def features_of(texts: Sequence[str], encoder: Encoder, ngrams: NGrams) -> Features:
    from scipy.sparse import csr_matrix

    rows, columns, values = ngrams.encode(texts)
    return Features(encoder.encode(texts), csr_matrix((values, (rows, columns)), shape=(len(texts), ngrams.width)))


def fit(
    texts: Sequence[str], labels: Sequence[str], groups: Sequence[str], encoder: Encoder, target_precision: float
) -> Fitted:
    """Fit both heads on everything; temperature and threshold on predictions for groups that were held out.

    groups: what must not be split between training and held-out data, such as the system that a template is from.
    target_precision: the threshold is the lowest at which held-out answers to familiar texts reach it.
    """
    from sklearn.model_selection import GroupKFold

    names = tuple(sorted(set(labels)))
    truth = np.searchsorted(np.array(names), np.array(labels))
    idf = inverse_document_frequency(texts)
    found = features_of(texts, encoder, NGrams(idf))
    scores = np.zeros((len(texts), len(names)))
    nearness = np.zeros(len(texts), np.float32)
    folds = min(FOLDS, len(set(groups)))
    for train, held_out in GroupKFold(folds).split(found.dense, truth, groups):
        dense, sparse = _fit_heads(found, truth, train)
        scores[held_out] = _scores(dense, sparse, found, held_out)
        nearness[held_out] = nearest(found.dense[held_out], found.dense[train])
    temperature = fit_temperature(scores, truth)
    table = np.exp(log_softmax((scores / temperature).astype(np.float32)))
    familiarity = float(np.round(np.quantile(nearness, UNFAMILIAR), 3))
    familiar = nearness >= familiarity
    threshold = precision_threshold(table[familiar], truth[familiar], target_precision)
    dense, sparse = _fit_heads(found, truth, np.arange(len(texts)))
    (dense_weights, dense_bias), (sparse_weights, sparse_bias) = _softmax_weights(dense), _softmax_weights(sparse)
    heads = Heads(dense_weights, dense_bias, sparse_weights.astype(np.float16), sparse_bias, found.dense.T)
    anchors = np.round(found.dense * 127).astype(np.int8)
    metrics = describe(table, truth, names, threshold, familiar)
    return Fitted(names, idf, heads, temperature, threshold, familiarity, anchors, metrics)


def nearest(vectors: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """The cosine of each vector to the nearest of the others; all of length 1."""
    blocks = [(vectors[start : start + 256] @ others.T).max(axis=1) for start in range(0, len(vectors), 256)]
    return np.concatenate(blocks)


def _fit_heads(found: Features, truth: NDArray[np.int64], rows: NDArray[np.int64]) -> tuple[Any, Any]:
    from sklearn.linear_model import LogisticRegression

    dense = LogisticRegression(C=DENSE_C, max_iter=1000).fit(found.dense[rows], truth[rows])
    sparse = LogisticRegression(C=NGRAMS_C, max_iter=1000).fit(found.sparse[rows], truth[rows])
    return dense, sparse


def _softmax_weights(head: Any) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Weights (features, labels) and bias (labels,). Of two labels scikit-learn keeps the second alone, against 0."""
    weights, bias = head.coef_.T, head.intercept_
    if weights.shape[1] == 1:
        weights, bias = np.hstack((np.zeros_like(weights), weights)), np.concatenate(([0.0], bias))
    return weights.astype(np.float32), bias.astype(np.float32)


def _scores(dense: Any, sparse: Any, found: Features, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """The heads' mean log-probabilities, as the model computes them before the temperature."""
    mean = (dense.predict_log_proba(found.dense[rows]) + sparse.predict_log_proba(found.sparse[rows])) / 2
    result: NDArray[np.float64] = mean
    return result


def fit_temperature(scores: NDArray[np.float64], truth: NDArray[np.int64]) -> float:
    """The temperature that makes held-out probabilities most likely (Guo et al. 2017)."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        table = log_softmax((scores / np.exp(log_temperature)).astype(np.float32))
        return float(-table[np.arange(len(truth)), truth].mean())

    return float(np.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x))


def precision_threshold(table: NDArray[np.float32], truth: NDArray[np.int64], target: float) -> float:
    """The lowest probability at which answers as sure as that or surer are right in `target` of cases."""
    sureness = table.max(axis=1)
    order = np.argsort(-sureness)
    right = np.cumsum(table.argmax(axis=1)[order] == truth[order]) / np.arange(1, len(order) + 1)
    reached = np.flatnonzero(right >= target)
    if not len(reached):
        return 1.0
    return float(np.round(sureness[order[reached[-1]]], 3))


def describe(
    table: NDArray[np.float32],
    truth: NDArray[np.int64],
    names: Sequence[str],
    threshold: float,
    familiar: NDArray[np.bool_],
) -> dict[str, Any]:
    """Figures of held-out predictions, for the manifest and the card."""
    from sklearn.metrics import f1_score

    best, sureness = table.argmax(axis=1), table.max(axis=1)
    right = best == truth
    answered = (sureness >= threshold) & familiar
    per_label = f1_score(truth, best, average=None, labels=np.arange(len(names)))
    return {
        "templates": len(truth),
        "accuracy": round(float(right.mean()), 4),
        "macro_f1": round(float(per_label.mean()), 4),
        "f1": {name: round(float(value), 3) for name, value in zip(names, per_label, strict=True)},
        "calibration_error": round(calibration_error(sureness, right), 4),
        "coverage": round(float(answered.mean()), 4),
        "precision": round(float(right[answered].mean()), 4) if answered.any() else None,
    }


def calibration_error(sureness: NDArray[np.float32], right: NDArray[np.bool_], bins: int = 15) -> float:
    """Expected calibration error: the mean gap between how sure and how right, over equal-width bins."""
    which = np.minimum((sureness * bins).astype(int), bins - 1)
    total = 0.0
    for number in range(bins):
        chosen = which == number
        if chosen.any():
            total += float(chosen.mean()) * abs(float(sureness[chosen].mean()) - float(right[chosen].mean()))
    return total
