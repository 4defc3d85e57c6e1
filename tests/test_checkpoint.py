"""Positions survive restarts and crashes, and are never taken for another file's."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from logclf.checkpoint import TAIL_BYTES, CheckpointStore, Position, fingerprint
from logclf.errors import CheckpointError

POSITION = Position("/var/log/app.log", 2049, 131, 4096, "0123456789abcdef0123456789abcdef")
FORMAT = (
    b'{"version":1,"files":[{"path":"/var/log/app.log","device":2049,"inode":131,"offset":4096,'
    b'"fingerprint":"0123456789abcdef0123456789abcdef"}]}'
)


def saved(directory: Path, *positions: Position) -> None:
    store = CheckpointStore(directory)
    for position in positions:
        store.put(position)
    store.save()
    store.close()


def test_the_format_is_pinned(tmp_path: Path) -> None:
    """Changing these bytes means a new version number and a reader for the old one."""
    saved(tmp_path, POSITION)
    assert (tmp_path / "positions.json").read_bytes() == FORMAT


def test_a_file_of_that_format_is_read(tmp_path: Path) -> None:
    (tmp_path / "positions.json").write_bytes(FORMAT)
    store = CheckpointStore(tmp_path)
    assert store.find(2049, 131) == POSITION
    assert store.find(2049, 132) is None
    assert store.known_at("/var/log/app.log") == [POSITION]
    assert store.known_at("/var/log/other.log") == []
    store.close()


def test_put_replaces_and_forget_removes(tmp_path: Path) -> None:
    moved = Position(POSITION.path, POSITION.device, POSITION.inode, 5000, "ff")
    other = Position("/b", 1, 2, 3, "00")
    saved(tmp_path, POSITION, other, moved)
    store = CheckpointStore(tmp_path)
    assert store.find(2049, 131) == moved
    store.forget(1, 2)
    store.forget(7, 7)
    store.save()
    store.close()
    again = CheckpointStore(tmp_path)
    assert (again.find(1, 2), again.find(2049, 131)) == (None, moved)
    again.close()


def test_nothing_is_written_before_save(tmp_path: Path) -> None:
    store = CheckpointStore(tmp_path / "a" / "b")
    store.put(POSITION)
    store.close()
    assert sorted(path.name for path in (tmp_path / "a" / "b").iterdir()) == ["lock"]


def test_a_crash_while_writing_leaves_the_old_positions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    saved(tmp_path, POSITION)
    store = CheckpointStore(tmp_path)
    store.put(Position("/b", 1, 2, 3, "00"))

    def crash(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", crash)
    with pytest.raises(CheckpointError, match=r"positions\.json: cannot save positions: No space left"):
        store.save()
    store.close()
    assert (tmp_path / "positions.json").read_bytes() == FORMAT


def test_what_a_crash_left_aside_does_no_harm(tmp_path: Path) -> None:
    (tmp_path / "positions.json").write_bytes(FORMAT)
    (tmp_path / "positions.new").write_bytes(b'{"version":1,"fi')
    saved(tmp_path)
    assert (tmp_path / "positions.json").read_bytes() == FORMAT
    assert not (tmp_path / "positions.new").exists()


HOLD = """
import sys
from pathlib import Path
from logclf.checkpoint import CheckpointStore
store = CheckpointStore(Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_second_process_is_refused_and_told_who(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, tmp_path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(CheckpointError, match=f"process {holder.pid} is using this checkpoint"):
            CheckpointStore(tmp_path)
    finally:
        holder.communicate()
    CheckpointStore(tmp_path).close()  # the lock ends with its process


def test_the_pid_in_the_lock_is_replaced_whole(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("99999999999999\n")
    store = CheckpointStore(tmp_path)
    assert (tmp_path / "lock").read_text() == f"{os.getpid()}\n"
    store.close()


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b'{"version":2,"files":[]}', "version 2; this logclf reads 1"),
        (b'{"version":3,"positions":{"of":"another shape"}}', "version 3; this logclf reads 1"),
        (b"", "not a checkpoint"),
        (FORMAT[:60], "not a checkpoint"),
        (b'{"files":[]}', "not a checkpoint"),
        (b"[]", "not a checkpoint"),
        (b'{"version":1,"files":[{"path":"/a"}]}', "not a checkpoint"),
        (b'{"version":1,"files":[],"more":1}', "not a checkpoint"),
        (b"\xff\xfe\x00", "not a checkpoint"),
        (
            b'{"version":1,"files":[{"path":"\xff","device":1,"inode":1,"offset":1,"fingerprint":""}]}',
            "not a checkpoint",
        ),
    ],
)
def test_a_file_that_is_not_ours_is_refused_untouched(tmp_path: Path, data: bytes, message: str) -> None:
    file = tmp_path / "positions.json"
    file.write_bytes(data)
    for _ in range(2):  # the first refusal must not keep the lock
        with pytest.raises(CheckpointError, match=message) as caught:
            CheckpointStore(tmp_path)
        assert str(caught.value).startswith(f"{file}: ")
    assert file.read_bytes() == data


def test_a_directory_that_cannot_be_one(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for directory in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(CheckpointError, match="cannot keep positions here"):
            CheckpointStore(directory)


def test_positions_that_are_a_directory(tmp_path: Path) -> None:
    (tmp_path / "positions.json").mkdir()
    with pytest.raises(CheckpointError, match="Is a directory"):
        CheckpointStore(tmp_path)


def fingerprint_of(path: Path, offset: int) -> str:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        return fingerprint(descriptor, offset)
    finally:
        os.close(descriptor)


def test_a_fingerprint_is_of_the_bytes_before_the_offset(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    data = b"".join(b"%04d" % number for number in range(768))
    file.write_bytes(data)
    before = {offset: fingerprint_of(file, offset) for offset in (0, 1, TAIL_BYTES, 2000, len(data))}
    assert len(set(before.values())) == len(before)
    file.write_bytes(data + b"grown")
    assert all(fingerprint_of(file, offset) == known for offset, known in before.items())
    file.write_bytes(data[:1999] + b"X" + data[2000:])
    changed = {offset for offset, known in before.items() if fingerprint_of(file, offset) != known}
    assert changed == {2000}, "3072 is more than TAIL_BYTES further on"
    file.write_bytes(data[:500])
    assert fingerprint_of(file, 2000) != before[2000]
