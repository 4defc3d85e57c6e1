"""Everything that goes into a pipe comes out in order, to its end or until a stop."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from logclf.decoding import Decoder
from logclf.errors import InputError
from logclf.sources.pace import LEAST, Pace
from logclf.sources.pace import MOST as CHUNK
from logclf.sources.stdin import PIPE, PipeSource
from logclf.sources.stop import Stop


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    reader, writer = os.pipe()
    yield reader, writer  # the test closes the writer
    os.close(reader)


def lines_of(source: PipeSource) -> list[bytes]:
    lines: list[bytes] = []
    for delivery in source:
        lines += delivery.batch.text.split(b"\n")
        delivery.acknowledge()
    return lines


def test_lines_in_order_to_the_end(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    lines = [b"line %d" % number for number in range(200_000)]

    def write() -> None:
        with os.fdopen(writer, "wb", buffering=7_777) as file:  # so that writes end within lines
            file.write(b"\n".join(lines) + b"\n")

    writing = threading.Thread(target=write)
    writing.start()
    found = lines_of(PipeSource(reader, Decoder(), Stop()))
    writing.join()
    assert found == lines


@pytest.mark.parametrize(
    ("data", "lines"),
    [
        (b"", []),
        (b"a", [b"a"]),
        (b"a\n", [b"a"]),
        (b"a\nlast", [b"a", b"last"]),
        (b"\n\n", [b"", b""]),
        (b"a\r\nb\r\n", [b"a", b"b"]),
    ],
)
def test_the_end_with_and_without_a_newline(pipe: tuple[int, int], data: bytes, lines: list[bytes]) -> None:
    reader, writer = pipe
    os.write(writer, data)
    os.close(writer)
    assert lines_of(PipeSource(reader, Decoder(), Stop())) == lines


def test_a_line_comes_out_while_the_writer_waits(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    source = iter(PipeSource(reader, Decoder(), Stop()))
    for number in range(3):
        os.write(writer, b"line %d\nhalf" % number)
        assert next(source).batch.text == (b"half" if number else b"") + b"line %d" % number
    os.close(writer)
    assert [delivery.batch.text for delivery in source] == [b"half"]


def test_a_stop_drains_what_is_there(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    stop = Stop()
    os.write(writer, b"a\nb\nhalf")
    stop.set()
    assert lines_of(PipeSource(reader, Decoder(), stop)) == [b"a", b"b", b"half"]
    os.close(writer)


def test_a_stop_ends_the_wait_for_input(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    stop = Stop()
    source = iter(PipeSource(reader, Decoder(), stop))
    os.write(writer, b"a\n")
    assert next(source).batch.text == b"a"
    timer = threading.Timer(0.02, stop.set)
    timer.start()
    assert list(source) == []
    timer.join()
    os.close(writer)


def test_a_writer_that_never_pauses_cannot_keep_it_from_stopping() -> None:
    stop = Stop()
    with Path("/dev/zero").open("rb") as endless:
        source = PipeSource(endless.fileno(), Decoder(max_line=100), stop)
        stop.set()
        (delivery,) = source
        assert delivery.batch.flaws == {0: {"truncated": True, "raw_bytes": PIPE}}


def test_more_than_one_chunk_is_drained(tmp_path: Path) -> None:
    stop = Stop()
    lines = [b"%07d" % number for number in range(3 * CHUNK // 8)]
    (tmp_path / "in").write_bytes(b"\n".join(lines) + b"\n")
    with (tmp_path / "in").open("rb") as file:
        stop.set()
        assert lines_of(PipeSource(file.fileno(), Decoder(), stop)) == lines


def test_a_regular_file_and_devnull(tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"a\nb")
    for path, lines in ((tmp_path / "in", [b"a", b"b"]), (Path("/dev/null"), [])):
        with path.open("rb") as file:
            assert lines_of(PipeSource(file.fileno(), Decoder(), Stop())) == lines


def test_a_descriptor_that_does_not_block(pipe: tuple[int, int]) -> None:
    reader, writer = pipe
    os.set_blocking(reader, False)
    source = iter(PipeSource(reader, Decoder(), Stop()))
    timer = threading.Timer(0.02, lambda: (os.write(writer, b"late\n"), os.close(writer)))
    timer.start()
    assert [delivery.batch.text for delivery in source] == [b"late"]
    timer.join()


def test_what_cannot_be_read_is_an_input_error(tmp_path: Path) -> None:
    stop = Stop()
    directory = os.open(tmp_path, os.O_RDONLY)
    with pytest.raises(InputError, match="app: Is a directory"):
        list(itertools.islice(PipeSource(directory, Decoder("app"), stop), 1))
    os.close(directory)
    with pytest.raises(InputError, match="Bad file descriptor"):
        list(PipeSource(directory, Decoder("app"), stop))


def test_reads_get_smaller_where_labelling_takes_long() -> None:
    pace = Pace(0.05)
    for _ in range(10):
        pace.took(0.001, 100)
    assert pace.size == CHUNK
    pace.took(0.2, 100)
    assert pace.size == CHUNK // 4
    for _ in range(10):
        pace.took(0.2, 100)
    assert pace.size == LEAST
    pace.took(0.001, 1_000_000)
    assert pace.size == LEAST
