"""Training on labelled rows: what is learnt, what is measured of it, and that each figure answers its own question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logclf.errors import ConfigError
from logclf.features import read
from logclf.taxonomy import DEFAULT
from logclf.training.embedders import Embedder, shipped_static
from logclf.training.labelled import Columns, Rows, collect, read_rows
from logclf.training.measure import Report, seventy_thirty
from logclf.training.prepared import (
    LEAST_BACKGROUND,
    REHEARSAL_WEIGHT,
    Data,
    background_sample,
    prepare,
    rehearsal,
    row_weights,
)
from logclf.training.recipe import FEW, Trained, manifest_of, train, vocabulary_of

from . import classic

pytest.importorskip("sklearn")

VERBS = {
    "Error": ("failed", "crashed", "aborted", "refused"),
    "User Action": ("clicked", "uploaded", "renamed", "read"),
}
THINGS = ("report", "invoice", "picture", "order", "letter", "contract", "backup")
PLACES = ("store", "queue")
TARGET = 0.98


def lines(label: str, verbs: Sequence[str] = ()) -> list[tuple[str, str]]:
    """Different texts of a label, fourteen a verb."""
    return [
        (f"{place} {verb} a {thing}", label) for verb in verbs or VERBS[label] for thing in THINGS for place in PLACES
    ]


def data_of(*cells: tuple[str, str], sources: list[str] | None = None, rehearse: bool = False) -> Data:
    rows = Rows([text for text, _ in cells], [label for _, label in cells], sources, None, None)
    return prepare(collect([rows], DEFAULT.names), rehearse)


@pytest.fixture(scope="module")
def static() -> Embedder:
    return shipped_static()


def trained(data: Data, static: Embedder) -> Trained:
    return train(data, static.encoder, TARGET, lambda _: None)


@pytest.fixture(scope="module")
def of_classic(static: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Trained:
    path = tmp_path_factory.mktemp("classic") / "classic.csv"
    classic.write(path)
    return trained(prepare(collect(read_rows(path, Columns()), DEFAULT.names)), static)


# --- a table of the classic kind


def test_the_classic_table_is_learnt(of_classic: Trained) -> None:
    report = of_classic.report
    random, templates = report.splits
    assert (report.rows, len(report.labels), report.dropped, report.conflicts) == (2410, 9, {}, [])
    assert (random.name, random.examples) == ("random rows", 3 * int(0.3 * 2410))
    assert random.accuracy >= 0.995
    assert templates.accuracy >= 0.98
    assert report.accuracy >= 0.98
    assert report.calibration_error <= 0.02


def test_the_threshold_keeps_its_promise_where_there_is_enough(of_classic: Trained) -> None:
    report = of_classic.report
    assert report.needed == 0
    assert report.precision >= report.precision_bound >= TARGET
    assert report.coverage > 0.9


def test_labels_with_few_templates_are_thin(of_classic: Trained) -> None:
    report = of_classic.report
    assert {each.name for each in report.labels if each.thin} == {
        each.name for each in report.labels if each.templates < FEW
    }
    assert {"Workflow Error", "Deprecation Warning"} <= set(of_classic.fitted.thin)
    assert sum(each.rows for each in report.labels) == report.rows
    assert sum(each.templates for each in report.labels) == report.templates


def test_each_source_is_left_out_once_and_a_new_one_is_harder(of_classic: Trained) -> None:
    by_source = {each.name: each for each in of_classic.report.by_source}
    assert set(by_source) == {*classic.SOURCES, classic.LEGACY}
    assert sum(each.examples for each in by_source.values()) == of_classic.report.templates
    assert by_source[classic.LEGACY].accuracy < 0.6


def test_more_templates_teach_more(of_classic: Trained) -> None:
    learning = of_classic.report.learning
    sizes = [size for size, _ in learning]
    assert sizes == sorted(set(sizes))
    assert learning[0][1] < learning[-1][1] >= 0.97


def test_the_report_is_json_and_its_tables_agree(of_classic: Trained) -> None:
    report = of_classic.report
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report
    table = np.array(report.confusion)
    assert np.trace(table) == round(report.accuracy * report.templates)
    assert table.sum() == report.templates == sum(size for _, _, size in report.reliability)
    assert report.coverage_points[-1][1] == 1.0


def test_the_manifest_says_what_was_measured(of_classic: Trained, static: Embedder) -> None:
    manifest = manifest_of(of_classic, "own", "3", static.encoder, "default")
    assert (manifest.name, manifest.version, manifest.encoder, manifest.background) == ("own", "3", "static", True)
    assert manifest.thin == list(of_classic.fitted.thin)
    assert manifest.metrics["random_rows"] == of_classic.report.splits[0].accuracy
    assert manifest.training["rows"] == 2410
    assert "started" in vocabulary_of(of_classic.readings).split("\n")


# --- few labels, bad labels


def test_five_examples_of_a_label_train_and_promise_nothing(static: Embedder) -> None:
    report = trained(data_of(*lines("Error")[::12][:5], *lines("User Action")[::12][:5]), static).report
    assert (report.templates, [each.thin for each in report.labels]) == (10, [False, False])
    assert report.needed != 0
    assert len(report.splits) == 2


def test_a_label_with_two_examples_is_said_to_be_thin(static: Embedder) -> None:
    data = data_of(*lines("Error"), *lines("User Action"), ("certificate expired", "Security Alert"),
                   ("token is forged", "Security Alert"))  # fmt: skip
    found = trained(data, static)
    assert found.fitted.thin == ("Security Alert",)
    assert [each.name for each in found.report.labels if each.thin] == ["Security Alert"]


def test_the_most_frequent_label_of_a_template_counts_and_the_others_are_listed(static: Embedder) -> None:
    twice = [("store failed a report", "User Action")] * 2 + [("store failed a report", "Error")] * 2
    report = trained(data_of(*lines("Error"), *lines("User Action"), *twice), static).report
    assert report.overruled == 2
    (conflict,) = report.conflicts
    assert conflict.sample == "store failed a report"
    assert conflict.labels == [("Error", 3), ("User Action", 2)]


def test_a_wrong_label_among_right_ones_is_found(static: Embedder) -> None:
    cells = lines("Error") + lines("User Action")
    wrong = "queue failed a letter"
    report = trained(
        data_of(*[(text, "User Action" if text == wrong else label) for text, label in cells]), static
    ).report
    assert [each.sample for each in report.doubtful][:1] == [wrong]
    assert (report.doubtful[0].label, report.doubtful[0].answer) == ("User Action", "Error")


def test_a_label_that_wins_no_template_is_thin(static: Embedder) -> None:
    lost = [("store failed a report", "Security Alert")]
    found = trained(data_of(*lines("Error"), *lines("User Action"), ("store failed a report", "Error"), *lost), static)
    assert found.fitted.thin == ("Security Alert",)
    assert found.report.overruled == 1


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        ([], "at least two different labels, and there is none"),
        ([("", "Error")] * 3, "there is none; 3 rows with no text were left out"),
        ([("a b", "Error"), ("c d", "Error")], "there is only 'Error'"),
        ([("a b", "Error"), ("a b", "Error"), ("a b", "User Action")], "there is only 'Error'"),
        ([("a b", "Error"), ("c d", "User Action")], "several templates of a label, and each label has only one"),
    ],
)
def test_what_nothing_can_be_learnt_from(cells: list[tuple[str, str]], said: str) -> None:
    with pytest.raises(ConfigError) as error:
        data_of(*cells)
    assert said in str(error.value)


def test_three_templates_are_the_least(static: Embedder) -> None:
    found = trained(data_of(("a failed", "Error"), ("b crashed", "Error"), ("c clicked", "User Action")), static)
    assert found.report.templates == 3
    assert found.fitted.thin == ("User Action", "Error")


def test_two_labels_of_a_taxonomy_of_ones_own(static: Embedder) -> None:
    cells = lines("Error") + lines("User Action")
    rows = Rows(
        [text for text, _ in cells], [{"Error": "Bad"}.get(label, "Good") for _, label in cells], None, None, None
    )
    report = trained(prepare(collect([rows], ["Good", "Bad", "Ugly"])), static).report
    assert [each.name for each in report.labels] == ["Good", "Bad"]
    assert report.accuracy > 0.9


def test_a_template_of_many_rows_is_known_among_random_rows(static: Embedder) -> None:
    odd = [("zygote renamed a quux", "Error")] * 500
    report = trained(data_of(*lines("Error"), *lines("User Action"), *odd), static).report
    assert report.splits[0].accuracy > 0.95


# --- its parts


@settings(deadline=None)
@given(st.lists(st.integers(0, 4), min_size=1, max_size=80), st.integers(0, 5))
def test_seventy_to_thirty_of_each_label(labels: list[int], seed: int) -> None:
    truth = np.array(labels)
    kept, tested = seventy_thirty(truth, seed)
    assert sorted([*kept.tolist(), *tested.tolist()]) == list(range(len(labels)))
    for label in set(labels):
        count = labels.count(label)
        assert abs(int((truth[tested] == label).sum()) - 0.3 * count) <= 1
        assert (truth[kept] == label).any()
        assert (truth[tested] == label).any() == (count > 1)


def test_rows_weigh_by_their_logarithm() -> None:
    assert row_weights(np.array([[1, 0], [2, 1], [0, 0]])).tolist() == pytest.approx([1, 1 + np.log(3), 1])


def test_the_background_grows_with_the_examples_and_is_always_the_same() -> None:
    few, more = background_sample(7, 10), background_sample(7, 2000)
    assert (len(few), len(more)) == (LEAST_BACKGROUND, 1000)
    assert few == background_sample(7, 10)
    assert {each.label for each in few} == {7}


def test_the_shipped_corpus_goes_along_where_its_labels_are_these() -> None:
    found = rehearsal(["Nothing Shipped", "Error"])
    assert {(each.label, each.weight) for each in found} == {(1, REHEARSAL_WEIGHT)}
    assert rehearsal(["Low", "High"]) == []
    labels = {each.label for each in data_of(*lines("Error"), *lines("User Action"), rehearse=True).examples.companions}
    assert labels == {0, 1, 2}


def test_the_text_alone_is_remembered_of_the_corpus() -> None:
    assert not any(each.reading.level for each in rehearsal(["Error"]))
    assert read("x").level == ""


def test_sources_that_cannot_be_told_apart_are_not_measured(static: Embedder, tmp_path: Path) -> None:
    cells = lines("Error") + lines("User Action")
    assert trained(data_of(*cells, sources=["a"] * len(cells)), static).report.by_source == []
    assert trained(data_of(*cells), static).report.by_source == []
