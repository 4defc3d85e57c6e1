"""Table files are read alike whatever their format, and refused where they are not what they claim to be."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from logclf.errors import ConfigError, InputError, LogclfError
from logclf.training import frames as module
from logclf.training.frames import frames, table_format

ROWS = [["log_message", "label"], ["disk full, again", "Error"], ["Größe 3", "Error"], ["NA", ""]]
CSV = "".join(f'"{text}",{label}\n' for text, label in ROWS)
TSV = "".join(f"{text}\t{label}\n" for text, label in ROWS)
JSON = "".join(json.dumps(dict(zip(ROWS[0], row, strict=True))) + "\n" for row in ROWS[1:])


def cells(path: Path, *arguments: Any) -> list[list[str]]:
    """The whole table, its header first."""
    found = list(frames(path, *arguments))
    return [list(found[0].columns)] + [row for frame in found for row in frame.to_numpy().tolist()]


def refused(path: Path, kind: type[LogclfError], *arguments: Any) -> str:
    with pytest.raises(kind) as error:
        list(frames(path, *arguments))
    message = str(error.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(("name", "content"), [("t.csv", CSV), ("t.tsv", TSV), ("t.jsonl", JSON), ("t.NDJSON", JSON)])
def test_formats_and_compressions_give_the_same_table(name: str, content: str, tmp_path: Path) -> None:
    data = content.encode()
    for suffix, packed in (("", data), (".gz", gzip.compress(data)), (".zst", zstandard.compress(data))):
        (tmp_path / (name + suffix)).write_bytes(packed)
        assert cells(tmp_path / (name + suffix)) == ROWS


def test_parquet_gives_the_same_table(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow")
    import pandas as pd

    pd.DataFrame(ROWS[1:], columns=ROWS[0]).to_parquet(tmp_path / "t.parquet")
    assert cells(tmp_path / "t.parquet") == ROWS


@pytest.mark.parametrize("chunk", [1, 2, 3])
def test_a_part_at_a_time(chunk: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK", chunk)
    for name, content in (("t.csv", CSV), ("t.jsonl", JSON)):
        (tmp_path / name).write_text(content)
        assert cells(tmp_path / name) == ROWS


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1", "cp1252"])
def test_other_encodings_by_name(encoding: str, tmp_path: Path) -> None:
    for name, content in (("t.csv", CSV), ("t.tsv", TSV), ("t.jsonl", JSON)):
        (tmp_path / name).write_bytes(content.encode(encoding))
        assert cells(tmp_path / name, None, encoding) == ROWS


def test_a_byte_order_mark_is_no_part_of_a_name(tmp_path: Path) -> None:
    for name, content in (("t.csv", CSV), ("t.jsonl", JSON)):
        (tmp_path / name).write_bytes(content.encode("utf-8-sig"))
        assert cells(tmp_path / name) == ROWS


def test_columns_that_are_there_twice_keep_their_names(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,a,b\n1,2,3\n")
    assert cells(tmp_path / "t.csv") == [["a", "a", "b"], ["1", "2", "3"]]


def test_values_that_are_no_text_come_as_the_json_they_are(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text('{"a": 12345678901234567890, "b": {"c": [true]}}\n\n{"a": "x", "b": null}\n')
    assert cells(tmp_path / "t.jsonl") == [["a", "b"], ["12345678901234567890", '{"c":[true]}'], ["x", None]]


def test_a_header_alone_is_a_table_without_rows(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,b\n")
    assert cells(tmp_path / "t.csv") == [["a", "b"]]


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("t.csv", b"", "it is empty"),
        ("t.csv", b"\n\n", "it is empty"),
        ("t.csv", b"a,b\n1,2\n1,2,3\n", "Expected 2 fields in line 3, saw 3"),
        ("t.csv", b'a,b\n"1,2\n', "not a csv table: EOF inside string"),
        ("t.csv", b"a,b\n\xff,2\n", "not utf-8 at byte 4; say what it is in with --encoding"),
        ("t.jsonl", b'{"a":1}\n{"a":\n', "t.jsonl:2: expected one JSON object a line"),
        ("t.json", b'[{"a":1}]\n', "t.json:1: expected one JSON object a line"),
        ("t.json", b"[" * 10**5, "t.json:1: expected one JSON object a line"),
        ("t.parquet", b"PAR1 nonsense", "not a parquet table"),
        ("t.txt", b"a", "cannot tell the format from the name (known are .csv, .tsv, .parquet, .jsonl)"),
        ("t.log.gz", b"a", "say it with --format"),
    ],
)
def test_what_is_no_such_table(name: str, content: bytes, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(content)
    assert said in refused(tmp_path / name, ConfigError)


@pytest.mark.parametrize(("name", "pack"), [("t.csv.gz", gzip.compress), ("t.csv.zst", zstandard.compress)])
def test_a_compressed_file_that_is_torn_or_none(name: str, pack: Any, tmp_path: Path) -> None:
    data = pack("".join(f"{n * 7919 % 10007},{n}\n" for n in range(20000)).encode())
    for content, said in ((data[: len(data) // 2], "ends too early"), (CSV.encode(), "damaged")):
        (tmp_path / name).write_bytes(content)
        assert said in refused(tmp_path / name, InputError)


def test_what_is_not_there_and_what_is_no_file(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "t.csv", InputError)
    assert "No such file" in refused(tmp_path / "t.parquet", InputError)
    (tmp_path / "d.csv").mkdir()
    assert "not a file" in refused(tmp_path / "d.csv", InputError)


def test_an_encoding_that_python_does_not_know(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(CSV)
    for name in ("klingon", "base64"):
        assert f"{name!r} is no encoding" in refused(tmp_path / "t.csv", ConfigError, None, name)


def test_the_format_by_name_or_as_wanted() -> None:
    assert table_format(Path("x.CSV.GZ")) == "csv"
    assert table_format(Path("x.dat"), "jsonl") == "jsonl"
