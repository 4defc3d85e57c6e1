"""Labelled tables (CSV, TSV, Parquet, JSONL) → templates with a label each, whatever the table's size.

A table is read in chunks. What is kept of it: every distinct template once, and three small integers a row.
"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .. import features, masking
from ..errors import ConfigError
from ..features import Reading
from ..pretty import visible
from ..tables import COUNT_NAMES, LABEL_NAMES, SEVERITY_NAMES, SOURCE_NAMES, TEXT_NAMES, find_column, missing_column
from .frames import frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

MISSING = frozenset(("", "nan", "NaN", "None", "null", "NULL", "<NA>"))
MOST_TEMPLATES = 50_000  # to fit takes 2 GB and two minutes
SAMPLED = f"templates beyond a sample of {MOST_TEMPLATES:,}"
LONGEST_SAMPLE = 400


@dataclass(frozen=True)
class Columns:
    """Which columns to read, by name; None is found by the usual names."""

    text: str | None = None
    label: str | None = None
    source: str | None = None


@dataclass(frozen=True)
class Rows:
    """A chunk of a table: one string a row in each column; "" where there is none."""

    text: list[str]
    label: list[str]
    source: list[str] | None
    severity: list[str] | None
    count: list[int] | None


def read_rows(path: Path, columns: Columns, form: str | None = None, encoding: str = "utf-8") -> Iterator[Rows]:
    """A labelled table, chunk by chunk.

    Raises:
        InputError: it cannot be read.
        ConfigError: a column is missing or ambiguous, or it is not text in this encoding.
    """
    chosen: Columns | None = None
    for frame in frames(path, form, encoding):
        names = [str(name) for name in frame.columns]
        chosen = chosen or _chosen(names, columns, path)
        yield _rows(frame, names, chosen)


def _chosen(names: Sequence[str], wanted: Columns, path: Path) -> Columns:
    try:
        text = find_column(names, wanted.text, TEXT_NAMES, "text", "--text-column")
        if text is None:
            raise missing_column(names, "text", "--text-column")
        label = find_column(names, wanted.label, LABEL_NAMES, "label", "--label-column")
        if label is None:
            raise missing_column(names, "label", "--label-column")
        others = [name for name in names if name not in {text, label}]
        source = find_column(others, wanted.source, SOURCE_NAMES, "source", "--source-column")
    except ConfigError as error:
        raise ConfigError(error.message, str(path)) from error
    return Columns(text, label, source)


def _rows(frame: Any, names: Sequence[str], chosen: Columns) -> Rows:
    def column(name: str | None) -> list[str]:
        # Of JSON lines, a part may lack what others have.
        return _strings(frame.iloc[:, names.index(name)]) if name in names else [""] * len(frame)

    severity, count = (_only(names, each) for each in (SEVERITY_NAMES[0], COUNT_NAMES[0]))
    return Rows(
        column(chosen.text),
        column(chosen.label),
        column(chosen.source) if chosen.source else None,
        column(severity) if severity else None,
        [_count(value) for value in column(count)] if count else None,
    )


def _only(names: Sequence[str], usual: str) -> str | None:
    """The one column of this name, in whatever case; None where there is none, or several."""
    found = [name for name in names if name.strip().lower() == usual]
    return found[0] if len(found) == 1 else None


def _count(value: str) -> int:
    """How many lines a row stands for: 1 where that is no sensible number."""
    digits = value.strip().removesuffix(".0")
    return int(digits) if digits.isdecimal() and len(digits) <= 12 else 1


def _strings(values: Any) -> list[str]:
    missing = values.isna().tolist()
    return ["" if gone else str(value) for value, gone in zip(values.tolist(), missing, strict=True)]


@dataclass
class Labelled:
    """A table's templates and rows.

    readings, samples: of each template what the model reads, and one line of it.
    template, label, source: by row, indexes into readings, labels and sources (source: empty without such a column).
    dropped: rows that were left out, by reason.
    """

    labels: tuple[str, ...]
    readings: list[Reading] = field(default_factory=list)
    samples: list[str] = field(default_factory=list)
    sources: list[str] = field(default_factory=list)
    template: array[int] = field(default_factory=lambda: array("l"))
    label: array[int] = field(default_factory=lambda: array("h"))
    source: array[int] = field(default_factory=lambda: array("l"))
    dropped: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)

    @property
    def rows(self) -> int:
        return len(self.template)

    def tally(self) -> Integers:
        """How many rows of each template have each label: (templates, labels)."""
        width = len(self.labels)
        flat = np.array(self.template, np.int64) * width + np.array(self.label, np.int64)
        return np.bincount(flat, minlength=len(self.readings) * width).reshape(-1, width)

    def keep(self, chosen: Sequence[bool]) -> None:
        """Only some of the templates, and their rows; the others' rows are counted as dropped."""
        kept = np.array(chosen, np.bool_)
        template = np.array(self.template, np.int64)
        rows = kept[template]
        self.dropped[SAMPLED] += int((~rows).sum())
        self.template = array("l", (np.cumsum(kept) - 1)[template[rows]].tolist())
        self.label = array("h", compress(self.label, rows.tolist()))
        self.source = array("l", compress(self.source, rows.tolist()))
        self.readings = list(compress(self.readings, chosen))
        self.samples = list(compress(self.samples, chosen))


def collect(chunks: Iterable[Rows], labels: Sequence[str]) -> Labelled:
    """All rows of a table as templates; rows with no text or no label are counted and left out.

    Rows with labels that are not among `labels` are counted in `unknown`. Of more templates than MOST_TEMPLATES a fair
    sample is kept, whatever their order in the table.
    """
    found = Labelled(tuple(labels))
    by_label = {name: number for number, name in enumerate(labels)}
    by_source: dict[str, int] = {}
    by_reading: dict[str, int] = {}
    share = 1.0  # of all templates that is kept
    for rows in chunks:
        pairs = zip(rows.text, rows.label, strict=True)
        kept = [at for at, pair in enumerate(pairs) if usable(*pair, by_label, found.dropped, found.unknown)]
        masked = masking.mask([one_line(rows.text[at]) for at in kept])
        for at, text in zip(kept, masked, strict=True):
            reading = features.read(masking.readable(text))
            number = by_reading.get(reading.hinted)
            if number is None:
                if share < 1 and _place(reading) >= share:
                    found.dropped[SAMPLED] += 1
                    continue
                number = by_reading[reading.hinted] = len(found.readings)
                found.readings.append(reading)
                found.samples.append(rows.text[at][:LONGEST_SAMPLE])
            found.template.append(number)
            found.label.append(by_label[rows.label[at].strip()])
            if rows.source is not None:
                found.source.append(by_source.setdefault(rows.source[at], len(by_source)))
        while len(found.readings) > MOST_TEMPLATES:
            share /= 2
            found.keep([_place(reading) < share for reading in found.readings])
            by_reading = {reading.hinted: number for number, reading in enumerate(found.readings)}
    found.sources = list(by_source)
    return found


def _place(reading: Reading) -> float:
    """A template's place from 0 to 1, as if drawn, yet always the same."""
    digest = hashlib.blake2b(reading.hinted.encode("utf-8", "replace"), digest_size=7).digest()
    return int.from_bytes(digest) / (1 << 56)


def usable(text: str, label: str, known: Container[str], dropped: Counter[str], unknown: Counter[str]) -> bool:
    """Whether a row can be learnt from or asked about; counted where it cannot."""
    label = label.strip()
    if text.strip() in MISSING:
        dropped["no text"] += 1
    elif label in known:
        return True
    elif label in MISSING:
        dropped["no label"] += 1
    else:
        unknown[label] += 1
    return False


def one_line(text: str) -> bytes:
    """A row's text as the line that a stream would have."""
    return text.encode("utf-8", "replace").replace(b"\n", b" ").replace(b"\r", b" ")


def unknown_labels(unknown: Counter[str], known: Sequence[str]) -> ConfigError:
    """The error that a table has labels which the taxonomy lacks."""
    named = []
    for label, count in unknown.most_common(8):
        near = get_close_matches(label.title(), known, 1, 0.75)
        hint = f", perhaps {near[0]!r}" if near else ""
        named.append(f"{visible(label)!r} ({count:,} row{'s'[: count > 1]}{hint})")
    more = f" and {len(unknown) - 8} more" if len(unknown) > 8 else ""
    return ConfigError(
        f"labels that the taxonomy lacks: {'; '.join(named)}{more}. Known are {', '.join(known)}; bring labels of your "
        "own with --taxonomy FILE, or leave these rows out with --skip-unknown"
    )
