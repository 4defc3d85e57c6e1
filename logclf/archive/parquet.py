"""Parquet: row group by row group, schema and metadata kept, with columns added or one replaced."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..batch import Batch, Classified, VerdictTable
from ..cascade import Cascade
from ..errors import ConfigError
from .columns import layout
from .names import PLAIN
from .plan import Input, Layout, Settings
from .reading import DamagedError, open_input, read
from .units import Groups, codes_of

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SLICE = 8192  # rows classified at a time


def pyarrow() -> Any:
    """The library, which only who has such files needs.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError as error:
        raise ConfigError("Parquet needs pyarrow: pip install 'logclf[parquet]'") from error
    return pyarrow


@contextmanager
def opened(about: Input) -> Iterator[Any]:
    """The file as pyarrow reads it; a compressed one is laid out beside the temporary files first.

    Raises:
        DamagedError: it is no Parquet file, or not all of one.
    """
    arrow = pyarrow()
    open_input(about.file).close()
    try:
        if about.compression == PLAIN:
            with arrow.parquet.ParquetFile(about.path) as file:
                yield file
        else:
            with tempfile.TemporaryFile() as plain:
                for chunk in read(about.file, about.compression):
                    plain.write(chunk)
                with arrow.parquet.ParquetFile(plain) as file:
                    yield file
    except (arrow.ArrowException, OSError) as error:
        reason = " ".join(str(error).split())
        raise DamagedError(f"{about.path}: not a whole Parquet file: {reason}") from error


def parquet_layout(about: Input, settings: Settings) -> Layout:
    """The columns of a Parquet file.

    Raises:
        ConfigError: they are not clear, or the text's are no texts.
    """
    arrow = pyarrow()
    with opened(about) as file:
        schema = file.schema_arrow
    found = layout(schema.names, settings, about.path)
    for number in (found.text, *([] if found.source is None else [found.source])):
        kind = schema.field(number).type
        plain = kind.value_type if arrow.types.is_dictionary(kind) else kind
        if not any(
            test(plain)
            for test in (
                arrow.types.is_string,
                arrow.types.is_large_string,
                arrow.types.is_string_view,
                arrow.types.is_null,
            )
        ):
            raise ConfigError(f"column {schema.names[number]!r} holds {kind}, not text", about.path)
    return found


@dataclass(frozen=True, slots=True)
class ParquetUnit:
    """A row group, whose labelled form is a table rather than bytes."""

    size: int
    batches: Sequence[Batch]
    rows: Sequence[NDArray[np.int64]] | None
    table: Any

    def codes(self, found: Sequence[Classified]) -> NDArray[np.int64]:
        return codes_of(found, self.rows, self.table.num_rows)


class ParquetUnits:
    """A file's row groups; `whole` says whether all columns are wanted or only those that decide."""

    def __init__(self, about: Input, settings: Settings, cascade: Cascade, whole: bool) -> None:
        self._about, self._cascade, self._whole = about, cascade, whole
        self._groups = Groups(cascade, settings.source or about.file.name)
        self.counts: Counter[str] = Counter()

    def __iter__(self) -> Iterator[ParquetUnit]:
        with opened(self._about) as file:
            yield from self.of(file)

    def of(self, file: Any) -> Iterator[ParquetUnit]:
        """The units of a file that is open."""
        groups = file.metadata.num_row_groups
        for number in range(groups):
            table = self._read(file, number)
            yield self._unit(table, self._about.size // groups)

    def _read(self, file: Any, number: int) -> Any:
        found = self._about.layout
        if self._whole or found is None:
            return file.read_row_group(number)
        names = file.schema_arrow.names
        wanted = [names[found.text], *([] if found.source is None else [names[found.source]])]
        return file.read_row_group(number, columns=wanted)

    def _unit(self, table: Any, size: int) -> ParquetUnit:
        messages, sources = self._texts(table)
        self.counts["empty texts"] += messages.count(b"")
        batches: list[Batch] = []
        rows: list[NDArray[np.int64]] = []
        for start in range(0, len(messages), SLICE):
            some = None if sources is None else sources[start : start + SLICE]
            made, places = self._groups.batches(messages[start : start + SLICE], some)
            batches += made
            rows += _places(made, places, start)
        return ParquetUnit(size, batches, rows, table)

    def _texts(self, table: Any) -> tuple[list[bytes], list[bytes] | None]:
        found = self._about.layout
        assert found is not None  # noqa: S101  (a Parquet file always has columns)
        minds = found.source is not None and self._cascade.minds_source
        if self._whole:
            return _column(table, found.text), _column(table, found.source or 0) if minds else None
        return _column(table, 0), _column(table, 1) if minds else None

    @property
    def oddities(self) -> dict[str, int]:
        return dict(self.counts)


def _places(made: Sequence[Batch], places: list[NDArray[np.int64]] | None, start: int) -> list[NDArray[np.int64]]:
    """Which rows the batches of a slice are."""
    import numpy as np

    if places is None:
        return [np.arange(start, start + batch.count) for batch in made]
    return [chosen + start for chosen in places]


def _column(table: Any, number: int) -> list[bytes]:
    """A column's texts as UTF-8; nothing is the empty text."""
    return [b"" if value is None else value.encode("utf-8", "replace") for value in table.column(number).to_pylist()]


def write_labelled(about: Input, units: ParquetUnits, path: Path, table: VerdictTable, label: Any) -> None:
    """Write the whole file anew; `label` classifies a unit and gives its codes."""
    arrow = pyarrow()
    found = about.layout
    assert found is not None  # noqa: S101
    with opened(about) as file:
        schema = _schema(file.schema_arrow, found)
        codec = _codec(file)
        with arrow.parquet.ParquetWriter(path, schema, compression=codec) as writer:
            for unit in units.of(file):
                labelled = _labelled(unit.table, label(unit), found, table, schema)
                writer.write_table(labelled, row_group_size=max(labelled.num_rows, 1))


def _codec(file: Any) -> str:
    """The compression of the file's first column."""
    if not file.metadata.num_row_groups or not file.metadata.num_columns:
        return "snappy"
    codec = str(file.metadata.row_group(0).column(0).compression).lower()
    return "none" if codec == "uncompressed" else codec


def _fields(found: Layout) -> list[tuple[str, str]]:
    """Name and verdict's attribute of each added column."""
    attributes = (() if found.label is not None else ("label",)) + found.explain
    return list(zip(found.added, attributes, strict=True))


def _schema(schema: Any, found: Layout) -> Any:
    arrow = pyarrow()
    for name, attribute in _fields(found):
        schema = schema.append(arrow.field(name, arrow.float64() if attribute == "confidence" else arrow.string()))
    if found.label is not None:
        schema = schema.set(found.label, arrow.field(schema.names[found.label], arrow.string()))
    return schema


def _labelled(table: Any, codes: NDArray[np.int64], found: Layout, verdicts: VerdictTable, schema: Any) -> Any:
    """A row group with its verdicts."""
    columns = table.columns
    if found.label is not None:
        columns[found.label] = _values(codes, verdicts, "label")
    columns += [_values(codes, verdicts, attribute) for _, attribute in _fields(found)]
    return pyarrow().Table.from_arrays(columns, schema=schema)


def _values(codes: NDArray[np.int64], verdicts: VerdictTable, attribute: str) -> Any:
    """One attribute of the verdicts, made once for each verdict there is."""
    import numpy as np

    arrow = pyarrow()
    used, index = np.unique(codes, return_inverse=True)
    kind = arrow.float64() if attribute == "confidence" else arrow.string()
    distinct = arrow.array([getattr(verdicts.verdicts[code], attribute) for code in used.tolist()], kind)
    return distinct.take(arrow.array(index.astype(np.int64)))
