"""Remembered answers as text that people and other hosts read: JSON lines, or CSV where a file's name says so.

{"template":"…","label":"Error","provenance":"llm","confidence":0.93,"sample":"…","model":"qwen3:4b",
 "taxonomy":"default@0123456789abcdef","created":"2026-01-02T03:04:05Z","expires":"2026-02-01T03:04:05Z"}

What is read may come from anywhere: each line is checked, and the first that is wrong is named.
"""

from __future__ import annotations

import contextlib
import csv
import io
from collections.abc import Callable, Generator, Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO, TextIO

import msgspec

from ..errors import ConfigError
from ..pretty import json_safe
from .calls import UNSURE
from .settings import LlmSettings
from .store import LONGEST_SAMPLE, Provenance, Replaced, Stored, fingerprint

if TYPE_CHECKING:
    from ..taxonomy import Taxonomy

LONGEST_LINE = 256 << 10  # bytes
LONGEST_TEMPLATE = 16 << 10  # characters; the cascade's have 2048 bytes before placeholders are spelt out
LONGEST_NAME = 400  # characters of a source, a model, ...
LATEST = 253_370_764_800.0  # the year 9999; calendars end there
Time = Annotated[datetime, msgspec.Meta(tz=True)]
Name = Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]


class Line(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An answer as it is written. created: now where it is left out. expires: not for people's answers."""

    template: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEMPLATE)]
    label: Name
    provenance: Provenance
    confidence: Annotated[float, msgspec.Meta(ge=0, le=1)] = 1.0
    sample: Annotated[str, msgspec.Meta(max_length=LONGEST_SAMPLE)] = ""
    source: Name = ""
    model: Name = ""
    prompt_version: Name = ""
    taxonomy: Name = ""
    created: Time | None = None
    expires: Time | None = None
    replaced: Replaced | None = None


class Example(msgspec.Struct, frozen=True):
    """What `logclf train` reads: a line and the label that a person gave or accepted."""

    text: str
    label: str
    source: str


class Imported(msgspec.Struct):
    """What was read, and how many lines were left aside: their label is unknown, or they have expired."""

    answers: list[Stored]
    unknown: int = 0
    expired: int = 0


def as_line(answer: Stored) -> Line:
    """An answer to be written."""
    return Line(
        answer.template,
        answer.label,
        answer.provenance,
        answer.confidence,
        answer.sample,
        answer.source,
        answer.model,
        answer.prompt_version,
        answer.taxonomy,
        _time(answer.created),
        None if answer.expires is None else _time(answer.expires),
        answer.replaced,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(min(max(seconds, 0.0), LATEST), UTC)


def as_example(answer: Stored) -> Example:
    """An answer to learn from; only people's may become one."""
    return Example(answer.sample or answer.template, answer.label, answer.source)


def json_lines(values: Iterable[Line | Example]) -> Iterator[bytes]:
    """JSON lines that a terminal may show."""
    encode = msgspec.json.Encoder().encode
    return (json_safe(encode(value).decode()).encode() + b"\n" for value in values)


def csv_rows(values: Iterable[Line | Example], kind: type[Line | Example]) -> Iterator[bytes]:
    """A CSV table with a column for each field; what an answer replaced is JSON."""
    names = kind.__struct_fields__
    yield _csv_row(names)
    for value in values:
        fields = msgspec.to_builtins(value)
        if replaced := fields.get("replaced"):
            fields["replaced"] = msgspec.json.encode(replaced).decode()
        yield _csv_row([fields.get(name, "") for name in names])


def _csv_row(cells: Iterable[Any]) -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL).writerow(cells)  # else a carriage return stays bare
    return text.getvalue().encode()


def read_answers(
    file: BinaryIO, name: str, taxonomy: Taxonomy, now: float, as_csv: bool = False, skip_unknown: bool = False
) -> Imported:
    """Answers of a file that `name` stands for in messages.

    Raises:
        ConfigError: the first line that is wrong, with file:line.
    """
    found = Imported([])
    with contextlib.closing(_csv_lines(file, name) if as_csv else _json_lines(file, name)) as lines:
        for where, line in lines:
            known = line.label in taxonomy.names or (line.label == UNSURE and line.provenance == "llm")
            if not known and not skip_unknown:
                raise ConfigError(
                    f"the taxonomy {taxonomy.name!r} has no label {line.label!r}; --skip-unknown leaves such out", where
                )
            answer = _stored(line, taxonomy, now)
            if not known:
                found.unknown += 1
            elif answer.expires is not None and answer.expires <= now:
                found.expired += 1
            else:
                found.answers.append(answer)
    return found


def _stored(line: Line, taxonomy: Taxonomy, now: float) -> Stored:
    """An answer to be kept. One from the future would win over every later one, so it is from now."""
    created = now if line.created is None else min(line.created.timestamp(), now)
    # Labels of another taxonomy's memory that this one has too: whatever they were chosen from, it was something else.
    mark = line.taxonomy if line.taxonomy.rpartition("@")[0] == taxonomy.name else f"{taxonomy.name}@imported"
    if line.provenance == "human":
        mark = fingerprint(taxonomy)
    expires = created + LlmSettings().ttl if line.provenance == "llm" else None
    if line.expires is not None and line.provenance != "human":
        expires = line.expires.timestamp()
    return Stored(
        line.template,
        line.label,
        line.confidence,
        line.provenance,
        mark,
        created,
        expires,
        line.sample,
        line.source,
        line.model,
        line.prompt_version,
        line.replaced,
    )


def _json_lines(file: BinaryIO, name: str) -> Generator[tuple[str, Line], None, None]:
    decode = msgspec.json.Decoder(Line).decode
    for number, data in enumerate(iter(lambda: file.readline(LONGEST_LINE + 1), b""), 1):
        where = f"{name}:{number}"
        if len(data) > LONGEST_LINE:
            raise ConfigError(f"longer than {LONGEST_LINE} bytes", where)
        if data.strip():
            yield where, _checked(lambda data=data: decode(data), where)  # type: ignore[misc]


def _csv_lines(file: BinaryIO, name: str) -> Generator[tuple[str, Line], None, None]:
    text = io.TextIOWrapper(file, "utf-8-sig", newline="")
    try:
        yield from _csv_lines_of(text, name)
    finally:
        text.detach()  # or it would close the file, which is its opener's to do


def _csv_lines_of(text: TextIO, name: str) -> Iterator[tuple[str, Line]]:
    reader = csv.reader(text, strict=True)
    fields: list[str] | None = None
    while True:
        where = f"{name}:{reader.line_num + 1}"  # of a row's first line; it may have several
        try:
            row = next(reader, None)
        except (csv.Error, UnicodeDecodeError) as error:
            raise ConfigError(f"not CSV: {_reason(error)}", where) from error
        if row is None:
            return
        if fields is None:
            fields = _checked_header(row, where)
        elif row:
            if len(row) != len(fields):
                raise ConfigError(f"{len(row)} fields where the header has {len(fields)}", where)
            cells: dict[str, Any] = {key: cell for key, cell in zip(fields, row, strict=True) if cell}
            yield where, _checked(lambda cells=cells: _converted(cells), where)  # type: ignore[misc]


def _checked_header(row: list[str], where: str) -> list[str]:
    wrong = sorted(set(row) - set(Line.__struct_fields__)) or sorted({"template", "label", "provenance"} - set(row))
    if wrong or len(set(row)) != len(row):
        raise ConfigError(f"expected columns as `memory export` writes them; see {wrong or row}", where)
    return row


def _converted(cells: dict[str, Any]) -> Line:
    if "replaced" in cells:
        cells["replaced"] = msgspec.json.decode(cells["replaced"])
    return msgspec.convert(cells, Line, strict=False)


def _checked(read: Callable[[], Line], where: str) -> Line:
    try:
        return read()
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ConfigError(f"not a remembered answer: {_reason(error)}", where) from error


def _reason(error: Exception) -> str:
    return "not UTF-8" if isinstance(error, UnicodeDecodeError) else str(error)


def is_csv(path: Path) -> bool:
    """Whether a file's name says that it is CSV."""
    return path.suffix.lower() == ".csv"
