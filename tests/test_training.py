"""Fitting learns what it is shown, says how sure one can be, and writes an artifact that loads and agrees."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logclf.cascade import Novel
from logclf.features import Reading, read
from logclf.model import FEW_EXAMPLES, FORMAT, UNFAMILIAR, VOCABULARY, Manifest, Model, load_model, save_model
from logclf.training.calibration import (
    LOWEST,
    SURE,
    HeldOut,
    calibrate,
    find_threshold,
    floor_to,
    least_answers,
    lower_bound,
    more_needed,
)
from logclf.training.embedders import Embedder, shipped_static
from logclf.training.fit import (
    ABSENT,
    Companion,
    Examples,
    Fitted,
    describe,
    fit,
    folds,
    inverse_document_frequency,
    scores,
)
from logclf.training.recipe import vocabulary_of

stats = pytest.importorskip("scipy.stats")
pytest.importorskip("sklearn")

WORDS = {
    "Error": ["failed", "refused", "broken", "lost"],
    "System Notification": ["started", "ready", "loaded", "listening"],
    "User Action": ["clicked", "signed in", "signed out", "uploaded"],
}
THINGS = ("disk", "socket", "worker", "cache", "module")
POEM = "thy silver moon hath kissed mine weary eyes"


@pytest.fixture(scope="module")
def static() -> Embedder:
    return shipped_static()


def examples(*labels: str, companions: Sequence[Companion] = (), more: Sequence[tuple[str, str]] = ()) -> Examples:
    """Sixty different texts of each label, and some more."""
    rows = [
        (f"{part}: {word} {thing}", label)
        for label in labels
        for word in WORDS[label]
        for thing in THINGS
        for part in ("alpha", "beta", "gamma")
    ]
    rows += more
    names = tuple(dict.fromkeys(label for _, label in rows))
    truth = np.array([names.index(label) for _, label in rows])
    return Examples([read(text) for text, _ in rows], truth, names, companions)


def background(label: int) -> list[Companion]:
    verses = ("the moon and the sea", "o weary night", "a rose by the river", "thy eyes like silver")
    return [Companion(read(f"{first} {second}"), label) for first in verses for second in verses]


def saved(fitted: Fitted, readings: Sequence[Reading], static: Embedder, directory: Path) -> Model:
    """Through the file system and back."""
    manifest = Manifest(
        FORMAT, "small", "1", list(fitted.names), "static", fitted.calibration.temperature, fitted.threshold.value, {},
        mix=fitted.calibration.mix, background=fitted.classes > len(fitted.names), familiarity=fitted.familiarity,
        known_words=fitted.known_words, thin=list(fitted.thin),
    )  # fmt: skip
    texts = static.texts | {VOCABULARY: vocabulary_of(readings)}
    save_model(directory, manifest, static.weights | fitted.weights(), texts)
    return load_model(directory)


def fitted_on(found: Examples, static: Embedder, **more: Any) -> Fitted:
    return fit(found, None, static.encoder, 0.95, 0.02, **more)


@pytest.mark.parametrize(
    ("labels", "with_background"), [(("Error", "User Action"), False), (tuple(WORDS), False), (tuple(WORDS), True)]
)
def test_the_saved_model_gives_the_probabilities_that_were_fitted(
    labels: tuple[str, ...], with_background: bool, static: Embedder, tmp_path: Path
) -> None:
    found = examples(*labels, companions=background(len(labels)) if with_background else ())
    fitted = fitted_on(found, static)
    model = saved(fitted, found.readings, static, tmp_path / "m")
    expected = fitted.calibration.apply(*scores(fitted.estimators, fitted.found, np.arange(len(found.truth))))
    assert expected.shape[1] == len(labels) + with_background
    table = model.probabilities(found.readings)
    np.testing.assert_allclose(table, expected[:, : len(labels)], atol=2e-3)  # n-gram weights are halved
    assert table.argmax(axis=1).tolist() == found.truth.tolist()


def test_a_saved_model_answers_what_it_knows_and_no_poem(static: Embedder, tmp_path: Path) -> None:
    found = examples(*WORDS, companions=background(3))
    fitted = fitted_on(found, static)
    model = saved(fitted, found.readings, static, tmp_path / "m")
    told = "alpha: failed disk"
    known, poem = model.answer([Novel(text, text.encode(), "") for text in (told, POEM)])
    assert known
    assert (known.label, known.sure) == ("Error", True)
    assert poem
    assert (poem.sure, poem.reason) == (False, UNFAMILIAR)
    metrics = describe(fitted)
    assert metrics["templates"] == 180
    assert metrics["accuracy"] > 0.95
    assert metrics["coverage"] > 0.5
    assert list(metrics["f1"]) == list(WORDS)


def test_the_same_examples_give_the_same_model(static: Embedder) -> None:
    first, second = (fitted_on(examples("Error", "User Action"), static) for _ in range(2))
    for name, array in first.weights().items():
        np.testing.assert_array_equal(array, second.weights()[name], err_msg=name)


def test_a_label_of_one_example_is_absent_from_a_fold_and_thin(static: Embedder, tmp_path: Path) -> None:
    rare = "gamma: certificate expires"
    found = examples("Error", "User Action", more=[(rare, "Security Alert")])
    fitted = fitted_on(found, static, few=2)
    own = fitted.held_out.table[-1]
    assert own.argmax() != 2
    assert own[2] < 1e-6
    assert fitted.thin == ("Security Alert",)
    assert np.isfinite(fitted.held_out.table).all()
    model = saved(fitted, found.readings, static, tmp_path / "m")
    answer = model.answer([Novel(rare, rare.encode(), "")])[0]
    assert answer
    assert (answer.sure, answer.reason) == (False, FEW_EXAMPLES if answer.label == "Security Alert" else answer.reason)


def test_a_label_without_an_example_is_never_answered(static: Embedder) -> None:
    found = examples("Error", "User Action")
    fitted = fitted_on(replace(found, names=(*found.names, "Security Alert")), static, few=1)
    assert fitted.thin == ("Security Alert",)
    assert (fitted.heads.dense_bias[2], fitted.heads.ngrams_bias[2]) == (ABSENT, ABSENT)
    assert set(fitted.held_out.best.tolist()) == {0, 1}


def test_thin_labels_do_not_count_in_the_promise(static: Embedder) -> None:
    found = examples("Error", "User Action")
    assert fitted_on(found, static, few=61).threshold.coverage == 0
    assert not fitted_on(found, static, few=61).answerable.any()
    assert fitted_on(found, static, few=60).thin == ()


def test_a_heavy_example_is_learnt_against_many_light_ones(static: Embedder) -> None:
    odd = "alpha: failed disk drive"
    found = examples("Error", "User Action", more=[(odd, "User Action")])
    weight = np.ones(len(found.truth), np.float32)
    unsure = fitted_on(replace(found, weight=weight), static, strengths=[(1.0, 1.0)])
    weight[-1] = 60
    sure = fitted_on(replace(found, weight=weight), static, strengths=[(1.0, 1.0)])
    tables = [scores(each.estimators, each.found, np.array([len(weight) - 1]))[1][0] for each in (unsure, sure)]
    assert tables[1][1] > tables[0][1]
    assert tables[1].argmax() == 1


# --- folds


@settings(deadline=None, max_examples=30)
@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from("abcdef")), min_size=4, max_size=50))
def test_groups_are_never_split(rows: list[tuple[int, str]]) -> None:
    groups = [group for _, group in rows]
    if len(set(groups)) < 2:
        return
    found = Examples([read("x")] * len(rows), np.array([label for label, _ in rows]), ("a", "b", "c"))
    held_out: list[int] = []
    for train, test in folds(found, groups):
        assert not {groups[at] for at in train} & {groups[at] for at in test}
        held_out += test.tolist()
    assert sorted(held_out) == list(range(len(rows)))


@settings(deadline=None, max_examples=30)
@given(st.lists(st.integers(0, 3), min_size=4, max_size=50))
def test_every_example_is_held_out_once(labels: list[int]) -> None:
    if np.bincount(labels).max() < 2:
        return
    found = Examples([read("x")] * len(labels), np.array(labels), ("a", "b", "c", "d"))
    held_out = [at for train, test in folds(found, None) for at in test.tolist() if at not in set(train.tolist())]
    assert sorted(held_out) == list(range(len(labels)))


# --- calibration


def noisy(right: float, seed: int = 1) -> tuple[Any, Any]:
    """Log-probabilities of a head that says 0.8 and is right in a share of 3,000, with the truth."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 3, 3000)
    said = np.where(rng.random(3000) < right, truth, (truth + 1) % 3)
    return np.log(np.full((3000, 3), 0.1) + 0.7 * np.eye(3)[said]).astype(np.float32), truth


def test_temperature_cools_the_overconfident() -> None:
    table, truth = noisy(0.7)
    calm, _ = calibrate(table, table, truth)
    hot, _ = calibrate(table * 5, table * 5, truth)
    assert hot.temperature == pytest.approx(5 * calm.temperature, rel=0.02)
    assert hot.apply(table * 5, table * 5).max(axis=1).mean() == pytest.approx(0.7, abs=0.01)


def test_the_mix_follows_the_head_that_knows() -> None:
    table, truth = noisy(0.9)
    chance = np.log(np.random.default_rng(2).dirichlet([1, 1, 1], 3000)).astype(np.float32)
    assert calibrate(table, chance, truth)[0].mix < 0.05
    assert calibrate(chance, table, truth)[0].mix > 0.95


def test_where_every_answer_is_right_nothing_is_taken_for_certain() -> None:
    table, truth = noisy(1.0)
    for count in (4, 100, 3000):
        found, _ = calibrate(table[:count], table[:count], truth[:count])
        assert 0.5 < found.apply(table[:count], table[:count]).max() < 1 - 0.2 / (count + 2)


# --- threshold


def held_out(sureness: Sequence[float], right: Sequence[bool]) -> HeldOut:
    table = np.array([[s, 1 - s] if s >= 0.5 else [s, s / 2] for s in sureness], np.float64)
    truth = np.where(right, 0, 1)
    ones = np.ones(len(truth), np.float32)
    return HeldOut(table, truth, ones, ones, 2)  # type: ignore[arg-type]


def threshold_of(sureness: Sequence[float], right: Sequence[bool], target: float) -> Any:
    found = held_out(sureness, right)
    return find_threshold(found, np.ones(len(right), np.bool_), target)


def exact(right: int, answered: int) -> float:
    return float(stats.binomtest(right, answered, alternative="greater").proportion_ci(SURE, "exact").low)


@pytest.mark.parametrize(("right", "answered"), [(0, 1), (1, 1), (1, 9), (149, 149), (148, 149), (950, 1000)])
def test_the_bound_is_clopper_and_pearsons(right: int, answered: int) -> None:
    assert lower_bound(np.array([right]), np.array([answered]))[0] == pytest.approx(exact(right, answered), abs=1e-9)


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10_000), st.sampled_from([0.6, 0.8, 0.9]))
def test_the_threshold_is_the_lowest_that_surely_keeps_the_promise(seed: int, target: float) -> None:
    rng = np.random.default_rng(seed)
    sureness = np.round(rng.uniform(0.3, 1, 120), 2)
    right = rng.random(120) < sureness
    found = threshold_of(sureness.tolist(), right.tolist(), target)
    kept = [at for at in sorted(set(sureness[sureness >= LOWEST].tolist()))
            if exact(int(right[sureness >= at].sum()), int((sureness >= at).sum())) >= target]  # fmt: skip
    if found.promised:
        answered = sureness >= found.value
        assert found.value == pytest.approx(kept[0], abs=2e-4)
        assert found.coverage == pytest.approx(answered.mean())
        assert found.precision == pytest.approx(right[answered].mean())
        assert found.bound == pytest.approx(exact(int(right[answered].sum()), int(answered.sum())))
    else:
        assert kept == []


def test_too_few_for_the_promise_say_how_many_more() -> None:
    found = threshold_of([0.9] * 100, [True] * 100, 0.98)
    assert (found.value, found.precision, found.coverage, found.promised) == (0.9, 1.0, 1.0, False)
    assert found.needed == pytest.approx(49, abs=16)  # steps of a tenth
    assert exact(100 + found.needed, 100 + found.needed) >= 0.98


def test_what_is_less_likely_than_not_is_no_answer() -> None:
    assert threshold_of([0.4] * 300, [True] * 300, 0.9).coverage == 0
    assert threshold_of([0.9] * 300 + [0.4] * 300, [True] * 600, 0.9).value == 0.9


def test_where_nothing_is_answered_the_least_that_it_takes_is_said() -> None:
    few, many = threshold_of([0.9] * 20, [False] * 20, 0.98), threshold_of([0.9] * 300, [False] * 300, 0.98)
    assert (few.value, few.coverage, few.needed) == (1.0, 0.0, 129)
    assert (many.value, many.coverage, many.needed) == (1.0, 0.0, None)


@pytest.mark.parametrize("target", [0.5, 0.9, 0.98, 0.999])
def test_the_least_answers_are_the_least(target: float) -> None:
    least = least_answers(target)
    assert exact(least, least) >= target > exact(least - 1, least - 1)


@settings(deadline=None, max_examples=40)
@given(st.integers(10, 500), st.floats(0.9, 1.0))
def test_so_many_more_would_do(answered: int, precision: float) -> None:
    more = more_needed(precision, answered, 0.95)
    if precision <= 0.95:
        assert more is None
    elif more is not None:
        total = answered + more
        assert exact(int(precision * total), total) >= 0.95 or more == 1


# --- small things


@given(st.floats(0, 1), st.integers(1, 6))
def test_limits_are_rounded_down(value: float, digits: int) -> None:
    assert floor_to(value, digits) <= value + 1e-12
    assert floor_to(value, digits) == pytest.approx(value, abs=10**-digits)


def test_what_is_everywhere_weighs_least() -> None:
    idf = inverse_document_frequency(["disk full", "disk on", "disk off"])
    assert idf.min() == pytest.approx(1.0)
    assert idf.max() == pytest.approx(np.log(4) + 1)


def test_small_labels_silence_no_other_warning() -> None:
    found = Examples([read("x")] * 6, np.array([0, 0, 0, 0, 0, 1]), ("a", "b"))
    assert len(list(folds(found, None))) == 5
    with pytest.warns(UserWarning, match="still heard"):
        warnings.warn("still heard", UserWarning, stacklevel=1)
