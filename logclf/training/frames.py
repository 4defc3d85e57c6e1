"""Table files (CSV, TSV, Parquet, JSON lines; text also .gz and .zst) → pandas frames, a part at a time.

What a file claims is not believed: see archive/reading.py, which decompresses and decodes.
"""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ..archive.names import compression, kind
from ..archive.reading import read
from ..errors import ConfigError, InputError
from ..pretty import visible

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer

CHUNK = 50_000  # rows
FORMATS = ("csv", "tsv", "parquet", "jsonl")
LONGEST_LINE = 16 << 20  # bytes of one JSON object


def table_format(path: Path, wanted: str | None = None) -> str:
    """csv, tsv, parquet or jsonl: the wanted one, else by the file's name.

    Raises:
        ConfigError: the name does not say.
    """
    found = wanted or kind(path)
    if found not in FORMATS:
        known = ", ".join(f".{name}" for name in FORMATS)
        raise ConfigError(f"{path}: cannot tell the format from the name (known are {known}); say it with --format")
    return found


def frames(path: Path, form: str | None = None, encoding: str = "utf-8") -> Iterator[Any]:
    """A table's rows under its columns' names, as they are spelt, even twice; missing values are None or NaN.

    Raises:
        InputError: it cannot be read to its end.
        ConfigError: it is no such table, or not text in this encoding.
    """
    form = table_format(path, form)
    try:
        if form == "parquet":
            yield from _parquet(path)
        elif form == "jsonl":
            yield from _json_lines(path, encoding)
        else:
            yield from _csv(path, "\t" if form == "tsv" else ",", encoding)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror or error}") from error
    except ValueError as error:  # of pandas' and Arrow's parsers
        said = visible(str(error).removeprefix("Error tokenizing data. C error: ").strip())
        raise ConfigError(f"{path}: not a {form} table: {said}") from error


def _csv(path: Path, separator: str, encoding: str) -> Iterator[Any]:
    import pandas as pd  # 0.4 s, and only tables need it

    # The header is read as a row: pandas would rename columns that are there twice, and shift all of them where rows
    # are one field longer than it.
    names: list[str] | None = None
    with _text(path, encoding) as file:
        try:
            reader = pd.read_csv(
                file, sep=separator, chunksize=CHUNK, header=None, dtype=str, keep_default_na=False, encoding="utf-8"
            )
        except pd.errors.EmptyDataError as error:
            raise ConfigError(
                f"{path}: it is empty; a {separator!r}-separated table begins with its columns' names"
            ) from error
        for frame in reader:
            rows = frame if names else frame.iloc[1:]
            names = names or frame.iloc[0].fillna("").tolist()
            yield rows.set_axis(names, axis="columns")


def _json_lines(path: Path, encoding: str) -> Iterator[Any]:
    import pandas as pd

    rows: list[dict[str, str | None]] = []
    with _text(path, encoding) as file:
        for number, line in enumerate(iter(lambda: file.readline(LONGEST_LINE), b""), 1):
            if line := line.removeprefix(codecs.BOM_UTF8).strip():
                rows.append(_object(line, path, number))
            if len(rows) == CHUNK:
                yield pd.DataFrame(rows, dtype=object)
                rows = []
    if rows:
        yield pd.DataFrame(rows, dtype=object)


def _object(line: bytes, path: Path, number: int) -> dict[str, str | None]:
    """A line's object; values that are no text as the JSON they are."""
    try:
        found = msgspec.json.decode(line, type=dict[str, Any])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ConfigError(f"expected one JSON object a line: {error}", f"{path}:{number}") from error
    return {
        name: value if isinstance(value, str) or value is None else msgspec.json.encode(value).decode()
        for name, value in found.items()
    }


def _parquet(path: Path) -> Iterator[Any]:
    try:
        from pyarrow.parquet import ParquetFile  # 0.2 s, an extra
    except ImportError as error:
        raise ConfigError("reading Parquet needs pyarrow: pip install 'logclf[parquet]'") from error
    with ParquetFile(path) as file:
        for batch in file.iter_batches(CHUNK):
            yield batch.to_pandas()


def _text(path: Path, encoding: str) -> io.BufferedReader:
    """A file as UTF-8, unpacked."""
    try:
        "".encode(encoding)  # some codecs turn bytes into bytes
    except LookupError as error:
        raise ConfigError(f"{encoding!r} is no encoding that Python knows") from error
    return io.BufferedReader(_Chunks(read(path, compression(path), encoding)), 1 << 20)


class _Chunks(io.RawIOBase):
    """An iterator's bytes as a file."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        self._chunks, self._held = chunks, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: WriteableBuffer) -> int:
        target = memoryview(buffer).cast("B")
        while not self._held and (chunk := next(self._chunks, None)) is not None:
            self._held = chunk
        count = min(len(target), len(self._held))
        target[:count], self._held = self._held[:count], self._held[count:]
        return count
