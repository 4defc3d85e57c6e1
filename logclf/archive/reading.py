"""Bytes of a file or of a part of it: decompressed, and as UTF-8 where another encoding was named.

What a file claims is not believed: a compressed file that ends early or breaks in the middle is an error, and so is a
plain one that became shorter than it was when the work was planned.
"""

from __future__ import annotations

import codecs
import os
import stat
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Protocol

from ..errors import ConfigError, InputError
from .names import GZIP, PLAIN

CHUNK = 256 << 10  # as the streaming path: what a block costs stays in the processor's cache
# Compressed bytes taken at a time. What they can grow to bounds memory: 1,000-fold in gzip, 32,000-fold in zstd.
GZIP_FEED, ZSTD_FEED = 64 << 10, 2 << 10
GZIP_WRAPPER = 31  # zlib's number for "a gzip header"


class DamagedError(InputError):
    """An input that cannot be read to its end."""


class EncodingError(ConfigError):
    """An input that is not in the encoding it is read in."""


class Inflater(Protocol):
    """What zlib and zstandard have in common."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    def decompress(self, data: bytes, /) -> bytes: ...


def open_input(path: Path) -> BinaryIO:
    """A regular file.

    Raises:
        InputError: it is not there, not a file, or may not be read.
    """
    try:
        # Not blocking: a pipe in the file's place must not hold up the work.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise InputError(f"{path}: not a file")
    return os.fdopen(descriptor, "rb", buffering=0)


def read(
    path: Path, compression: str = PLAIN, encoding: str | None = None, start: int = 0, end: int = -1
) -> Iterator[bytes]:
    """A file's bytes from `start` to `end` (-1: its end), in chunks; offsets are for plain files alone.

    encoding: what the file is in; None where its bytes are to be handed on as they are.

    Raises:
        InputError: it cannot be read (DamagedError: to its end).
        EncodingError: it is not in that encoding.
    """
    with open_input(path) as file:
        raw = _plain(file, path, start, end) if compression == PLAIN else _inflated(file, path, compression)
        yield from raw if encoding is None else _utf8(raw, path, encoding)


def _plain(file: BinaryIO, path: Path, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    at = start
    while end < 0 or at < end:
        chunk = _read(file, path, CHUNK if end < 0 else min(CHUNK, end - at))
        if not chunk:
            if end >= 0:
                raise DamagedError(f"{path}: it has become shorter than it was: it ends at byte {at:,}")
            return
        at += len(chunk)
        yield chunk


def _read(file: BinaryIO, path: Path, size: int) -> bytes:
    try:
        return file.read(size)
    except OSError as error:
        raise DamagedError(f"{path}: {error.strerror}") from error


def _inflated(file: BinaryIO, path: Path, compression: str) -> Iterator[bytes]:
    """Decompressed chunks of about CHUNK bytes; members and frames may follow each other."""
    held: list[bytes] = []
    size = 0
    for piece in _pieces(file, path, compression):
        held.append(piece)
        size += len(piece)
        if size >= CHUNK:
            whole = b"".join(held)
            yield from (whole[at : at + CHUNK] for at in range(0, len(whole), CHUNK))
            held, size = [], 0
    if size:
        yield b"".join(held)


def _pieces(file: BinaryIO, path: Path, compression: str) -> Iterator[bytes]:
    feed = GZIP_FEED if compression == GZIP else ZSTD_FEED
    inflater: Inflater | None = None
    errors = _errors(compression)
    done = 0  # bytes that came out whole
    while data := _read(file, path, feed):
        while data:
            if inflater is None:
                data = data.lstrip(b"\0") if done else data  # tar and tapes pad with zeros
                if not data:
                    break
                inflater = _inflater(compression)
            try:
                piece = inflater.decompress(data)
            except errors as error:
                raise DamagedError(f"{path}: damaged {compression} data after {done:,} good bytes: {error}") from error
            done += len(piece)
            yield piece
            data = inflater.unused_data if inflater.eof else b""
            inflater = None if inflater.eof else inflater
    if inflater is not None:
        raise DamagedError(f"{path}: the {compression} data ends too early, after {done:,} good bytes")


def _inflater(compression: str) -> Inflater:
    if compression == GZIP:
        return zlib.decompressobj(GZIP_WRAPPER)
    import zstandard  # only who has such files needs it

    return zstandard.ZstdDecompressor().decompressobj()


def _errors(compression: str) -> tuple[type[Exception], ...]:
    """What its library raises."""
    if compression == GZIP:
        return (zlib.error,)
    import zstandard

    return (zstandard.ZstdError,)


def _utf8(chunks: Iterator[bytes], path: Path, encoding: str) -> Iterator[bytes]:
    """Text of another encoding, as UTF-8."""
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    read_before = 0
    last = False
    while not last:
        chunk = next(chunks, b"")
        last = not chunk
        waiting = len(decoder.getstate()[0])
        try:
            text = decoder.decode(chunk, last)
        except UnicodeDecodeError as error:
            raise not_in(path, encoding, read_before - waiting + error.start) from error
        read_before += len(chunk)
        if text:
            yield text.encode("utf-8", "replace")


def not_in(path: Path, encoding: str, offset: int) -> EncodingError:
    """The error of a wrong encoding."""
    return EncodingError(
        f"{path}: not {encoding} at byte {offset:,}; say what it is in with --encoding (cp1252, latin-1, utf-16, ...)"
    )
