"""Where big files are cut, so that several processes can share one and an interrupted run has little to do again."""

from __future__ import annotations

from typing import BinaryIO

import numpy as np

from .csvscan import NEWLINE, QUOTE, regular
from .names import PLAIN
from .plan import Input, Settings
from .reading import open_input

BLOCK = 8 << 20


def cuts(about: Input, settings: Settings) -> list[tuple[int, int]]:
    """The parts of an input, as (start, end) in bytes: each about `split_size` long and whole records.

    What is compressed, in another encoding, or Parquet is one part, and so is CSV whose quotes cannot be counted: there
    what a quote means depends on all that comes before it. The end is -1 where an input has no bytes to count.
    """
    if about.compression != PLAIN or settings.encoding is not None or about.is_parquet:
        return [(0, -1)]
    quoted = about.is_csv and settings.quotes
    if about.size <= settings.split_size:
        return [(0, about.size)]
    with open_input(about.file) as file:
        ends = (
            _record_ends(file, about, settings.split_size) if quoted else _line_ends(file, about, settings.split_size)
        )
    ends = [*ends, about.size]
    return list(zip([0, *ends], ends, strict=False))


def _line_ends(file: BinaryIO, about: Input, size: int) -> list[int]:
    """The first line end behind every multiple of a size."""
    found: list[int] = []
    at = size
    while at < about.size:
        end = _next_newline(file, at, about.size)
        if end >= about.size:
            break
        found.append(end)
        at = end + size
    return found


def _next_newline(file: BinaryIO, at: int, size: int) -> int:
    file.seek(at)
    while at < size and (block := file.read(64 << 10)):
        newline = block.find(b"\n")
        if newline >= 0:
            return at + newline + 1
        at += len(block)
    return size


def _record_ends(file: BinaryIO, about: Input, size: int) -> list[int]:
    """The first record's end behind every multiple of a size; none where quotes cannot be counted.

    One pass over the file, at more than a gigabyte a second: quotes are counted, and it is seen to that each stands
    where it may.
    """
    delimiter = ord(about.layout.delimiter) if about.layout else ord(",")
    found: list[int] = []
    wanted, inside, at = size, False, _mark(file)
    previous, block = b"\n", file.read(BLOCK)
    while block and at < about.size:
        following = file.read(BLOCK)
        # One byte more on either side, so that what stands around a quote is always in sight.
        array = np.frombuffer(previous + block + (following[:1] or b"\n"), np.uint8)
        middle = array[1:-1]
        quotes = np.flatnonzero(middle == QUOTE)
        if len(quotes) and not regular(array, quotes + 1, delimiter, inside):
            return []
        if at + len(block) > wanted:
            newlines = np.flatnonzero(middle == NEWLINE)
            before = np.searchsorted(quotes, newlines)
            ends = newlines[((before + inside) & 1) == 0] + at + 1
            while (place := int(np.searchsorted(ends, wanted))) < len(ends) and ends[place] < about.size:
                found.append(int(ends[place]))
                wanted = found[-1] + size
        inside ^= bool(len(quotes) & 1)
        at += len(block)
        previous, block = block[-1:], following
    return found


def _mark(file: BinaryIO) -> int:
    """Skip a byte order mark, behind which the first record begins."""
    begun = 3 if file.read(3) == b"\xef\xbb\xbf" else 0
    file.seek(begun)
    return begun
