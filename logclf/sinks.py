"""Where labelled lines go."""

from __future__ import annotations

import contextlib
import os
import select
import stat
from pathlib import Path

from .batch import Batch, Classified
from .encoding import Encoder
from .errors import ConfigError, OutputClosedError, OutputError


class DescriptorSink:
    """JSON lines to a descriptor, whole batches at a time; nothing is held back.

    Raises (on write):
        OutputClosedError: the reader has gone.
        OutputError: anything else.
    """

    def __init__(self, descriptor: int, encoder: Encoder, name: str = "stdout") -> None:
        self._descriptor, self._encoder, self._name = descriptor, encoder, name

    def write(self, batch: Batch, classified: Classified) -> None:
        data = self._encoder.encode(batch, classified)
        about = os.fstat(self._descriptor)
        try:
            write_all(self._descriptor, data, self._name)
        except OutputError:
            if stat.S_ISREG(
                about.st_mode
            ):  # a file ends with a whole line, or what is appended later sticks to half a one
                with contextlib.suppress(OSError):
                    os.ftruncate(self._descriptor, about.st_size)
            raise

    def flush(self) -> None:
        return None


def open_output(path: Path) -> int:
    """A file to append to.

    Raises:
        ConfigError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise ConfigError(f"cannot write here: {error.strerror}", str(path)) from error
    _end_last_line(descriptor)
    return descriptor


def _end_last_line(descriptor: int) -> None:
    """A file that a crash left in the middle of a line gets the line's end, so that nothing sticks to it."""
    about = os.fstat(descriptor)
    if stat.S_ISREG(about.st_mode) and about.st_size and os.pread(descriptor, 1, about.st_size - 1) != b"\n":
        os.write(descriptor, b"\n")


def regular_file(path: Path | None) -> tuple[int, int] | None:
    """Device and inode of the file that output goes to, stdout where none is named; None if it is no regular file."""
    try:
        about = os.fstat(1) if path is None else path.stat()
    except OSError:
        return None
    return (about.st_dev, about.st_ino) if stat.S_ISREG(about.st_mode) else None


def write_all(descriptor: int, data: bytes, name: str) -> None:
    """Write everything, however little the other side takes at a time."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(descriptor, view) :]
        except BlockingIOError:
            select.select([], [descriptor], [])
        except BrokenPipeError as error:
            raise OutputClosedError(f"{name}: its reader has gone") from error
        except OSError as error:
            raise OutputError(f"{name}: {error.strerror} ({len(view)} bytes of this batch are unwritten)") from error
