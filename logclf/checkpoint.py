"""Where reading goes on after a restart: positions on disk.

`positions.json` in the checkpoint directory is versioned, written aside, fsynced and renamed into place, so that a
crash leaves the old one or the new one. A file is known by device, inode and a hash of the bytes before its position:
an inode that was given to another file, or a file that was rewritten, is not taken for the one that was read.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
from pathlib import Path
from typing import Annotated

import msgspec

from .errors import CheckpointError

VERSION = 1
TAIL_BYTES = 1024  # hashed before a position


class Position(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How far a file was read: `offset` bytes, and the hash of the last of them."""

    path: str
    device: int
    inode: int
    offset: Annotated[int, msgspec.Meta(ge=0)]
    fingerprint: str


class _Version(msgspec.Struct):
    version: int


class _Saved(msgspec.Struct, forbid_unknown_fields=True):
    version: int
    files: list[Position]


def fingerprint(descriptor: int, offset: int) -> str:
    """A hash of up to TAIL_BYTES bytes before an offset."""
    start = max(0, offset - TAIL_BYTES)
    return hashlib.sha256(os.pread(descriptor, offset - start, start)).hexdigest()[:32]


class CheckpointStore:
    """One directory's positions; a second process that asks for the same directory is refused.

    Raises:
        CheckpointError: the directory cannot be used, another process has it, or its file is not ours.
    """

    def __init__(self, directory: Path) -> None:
        self._file = directory / "positions.json"
        try:
            directory.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock = os.open(directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise CheckpointError(f"{directory}: cannot keep positions here: {error.strerror}") from error
        self._take_lock(directory)
        try:
            self._positions = {(position.device, position.inode): position for position in self._read()}
        except CheckpointError:
            self.close()
            raise

    def _take_lock(self, directory: Path) -> None:
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            holder = os.pread(self._lock, 32, 0).decode("ascii", "replace").strip()
            os.close(self._lock)
            raise CheckpointError(f"{directory}: process {holder or 'unknown'} is using this checkpoint") from error
        except OSError as error:
            os.close(self._lock)
            raise CheckpointError(f"{directory}: cannot lock this checkpoint: {error.strerror}") from error
        os.ftruncate(self._lock, 0)
        os.pwrite(self._lock, f"{os.getpid()}\n".encode(), 0)

    def _read(self) -> list[Position]:
        try:
            data = self._file.read_bytes()
        except FileNotFoundError:
            return []
        except OSError as error:
            raise CheckpointError(f"{self._file}: {error.strerror}") from error
        try:
            version = msgspec.json.decode(data, type=_Version).version  # first: other versions may look otherwise
            if version != VERSION:
                raise CheckpointError(f"{self._file}: version {version}; this logclf reads {VERSION}")
            return msgspec.json.decode(data, type=_Saved).files
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise CheckpointError(f"{self._file}: not a checkpoint: {error}; move it away to start anew") from error

    def find(self, device: int, inode: int) -> Position | None:
        return self._positions.get((device, inode))

    def known_at(self, path: str) -> list[Position]:
        """Files that were once read under this path."""
        return [position for position in self._positions.values() if position.path == path]

    def put(self, position: Position) -> None:
        self._positions[position.device, position.inode] = position

    def forget(self, device: int, inode: int) -> None:
        self._positions.pop((device, inode), None)

    def save(self) -> None:
        """Write all positions, whole or not at all.

        Raises:
            CheckpointError: the disk refuses; the positions on disk are the older ones, so lines may come again.
        """
        aside = self._file.with_suffix(".new")
        try:
            with aside.open("wb") as file:
                file.write(msgspec.json.encode(_Saved(VERSION, list(self._positions.values()))))
                file.flush()
                os.fsync(file.fileno())
            aside.replace(self._file)
            descriptor = os.open(self._file.parent, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise CheckpointError(f"{self._file}: cannot save positions: {error.strerror}") from error

    def close(self) -> None:
        os.close(self._lock)
