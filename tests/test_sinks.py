"""All bytes arrive, however little the other side takes at a time; where they cannot, the error says so."""

from __future__ import annotations

import json
import os
import stat
import threading
from pathlib import Path

import numpy as np
import pytest

from logclf.batch import Classified, VerdictTable
from logclf.encoding import Encoder
from logclf.errors import ConfigError, OutputClosedError, OutputError
from logclf.sinks import DescriptorSink, open_output, write_all
from logclf.taxonomy import DEFAULT, Severity

from .helpers import batch, objects

DATA = b"".join(b"line %d\n" % number for number in range(100_000))


def drained(reader: int, out: list[bytes]) -> threading.Thread:
    """Read to the end, slowly in small bites, in a thread."""

    def read() -> None:
        while part := os.read(reader, 4096):
            out.append(part)

    thread = threading.Thread(target=read)
    thread.start()
    return thread


@pytest.mark.parametrize("blocking", [True, False])
def test_a_pipe_that_takes_little_at_a_time(blocking: bool) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, blocking)
    out: list[bytes] = []
    thread = drained(reader, out)
    write_all(writer, DATA, "stdout")
    os.close(writer)
    thread.join()
    os.close(reader)
    assert b"".join(out) == DATA


def test_short_writes(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    whole = os.write
    monkeypatch.setattr(os, "write", lambda descriptor, data: whole(descriptor, data[:7]))
    descriptor = open_output(tmp_path / "out")
    write_all(descriptor, DATA[:1000], "out")
    os.close(descriptor)
    assert (tmp_path / "out").read_bytes() == DATA[:1000]


def test_nothing_to_write_writes_nothing() -> None:
    write_all(-1, b"", "stdout")


def test_a_reader_that_has_gone() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with pytest.raises(OutputClosedError):
        write_all(writer, b"x", "stdout")
    os.close(writer)


def test_a_full_disk_says_how_much_is_unwritten() -> None:
    descriptor = os.open("/dev/full", os.O_WRONLY)
    with pytest.raises(OutputError, match=r"out\.jsonl: No space left on device \(5 bytes"):
        write_all(descriptor, b"12345", "out.jsonl")
    os.close(descriptor)


def test_output_is_appended_to_a_file_of_ones_own(tmp_path: Path) -> None:
    file = tmp_path / "out.jsonl"
    for text in (b"one\n", b"two\n"):
        descriptor = open_output(file)
        write_all(descriptor, text, "out")
        os.close(descriptor)
    assert file.read_bytes() == b"one\ntwo\n"
    assert stat.S_IMODE(file.stat().st_mode) & 0o137 == 0, "labelled logs are not for everyone"


def test_an_output_that_cannot_be_opened(tmp_path: Path) -> None:
    for path in (tmp_path / "missing" / "out", tmp_path):
        with pytest.raises(ConfigError, match="cannot write here") as caught:
            open_output(path)
        assert str(caught.value).startswith(f"{path}: ")


def test_the_sink_writes_whole_batches_at_once() -> None:
    reader, writer = os.pipe()
    table = VerdictTable(DEFAULT)
    sink = DescriptorSink(writer, Encoder(table))
    code = table.rule("r", "Error", Severity.ERROR)
    sink.write(batch(b"a", b"b"), Classified(np.array([code, code]), {}))
    data = os.read(reader, 1 << 16)  # before the flush: nothing is held back
    sink.flush()
    os.close(writer)
    assert [event["message"] for event in objects(data)] == ["a", "b"]
    assert os.read(reader, 1) == b""
    os.close(reader)
    assert json.loads(data.splitlines()[0])["logclf"]["rule"] == "r"
