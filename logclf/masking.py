"""A line's template: what is left when its variable parts are gone.

Two levels, since most lines need only the first (design: "fast and right"):

- `first_keys`: every digit made 0, for a whole block in a few calls. Equal keys mean equal templates, so that what
  a line is given never depends on the lines before it.
- `mask`: numbers, hexadecimal ids, UUIDs, random ids and paths become placeholders, for the lines of a block that
  the first level does not know. It works on all of them together, as arrays of bytes.

Neither looks at a line with a regular expression, and both take time linear in the bytes.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .pattern_tree import DIGIT, LOWER, UPPER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Bools = NDArray[np.bool_]
    Positions = NDArray[np.intp]

DIGITS = b"0123456789"
ZEROED = bytes.maketrans(b"123456789", b"000000000")
NEWLINE = 10
LONGEST_KEY = 1024
HEX_RUN = 4  # a run of hexadecimal digits this long that has both digits and letters in it is an id
ID_RUN = 8  # so is a longer run that changes between letters and digits this often:
ID_CHANGES = 3
PIECE = 64 << 10  # bytes masked at a time: the dozen arrays over them stay in the processor's cache

# While masks are made a placeholder is one control byte; `readable` spells them out. Numbers, hexadecimal, ids and
# addresses share one: a random hexadecimal id is all digits now and then, and must not become a template of its own.
NUMBER, UUID, PATH = 1, 2, 3
PLACEHOLDERS = {NUMBER: b"<n>", UUID: b"<uuid>", PATH: b"<path>"}


def _table(values: frozenset[int]) -> Bools:
    table = np.zeros(256, np.bool_)
    table[list(values)] = True
    return table


IS_DIGIT = _table(DIGIT)
IS_LETTER = _table(UPPER | LOWER)
IS_HEX = _table(DIGIT | frozenset(b"abcdefABCDEF"))
IS_WORD = IS_DIGIT | IS_LETTER
# What ends a path: blanks, quotes, brackets and the signs that put one into a sentence or a key=value pair.
ENDS_PATH = _table(frozenset(b" \t\n\r\"'`()[]{}<>,;=|"))


def first_keys(text: bytes) -> list[bytes]:
    """First-level keys of lines joined by newlines.

    `mask` can tell a 0 from another digit in one place, before an x, so there the key does too. Without any digits keys
    would be fewer, but `sda` and `sda1`, whose templates differ, would share one.
    """
    return text.replace(b"0x", b"\1x").replace(b"0X", b"\1X").translate(ZEROED).split(b"\n")


def key(masked: bytes, numbers: Sequence[bytes] = ()) -> bytes:
    """A key to remember by: bounded in length, with the numbers that mean something."""
    if numbers:
        masked = b"%b\0%b" % (masked, b",".join(numbers))
    if len(masked) > LONGEST_KEY:
        masked = masked[: LONGEST_KEY // 2] + hashlib.blake2b(masked, digest_size=16).digest()
    return masked


def number_before(text: bytes, end: int) -> bytes:
    """The digits that end at an offset, with their sign."""
    start = end
    while start and 48 <= text[start - 1] <= 57:
        start -= 1
    return text[start - (text[start - 1 : start] == b"-") : end]


def readable(masked: bytes) -> str:
    """A template for people and for the model: placeholders spelt out, everything else as it was."""
    for code, name in PLACEHOLDERS.items():
        masked = masked.replace(bytes((code,)), name)
    return masked.decode("utf-8", "replace")


def mask(lines: Sequence[bytes]) -> list[bytes]:
    """Second-level templates, placeholders as control bytes; about 30 ns a byte in bulk and 0.1 ms a call."""
    masked: list[bytes] = []
    piece: list[bytes] = []
    size = 0
    for line in lines:
        piece.append(line)
        size += len(line)
        if size >= PIECE:
            masked += _mask(piece)
            piece, size = [], 0
    return masked + _mask(piece) if piece else masked


def _mask(lines: Sequence[bytes]) -> list[bytes]:
    text = np.frombuffer(b"\n".join(lines) + b"\n", np.uint8)
    work = Work(text, text.copy(), np.ones(len(text), np.bool_), IS_DIGIT[text], IS_HEX[text], IS_WORD[text])
    _cover_uuids(work)
    _cover_addresses(work)
    _cover_words(work)
    _cover_numbers(work)
    _cover_paths(work)
    blank = text == ord(" ")
    work.keep[1:] &= ~(blank[1:] & blank[:-1])  # `Jan  5` and `Jan 15`, and columns padded to a width
    return work.out[work.keep].tobytes().split(b"\n")[: len(lines)]


class Work(NamedTuple):
    """The block under way: its bytes, a copy that receives placeholders, and which bytes of that stay."""

    text: NDArray[np.uint8]
    out: NDArray[np.uint8]
    keep: Bools
    digit: Bools
    hexadecimal: Bools
    word: Bools

    def replace(self, starts: Positions, ends: Positions, code: int) -> None:
        """Put one placeholder in the place of each run; what it covers is no word any more."""
        if not len(starts):
            return
        edges = np.zeros(len(self.text) + 1, np.int8)
        edges[starts] += 1
        edges[ends] -= 1
        covered = np.cumsum(edges[:-1], dtype=np.int8) > 0
        for column in (self.keep, self.digit, self.hexadecimal, self.word):
            column[covered] = False
        self.keep[starts] = True
        self.out[starts] = code


def _runs(member: Bools) -> tuple[Positions, Positions]:
    """Starts and ends (exclusive) of the runs of True."""
    change = np.diff(member.view(np.int8), prepend=np.int8(0), append=np.int8(0))
    return np.flatnonzero(change == 1), np.flatnonzero(change == -1)


def _counter(member: Bools) -> Positions:
    """`counts[end] - counts[start]` is the number of members between two offsets."""
    return np.concatenate((np.zeros(1, np.int32), np.cumsum(member, dtype=np.int32)))


def _cover_uuids(work: Work) -> None:
    """8-4-4-4-12 hexadecimal digits; groups without any digit are no exception here."""
    span = len(work.text) - 36
    if span <= 0:
        return
    dash = work.text == ord("-")
    starts = np.flatnonzero(dash[8 : 8 + span] & dash[13 : 13 + span] & dash[18 : 18 + span] & dash[23 : 23 + span])
    if len(starts):
        hexes = _counter(work.hexadecimal)
        starts = starts[hexes[starts + 36] - hexes[starts] == 32]
        work.replace(starts, starts + 36, UUID)


def _cover_addresses(work: Work) -> None:
    """Hexadecimal digits with two or more colons between them: MAC and IPv6 addresses, times of day."""
    colon = work.text == ord(":")
    starts, ends = _runs(work.hexadecimal | colon)
    if not len(starts):
        return
    colons, digits = _counter(colon), _counter(work.digit)
    chosen = (colons[ends] - colons[starts] >= 2) & (digits[ends] > digits[starts])
    # The colon of a sentence (`2001:db8::5: no route`) is not the address's; a time of day keeps its own.
    spoken = colon[ends - 1] & ~colon[ends - 2]
    letters = _counter(work.hexadecimal & ~work.digit)
    doubled = _counter(colon & np.append(colon[1:], False))
    ends = ends - (spoken & ((letters[ends] > letters[starts]) | (doubled[ends] > doubled[starts])))
    chosen &= (colons[ends] - colons[starts] >= 2) & (~colon[ends - 1] | colon[ends - 2])
    # Before the first line lies, by wrapping around, the newline behind the last: no line depends on its place.
    chosen &= ~work.word[starts - 1] & ~work.word[ends]
    work.replace(starts[chosen], ends[chosen], NUMBER)


def _cover_words(work: Work) -> None:
    """Runs of letters and digits that are ids: 0x…, hexadecimal, or letters and digits in turns."""
    starts, ends = _runs(work.word)
    if not len(starts):
        return
    length = ends - starts
    counter = _counter(work.digit)
    digits = counter[ends] - counter[starts]
    hexes_before = _counter(work.hexadecimal)
    hexes = hexes_before[ends] - hexes_before[starts]
    changes_before = _counter(np.diff(work.digit.view(np.int8), prepend=np.int8(0)) != 0)
    changes = changes_before[ends] - changes_before[starts + 1]
    mixed = (digits > 0) & (digits < length)
    second = work.text[starts + 1]
    prefixed = (work.text[starts] == ord("0")) & ((second == ord("x")) | (second == ord("X"))) & (hexes >= length - 1)
    is_id = prefixed | (mixed & (hexes == length) & (length >= HEX_RUN))
    is_id |= mixed & (length >= ID_RUN) & (changes >= ID_CHANGES)
    work.replace(starts[is_id], ends[is_id], NUMBER)


def _cover_numbers(work: Work) -> None:
    """What digits are left, run by run."""
    starts, ends = _runs(work.digit)
    work.replace(starts, ends, NUMBER)


def _cover_paths(work: Work) -> None:
    """Tokens that begin with a slash and go on, or that have two slashes in them."""
    starts, ends = _runs(~ENDS_PATH[work.text])
    if not len(starts):
        return
    slash = work.text == ord("/")
    slashes = _counter(slash)
    chosen = (slash[starts] & (ends - starts > 1)) | (slashes[ends] - slashes[starts] >= 2)
    work.replace(starts[chosen], ends[chosen], PATH)
