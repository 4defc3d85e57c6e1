"""Where files are cut: between records, near the size that was asked for, without a gap."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from logclf.archive import splits
from logclf.archive.names import CSV, TEXT
from logclf.archive.plan import Input, Settings
from logclf.archive.splits import cuts

from .archives import csv_bytes


def about(path: Path, data: bytes, kind: str, compression: str = "") -> Input:
    path.write_bytes(data)
    return Input(str(path), "out", kind, compression, "", len(data), 0)


def pieces(path: Path, data: bytes, kind: str, size: int) -> list[bytes]:
    found = cuts(about(path, data, kind), Settings(split_size=size))
    assert [start for start, _ in found[1:]] == [end for _, end in found[:-1]]
    assert (found[0][0], found[-1][1]) == (0, len(data))
    return [data[start:end] for start, end in found]


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(alphabet="ab\n", max_size=60), st.integers(1, 20))
def test_text_is_cut_at_line_ends(tmp_path: Path, text: str, size: int) -> None:
    data = text.encode()
    found = pieces(tmp_path / "x", data, TEXT, size)
    assert b"".join(found) == data
    assert all(piece.endswith(b"\n") and len(piece) >= size for piece in found[:-1])
    assert not any(b"\n" in piece[size:-1] for piece in found[:-1])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.lists(st.text(alphabet='a,"\n', max_size=6), min_size=2, max_size=2), max_size=12),
    st.integers(1, 30),
    st.integers(1, 9),
    st.sampled_from([b"", b"\xef\xbb\xbf"]),
)
def test_csv_is_cut_between_records_whatever_the_blocks(
    tmp_path: Path, rows: list[list[str]], size: int, block: int, mark: bytes
) -> None:
    data = mark + csv_bytes(rows)
    records = [csv_bytes([row]) for row in rows]
    ends = {len(mark) + sum(map(len, records[:count])) for count in range(len(records) + 1)}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(splits, "BLOCK", block)
        found = cuts(about(tmp_path / "x", data, CSV), Settings(split_size=size))
    assert b"".join(data[start:end] for start, end in found) == data
    assert {end for _, end in found[:-1]} <= ends
    expected = (len(data) - len(mark)) // (size + max(map(len, records), default=0))
    assert len(found) >= expected


def test_csv_with_odd_quotes_is_one_part(tmp_path: Path) -> None:
    data = b'id,message\n1,5" disk\n' * 50
    assert len(cuts(about(tmp_path / "x", data, CSV), Settings(split_size=64))) == 1
    assert len(cuts(about(tmp_path / "x", data, CSV), Settings(split_size=64, quotes=False))) > 5


def test_what_is_compressed_or_in_another_encoding_is_one_part(tmp_path: Path) -> None:
    data = b"line\n" * 100
    assert cuts(about(tmp_path / "x", data, TEXT, "gz"), Settings(split_size=10)) == [(0, -1)]
    assert cuts(about(tmp_path / "x", data, TEXT), Settings(split_size=10, encoding="cp1252")) == [(0, -1)]
