"""Following log files: rename and create, truncate, new files, deleted files.

Every file is a descriptor that is read to its end, however often its name moves on; names and globs only say where
new files come from. Growth is noticed by looking at sizes (which is right on network and overlay file systems too),
new and renamed files by watchdog's events where there are any and by looking again once a second where there are not.
"""

from __future__ import annotations

import glob
import logging
import os
import stat
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ..batch import Batch, shown_path
from ..checkpoint import CheckpointStore, Position, fingerprint
from ..decoding import Decoder
from ..errors import CheckpointError, InputError
from .pace import Pace
from .stop import Stop
from .watch import Watch, is_glob

log = logging.getLogger(__name__)

CHUNK = 256 << 10
KEPT_BYTES = 64
RESCAN_SECONDS = 1.0
SAVE_SECONDS = 1.0
LINGER_SECONDS = 5.0  # a renamed or deleted file is let go once it has not grown for so long
QUIET_SECONDS = 10.0  # after this a file is looked at less often, where there are many
QUIET_EVERY = 0.25
MANY_FILES = 64


@dataclass(frozen=True)
class Begin:
    """Where reading a file begins that no checkpoint knows: at its start, its end, or some lines before the end."""

    at_end: bool = False
    last_lines: int = 0


@dataclass(frozen=True)
class FileDelivery:
    """A batch from a file; acknowledged, the file's position moves behind it."""

    batch: Batch
    file: TailedFile
    position: int

    def acknowledge(self) -> None:
        self.file.acknowledged = self.position


class TailedFile:
    """An open file and how far it was read (`offset`) and written out (`acknowledged`)."""

    def __init__(self, path: str, descriptor: int, offset: int, decoder: Decoder, end: int | None = None) -> None:
        about = os.fstat(descriptor)
        self.end = end  # where to stop, although the file may grow on
        self.path = path
        self.descriptor = descriptor
        self.identity = (about.st_dev, about.st_ino)
        self.offset = self.acknowledged = offset
        self.saved = -1  # not yet: a file read from its end must be known even before it grows
        self.decoder = decoder
        self.gone = False  # its name now leads elsewhere, or nowhere
        self.active = time.monotonic()
        kept = min(offset, KEPT_BYTES)
        self._last = os.pread(descriptor, kept, offset - kept)  # the bytes before the offset, to notice a rewrite

    def read(self, size: int) -> FileDelivery | None:
        """The next lines, if there are any. None at the end, and for bytes (`offset` moves) that end no line."""
        if self._rewritten():
            log.warning("%s was truncated: reading it from its start", self.path)
            self.offset = self.acknowledged = 0
            self._last = b""
            rest = self.flush()
            if rest is not None:
                return rest
        left = size if self.end is None else min(size, self.end - self.offset)
        chunk = os.pread(self.descriptor, left, self.offset) if left > 0 else b""
        if not chunk:
            return None
        self.active = time.monotonic()
        self.offset += len(chunk)
        self._last = (self._last + chunk)[-KEPT_BYTES:]
        batch = self.decoder.decode(chunk)
        return FileDelivery(batch, self, self.offset - self.decoder.pending) if batch is not None else None

    def flush(self) -> FileDelivery | None:
        """A last line without a newline, when no more is to come."""
        batch = self.decoder.flush()
        return FileDelivery(batch, self, self.offset) if batch is not None else None

    def has_news(self) -> bool:
        size = os.fstat(self.descriptor).st_size
        return (size if self.end is None else min(size, self.end)) != self.offset

    def _rewritten(self) -> bool:
        """Shorter than what was read, or other bytes before the offset (truncated and grown again)."""
        if os.fstat(self.descriptor).st_size < self.offset:
            return True
        kept = len(self._last)
        return kept > 0 and os.pread(self.descriptor, kept, self.offset - kept) != self._last

    def position(self) -> Position:
        device, inode = self.identity
        before = fingerprint(self.descriptor, self.acknowledged)
        return Position(shown_path(self.path), device, inode, self.acknowledged, before)


class TailSource:
    """Lines of files and globs.

    paths: file names and globs. follow: go on at the end, until `stop`. decoder: makes a decoder for a path.
    wait: seconds between looks at files that grow.

    Raises (while iterated):
        InputError: a named file is missing, unreadable or no regular file; or nothing at all is there to read.
    """

    def __init__(
        self,
        paths: Sequence[str],
        decoder: Callable[[str], Decoder],
        stop: Stop,
        *,
        follow: bool = True,
        begin: Begin = Begin(),
        store: CheckpointStore | None = None,
        wait: float = 0.05,
    ) -> None:
        self._paths = [os.path.abspath(path) for path in paths]
        self._make_decoder, self._stop = decoder, stop
        self._follow, self._begin, self._wait = follow, begin, wait
        self.store = store
        self._files: dict[tuple[int, int], TailedFile] = {}
        self.skipped: set[str] = set()
        self._saved_at = self._scanned_at = 0.0
        self._forgotten = False  # a position, since the last save
        self.output: tuple[int, int] | None = None  # device and inode of a file that labelled lines go to
        self._warned = False
        self._pace = Pace(wait)

    def check(self) -> None:
        """Complain about what cannot be read before anything is."""
        for path in self._paths:
            if not is_glob(path):
                descriptor = open_regular(path)
                about = os.fstat(descriptor)
                os.close(descriptor)
                if (about.st_dev, about.st_ino) == self.output:
                    raise InputError(f"{path}: labelled lines go to this very file; it cannot be read as well")
        if not self._follow and not any(self._matches()):
            raise InputError(f"no file matches {', '.join(self._paths)}")

    def __iter__(self) -> Iterator[FileDelivery]:
        self._scan(first=True)
        watch: Watch | None = None
        try:
            while True:
                progress = False
                for file in list(self._files.values()):
                    before = file.offset
                    delivery = file.read(self._pace.size) if self._due(file) else None
                    progress = progress or file.offset != before
                    if delivery is not None:
                        progress = True
                        begun = time.monotonic()
                        yield delivery
                        self._pace.took(time.monotonic() - begun, delivery.batch.count)
                        self._save_sometimes()
                if self._stop:
                    if not self.store:  # with positions, the rest of an unfinished line comes when it is finished
                        yield from self._ends()
                    return
                if progress and any(file.has_news() for file in self._files.values()):
                    continue
                if not self._follow:
                    yield from self._ends()
                    return
                watch = watch or Watch([os.path.dirname(path) for path in self._paths])
                self._stop.wait(self._wait)
                yield from self._settle(watch)
        finally:
            if watch:
                watch.close()
            self._save()
            for file in self._files.values():
                os.close(file.descriptor)
            self._files.clear()

    def _ends(self) -> Iterator[FileDelivery]:
        for file in self._files.values():
            rest = file.flush()
            if rest is not None:
                yield rest

    def _due(self, file: TailedFile) -> bool:
        """Whether to look at a file now: always where there are few, now and then when it has long been quiet."""
        if len(self._files) <= MANY_FILES:
            return True
        now = time.monotonic()
        quiet = now - file.active
        return quiet < QUIET_SECONDS or int(now / QUIET_EVERY) != int((now - self._wait) / QUIET_EVERY)

    def _settle(self, watch: Watch) -> Iterator[FileDelivery]:
        """Between reads: new names, files whose names moved on, positions."""
        if watch.changed() or time.monotonic() - self._scanned_at >= RESCAN_SECONDS:
            self._scan()
        self._save_sometimes()
        for file in [file for file in self._files.values() if file.gone and self._lingered(file)]:
            rest = file.flush()
            if rest is not None:
                yield rest
            self._drop(file)

    @staticmethod
    def _lingered(file: TailedFile) -> bool:
        return not file.has_news() and time.monotonic() - file.active > LINGER_SECONDS

    def _drop(self, file: TailedFile) -> None:
        del self._files[file.identity]
        if self.store:
            self.store.forget(*file.identity)
            self._forgotten = True
        os.close(file.descriptor)

    def _matches(self) -> Iterator[str]:
        for path in self._paths:
            if is_glob(path):
                yield from (found for found in sorted(glob.glob(path, recursive=True)) if os.path.isfile(found))
            elif os.path.exists(path):
                yield path

    def _scan(self, first: bool = False) -> None:
        """Open what is new under the names, and note which open files have lost theirs."""
        self._scanned_at = time.monotonic()
        named: set[tuple[int, int]] = set()
        for path in self._matches():
            try:
                about = os.stat(path)
                identity = (about.st_dev, about.st_ino)
                if identity == self.output:
                    if not self._warned:
                        self._warned = True
                        log.warning("not reading %s: labelled lines go to this very file", shown_path(path))
                    continue
                named.add(identity)
                if identity not in self._files:
                    self._add(path, first)
            except FileNotFoundError:
                continue  # gone between listing and opening: as if it had never been there
            except InputError as error:
                self._skip(path, str(error))
            except OSError as error:
                self._skip(path, f"{shown_path(path)}: {error.strerror}")
        for file in self._files.values():
            if file.identity not in named and not file.gone:
                file.gone = True
                file.active = time.monotonic()
            elif file.identity in named:
                file.gone = False

    def _skip(self, path: str, why: str) -> None:
        """Say once that a file is left out."""
        if path not in self.skipped:
            self.skipped.add(path)
            log.warning("skipping %s", why)

    def _add(self, path: str, first: bool) -> None:
        if first and self.store:
            self._add_rotated(path, self.store)
        descriptor = open_regular(path)
        about = os.fstat(descriptor)
        if (about.st_dev, about.st_ino) in self._files:
            os.close(descriptor)
            return
        offset = self._resumed(descriptor, path)
        if offset is None:
            offset = self._beginning(descriptor) if first else 0
        end = None if self._follow else about.st_size
        file = TailedFile(path, descriptor, offset, self._make_decoder(path), end)
        self._files[file.identity] = file

    def _resumed(self, descriptor: int, path: str) -> int | None:
        """The saved position, if this is still the file that was read."""
        about = os.fstat(descriptor)
        known = self.store.find(about.st_dev, about.st_ino) if self.store else None
        if known is None:
            return None
        if not _same_file(descriptor, known):
            log.warning("%s is not the file that was read before: reading it from its start", path)
            return 0
        return known.offset

    def _add_rotated(self, path: str, store: CheckpointStore) -> None:
        """What was read under this name and has been renamed within its directory since: its rest comes first."""
        waiting = {(known.device, known.inode) for known in store.known_at(shown_path(path))}
        if not waiting:
            return
        with os.scandir(os.path.dirname(path)) as entries:
            for entry in entries:
                about = entry.stat(follow_symlinks=False)
                identity = (about.st_dev, about.st_ino)
                if (
                    entry.path != path
                    and identity in waiting
                    and identity not in self._files
                    and entry.is_file(follow_symlinks=False)
                ):
                    descriptor = open_regular(entry.path)
                    known = store.find(*identity)
                    # another file may have got the inode of one that was deleted: it is none of ours
                    if known is None or known.offset == about.st_size or not _same_file(descriptor, known):
                        os.close(descriptor)
                        continue
                    file = TailedFile(path, descriptor, known.offset, self._make_decoder(path))
                    self._files[file.identity] = file

    def _beginning(self, descriptor: int) -> int:
        size = os.fstat(descriptor).st_size
        if self._begin.last_lines:
            return offset_of_last_lines(descriptor, size, self._begin.last_lines)
        return size if self._begin.at_end else 0

    def _save_sometimes(self) -> None:
        if self.store and time.monotonic() - self._saved_at >= SAVE_SECONDS:
            self._save()

    def _save(self) -> None:
        """Positions to disk; a disk that refuses costs repeats after a crash, not lines, so reading goes on."""
        if not self.store:
            return
        self._saved_at = time.monotonic()
        moved = [file for file in self._files.values() if file.acknowledged != file.saved]
        if not moved and not self._forgotten:
            return
        for file in moved:
            self.store.put(file.position())
        try:
            self.store.save()
        except CheckpointError as error:
            log.warning("%s", error)
            return
        self._forgotten = False
        for file in moved:
            file.saved = file.acknowledged


def _same_file(descriptor: int, known: Position) -> bool:
    """Whether this is still the file that was read up to that position."""
    long_enough = known.offset <= os.fstat(descriptor).st_size
    return long_enough and fingerprint(descriptor, known.offset) == known.fingerprint


def open_regular(path: str) -> int:
    """Open a regular file for reading.

    Raises:
        InputError: missing, unreadable, a directory, a pipe.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        raise InputError(f"{path}: {error.strerror}") from error
    mode = os.fstat(descriptor).st_mode
    if stat.S_ISREG(mode):
        return descriptor
    os.close(descriptor)
    if stat.S_ISDIR(mode):
        raise InputError(f"{path}: a directory; name files, or a glob such as '{path}/*.log'")
    raise InputError(f"{path}: not a regular file; pipe it into `logclf filter`")


def offset_of_last_lines(descriptor: int, size: int, count: int) -> int:
    """Where the last `count` lines begin; an unfinished last line counts as one."""
    end = size
    left = count + (1 if size and os.pread(descriptor, 1, size - 1) == b"\n" else 0)
    while end > 0:
        start = max(0, end - CHUNK)
        block = os.pread(descriptor, end - start, start)
        found = block.count(b"\n")
        if found >= left:
            at = len(block)
            for _ in range(left):
                at = block.rfind(b"\n", 0, at)
            return start + at + 1
        left -= found
        end = start
    return 0
