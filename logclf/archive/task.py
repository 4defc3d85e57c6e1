"""One split in one process: surveyed, or labelled into a part."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import msgspec

from ..batch import Batch, Classified
from ..cascade import Cascade
from ..errors import InputError, LogclfError
from ..pipeline import Tally
from .csvrows import CsvUnits
from .lines import LineUnits
from .parquet import ParquetUnit, ParquetUnits, write_labelled
from .plan import Input, Settings, Split
from .survey import Answers, Found, Surveyor
from .work import Counts, WorkDirectory
from .writing import PartWriter

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Progress = Callable[[int], None]  # bytes of the input that are done
ANSWERS = "answers"


def nothing(_bytes: int) -> None:
    """No progress to show."""


class Recipe(Protocol):
    """How a cascade is made, in whatever process: a value that can be a key and travel there."""

    def build(self) -> Cascade: ...

    def __hash__(self) -> int: ...


class Task(msgspec.Struct, frozen=True):
    """A split and all that a process needs to know about it; `answers` names those to take in first."""

    about: Input
    split: Split
    settings: Settings
    engine: str
    work: str
    tag: str
    answers: str = ""


class LeftOutError(InputError):
    """An input that had to be left out, and how far it was good."""


@dataclass(slots=True)
class Held:
    """What a process keeps for all of its splits: building a cascade takes longer than labelling a small one."""

    recipe: Recipe
    cascade: Cascade
    engine: str
    surveyor: Surveyor | None = None
    learned: str = ""


_held: list[Held] = []  # one at most


def hold(recipe: Recipe) -> Held:
    """The cascade of a recipe and what belongs to it, made when this process first needs it."""
    if not _held or _held[0].recipe != recipe:
        cascade = recipe.build()
        _held[:] = [Held(recipe, cascade, engine(cascade))]
    return _held[0]


def forget() -> None:
    """Make the next run in this process build its cascade anew: files may have changed."""
    _held.clear()


def engine(cascade: Cascade) -> str:
    """A fingerprint of all that a verdict depends on beside the line."""
    digest = hashlib.sha256()
    for value in (cascade.rules.rules, cascade.table.taxonomy, cascade.routes):
        digest.update(msgspec.msgpack.encode(value))
    for stage in cascade.stages:
        manifest = getattr(stage, "manifest", None)
        digest.update(repr((stage.name, stage.version, getattr(manifest, "seal", ""))).encode())
    return digest.hexdigest()


def label(task: Task, recipe: Recipe, progress: Progress = nothing) -> Counts | LogclfError:
    """Label a split into its part; the error that it could not be, as a value, since it may have to travel."""
    try:
        held = _checked(task, recipe)
        _learn(task, held)
        return _label(task, held.cascade, progress)
    except LogclfError as error:
        return error


def survey(task: Task, recipe: Recipe, progress: Progress = nothing) -> list[Found] | LogclfError:
    """The new templates of a split."""
    try:
        held = _checked(task, recipe)
        held.surveyor = held.surveyor or Surveyor(held.cascade)
        return _survey(task, held.surveyor, progress)
    except LogclfError as error:
        return error


def _checked(task: Task, recipe: Recipe) -> Held:
    held = hold(recipe)
    if task.engine != held.engine:
        raise LogclfError("rules or model changed while the work was under way; begin again")
    return held


def _learn(task: Task, held: Held) -> None:
    """Take in what the driver asked the stages."""
    if not task.answers or held.learned == task.answers:
        return
    for answers in msgspec.msgpack.decode(Path(task.work, ANSWERS).read_bytes(), type=list[Answers]):
        held.cascade.learn(answers.verdicts, answers.allowed)
    held.learned = task.answers


def _line_units(task: Task, cascade: Cascade) -> CsvUnits | LineUnits:
    kind = CsvUnits if task.about.is_csv else LineUnits
    return kind(task.about, task.split, task.settings, cascade)


def _survey(task: Task, surveyor: Surveyor, progress: Progress) -> list[Found]:
    parquet = task.about.is_parquet
    units = ParquetUnits(task.about, task.settings, surveyor, False) if parquet else _line_units(task, surveyor)
    for unit in units:
        for batch in unit.batches:
            surveyor.add(surveyor.classify(batch))
        progress(unit.size)
    return surveyor.take()


class Written(NamedTuple):
    """What was odd about the lines of a part, and its checksum."""

    oddities: dict[str, int]
    checksum: int


def _label(task: Task, cascade: Cascade, progress: Progress) -> Counts:
    work = WorkDirectory(Path(task.work), task.tag)
    written = work.path / f"{task.split.name}.{os.getpid()}.new"
    tally = Tally(time.monotonic())
    write = _write_parquet if task.about.is_parquet else _write_lines
    try:
        oddities, checksum = write(task, cascade, written, tally, progress)
    except InputError as error:
        raise LeftOutError(f"{error}; {tally.lines:,} rows before that were good") from error
    counts = Counts(
        tally.lines,
        dict(tally.by("stage", cascade.table)),
        dict(tally.by("label", cascade.table)),
        dict(tally.by("severity", cascade.table)),
        {name: count for name, count in oddities.items() if count},
        written.stat().st_size,
        checksum,
    )
    work.keep(task.split, written, counts)
    return counts


def _write_lines(task: Task, cascade: Cascade, path: Path, tally: Tally, progress: Progress) -> Written:
    units = _line_units(task, cascade)
    with PartWriter(path, task.about.packed) as writer:
        for unit in units:
            writer.write(unit.labelled(_classified(unit.batches, cascade, tally)))
            progress(unit.size)
    return Written(units.oddities, writer.checksum)


def _write_parquet(task: Task, cascade: Cascade, path: Path, tally: Tally, progress: Progress) -> Written:
    units = ParquetUnits(task.about, task.settings, cascade, True)

    def codes(unit: ParquetUnit) -> NDArray[np.int64]:
        found = unit.codes(_classified(unit.batches, cascade, tally))
        progress(unit.size)
        return found

    bare = path.with_name(f"{path.name}.parquet")
    try:
        write_labelled(task.about, units, bare, cascade.table, codes)
        with PartWriter(path, task.about.packed) as writer, bare.open("rb") as file:
            while chunk := file.read(1 << 20):
                writer.write(chunk)
    finally:
        bare.unlink(missing_ok=True)
    return Written(units.oddities, writer.checksum)


def _classified(batches: Sequence[Batch], cascade: Cascade, tally: Tally) -> list[Classified]:
    found = [cascade.classify(batch) for batch in batches]
    for each in found:
        tally.add(each)
    return found
