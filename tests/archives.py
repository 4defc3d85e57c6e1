"""What the tests of archives share: a small engine as a value, files of every form, runs in this process."""

from __future__ import annotations

import csv
import gzip
import io
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import zstandard

from logclf.archive.inputs import Request
from logclf.archive.plan import Settings
from logclf.archive.run import Outcome, classify
from logclf.cascade import Answer, Cascade, Novel, Route
from logclf.errors import StageError
from logclf.rulefile import Where
from logclf.rules import RuleSet
from logclf.taxonomy import DEFAULT

from .helpers import make_rule

ENGINE = RuleSet(
    [
        make_rule("full", r"disk (?P<name>\w+) full", label="Resource Usage"),
        make_rule("scoped", "reload", label="User Action", where=Where(source=("shop*",))),
    ]
)


class WordStage:
    """Knows what has "login" in it, has a guess about "job", and counts the templates it is asked."""

    name, version = "model", "words@1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, novel: Sequence[Novel]) -> list[Answer | None]:
        self.asked += [each.template for each in novel]
        if any("broken" in each.template for each in novel):
            raise StageError("out of order")
        return [self._one(each.template) for each in novel]

    def _one(self, template: str) -> Answer | None:
        if "login" in template:
            return Answer("User Action", 0.9 if "<n>" in template else 0.8, True)
        return Answer("Workflow Error", 0.4, False) if "job" in template else None


@dataclass(frozen=True)
class SmallRecipe:
    """Two rules and a stage that knows words."""

    routes: tuple[Route, ...] = ()
    model: bool = True

    def build(self) -> Cascade:
        return Cascade(DEFAULT, ENGINE, [WordStage()] if self.model else [], self.routes)


class NoBar:
    """Shows nothing."""

    def begin(self, what: str, total: int) -> None:
        return None

    def advance(self, amount: int) -> None:
        return None


def run(
    files: Path | Sequence[Path],
    output: Path,
    recipe: SmallRecipe = SmallRecipe(),
    **options: object,
) -> Outcome:
    """Label files in this process; options are those of Settings and Request."""
    paths = (files,) if isinstance(files, Path) else tuple(files)
    own = {name: options.pop(name) for name in list(options) if name in Settings.__struct_fields__}
    settings = Settings(**{"files": len(paths) > 1, **own})  # type: ignore[arg-type]
    return classify(Request(paths, output, settings, **options), recipe, NoBar())  # type: ignore[arg-type]


def messages(count: int, seed: int = 1) -> list[str]:
    """Lines that rules, stage and nobody know."""
    rng = random.Random(seed)
    kinds = [
        lambda: f"disk sd{rng.choice('abc')} full",
        lambda: f"login of user{rng.randrange(1000)} from 10.0.0.{rng.randrange(255)}",
        lambda: "login of bob",
        lambda: f'job "{rng.randrange(50)}", step {rng.randrange(9)} went on',
        lambda: f"reload {rng.randrange(9)}\nnow",
        lambda: "",
        lambda: "Grüße, 世界",
    ]
    return [rng.choice(kinds)() for _ in range(count)]


def csv_bytes(rows: Sequence[Sequence[str]], delimiter: str = ",", line_end: str = "\n") -> bytes:
    text = io.StringIO()
    csv.writer(text, delimiter=delimiter, lineterminator=line_end).writerows(rows)
    return text.getvalue().encode()


def table(data: bytes, delimiter: str = ",") -> list[list[str]]:
    csv.field_size_limit(1 << 24)
    return list(csv.reader(io.StringIO(data.decode(), newline=""), delimiter=delimiter))


def plain(path: Path) -> bytes:
    """A file's content, decompressed by others than logclf."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        return gzip.decompress(data)
    if path.suffix == ".zst":
        with zstandard.ZstdDecompressor().stream_reader(data, read_across_frames=True) as reader:
            return reader.read()
    return data


def pack(path: Path, data: bytes) -> Path:
    """Write a file, compressed as its name says."""
    if path.suffix == ".gz":
        data = gzip.compress(data)
    elif path.suffix == ".zst":
        data = zstandard.ZstdCompressor().compress(data)
    path.write_bytes(data)
    return path
