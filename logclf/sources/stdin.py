"""Lines from a pipe, as a shipper or a shell hands them over."""

from __future__ import annotations

import os
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass

from ..batch import Batch
from ..decoding import Decoder
from ..errors import InputError
from .pace import Pace
from .stop import Stop

F_SETPIPE_SZ = 1031  # Linux; a larger pipe means fewer and fuller batches
PIPE = 1 << 20


@dataclass(frozen=True)
class PipeDelivery:
    """A batch from a pipe: nothing to acknowledge, a pipe has no positions."""

    batch: Batch

    def acknowledge(self) -> None:
        return None


class PipeSource:
    """Everything that can be read from a descriptor, until its end or until `stop`; then what is there is drained.

    That is as much as a pipe holds, so that a writer that never pauses cannot keep it from stopping.

    wait: seconds that a line may wait; reads get smaller where labelling takes longer.

    Raises (while iterated):
        InputError: the descriptor cannot be read.
    """

    def __init__(self, descriptor: int, decoder: Decoder, stop: Stop, wait: float = 0.05) -> None:
        self._descriptor, self._decoder, self._stop = descriptor, decoder, stop
        self._left = PIPE  # may still be read once stopped
        self._pace = Pace(wait)

    def __iter__(self) -> Iterator[PipeDelivery]:
        self._widen()
        while chunk := self._read():
            batch = self._decoder.decode(chunk)
            if batch is not None:
                begun = time.monotonic()
                yield PipeDelivery(batch)
                self._pace.took(time.monotonic() - begun, batch.count)
        batch = self._decoder.flush()
        if batch is not None:
            yield PipeDelivery(batch)

    def _widen(self) -> None:
        import fcntl

        try:
            fcntl.fcntl(self._descriptor, F_SETPIPE_SZ, PIPE)
        except OSError:
            return  # not a pipe, or not Linux, or over the user's limit: the pipe stays as it is

    def _read(self) -> bytes:
        """What is there, up to the pace's size: waits for the first byte only. Empty at the end."""
        try:
            if not self._stop:
                select.select([self._descriptor, self._stop.fd], [], [])
            stopped = bool(self._stop)
            data = self._available(min(self._pace.size, self._left) if stopped else self._pace.size)
        except OSError as error:
            raise InputError(f"{self._decoder.source}: {error.strerror}") from error
        if stopped:
            self._left -= len(data)
        return data

    def _available(self, most: int) -> bytes:
        parts: list[bytes] = []
        size = 0
        while size < most and select.select([self._descriptor], [], [], 0)[0]:
            part = os.read(self._descriptor, most - size)
            if not part:
                break
            parts.append(part)
            size += len(part)
        return b"".join(parts)
