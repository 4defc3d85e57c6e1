"""CSV and TSV: records keep their own bytes and gain fields."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from ..batch import Batch, Classified, Verdict, VerdictTable
from ..cascade import Cascade
from ..errors import ConfigError, InputError
from ..pretty import visible
from .columns import layout
from .csvscan import QUOTE, Records, quoted, scan, unquoted
from .names import TSV
from .plan import Input, Layout, Settings, Split
from .reading import not_in, read
from .units import Groups, codes_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

BOM = b"\xef\xbb\xbf"
LONGEST_RECORD = 64 << 20


def delimiter(about: Input, settings: Settings) -> str:
    return settings.delimiter or ("\t" if about.kind == TSV else ",")


def csv_layout(about: Input, settings: Settings) -> Layout | None:
    """The columns of a CSV or TSV, by its header; None of an empty file.

    Raises:
        ConfigError: it is not in its encoding, or its columns are not clear.
        InputError: it cannot be read.
    """
    separator = delimiter(about, settings)
    # What is behind the header is for the work itself to judge: wherever it is wrong, it is treated alike.
    blocks = Blocks(about, Split(0, 0, 0, -1), settings, separator, 0, check=False)
    records = next(iter(blocks), None)
    if records is None:
        return None
    start, end = int(records.starts[0]), int(records.ends[0])
    if b"\r" in records.data[start:end]:
        raise ConfigError("its lines end in bare carriage returns; convert it first", about.path)
    bounds = [records.field(number) for number in range(int(records.fields[0]))]
    check_utf8(records.data[start:end], about, blocks.begun)
    fields = [unquoted(records.data[first[0] : last[0]]).decode() for first, last in bounds]
    found = layout(fields, settings, about.path)
    following = int(records.starts[1]) if records.count > 1 else records.used
    crlf = records.data[end : end + 2] == b"\r\n"
    return msgspec.structs.replace(found, delimiter=separator, crlf=crlf, header=blocks.begun + following)


def check_utf8(data: bytes, about: Input, offset: int) -> None:
    """Raises ConfigError where bytes from that offset on are not UTF-8."""
    if data.isascii():
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        raise not_in(about.file, "UTF-8", offset + error.start) from error


class Blocks:
    """Whole records of a split, some hundred kilobytes at a time. `begun`: bytes of a byte order mark before them."""

    def __init__(
        self, about: Input, split: Split, settings: Settings, separator: str, start: int, check: bool = True
    ) -> None:
        self.begun, self._check = 0, check
        self._about, self._settings, self._delimiter = about, settings, ord(separator)
        self._first = split.start == 0 and start == 0
        self._skip = max(start - split.start, 0)
        self._chunks = read(about.file, about.compression, settings.encoding, split.start, split.end)
        self._at = split.start + self._skip  # where the next block begins, for messages

    def __iter__(self) -> Iterator[Records]:
        held, wanted = b"", 0
        for chunk in self._skipped():
            held += chunk
            if len(held) < wanted:
                continue
            records = self._scan(held, final=False)
            if records.count:
                yield records
            held = held[records.used :]
            self._at += records.used
            # A long record is looked at again only when there is twice as much of it.
            wanted = 2 * len(held) if not records.count else 0
            if len(held) > LONGEST_RECORD:
                raise self._endless()
        if held:
            records = self._scan(held, final=True)
            if records.used < len(held):
                raise self._endless()
            yield records

    def _skipped(self) -> Iterator[bytes]:
        """The split's bytes without the header, or without the byte order mark."""
        left = self._skip
        for chunk in self._chunks:
            if self._first:
                self._first = False
                self.begun = self._at = len(BOM) if chunk.startswith(BOM) else 0
                left = self.begun
            if left < len(chunk):
                yield chunk[left:]
            left = max(left - len(chunk), 0)

    def _scan(self, data: bytes, final: bool) -> Records:
        records = scan(data, self._delimiter, self._settings.quotes, final)
        if self._check:
            check_utf8(records.data[: records.used], self._about, self._at)
        return records

    def _endless(self) -> InputError:
        return InputError(
            f"{visible(self._about.path)}: a quoted field in the record at byte {self._at:,} never ends; "
            "if quotes mean nothing in this file, say --no-quotes"
        )


class RowWriter:
    """Records with their verdicts: as they were, with fields added behind, or with one field replaced."""

    def __init__(self, found: Layout, table: VerdictTable) -> None:
        self._layout, self._table = found, table
        self._delimiter = found.delimiter.encode()
        self._newline = b"\r\n" if found.crlf else b"\n"
        self._tails: dict[int, bytes] = {}
        self._labels: dict[int, bytes] = {}

    def header(self, data: bytes) -> bytes:
        """The header with the added columns' names."""
        names = [self._delimiter + quoted(name, self._layout.delimiter) for name in self._layout.added]
        return data.removesuffix(b"\n").removesuffix(b"\r") + b"".join(names) + self._newline

    def rows(self, records: Records, chosen: Integers | None, codes: Integers) -> bytes:
        """All records; `chosen` are those that are rows, where there are blank lines as well."""
        wanted = codes.tolist()
        for code in {*wanted} - self._tails.keys():
            self._tails[code], self._labels[code] = self._made(self._table.verdicts[code])
        tails = list(map(self._tails.__getitem__, wanted))
        heads = self._heads(records, chosen, wanted, tails)
        if chosen is not None:
            heads, tails = self._with_blanks(records, chosen, heads, tails)
        whole = [b""] * (2 * len(heads))
        whole[0::2] = heads
        whole[1::2] = tails
        return b"".join(whole)

    def _made(self, verdict: Verdict) -> tuple[bytes, bytes]:
        """What follows a row with this verdict, line end included; the label as a field."""
        label = quoted(verdict.label, self._layout.delimiter)
        explained = [getattr(verdict, attribute) for attribute in self._layout.explain]
        fields = [b"" if value is None else quoted(str(value), self._layout.delimiter) for value in explained]
        added = [*([label] if self._layout.label is None else []), *fields]
        return b"".join(self._delimiter + field for field in added) + self._newline, label

    def _heads(self, records: Records, chosen: Integers | None, codes: list[int], tails: list[bytes]) -> list[bytes]:
        """The rows' own bytes, up to where the tail begins; rows that are not as long as the header are mended."""
        rows = np.arange(records.count) if chosen is None else chosen
        data, columns = records.data, self._layout.columns
        starts, ends = records.starts[rows].tolist(), records.ends[rows].tolist()
        heads = [data[start:end] for start, end in zip(starts, ends, strict=True)]
        replaced = self._layout.label
        if replaced is not None:
            begin, finish = records.field(replaced)
            for index, (start, end) in enumerate(zip(begin[rows].tolist(), finish[rows].tolist(), strict=True)):
                left, right = start - starts[index], end - starts[index]
                heads[index] = heads[index][:left] + self._labels[codes[index]] + heads[index][right:]
        fields = records.fields[rows]
        for index in np.flatnonzero(fields != columns).tolist():
            heads[index], tails[index] = self._mended(
                records, int(rows[index]), heads[index], tails[index], codes[index]
            )
        return heads

    def _mended(self, records: Records, row: int, head: bytes, tail: bytes, code: int) -> tuple[bytes, bytes]:
        """A short row is filled up, a long one keeps what is too much behind what is added."""
        columns, count, replaced = self._layout.columns, int(records.fields[row]), self._layout.label
        if count < columns:
            if replaced is not None and replaced >= count:
                own = records.data[int(records.starts[row]) : int(records.ends[row])]
                filled = own + self._delimiter * (replaced - count + 1) + self._labels[code]
                return filled + self._delimiter * (columns - 1 - replaced), tail
            return head + self._delimiter * (columns - count), tail
        excess = int(records.ends[row]) - int(records.field(columns - 1)[1][row])
        cut = len(head) - excess
        return head[:cut] + tail.removesuffix(self._newline) + head[cut:], self._newline

    def _with_blanks(
        self, records: Records, chosen: Integers, heads: list[bytes], tails: list[bytes]
    ) -> tuple[list[bytes], list[bytes]]:
        """Blank lines between rows stay where they are."""
        all_heads, all_tails = [b""] * records.count, [self._newline] * records.count
        for row, head, tail in zip(chosen.tolist(), heads, tails, strict=True):
            all_heads[row], all_tails[row] = head, tail
        return all_heads, all_tails


@dataclass(frozen=True, slots=True)
class CsvUnit:
    """A block of records; `prefix` is the header before the first."""

    size: int
    batches: Sequence[Batch]
    rows: Sequence[Integers] | None
    records: Records | None
    chosen: Integers | None
    count: int
    writer: RowWriter
    prefix: bytes = b""

    def labelled(self, found: Sequence[Classified]) -> bytes:
        if self.records is None:
            return self.prefix
        return self.prefix + self.writer.rows(self.records, self.chosen, codes_of(found, self.rows, self.count))


class CsvUnits:
    """A split's rows.

    Raises (while iterated):
        ConfigError: it is not UTF-8, with the byte's offset.
        InputError: a record that never ends; what `reading.read` raises.
    """

    def __init__(self, about: Input, split: Split, settings: Settings, cascade: Cascade) -> None:
        self._about, self._split, self._settings, self._layout = about, split, settings, about.layout
        self._groups = Groups(cascade, settings.source or about.file.name)
        self._table, self._minds_source = cascade.table, cascade.minds_source
        self.counts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[CsvUnit]:
        found = self._layout
        if found is None:
            return
        writer = RowWriter(found, self._table)
        if self._split.start == 0:
            yield CsvUnit(0, [], None, None, None, 0, writer, writer.header(self._header(found)))
        for records in Blocks(self._about, self._split, self._settings, found.delimiter, found.header):
            yield self._unit(records, found, writer)

    def _header(self, found: Layout) -> bytes:
        """The header's bytes as they are."""
        have = b""
        for chunk in read(self._about.file, self._about.compression, self._settings.encoding):
            have += chunk
            if len(have) >= found.header:
                break
        return have[: found.header]

    def _unit(self, records: Records, found: Layout, writer: RowWriter) -> CsvUnit:
        blank = records.starts == records.ends
        chosen = np.flatnonzero(~blank) if blank.any() else None
        messages = self._values(records, chosen, found.text)
        asked = found.source is not None and self._minds_source
        sources = self._values(records, chosen, found.source or 0) if asked else None
        fields = records.fields if chosen is None else records.fields[chosen]
        self.counts["blank lines"] += int(blank.sum())
        self.counts["rows shorter than the header"] += int((fields < found.columns).sum())
        self.counts["rows longer than the header"] += int((fields > found.columns).sum())
        self.counts["empty texts"] += messages.count(b"")
        batches, rows = self._groups.batches(messages, sources)
        return CsvUnit(records.used, batches, rows, records, chosen, len(messages), writer)

    def _values(self, records: Records, chosen: Integers | None, column: int) -> list[bytes]:
        """A column's values."""
        starts, ends = records.field(column)
        if chosen is not None:
            starts, ends = starts[chosen], ends[chosen]
        data = records.data
        values = [data[start:end] for start, end in zip(starts.tolist(), ends.tolist(), strict=True)]
        if self._settings.quotes and values:
            first = np.frombuffer(data, np.uint8)[np.minimum(starts, len(data) - 1)]
            for row in np.flatnonzero((first == QUOTE) & (ends > starts)).tolist():
                values[row] = unquoted(values[row])
        return values

    @property
    def oddities(self) -> dict[str, int]:
        return dict(self.counts)
