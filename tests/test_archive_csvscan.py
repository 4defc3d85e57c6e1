"""Records and fields of CSV blocks, against Python's csv module."""

from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logclf.archive.csvscan import quoted, regular, scan, unquoted

COMMA = ord(",")


def rows(data: bytes, quotes: bool = True) -> list[list[str]]:
    """The values of all whole records."""
    records = scan(data, COMMA, quotes, final=True)
    found = []
    for record in range(records.count):
        bounds = [records.field(number) for number in range(int(records.fields[record]))]
        fields = [records.data[start[record] : end[record]] for start, end in bounds]
        found.append([(unquoted(field) if quotes else field).decode() for field in fields])
    return found


def by_csv_module(data: bytes) -> list[list[str]]:
    return [row or [""] for row in csv.reader(io.StringIO(data.decode(), newline=""))]


VALUES = st.text(alphabet='ab,"\n\r ü\0', max_size=6)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(VALUES, min_size=1, max_size=4), min_size=1, max_size=6), st.sampled_from(["\n", "\r\n"]))
def test_what_the_csv_module_writes_is_read_as_it_was(table: list[list[str]], line_end: str) -> None:
    text = io.StringIO()
    quoting = (
        csv.QUOTE_ALL if any("\r" in value for row in table for value in row) else csv.QUOTE_MINIMAL
    )  # it may write carriage returns bare
    csv.writer(text, lineterminator=line_end, quoting=quoting).writerows(table)
    assert rows(text.getvalue().encode()) == table


@settings(max_examples=500, deadline=None)
@given(st.text(alphabet='ab,"\n', max_size=24))
@example('a,5" disk,b\n"x, y",2\n')
@example('"abc"def,"g"\n')
@example('a"b"",c\n"d""",e\n')
def test_odd_quotes_are_read_as_the_csv_module_reads_them(text: str) -> None:
    expected = by_csv_module(text.encode())
    found = rows(text.encode())
    # A quoted field that never ends is one record for the csv module, and none here: who reads on says so.
    assert found == expected[: len(found)]
    assert len(expected) - len(found) <= 1


def test_a_quoted_field_that_never_ends_is_left_over() -> None:
    assert scan(b'a,b\n"c,d\ne,f\n', COMMA, final=True).used == 4


def test_without_meaning_quotes_are_letters() -> None:
    assert rows(b'a,"b\n"c,d"\n', quotes=False) == [["a", '"b'], ['"c', 'd"']]


def test_a_record_keeps_its_bytes_without_its_line_end() -> None:
    records = scan(b'a,"b"\r\n\n c ,\n', COMMA)
    assert [records.data[s:e] for s, e in zip(records.starts, records.ends, strict=True)] == [b'a,"b"', b"", b" c ,"]
    assert records.fields.tolist() == [2, 1, 2]


def test_what_is_not_ended_yet_is_left_over() -> None:
    records = scan(b"a,b\nc,", COMMA)
    assert (records.count, records.used) == (1, 4)


def test_a_missing_field_is_empty_at_the_records_end() -> None:
    starts, ends = scan(b"a,b,c\nd\n", COMMA).field(2)
    assert starts.tolist() == [4, 7]
    assert ends.tolist() == [5, 7]


@pytest.mark.parametrize(
    ("data", "inside", "good"),
    [
        (b'a,"b ""c""",d\n', False, True),
        (b'b ""c""",d\n"e"', True, True),
        (b'a,5" disk\n', False, False),
        (b'a,"b"c\n', False, False),
        (b'b" c",d\n', True, False),
    ],
)
def test_quotes_are_counted_only_where_all_are_in_order(data: bytes, inside: bool, good: bool) -> None:
    array = np.frombuffer(data, np.uint8)
    assert regular(array, np.flatnonzero(array == ord('"')), COMMA, inside) is good


@settings(max_examples=200, deadline=None)
@given(VALUES)
def test_a_value_that_is_quoted_reads_as_itself(value: str) -> None:
    field = quoted(value, ",")
    assert unquoted(field).decode() == value or value.startswith('"')
    assert by_csv_module(b"x," + field)[0] == ["x", value] or not value
