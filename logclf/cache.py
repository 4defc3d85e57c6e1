"""Compiled rule databases kept between runs, in the user's own cache directory.

A database is native memory once it is loaded, so the file must be what this user wrote: the directory is 0700, the
file is opened without following links, must belong to this user and to nobody else's writing, and carries a checksum.
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
            descriptor = os.open(self._directory / key, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        with os.fdopen(descriptor, "rb") as file:
            about = os.fstat(file.fileno())
            if not stat.S_ISREG(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o022:
                return None
            data = file.read()
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
            if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid():
                return
            self._directory.chmod(0o700)
            with tempfile.NamedTemporaryFile(dir=self._directory, prefix=".new-", delete=False) as file:
                file.write(MAGIC + hashlib.sha256(payload).digest() + payload)
            os.replace(file.name, self._directory / key)
            self._drop_oldest()
        except OSError:
            return  # a read-only or full home: the next run compiles again

    def _drop_oldest(self) -> None:
        files = sorted(self._directory.iterdir(), key=lambda path: path.lstat().st_mtime, reverse=True)
        for path in files[KEEP:]:
            path.unlink(missing_ok=True)
