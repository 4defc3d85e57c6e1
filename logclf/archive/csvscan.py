"""Where the records and fields of a CSV or TSV are, found for a whole block at once.

A record's bytes are never taken apart and put together again: what is known is where its fields begin and end, and
all that is not changed stays as it was, byte for byte, quotes and odd spellings included.

In well-formed CSV (RFC 4180) a separator counts where the number of quotes before it is even. Blocks with quotes in
other places (`5" disk` in a bare field) are read quote by quote, as Python's csv module and pandas read them: a quote
opens a field only at its beginning, and what follows the closing one belongs to the field as it is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Bools = NDArray[np.bool_]
    Bytes = NDArray[np.uint8]

NEWLINE, RETURN, QUOTE = 10, 13, 34


@dataclass(frozen=True, slots=True)
class Records:
    """The whole records of a block.

    data: the block. used: bytes of it that these records are. starts, ends: of each record, line end left out.
    fields: how many each has. first: position in `separators` of each record's first one; the last is its line end.
    """

    data: bytes
    used: int
    starts: Integers
    ends: Integers
    fields: Integers
    first: Integers
    separators: Integers

    @property
    def count(self) -> int:
        return len(self.starts)

    def field(self, number: int) -> tuple[Integers, Integers]:
        """Start and end (exclusive) of one field in each record; both at the record's end where it has too few."""
        last = np.minimum(number, self.fields - 1)
        closing = self.first + last
        end = np.minimum(self.separators[closing], self.ends)  # the last one's line end may have a carriage return
        start = self.starts if number == 0 else np.where(last == 0, self.starts, self.separators[closing - 1] + 1)
        missing = self.fields <= number
        return np.where(missing, self.ends, start), np.where(missing, self.ends, end)


def scan(data: bytes, delimiter: int, quotes: bool = True, final: bool = False) -> Records:
    """The whole records at the beginning of a block, which begins with a record.

    quotes: whether they mean anything. final: nothing follows, so that the last record needs no line end; one in which
    a quoted field is still open is left over all the same.
    """
    if final and data and not data.endswith(b"\n"):
        data += b"\n"
    array = np.frombuffer(data, np.uint8)
    chosen = (array == NEWLINE) | (array == delimiter)
    found = quotes and QUOTE in data
    if found:
        chosen |= array == QUOTE
    separators = np.flatnonzero(chosen)
    if found:
        separators = _outside(array, separators, delimiter)
    closing = np.flatnonzero(array[separators] == NEWLINE)
    line_ends = separators[closing]
    used = int(line_ends[-1]) + 1 if len(line_ends) else 0
    starts = np.concatenate((np.zeros(1, np.int64), line_ends[:-1] + 1))[: len(line_ends)]
    first = np.concatenate((np.zeros(1, np.int64), closing[:-1] + 1))[: len(closing)]
    returns = (line_ends > starts) & (array[line_ends - 1] == RETURN)
    return Records(data, used, starts, line_ends - returns, closing - first + 1, first, separators)


def _outside(array: Bytes, special: Integers, delimiter: int) -> Integers:
    """Those of some separators and quotes that are separators outside quotes."""
    quote = array[special] == QUOTE
    if not regular(array, special[quote], delimiter):
        quote = np.isin(special, toggles(array, special[quote], delimiter))
    outside = (np.cumsum(quote) & 1) == 0
    result: Integers = special[outside & (array[special] != QUOTE)]
    return result


def regular(array: Bytes, quotes: Integers, delimiter: int, inside: bool = False) -> bool:
    """Whether every quote stands where RFC 4180 wants it, so that counting them is enough.

    inside: the block begins within quotes. What lies before and behind it is taken to be in order.
    """
    opening, closing = quotes[int(inside) :: 2], quotes[1 - int(inside) :: 2]
    before = array[np.maximum(opening - 1, 0)]
    good = (before == delimiter) | (before == NEWLINE) | (before == QUOTE) | (opening == 0)
    behind = array[np.minimum(closing + 1, len(array) - 1)]
    ends = (behind == delimiter) | (behind == NEWLINE) | (behind == RETURN) | (behind == QUOTE)
    return bool(good.all() and (ends | (closing == len(array) - 1)).all())


def toggles(array: Bytes, quotes: Integers, delimiter: int) -> list[int]:
    """The quotes that open and close fields, one after the other."""
    found: list[int] = []
    positions = quotes.tolist()
    at, inside = 0, False
    while at < len(positions):
        position = positions[at]
        at += 1
        if inside and at < len(positions) and positions[at] == position + 1:
            at += 1  # two of them are one in the text
        elif inside or position == 0 or array[position - 1] in (delimiter, NEWLINE):
            found.append(position)
            inside = not inside
    return found


def unquoted(field: bytes) -> bytes:
    """A field's value."""
    if not field.startswith(b'"'):
        return field
    if field.endswith(b'"') and len(field) > 1 and b'"' not in (inner := field[1:-1]).replace(b'""', b""):
        return inner.replace(b'""', b'"')
    closing = 1
    while (closing := field.find(b'"', closing)) >= 0 and field[closing + 1 : closing + 2] == b'"':
        closing += 2
    return (
        field[1:].replace(b'""', b'"') if closing < 0 else field[1:closing].replace(b'""', b'"') + field[closing + 1 :]
    )


def quoted(value: str, delimiter: str) -> bytes:
    """A value as a field."""
    if any(char in value for char in (delimiter, '"', "\n", "\r")):
        value = '"' + value.replace('"', '""') + '"'
    return value.encode()
