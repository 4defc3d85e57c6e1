"""Lines from a pipe, as a shipper or a shell hands them over."""

from __future__ import annotations

import os
import select
from collections.abc import Iterator
from dataclasses import dataclass

from ..batch import Batch
from ..decoding import Decoder
from .stop import Stop

CHUNK = 256 << 10
F_SETPIPE_SZ = 1031  # Linux; a larger pipe means fewer and fuller batches


@dataclass(frozen=True)
class PipeDelivery:
    """A batch from a pipe: nothing to acknowledge, a pipe has no positions."""

    batch: Batch

    def acknowledge(self) -> None:
        return None


class PipeSource:
    """Everything that can be read from a descriptor, until its end or until `stop`; then what is there is drained."""

    def __init__(self, descriptor: int, decoder: Decoder, stop: Stop) -> None:
        self._descriptor, self._decoder, self._stop = descriptor, decoder, stop

    def __iter__(self) -> Iterator[PipeDelivery]:
        self._widen()
        while chunk := self._read():
            batch = self._decoder.decode(chunk)
            if batch is not None:
                yield PipeDelivery(batch)
        batch = self._decoder.flush()
        if batch is not None:
            yield PipeDelivery(batch)

    def _widen(self) -> None:
        import fcntl

        try:
            fcntl.fcntl(self._descriptor, F_SETPIPE_SZ, 1 << 20)
        except OSError:
            return  # not a pipe, or not Linux, or over the user's limit: the pipe stays as it is

    def _read(self) -> bytes:
        """What is there, up to CHUNK: waits for the first byte only. Empty at the end."""
        if not self._stop:
            select.select([self._descriptor, self._stop.fd], [], [])
        parts: list[bytes] = []
        size = 0
        while size < CHUNK and select.select([self._descriptor], [], [], 0)[0]:
            part = os.read(self._descriptor, CHUNK - size)
            if not part:
                break
            parts.append(part)
            size += len(part)
        return b"".join(parts)
