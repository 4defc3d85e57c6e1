"""Bytes of a part, compressed where its output is. Parts of one output are put behind each other as they are: members
of gzip and frames of zstd may follow each other."""

from __future__ import annotations

import zlib
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from .names import GZIP, PLAIN
from .work import shown_error

GZIP_LEVEL, ZSTD_LEVEL = 6, 3
GZIP_WRAPPER = 31  # zlib's number for "a gzip header"; it holds no time, so that the same lines give the same bytes


class PartWriter:
    """A file under way; after an error in a `with` block it is gone. `checksum` is the CRC-32 of its bytes.

    It is not forced to the disk: a part lives for minutes, and one that a power cut spoiled is known by its checksum.

    Raises:
        OutputError: the disk refuses.
    """

    def __init__(self, path: Path, compression: str = PLAIN) -> None:
        self.path, self._compressor = path, _compressor(compression)
        self.checksum = 0
        with shown_error(path):
            self._file: BinaryIO = path.open("wb", buffering=0)

    def __enter__(self) -> Self:
        return self

    def write(self, data: bytes) -> None:
        with shown_error(self.path):
            self._write(self._compressor.compress(data) if self._compressor else data)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                with shown_error(self.path):
                    self._write(self._compressor.flush() if self._compressor else b"")
        finally:
            self._file.close()
            if kind is not None:
                self.path.unlink(missing_ok=True)

    def _write(self, data: bytes) -> None:
        self.checksum = zlib.crc32(data, self.checksum)
        view = memoryview(data)
        while view:
            view = view[self._file.write(view) :]


def _compressor(compression: str) -> Any:
    if compression == PLAIN:
        return None
    if compression == GZIP:
        return zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_WRAPPER)
    import zstandard  # only who has such files needs it

    return zstandard.ZstdCompressor(level=ZSTD_LEVEL, write_checksum=True).compressobj()
