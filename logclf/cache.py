"""Compiled rule databases kept between runs, in the user's own cache directory.

A database is native memory once it is loaded, so the file must be what this user wrote: the directory is made 0700
and not used if others may write to it, the file is opened without following links, must belong to this user and to
nobody else's writing, and carries a checksum.
Anything that fails these tests is ignored and written anew. A cache that cannot be written costs time, not answers.
"""

from __future__ import annotations

import hashlib
import os
import stat
import tempfile
from pathlib import Path

MAGIC = b"logclf-cache-1\n"
DIGEST = 32
SUFFIX = ".logclf"
KEEP = 32  # files; the oldest go first


def default_directory() -> Path:
    """`$LOGCLF_CACHE_DIR`, else `logclf` in the XDG cache directory."""
    named = os.environ.get("LOGCLF_CACHE_DIR")
    if named:
        return Path(named)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "logclf"


class DirectoryCache:
    """Payloads by key (letters and digits), one file each."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(self, key: str) -> bytes | None:
        """The payload, or None where there is none that can be trusted."""
        try:
            data = _read_own(self._directory / f"{key}{SUFFIX}")
        except OSError:
            return None
        head = len(MAGIC) + DIGEST
        payload = data[head:]
        if not data.startswith(MAGIC) or hashlib.sha256(payload).digest() != data[len(MAGIC) : head]:
            return None
        return payload

    def store(self, key: str, payload: bytes) -> None:
        """Write the payload for the next run; where that is not possible, do without."""
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            about = os.lstat(self._directory)
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
                return
            self._replace(self._directory / f"{key}{SUFFIX}", MAGIC + hashlib.sha256(payload).digest() + payload)
            self._drop_oldest()
        except OSError:
            return  # a read-only or full home: the next run compiles again

    def _replace(self, path: Path, data: bytes) -> None:
        with tempfile.NamedTemporaryFile(dir=self._directory, prefix=".new-", suffix=SUFFIX, delete=False) as file:
            pass
        try:
            Path(file.name).write_bytes(data)
            Path(file.name).replace(path)
        except OSError:
            Path(file.name).unlink()
            raise

    def _drop_oldest(self) -> None:
        """Of our own files only: somebody may have named a directory that holds more than this cache."""
        files = sorted(self._directory.glob(f"*{SUFFIX}"), key=lambda path: path.lstat().st_mtime, reverse=True)
        for path in files[KEEP:]:
            path.unlink(missing_ok=True)


def _read_own(path: Path) -> bytes:
    """A regular file's content; b"" where it is somebody else's or others may write to it."""
    # Not blocking: a pipe in the file's place must not hold up the start.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        about = os.fstat(descriptor)
        if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
            return b""
        with os.fdopen(descriptor, "rb", closefd=False) as file:
            return file.read()
    finally:
        os.close(descriptor)
