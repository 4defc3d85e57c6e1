"""CSV and TSV through the whole run: what is added, and that all else stays as it was."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logclf.archive import csvrows
from logclf.cascade import Route
from logclf.classifier import Classifier
from logclf.errors import ConfigError

from .archives import SmallRecipe, csv_bytes, messages, pack, run, table

HEADER = ["timestamp", "source", "log_message", "note"]


def labelled(tmp_path: Path, data: bytes, name: str = "in.csv", **options: object) -> bytes:
    source = pack(tmp_path / name, data)
    output = tmp_path / f"out-{name}"
    run(source, output, overwrite=True, **options)
    return output.read_bytes()


def test_rows_gain_their_label_and_keep_their_bytes(tmp_path: Path) -> None:
    data = b'source,log_message\r\na,"disk ""sda"" full"\r\n"b" , login of bob\r\nc,\r\n'
    assert labelled(tmp_path, data) == (
        b'source,log_message,target_label\r\na,"disk ""sda"" full",Unclassified\r\n'
        b'"b" , login of bob,User Action\r\nc,,Unclassified\r\n'
    )


def test_labels_are_those_of_the_library(tmp_path: Path) -> None:
    texts = messages(500)
    data = csv_bytes([HEADER, *([str(n), "shop1", text, "x,y"] for n, text in enumerate(texts))])
    rows = table(labelled(tmp_path, data))
    verdicts = Classifier(SmallRecipe().build()).classify(texts, source="shop1")
    assert [row[4] for row in rows] == ["target_label", *(verdict.label for verdict in verdicts)]
    assert [row[:4] for row in rows] == table(data)


def test_explained_columns_say_what_the_verdict_says(tmp_path: Path) -> None:
    data = b"message,Stage,stage\ndisk sda full,1,2\nlogin of bob,3,4\njob failed,5,6\n"
    assert table(labelled(tmp_path, data, explain=True)) == [
        ["message", "Stage", "stage", "target_label", "logclf_stage", "confidence", "severity", "rule"],
        ["disk sda full", "1", "2", "Resource Usage", "rules", "1.0", "INFO", "full"],
        ["login of bob", "3", "4", "User Action", "model", "0.8", "INFO", ""],
        ["job failed", "5", "6", "Unclassified", "none", "0.4", "INFO", ""],
    ]


def test_sources_decide_where_rules_or_routes_mind_them(tmp_path: Path) -> None:
    data = csv_bytes([["service", "msg"], ["shop1", "reload"], ["db", "reload"], ["shop2", "reload"], ["pay", "login"]])
    routed = SmallRecipe((Route("pay*", ("rules",)),))
    assert [row[2] for row in table(labelled(tmp_path, data, recipe=routed))[1:]] == [
        "User Action",
        "Unclassified",
        "User Action",
        "Unclassified",
    ]
    assert [row[2] for row in table(labelled(tmp_path, data, source="pay"))[1:]][1:] == [
        "Unclassified",
        "Unclassified",
        "User Action",
    ]


def test_a_label_column_that_is_there_is_refused_or_replaced_in_its_place(tmp_path: Path) -> None:
    data = b'message,target_label,"n"\nlogin of bob,"old, label",1\ndisk sda full\n'
    with pytest.raises(ConfigError, match=r"'target_label' already.*--label-column.*--overwrite-column"):
        labelled(tmp_path, data)
    assert labelled(tmp_path, data, overwrite_column=True) == (
        b'message,target_label,"n"\nlogin of bob,User Action,1\ndisk sda full,Resource Usage,\n'
    )
    assert table(labelled(tmp_path, data, label_column="my, label"))[0][-1] == "my, label"


def test_rows_of_other_lengths_get_their_label_in_its_column(tmp_path: Path) -> None:
    data = b'id,message,note\n1,login of bob\n2\n3,login of bob,x,more,"and more"\n'
    assert labelled(tmp_path, data) == (
        b"id,message,note,target_label\n1,login of bob,,User Action\n2,,,Unclassified\n"
        b'3,login of bob,x,User Action,more,"and more"\n'
    )
    outcome = run(tmp_path / "in.csv", tmp_path / "again.csv")
    assert outcome.counts.oddities == {
        "rows shorter than the header": 2,
        "rows longer than the header": 1,
        "empty texts": 1,
    }


def test_blank_lines_are_no_rows_and_stay(tmp_path: Path) -> None:
    assert labelled(tmp_path, b"message,n\n\nlogin of bob,1\n\n\n") == (
        b"message,n,target_label\n\nlogin of bob,1,User Action\n\n\n"
    )


def test_duplicate_names_byte_order_marks_and_zero_bytes_stay(tmp_path: Path) -> None:
    data = b'\xef\xbb\xbf"message",a,a\nlogin\0 of bob,\0,2'
    assert labelled(tmp_path, data) == (b'\xef\xbb\xbf"message",a,a,target_label\nlogin\0 of bob,\0,2,User Action\n')


@pytest.mark.parametrize(("data", "expected"), [(b"", b""), (b"message,b", b"message,b,target_label\n")])
def test_nothing_in_nothing_out(tmp_path: Path, data: bytes, expected: bytes) -> None:
    assert labelled(tmp_path, data) == expected


def test_tabs_semicolons_and_quotes_that_mean_nothing(tmp_path: Path) -> None:
    assert labelled(tmp_path, b'a\tmessage\n1\t"login, x"\n', "in.tsv").endswith(b'\t"login, x"\tUser Action\n')
    assert labelled(tmp_path, b"a;message\n1;login\n", delimiter=";").endswith(b"1;login;User Action\n")
    assert labelled(tmp_path, b'a,message\n1,"login\n2,x"\n', quotes=False) == (
        b'a,message,target_label\n1,"login,User Action\n2,x",Unclassified\n'
    )


def test_what_is_not_utf_8_is_named_with_its_byte_and_read_with_its_encoding(tmp_path: Path) -> None:
    data = "message,wer\nlogin of bob,Jörg\n".encode("cp1252")
    with pytest.raises(ConfigError, match=r"in\.csv: not UTF-8 at byte 26; .*--encoding"):
        labelled(tmp_path, data)
    expected = "message,wer,target_label\nlogin of bob,Jörg,User Action\n".encode()
    assert labelled(tmp_path, data, encoding="cp1252") == expected
    assert labelled(tmp_path, data.decode("cp1252").encode("utf-16"), encoding="utf-16") == expected
    with pytest.raises(ConfigError, match="not ascii at byte 26"):
        labelled(tmp_path, data, encoding="ascii")


def test_columns_that_are_not_clear_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"in\.csv: several columns may be the text: 'message', 'log'"):
        labelled(tmp_path, b"message,log\n")
    with pytest.raises(ConfigError, match=r"no column looks like the text among 'a', 'b'; name it with --text-column"):
        labelled(tmp_path, b"a,b\n")
    assert b"target_label" in labelled(tmp_path, b"message,log\n", text_column="log")


def test_old_line_ends_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="bare carriage returns"):
        labelled(tmp_path, b"message,b\rx,y\r")


def test_a_quoted_field_that_never_ends_leaves_the_file_out(tmp_path: Path) -> None:
    source = pack(tmp_path / "in.csv", b'message\nlogin of bob\n"job\nlogin\n')
    outcome = run(source, tmp_path / "out.csv")
    assert (
        "the record at byte 21 never ends; if quotes mean nothing in this file, say --no-quotes"
        in (outcome.left_out[str(source)])
    )
    assert not (tmp_path / "out.csv").exists()


def test_records_longer_than_a_read_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    long = "login " + "x,\n" * 400_000
    rows = [["message", "n"], *([long if n == 3 else "login", str(n)] for n in range(6))]
    found = table(labelled(tmp_path, csv_bytes(rows)))
    assert [row[:2] for row in found] == rows
    assert {row[2] for row in found[1:]} == {"User Action"}
    monkeypatch.setattr(csvrows, "LONGEST_RECORD", 1 << 19)
    source = tmp_path / "in.csv"
    assert "never ends" in run(source, tmp_path / "no.csv").left_out[str(source)]


CELLS = st.text(alphabet='ab,"\n ü\0', max_size=5)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(CELLS, min_size=3, max_size=3), max_size=30),
    size=st.integers(1, 200),
    line_end=st.sampled_from(["\n", "\r\n"]),
)
def test_other_columns_come_out_as_they_went_in(
    tmp_path: Path, rows: list[list[str]], size: int, line_end: str
) -> None:
    everything = [["id", "message", "x"], *rows]
    data = csv_bytes(everything, line_end=line_end)
    found = labelled(tmp_path, data, split_size=size)
    assert [row[:-1] for row in table(found)] == everything
    assert found == labelled(tmp_path, data, split_size=1 << 30)
    assert next(csv.reader(io.StringIO(found.decode(), newline="")))[-1] == "target_label"


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(text=st.text(alphabet='ab,"\n', max_size=60), size=st.integers(1, 40))
def test_splits_change_nothing_even_where_quotes_are_odd(tmp_path: Path, text: str, size: int) -> None:
    source = pack(tmp_path / "in.csv", b"id,message\n" + text.encode())
    results = []
    for wanted in (size, 1 << 30):
        output = tmp_path / f"out-{wanted}.csv"
        outcome = run(source, output, overwrite=True, split_size=wanted)
        results.append(None if outcome.left_out else output.read_bytes())
        output.unlink(missing_ok=True)
    assert results[0] == results[1]
