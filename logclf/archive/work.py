"""The work directory beside the output: the plan, and every part that is done.

    plan.json       what is to be done, and of which inputs in which state
    lock            held while somebody works here
    answers         what the stages said of new templates, for the second of two passes
    N-M-TAG.part    split M of input N, labelled: there whole or not at all
    N-M-TAG.json    its counts, written before it
    N.placed        input N's output is about to be put in its place by us; N.finished: it is there, with its counts

Everything appears by rename, so that a run that was killed goes on where it was. TAG is a digest of the plan: processes
that outlive a killed run for a moment cannot put a part of an older plan in the place of a new one's.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import shutil
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

from ..errors import ConfigError, OutputError
from .plan import VERSION, Plan, Split

COPY = 8 << 20


class Counts(msgspec.Struct, frozen=True):
    """A split's, or all splits': rows, rows by stage, by label and by severity, and what was odd about them.

    size, checksum: of a split's part, to know it by.
    """

    rows: int = 0
    stages: dict[str, int] = {}
    labels: dict[str, int] = {}
    severities: dict[str, int] = {}
    oddities: dict[str, int] = {}
    size: int = 0
    checksum: int = 0

    @staticmethod
    def total(all_counts: Iterable[Counts]) -> Counts:
        rows = 0
        tables: dict[str, dict[str, int]] = {name: {} for name in ("stages", "labels", "severities", "oddities")}
        for counts in all_counts:
            rows += counts.rows
            for name, table in tables.items():
                for key, count in getattr(counts, name).items():
                    table[key] = table.get(key, 0) + count
        return Counts(rows, tables["stages"], tables["labels"], tables["severities"], tables["oddities"])


class WorkDirectory:
    """Where parts are kept until all are there.

    Raises (by all that writes):
        OutputError: the disk refuses.
    """

    def __init__(self, path: Path, tag: str = "") -> None:
        self.path, self.tag = path, tag
        self._lock = -1

    def open(self) -> None:
        """Make it ours.

        Raises:
            ConfigError: it cannot be made, or another process works in it.
        """
        try:
            self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self.close()
            raise ConfigError(f"{self.path}: another process is writing this output") from error
        except OSError as error:
            raise ConfigError(f"{self.path}: cannot work here: {error.strerror}") from error

    def saved_plan(self) -> Plan | None:
        """What was to be done here when work last began; None where nothing was, or by another version."""
        try:
            plan = msgspec.json.decode((self.path / "plan.json").read_bytes(), type=Plan)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None
        return plan if plan.version == VERSION else None

    def begin(self, plan: Plan) -> None:
        """Start anew: without whatever was left here."""
        for entry in self.path.iterdir():
            if entry.name != "lock":
                entry.unlink(missing_ok=True)
        self.store("plan.json", msgspec.json.format(msgspec.json.encode(plan)))
        self.follow(plan)

    def follow(self, plan: Plan) -> None:
        """Take parts of this plan for ours."""
        self.tag = hashlib.sha256(msgspec.json.encode(plan)).hexdigest()[:12]

    def store(self, name: str, data: bytes, durable: bool = True) -> None:
        """Put a small file here, whole or not at all; `durable`: so that it outlives a power cut."""
        aside = self.path / f"{name}.{os.getpid()}.new"
        with shown_error(aside):
            with aside.open("wb") as file:
                file.write(data)
                file.flush()
                if durable:
                    os.fsync(file.fileno())
            aside.replace(self.path / name)

    def part(self, split: Split) -> Path:
        return self.path / f"{split.name}-{self.tag}.part"

    def keep(self, split: Split, written: Path, counts: Counts) -> None:
        """A part is done: counts first, so that a part that is there has its own."""
        self.store(f"{split.name}-{self.tag}.json", msgspec.json.encode(counts), durable=False)
        with shown_error(self.part(split)):
            written.replace(self.part(split))

    def done(self, split: Split) -> Counts | None:
        """The counts of a part that is there and whole."""
        try:
            counts = msgspec.json.decode(self.part(split).with_suffix(".json").read_bytes(), type=Counts)
            return counts if _checksum(self.part(split), counts.size) == counts.checksum else None
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def drop(self, split: Split) -> None:
        """Forget a part."""
        self.part(split).unlink(missing_ok=True)

    def placed(self, number: int) -> bool:
        """Whether an input's output was put in its place from here, or nearly."""
        return (self.path / f"{number:05d}.placed").exists()

    def finished(self, number: int) -> Counts | None:
        """The counts of an output that is in its place."""
        try:
            return msgspec.json.decode((self.path / f"{number:05d}.finished").read_bytes(), type=Counts)
        except (OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return None

    def place(self, number: int, parts: list[Path], output: Path, counts: Counts) -> None:
        """Put an input's parts together and into their place: whole or not at all."""
        self.store(f"{number:05d}.placed", b"")
        with shown_error(output):
            if len(parts) != 1 or not _moved(parts[0], output):
                _joined(parts, output)
            _sync(output.parent)
        self.store(f"{number:05d}.finished", msgspec.json.encode(counts))

    def remove(self) -> None:
        """Everything is in its place."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.close()

    def close(self) -> None:
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _joined(parts: list[Path], output: Path) -> None:
    aside = output.with_name(f".{output.name}.new")
    with aside.open("wb") as file:
        for part in parts:
            with part.open("rb") as source:
                shutil.copyfileobj(source, file, COPY)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(output)


def _checksum(path: Path, size: int) -> int | None:
    """The CRC-32 of a file, None where it has another size."""
    if path.stat().st_size != size:
        return None
    checksum = 0
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


@contextmanager
def shown_error(path: Path) -> Iterator[None]:
    """What the disk refuses, said in our words."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}; what is done is kept, --resume goes on from it") from error


def _moved(part: Path, output: Path) -> bool:
    """Whether a part could be made the output by renaming it alone: not from one file system to another."""
    try:
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(output)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
        return False
    return True


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
