"""Two models on the same texts: which labels change."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from .cascade import Cascade
from .classifier import Classifier
from .errors import InputError
from .model import Model
from .rules import RuleSet
from .tables import TEXT_NAMES, find_column, missing_column
from .taxonomy import Label, Severity, Taxonomy

BLOCK = 4096  # texts at a time
MOST_EXAMPLES = 20
LONGEST_LINE = 1 << 20
SEPARATORS = {".csv": ",", ".tsv": "\t"}


@dataclass(slots=True)
class Changes:
    """How many of some texts get another label; `pairs` counts (before, after), `examples` has one text of each first.

    A model that is not sure says "Unclassified" here, as it would in a stream.
    """

    texts: int = 0
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)
    examples: list[tuple[str, str, str]] = field(default_factory=list)

    @property
    def changed(self) -> int:
        return self.pairs.total()


def label_changes(texts: Iterable[str | bytes], before: Model, after: Model) -> Changes:
    """Ask both models, without any rules before them."""
    changes = Changes()
    first, second = _alone(before), _alone(after)
    rest = iter(texts)
    while block := list(islice(rest, BLOCK)):
        changes.texts += len(block)
        for text, old, new in zip(block, first.classify(block), second.classify(block), strict=True):
            if old.label != new.label:
                _note(changes, old.label, new.label, text)
    return changes


def _note(changes: Changes, old: str, new: str, text: str | bytes) -> None:
    """Count a change; the first text of each kind of change is worth more as an example than many of one kind."""
    changes.pairs[old, new] += 1
    if changes.pairs[old, new] == 1 or len(changes.examples) < MOST_EXAMPLES:
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        changes.examples.append((old, new, shown))
    if len(changes.examples) > MOST_EXAMPLES:
        seen: Counter[tuple[str, str]] = Counter((one[0], one[1]) for one in changes.examples)
        often = next((one for one in reversed(changes.examples) if seen[one[0], one[1]] > 1), changes.examples[-1])
        changes.examples.remove(often)


def _alone(model: Model) -> Classifier:
    labels = tuple(Label(name, "", Severity.INFO) for name in model.labels)
    return Classifier(Cascade(Taxonomy("any", labels), RuleSet([]), [model]))


def read_texts(path: Path, column: str | None) -> Iterator[str | bytes]:
    """The texts of a CSV or TSV file's text column, else the lines of a text file; empty ones are left out.

    Raises (while iterated):
        InputError: it cannot be read.
        ConfigError: there is no such column, or several could be it.
    """
    try:
        if path.suffix.lower() in SEPARATORS:
            yield from _column(path, column)
        else:
            yield from _lines(path)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    except csv.Error as error:
        raise InputError(f"{path}: not a table: {error}") from error


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while line := file.readline(LONGEST_LINE):
            if stripped := line.rstrip(b"\r\n"):
                yield stripped


def _column(path: Path, column: str | None) -> Iterator[str]:
    csv.field_size_limit(LONGEST_LINE)  # of a stack trace, say; the default is an eighth of it
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        rows = csv.reader(file, delimiter=SEPARATORS[path.suffix.lower()])
        names = next(rows, [])
        found = find_column(names, column, TEXT_NAMES, "text", "--text-column")
        if found is None:
            raise missing_column(names, "text", "--text-column")
        at = names.index(found)
        for row in rows:
            if len(row) > at and row[at]:
                yield row[at]
