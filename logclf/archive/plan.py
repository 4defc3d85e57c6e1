"""What is to be done, as plain values: they travel to other processes and lie in the work directory."""

from __future__ import annotations

from pathlib import Path

import msgspec

from .names import CSV, PARQUET, TSV

VERSION = 1
LABEL = "target_label"
EXPLAINED = ("stage", "confidence", "severity", "rule")  # what --explain adds; attributes of Verdict


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person asked for, as far as the output depends on it.

    kind, compression: as the options say, None where each file's name decides.
    source: the name of where the lines are from, for files without a source column; None for the file's own name.
    encoding: what the inputs are in, None for UTF-8. quotes: whether quotes mean anything in CSV and TSV.
    files: whether lines of text name their file.
    """

    kind: str | None = None
    text_column: str | None = None
    source_column: str | None = None
    label_column: str = LABEL
    overwrite_column: bool = False
    explain: bool = False
    message_keys: tuple[str, ...] = ("message",)
    source: str | None = None
    encoding: str | None = None
    delimiter: str | None = None
    quotes: bool = True
    files: bool = False
    split_size: int = 16 << 20


class Layout(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The columns of a table.

    columns: how many. text, source: which. label: the one to overwrite, None where it is added.
    added: names of the columns added, the label's among them unless it is overwritten.
    explain: attributes of the verdict in the columns added behind the label.
    delimiter, crlf, header: of CSV and TSV: how the file is spelt, and the bytes its header takes, line end included.
    """

    columns: int
    text: int
    source: int | None
    label: int | None
    added: tuple[str, ...]
    explain: tuple[str, ...]
    delimiter: str = ","
    crlf: bool = False
    header: int = 0


class Input(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One file and what becomes of it; `layout` is None for text, events and empty tables."""

    path: str
    output: str
    kind: str
    compression: str
    packed: str
    size: int
    mtime_ns: int
    layout: Layout | None = None

    @property
    def is_csv(self) -> bool:
        return self.kind in {CSV, TSV}

    @property
    def is_parquet(self) -> bool:
        return self.kind == PARQUET

    @property
    def file(self) -> Path:
        return Path(self.path)


class Split(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The bytes of an input from `start` to `end`; end is -1 for the whole of what cannot be cut."""

    input: int
    number: int
    start: int
    end: int

    @property
    def name(self) -> str:
        return f"{self.input:05d}-{self.number:05d}"


class Plan(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """All of a run. `engine` is a fingerprint of rules, model, taxonomy and routes."""

    version: int
    program: str
    engine: str
    settings: Settings
    inputs: tuple[Input, ...]
    splits: tuple[Split, ...]

    def splits_of(self, number: int) -> list[Split]:
        return [split for split in self.splits if split.input == number]
