"""The SQLite file behind the remembered answers: opened safely, shared by threads and processes, mended when damaged.

<state>/
├── memory.sqlite             0600; WAL beside it (-wal, -shm)
├── memory.sqlite.lock        held while the file is opened or set aside
└── memory.sqlite.corrupt-…   what was damaged, as it was found

Each thread has a connection of its own, so that a reader never waits for another thread's writing. The file may be
replaced under a running process (another one set it aside, somebody deleted it): each use looks whether the path still
means the file that is open, which is one `stat` (2 µs).
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
import sqlite3
import stat
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from ..errors import AnswerStoreError

log = logging.getLogger(__name__)

APPLICATION = 0x6C636C66  # "lclf": tells our file from any other SQLite file
DAMAGED = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB})
LOCK_STEP = 0.01
T = TypeVar("T")
Inode = tuple[int, int]

# One step for each version of the schema; a file's user_version is the number of steps that it has seen. Published
# steps are never changed, new ones are appended.
MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """CREATE TABLE answers (
    id INTEGER PRIMARY KEY,
    key BLOB NOT NULL,
    vocabulary TEXT NOT NULL,
    template TEXT NOT NULL,
    sample TEXT NOT NULL,
    source TEXT NOT NULL,
    label TEXT NOT NULL,
    confidence REAL NOT NULL,
    provenance INTEGER NOT NULL CHECK (provenance BETWEEN 0 AND 3),
    model TEXT NOT NULL,
    prompt TEXT NOT NULL,
    taxonomy TEXT NOT NULL,
    created REAL NOT NULL,
    expires REAL,
    replaced TEXT,
    UNIQUE (key, vocabulary)
)""",
        "CREATE INDEX answers_by_provenance ON answers (provenance)",
        "CREATE INDEX answers_by_expiry ON answers (expires) WHERE expires IS NOT NULL",
        f"PRAGMA application_id = {APPLICATION}",
    ),
)


class _Open:
    """A thread's connection and the file that it is to. The lock is only ever contended by `close`."""

    def __init__(self, raw: sqlite3.Connection, inode: Inode) -> None:
        self.raw, self.inode, self.process, self.lock = raw, inode, os.getpid(), threading.Lock()
        # A thread that ends leaves its connection behind; Python 3.13 warns where nobody closes it.
        weakref.finalize(self, raw.close).atexit = False


class Database:
    """`busy`: seconds to wait for other writers.

    Raises (on use):
        AnswerStoreError: the file cannot be used: another account's, of a newer logclf, locked, on a full or read-only
            disk. A damaged file is no error: it is set aside with a warning, and an empty one takes its place.
    """

    def __init__(self, path: Path, busy: float) -> None:
        self.path, self.busy = path.absolute(), busy
        self._mine = threading.local()
        self._all: weakref.WeakSet[_Open] = weakref.WeakSet()
        self._guard = threading.Lock()  # for _all and _closed
        self._closed = False

    @property
    def closed(self) -> bool:
        return self._closed

    def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """What `work` makes of this thread's connection; after damage it is called once more, on an empty file."""
        try:
            return self._attempt(work)
        except sqlite3.DatabaseError as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF not in DAMAGED:
                raise self._unusable(error) from error
            damage = error
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error
        try:
            self._set_aside(damage)
            return self._attempt(work)
        except (sqlite3.Error, OSError) as error:
            raise self._unusable(error) from error

    def write(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The same in a transaction: all of it or, after any error, nothing."""

        def whole(raw: sqlite3.Connection) -> T:
            with transaction(raw):
                return work(raw)

        return self.run(whole)

    def close(self) -> None:
        """Close what threads have open; one at work (a writer that waits for another) keeps its own until it ends."""
        with self._guard:
            self._closed = True
            opened = [each for each in self._all if each.process == os.getpid()]
        for each in opened:
            if each.lock.acquire(timeout=0.1):
                try:
                    each.raw.close()
                finally:
                    each.lock.release()

    def _attempt(self, work: Callable[[sqlite3.Connection], T]) -> T:
        opened = self._connection()
        with opened.lock:
            return work(opened.raw)

    def _connection(self) -> _Open:
        """This thread's connection to the file that the path means now."""
        mine: _Open | None = getattr(self._mine, "open", None)
        if mine and mine.process == os.getpid() and not self._closed:  # one of before a fork is the parent's
            if mine.inode == _inode(self.path):
                return mine
            mine.raw.close()
        with self._locked():
            mine = self._mine.open = self._open()
        with self._guard:
            self._all.add(mine)
        return mine

    def _open(self) -> _Open:
        if self._closed:
            raise AnswerStoreError(f"{self.path}: the remembered answers were closed")
        _make_private(self.path)
        inode = self._mine.inode = _inode(self.path)
        assert inode is not None  # noqa: S101  (it was made a line ago, under the lock)
        raw = sqlite3.connect(self.path, timeout=self.busy, isolation_level=None, check_same_thread=False)
        try:
            _set_up(raw)
            self._migrate(raw)
        except BaseException:
            raw.close()
            raise
        return _Open(raw, inode)

    def _migrate(self, raw: sqlite3.Connection) -> None:
        """Bring the schema to this version, in one transaction.

        Raises:
            AnswerStoreError: the file is of a newer logclf, or is none of ours.
        """
        if _version(raw) == len(MIGRATIONS) and _application(raw) == APPLICATION:
            return
        with transaction(raw):  # and look again, now that no other process can change it
            version = _version(raw)
            if version > len(MIGRATIONS):
                raise AnswerStoreError(
                    f"{self.path}: written by a newer logclf (format {version}; this one knows {len(MIGRATIONS)}); "
                    "upgrade, or move the file away to start anew"
                )
            tables = raw.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
            if tables and _application(raw) != APPLICATION:
                raise AnswerStoreError(f"{self.path}: an SQLite file, but not of logclf; move it away to start anew")
            for step in MIGRATIONS[version:]:
                for statement in step:
                    raw.execute(statement)
            raw.execute(f"PRAGMA user_version = {len(MIGRATIONS)}")

    def _set_aside(self, damage: Exception) -> None:
        """Keep a damaged file under another name. Whoever is not the first to find the damage leaves the new one be."""
        mine: _Open | None = getattr(self._mine, "open", None)
        if mine:
            mine.raw.close()
            self._mine.open = None
        with self._locked():
            if _inode(self.path) != getattr(self._mine, "inode", None):
                return
            aside = _free_name(self.path)
            # First what lies beside it: SQLite would take an old -wal for part of a new file.
            for suffix in ("-wal", "-shm", ""):
                with contextlib.suppress(FileNotFoundError):
                    Path(f"{self.path}{suffix}").rename(f"{aside}{suffix}")
        log.warning("%s: damaged (%s); kept as %s, going on with an empty memory", self.path, damage, aside.name)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Alone among all processes and threads that open this file or set it aside."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(f"{self.path}.lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            _give_to_owner(descriptor, self.path.parent)
            deadline = time.monotonic() + self.busy
            while not _try_lock(descriptor):
                if time.monotonic() > deadline:  # a stopped process must not stop others
                    raise AnswerStoreError(f"{self.path}: another process keeps it locked")
                time.sleep(LOCK_STEP)
            yield
        finally:
            os.close(descriptor)

    def _unusable(self, error: Exception) -> AnswerStoreError:
        why = str(error)
        if isinstance(error, OSError) and error.strerror:
            why = f"{error.strerror} ({error.filename})" if error.filename else error.strerror
        return AnswerStoreError(f"{self.path}: cannot use the remembered answers: {why}")


@contextlib.contextmanager
def transaction(raw: sqlite3.Connection) -> Iterator[None]:
    """A write transaction from its first statement on, so that no reader's snapshot has to become a writer's."""
    raw.execute("BEGIN IMMEDIATE")
    try:
        yield
        raw.execute("COMMIT")
    except BaseException:
        if raw.in_transaction:  # not after errors for which SQLite itself rolls back
            raw.execute("ROLLBACK")
        raise


def _set_up(raw: sqlite3.Connection) -> None:
    raw.text_factory = _text
    for pragma in (
        "trusted_schema = OFF",
        "cell_size_check = ON",
        "journal_mode = WAL",  # where the file system cannot share memory SQLite keeps to its old journal
        "synchronous = NORMAL",  # a power cut may cost the last answers, never the file
        "secure_delete = ON",  # what is forgotten is overwritten
        "temp_store = MEMORY",
    ):
        raw.execute(f"PRAGMA {pragma}").fetchall()


def _text(data: bytes) -> str:
    """Of a damaged row that SQLite itself cannot notice, whatever can be read."""
    return str(data, "utf-8", "replace")


def _version(raw: sqlite3.Connection) -> int:
    return int(raw.execute("PRAGMA user_version").fetchone()[0])


def _application(raw: sqlite3.Connection) -> int:
    return int(raw.execute("PRAGMA application_id").fetchone()[0])


def _inode(path: Path) -> Inode | None:
    try:
        about = os.stat(path)  # noqa: PTH116  (half of pathlib's time)
    except FileNotFoundError:
        return None
    return about.st_dev, about.st_ino


def _make_private(path: Path) -> None:
    """Make the file where there is none, for this account alone; refuse another account's.

    It is opened by SQLite only: closing any other descriptor of it would drop the locks of this process.
    """
    with contextlib.suppress(FileExistsError):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            _give_to_owner(descriptor, path.parent)
        finally:
            os.close(descriptor)
    about = path.stat()
    if not stat.S_ISREG(about.st_mode):
        raise AnswerStoreError(f"{path}: not a regular file")
    if os.geteuid() not in (0, about.st_uid):
        raise AnswerStoreError(f"{path}: belongs to another account")
    if about.st_mode & 0o077:
        path.chmod(0o600)


def _give_to_owner(descriptor: int, directory: Path) -> None:
    """What root makes in a service's directory is the service's, or it could not use its own memory."""
    owner = directory.stat()
    if os.geteuid() == 0 != owner.st_uid:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _free_name(path: Path) -> Path:
    stem = f"{path}.corrupt-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"
    names = (Path(f"{stem}{'' if not number else f'-{number}'}") for number in range(1000))
    return next(name for name in names if not name.exists())
