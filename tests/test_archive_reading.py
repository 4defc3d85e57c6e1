"""Bytes of inputs, and what is said of those that cannot be read to their end."""

from __future__ import annotations

import gzip
import os
import zlib
from pathlib import Path

import pytest
import zstandard

from logclf.archive.names import GZIP, JSONL, PARQUET, PLAIN, TEXT, TSV, ZSTD, compression, kind, kind_out
from logclf.archive.reading import CHUNK, DamagedError, read
from logclf.archive.writing import PartWriter
from logclf.errors import ConfigError, InputError

DATA = b"".join(b"%d some line of a log\n" % number for number in range(60_000))


def whole(path: Path, *options: object) -> bytes:
    return b"".join(read(path, *options))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", ("csv", PLAIN)),
        ("A.TSV.GZ", (TSV, GZIP)),
        ("x.parquet", (PARQUET, PLAIN)),
        ("x.ndjson.zst", (JSONL, ZSTD)),
        ("app.log.2.gz", (None, GZIP)),
        ("messages", (None, PLAIN)),
    ],
)
def test_a_name_says_form_and_compression(name: str, expected: tuple[str | None, str]) -> None:
    assert (kind(Path(name)), compression(Path(name))) == expected


def test_text_comes_out_as_events_and_the_rest_as_it_is() -> None:
    assert [kind_out(each) for each in (TEXT, JSONL, "csv")] == [JSONL, JSONL, "csv"]


@pytest.mark.parametrize("packed", [GZIP, ZSTD])
def test_members_and_frames_that_follow_each_other_are_one_file(tmp_path: Path, packed: str) -> None:
    pack = gzip.compress if packed == GZIP else zstandard.ZstdCompressor().compress
    path = tmp_path / "x"
    path.write_bytes(pack(DATA) + pack(b"") + pack(b"end\n") + b"\0" * 512 * (packed == GZIP))
    assert whole(path, packed) == DATA + b"end\n"
    assert max(map(len, read(path, packed))) <= CHUNK


@pytest.mark.parametrize("packed", [GZIP, ZSTD])
def test_a_file_that_ends_early_or_breaks_is_damaged_and_says_how_far_it_was_good(tmp_path: Path, packed: str) -> None:
    data = gzip.compress(DATA) if packed == GZIP else zstandard.ZstdCompressor(write_checksum=True).compress(DATA)
    path = tmp_path / "x"
    path.write_bytes(data[:-5])
    with pytest.raises(DamagedError, match=rf"x: the {packed} data ends too early, after \d[\d,]+ good bytes"):
        whole(path, packed)
    path.write_bytes(data[: len(data) // 2] + b"\xff\x00\xaa" * 30 + data[len(data) // 2 + 90 :])
    with pytest.raises(DamagedError, match="damaged"):
        whole(path, packed)
    path.write_bytes(b"plain text")
    with pytest.raises(DamagedError, match="after 0 good bytes"):
        whole(path, packed)


def test_what_follows_a_gzip_member_is_not_overlooked(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(DATA) + b"and more")
    with pytest.raises(DamagedError):
        whole(path, GZIP)


@pytest.mark.parametrize("packed", [GZIP, ZSTD])
def test_a_bomb_does_not_grow_at_once(tmp_path: Path, packed: str) -> None:
    zeros = b"\0" * (64 << 20)
    path = tmp_path / "x"
    path.write_bytes(gzip.compress(zeros, 9) if packed == GZIP else zstandard.ZstdCompressor().compress(zeros))
    assert sum(map(len, read(path, packed))) == len(zeros)
    assert max(map(len, read(path, packed))) <= CHUNK


def test_a_part_of_a_plain_file_and_one_that_was_longer(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"0123456789")
    assert whole(path, PLAIN, None, 2, 5) == b"234"
    with pytest.raises(DamagedError, match="shorter than it was: it ends at byte 10"):
        whole(path, PLAIN, None, 2, 20)


def test_other_encodings_become_utf_8_across_chunks(tmp_path: Path) -> None:
    text = "Grüße, 世界 \U0001f600\n" * 60_000
    path = tmp_path / "x"
    for name in ("utf-16", "utf-16-le", "gb18030", "utf-8-sig"):
        path.write_bytes(text.encode(name))
        assert whole(path, PLAIN, name).decode() == text


def test_a_wrong_encoding_names_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_bytes(b"a" * (CHUNK + 7) + b"\x81")
    with pytest.raises(ConfigError, match=rf"x: not cp1252 at byte {CHUNK + 7:,}"):
        whole(path, PLAIN, "cp1252")


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, reason in (("none", "No such file"), ("pipe", "not a file"), ("", "not a file")):
        with pytest.raises(InputError, match=reason):
            whole(tmp_path / name)


@pytest.mark.parametrize("packed", [PLAIN, GZIP, ZSTD])
def test_parts_can_be_put_behind_each_other_and_hold_no_time(tmp_path: Path, packed: str) -> None:
    for name in ("a", "b"):
        with PartWriter(tmp_path / name, packed) as writer:
            writer.write(b"one ")
            writer.write(b"two ")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    (tmp_path / "both").write_bytes((tmp_path / "a").read_bytes() * 2)
    assert whole(tmp_path / "both", packed) == b"one two one two "


def test_a_part_that_fails_is_gone(tmp_path: Path) -> None:
    def fail() -> None:
        with PartWriter(tmp_path / "a") as writer:
            writer.write(b"x")
            raise zlib.error

    with pytest.raises(zlib.error):
        fail()
    assert not (tmp_path / "a").exists()
