"""Labelled rows become templates with a label each; what is left out is counted, and nothing is guessed."""

from __future__ import annotations

import csv
import json
from collections import Counter
from pathlib import Path

import pytest

from logclf.errors import ConfigError
from logclf.taxonomy import DEFAULT
from logclf.training import frames, labelled
from logclf.training.labelled import Columns, Rows, collect, read_rows, unknown_labels, usable


def table(path: Path, *rows: tuple[str, ...]) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows)
    return path


def rows(*cells: tuple[str, str], source: list[str] | None = None) -> Rows:
    return Rows([text for text, _ in cells], [label for _, label in cells], source, None, None)


def read(path: Path, columns: Columns = Columns()) -> Rows:  # noqa: B008  (frozen)
    (found,) = read_rows(path, columns)
    return found


def test_columns_by_their_usual_names(tmp_path: Path) -> None:
    head = ("timestamp", "Source", "log_message", "target_label", "Severity", "count")
    found = read(table(tmp_path / "t.csv", head, ("1", "sshd", "disk full", "Error", "high", "12")))
    assert found == Rows(["disk full"], ["Error"], ["sshd"], ["high"], [12])


def test_columns_by_name(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ("a", "message", "msg", "b"), ("1", "2", "3", "4"))
    assert read(path, Columns("msg", "a", "b")) == Rows(["3"], ["1"], ["4"], None, None)


def test_the_text_is_not_taken_for_the_source(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ("source", "label"), ("disk full", "Error"))
    assert read(path, Columns(text="source")).source is None


@pytest.mark.parametrize(
    ("head", "said"),
    [
        (("log_message", "x"), "no column looks like the label among 'log_message', 'x'; name it with --label-column"),
        (("x", "label"), "no column looks like the text"),
        (
            ("msg", "message", "label"),
            "several columns may be the text: 'msg', 'message'; say which with --text-column",
        ),
        (("msg", "label", "label"), "several columns may be the label: 'label', 'label'"),
        (("msg", "label", "app", "source"), "several columns may be the source"),
    ],
)
def test_columns_that_are_not_clear(head: tuple[str, ...], said: str, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", head, ("1", "2", "3", "4")[: len(head)])
    with pytest.raises(ConfigError, match=r"t\.csv: ") as error:
        read(path)
    assert said in str(error.value)


def test_an_extra_column_that_is_not_clear_is_not_used(tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ("msg", "label", "count", "Count"), ("a", "Error", "5", "6"))
    assert read(path).count is None


@pytest.mark.parametrize(
    ("value", "count"), [("7", 7), ("7.0", 7), ("0", 0), ("-1", 1), ("x", 1), ("", 1), ("9" * 99, 1)]
)
def test_counts_that_are_none_count_once(value: str, count: int, tmp_path: Path) -> None:
    path = table(tmp_path / "t.csv", ("msg", "label", "count"), ("a", "Error", value))
    assert read(path).count == [count]


def test_a_part_without_a_column_that_others_have(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(frames, "CHUNK", 1)
    lines = [{"msg": "a", "label": "Error", "source": "x"}, {"msg": "b", "label": "Error"}, {"label": "Error"}]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, lines)))
    found = list(read_rows(tmp_path / "t.jsonl", Columns()))
    assert [(each.text, each.source) for each in found] == [(["a"], ["x"]), (["b"], [""]), ([""], [""])]


def test_short_rows_have_no_label(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("msg,label\nfoo\n\nbar,Error\n")
    assert read(tmp_path / "t.csv").label == ["", "Error"]


def test_lines_that_differ_in_numbers_alone_are_one_template() -> None:
    found = collect(
        [
            rows(("worker 1 failed", "Error"), ("worker 22 failed", "Error"), source=["a", "b"]),
            rows(("worker 3\nfailed", "User Action"), ("user 7 logged in", " User Action "), source=["b", "b"]),
        ],
        ["Error", "User Action"],
    )
    assert (found.rows, len(found.readings), found.samples) == (4, 2, ["worker 1 failed", "user 7 logged in"])
    assert found.tally().tolist() == [[2, 1], [0, 1]]
    assert (found.sources, found.source.tolist()) == (["a", "b"], [0, 1, 1, 1])


def test_what_is_left_out_is_counted() -> None:
    cells = [("", "Error"), ("NaN", "Error"), (" ", "Error"), ("x", ""), ("x", "nan"), ("x", "error"), ("x y", "Error")]
    found = collect([rows(*cells)], DEFAULT.names)
    assert found.rows == 1
    assert found.dropped == Counter({"no text": 3, "no label": 2})
    assert found.unknown == Counter({"error": 1})


def test_a_label_may_be_called_none() -> None:
    assert usable("x", "None", {"None"}, Counter(), Counter())


def test_no_rows_are_no_templates() -> None:
    assert collect([], ["Error"]).tally().shape == (0, 1)


def letters(number: int) -> str:
    return "".join(chr(97 + int(digit)) for digit in str(number))


def many(first: int, last: int, label: str) -> Rows:
    return rows(*((f"failure of kind {letters(n)} {extra}", label) for n in range(first, last) for extra in (1, 2)))


def test_of_too_many_templates_a_fair_sample_is_kept_though_labels_come_in_turn(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(labelled, "MOST_TEMPLATES", 200)
    chunks = [many(at, at + 50, "Error" if at < 400 else "User Action") for at in range(100, 700, 50)]
    found = collect(chunks, ["Error", "User Action"])
    assert 75 <= len(found.readings) <= 200
    assert found.rows == 2 * len(found.readings) == len(found.label)
    assert found.dropped[labelled.SAMPLED] == 1200 - found.rows
    by_label = found.tally().astype(bool).sum(axis=0)
    assert by_label.min() > 0.3 * by_label.sum()


def test_the_sample_does_not_depend_on_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(labelled, "MOST_TEMPLATES", 100)
    chunks = [many(at, at + 50, "Error") for at in range(300, 600, 50)]
    forth, back = collect(chunks, ["Error"]), collect(chunks[::-1], ["Error"])
    assert set(forth.readings) == set(back.readings)
    assert forth.tally().sum() == back.tally().sum() == forth.rows


def test_unknown_labels_are_named_with_what_may_be_meant() -> None:
    error = unknown_labels(Counter({"eror": 1200, "\x1b[31mevil": 1, **{f"l{n}": 1 for n in range(8)}}), DEFAULT.names)
    message = str(error)
    assert "'eror' (1,200 rows, perhaps 'Error')" in message
    assert "\x1b" not in message
    assert " and 2 more. Known are HTTP Status" in message
    assert "--taxonomy FILE" in message
    assert "--skip-unknown" in message
