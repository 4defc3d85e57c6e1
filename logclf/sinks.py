"""Where labelled lines go."""

from __future__ import annotations

import os
import select
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
        write_all(self._descriptor, self._encoder.encode(batch, classified), self._name)

    def flush(self) -> None:
        return None


def open_output(path: Path) -> int:
    """A file to append to.

    Raises:
        ConfigError: it cannot be opened.
    """
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o640)
    except OSError as error:
        raise ConfigError(f"cannot write here: {error.strerror}", str(path)) from error


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
