"""Answers that survive: by template, in SQLite, shared by the threads and processes of a host.

    who said it   human > rule > model > llm; a lower word never replaces a higher one
    how long      an LLM's answer expires; a person's does not
    stale         an LLM's answer to another prompt or to labels that were described otherwise: good until asked again
    whose         each taxonomy (by its name) has a memory of its own, so profiles that share a host don't mix

A stream goes on without its memory: `get`, `put` and `human` never raise, they say once what is wrong (`problem`).
All else is for people at a command line, and raises.
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, get_args

import msgspec

from ..errors import AnswerStoreError, ConfigError
from ..state import state_directory
from .calls import UNSURE
from .database import Database

if TYPE_CHECKING:
    import sqlite3

    from ..taxonomy import Taxonomy

log = logging.getLogger(__name__)

FILE = "memory.sqlite"
MAX_ROWS = 200_000  # some 200 MB at the very most
AT_A_TIME = 500  # templates a query; old SQLites take 999 parameters
PAGE = 1000  # rows read at a time, so that nobody's reading holds up the others' checkpoints
LONGEST_SAMPLE = 2048
FROM_THE_FUTURE = 3600.0  # an answer that is this much younger than now was written by a wrong clock
RETRY = 10.0  # seconds before a stream tries again a file that it could not use
Provenance = Literal["llm", "model", "rule", "human"]
PROVENANCES: tuple[Provenance, ...] = get_args(Provenance)  # lowest first; in the file a number stands for each
HUMAN = PROVENANCES.index("human")
T = TypeVar("T")


class Replaced(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a person's answer took the place of."""

    label: str
    provenance: Provenance
    confidence: float
    model: str = ""


class Stored(msgspec.Struct, frozen=True):
    """An answer about a template.

    template: what the answer is about and is found by; lines that may get different labels need different ones.
    sample: a line of it. Secrets are masked by the caller, in the template too (for `get` as for `put`).
    model, prompt_version: who answered to what; "" for people.
    taxonomy: `fingerprint` of the labels that there were to choose from.
    created, expires: seconds since 1970; expires None for what holds for good.
    stale: made by `get`, not kept.

    Raises:
        ValueError: no answer at all: confidence outside 0 to 1, unknown provenance.
    """

    template: str
    label: str
    confidence: float
    provenance: Provenance
    taxonomy: str
    created: float
    expires: float | None = None
    sample: str = ""
    source: str = ""
    model: str = ""
    prompt_version: str = ""
    replaced: Replaced | None = None
    stale: bool = False

    def __post_init__(self) -> None:
        if not 0.0 <= self.confidence <= 1.0 or self.provenance not in PROVENANCES:
            raise ValueError(f"not an answer: {self.provenance} {self.confidence}")


def fingerprint(taxonomy: Taxonomy) -> str:
    """Names a taxonomy and changes with its labels' names and descriptions, in whatever order they stand."""
    labels = sorted((label.name, label.description) for label in taxonomy.labels)
    return f"{taxonomy.name}@{hashlib.blake2b(repr(labels).encode(), digest_size=8).hexdigest()}"


def key_of(template: str) -> bytes:
    return hashlib.blake2b(template.encode("utf-8", "surrogatepass"), digest_size=16).digest()


COLUMNS = (
    *("template", "label", "confidence", "provenance", "taxonomy", "created", "expires"),
    *("sample", "source", "model", "prompt", "replaced"),
)
FIELDS = tuple("prompt_version" if column == "prompt" else column for column in COLUMNS)  # of Stored
_SELECT = f"SELECT {', '.join(COLUMNS)}, key, id FROM answers"  # noqa: S608  (constants)
# A changed row moves to the end, so that ids tell which rows are oldest whatever the clock says.
_PUT = f"""INSERT INTO answers (key, vocabulary, {", ".join(COLUMNS)})
VALUES (:key, :vocabulary, {", ".join(f":{column}" for column in COLUMNS)})
ON CONFLICT (key, vocabulary) DO UPDATE SET
    id = (SELECT max(id) + 1 FROM answers),
    {", ".join(f"{column} = excluded.{column}" for column in COLUMNS[:-1])},
    replaced = coalesce(excluded.replaced, replaced)
WHERE excluded.provenance > provenance
    OR (excluded.provenance = provenance AND (excluded.created >= created OR NOT :merge))
    OR expires <= :now"""  # noqa: S608
_OLDEST = (
    "DELETE FROM answers WHERE id IN (SELECT id FROM answers WHERE provenance < ? ORDER BY provenance, id LIMIT ?)"
)
_SAME = "DELETE FROM answers WHERE key = ? AND vocabulary = ? AND provenance = ? AND created = ?"


class AnswerStore:
    """The answers in a file, `<state>/memory.sqlite` where none is named. Thread-safe; nothing is opened before its
    first use.

    max_rows: beyond it the LLM's oldest answers go, then other machines'; people's never.
    busy: seconds to wait for other writers.
    problem: why the stream is without its memory at the moment; None while all is well.
    lost: answers that could not be kept.
    """

    def __init__(self, path: Path | None = None, max_rows: int = MAX_ROWS, busy: float = 2.0) -> None:
        self.path = path or state_directory() / FILE
        self.lost = 0
        self._problems: dict[str, str] = {}  # by what was tried
        self._max_rows = max_rows
        self._database = Database(self.path, busy)
        self._again = 0.0  # when a stream looks again into a file that it could not read

    # For a stream

    @property
    def problem(self) -> str | None:
        return next(iter(list(self._problems.values())), None)

    def get(self, templates: Iterable[str], taxonomy: Taxonomy, prompt_version: str, now: float) -> dict[str, Stored]:
        """What is known about templates: labels of this taxonomy, or UNSURE from an LLM, unless expired."""
        wanted = {key_of(template): template for template in templates}
        nothing: list[Any] = []
        if "read" in self._problems and time.monotonic() < self._again:
            return {}
        rows = self._forgiving("read", lambda: self._fetch(list(wanted), taxonomy.name), nothing)
        mark, names = fingerprint(taxonomy), frozenset(taxonomy.names)
        found: dict[str, Stored] = {}
        for row in rows:
            answer = _stored(row)
            if answer and holds(answer, names, now):
                stale = is_stale(answer, mark, prompt_version, now)
                found[wanted[row[-2]]] = msgspec.structs.replace(answer, stale=True) if stale else answer
        return found

    def put(self, answers: Iterable[Stored]) -> int:
        """Keep answers; returns how many, the others met the word of somebody higher. Expired rows go on the way."""
        new = list(answers)
        if not new:
            return 0
        kept = self._forgiving("write", lambda: self._put(new, max(answer.created for answer in new)), -1)
        if kept < 0:
            self.lost += len(new)
        return max(kept, 0)

    def human(self, taxonomy: Taxonomy | None = None) -> list[tuple[str, str]]:
        """Templates with the labels that people gave them, newest first; of one taxonomy, or of all."""
        query = "SELECT template, label FROM answers WHERE provenance = ? AND vocabulary = ifnull(?, vocabulary)"
        chosen = (HUMAN, taxonomy.name if taxonomy else None)
        return self._forgiving(
            "read",
            lambda: self._database.run(lambda raw: raw.execute(f"{query} ORDER BY id DESC", chosen).fetchall()),
            [],
        )

    def close(self) -> None:
        """Close the file; a later use of the store is refused."""
        self._database.close()

    # For people; all raise AnswerStoreError

    def check(self) -> None:
        """Raise what keeps the file from being used: it is a newer logclf's, another account's, on a full disk."""
        self._database.run(lambda raw: raw.execute("SELECT 1 FROM answers LIMIT 1").fetchall())

    def rows(self, taxonomy: Taxonomy) -> Iterator[Stored]:
        """All answers of a taxonomy, also expired ones, those written longest ago first."""
        last = -1
        while True:
            page = self._database.run(
                lambda raw, after=last: raw.execute(  # type: ignore[misc]
                    f"{_SELECT} WHERE id > ? AND vocabulary = ? ORDER BY id LIMIT {PAGE}", (after, taxonomy.name)
                ).fetchall()
            )
            if not page:
                return
            last = page[-1][-1]
            yield from filter(None, map(_stored, page))

    def find(self, template: str, taxonomy: Taxonomy) -> Stored | None:
        """The answer about a template, expired or not."""
        rows = self._fetch([key_of(template)], taxonomy.name)
        return _stored(rows[0]) if rows else None

    def merge(self, answers: Sequence[Stored], now: float) -> int:
        """Keep answers from elsewhere, all or none: the higher provenance wins, between equals the younger answer.
        Returns how many were kept."""
        return self._put(list(answers), now, merge=True)

    def correct(
        self, template: str, label: str, taxonomy: Taxonomy, now: float | None = None, sample: str = ""
    ) -> Stored:
        """A person's answer; it remembers what a machine had said. sample: a line, for a template without an answer.

        Raises:
            ConfigError: the taxonomy has no such label.
        """
        if label not in taxonomy.names:
            raise ConfigError(f"the taxonomy {taxonomy.name!r} has no label {label!r}; it has {list(taxonomy.names)}")

        moment = time.time() if now is None else now
        fresh = Stored(template, label, 1.0, "human", fingerprint(taxonomy), moment, sample=sample)

        def work(raw: sqlite3.Connection) -> Stored:
            chosen = (taxonomy.name, key_of(template))
            rows = raw.execute(f"{_SELECT} WHERE vocabulary = ? AND key = ?", chosen).fetchall()
            before = _stored(rows[0]) if rows else None
            answer = _corrected(before, fresh) if before else fresh
            raw.execute(_PUT, _parameters(answer, moment, merge=False))
            return answer

        return self._database.write(work)

    def accept(self, template: str, taxonomy: Taxonomy, now: float | None = None) -> Stored | None:
        """Make a machine's answer a person's; None where there is no answer about the template.

        Raises:
            ConfigError: the answer is no label of the taxonomy, as when an LLM was unsure.
        """
        answer = self.find(template, taxonomy)
        return self.correct(template, answer.label, taxonomy, now) if answer else None

    def forget(self, answers: Iterable[Stored]) -> int:
        """Drop answers unless they have changed meanwhile; returns how many. Nothing of them stays in the file."""
        chosen = [(key_of(each.template), _vocabulary(each), *_rank_and_time(each)) for each in answers]
        dropped = self._database.write(lambda raw: raw.executemany(_SAME, chosen).rowcount)
        self._database.run(lambda raw: raw.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall())
        return max(dropped, 0)

    def prune(self, now: float) -> int:
        """Drop what has expired; returns how many."""
        return self._database.write(lambda raw: _prune(raw, now))

    def _fetch(self, keys: Sequence[bytes], vocabulary: str) -> list[Any]:
        """Rows by key, a query for AT_A_TIME of them."""

        def work(raw: sqlite3.Connection) -> list[Any]:
            rows: list[Any] = []
            for start in range(0, len(keys), AT_A_TIME):
                some = keys[start : start + AT_A_TIME]
                query = f"{_SELECT} WHERE vocabulary = ? AND key IN ({', '.join('?' * len(some))})"
                rows += raw.execute(query, (vocabulary, *some))
            return rows

        return self._database.run(work)

    def _put(self, answers: list[Stored], now: float, merge: bool = False) -> int:
        def work(raw: sqlite3.Connection) -> int:
            _prune(raw, now)
            kept = raw.executemany(_PUT, [_parameters(answer, now, merge) for answer in answers]).rowcount
            beyond = raw.execute("SELECT count(*) FROM answers").fetchone()[0] - self._max_rows
            if beyond > 0:
                raw.execute(_OLDEST, (HUMAN, beyond))
            return kept

        return self._database.write(work)

    def _forgiving(self, what: str, do: Callable[[], T], otherwise: T) -> T:
        """What `do` returns; where the file cannot be used, the other thing, and once the reason in the log."""
        try:
            done = do()
        except AnswerStoreError as error:
            if self._database.closed:  # a last answer that came while the run was ending
                return otherwise
            if str(error) not in self._problems.values():
                log.warning("%s; going on without", error)
            self._problems[what], self._again = str(error), time.monotonic() + RETRY
            return otherwise
        self._problems.pop(what, None)
        return done


def holds(answer: Stored, names: frozenset[str], now: float) -> bool:
    """Whether an answer may be used: its label is one of these (or an LLM's UNSURE), and it has not expired."""
    known = answer.label in names or (answer.label == UNSURE and answer.provenance == "llm")
    return known and (answer.expires is None or answer.expires > now)


def is_stale(answer: Stored, mark: str, prompt_version: str, now: float) -> bool:
    """Whether an LLM should be asked again at leisure. mark: the taxonomy's fingerprint."""
    if answer.provenance != "llm":
        return False
    return (answer.taxonomy, answer.prompt_version) != (mark, prompt_version) or answer.created > now + FROM_THE_FUTURE


def _corrected(before: Stored, fresh: Stored) -> Stored:
    """A person's answer in the place of another one, with what that knew."""
    replaced = before.replaced  # of several corrections, the machine's answer stays the one to learn from
    if before.provenance != "human":
        replaced = Replaced(before.label, before.provenance, before.confidence, before.model)
    sample = before.sample or fresh.sample
    return msgspec.structs.replace(fresh, sample=sample, source=before.source, replaced=replaced)


def _prune(raw: sqlite3.Connection, now: float) -> int:
    return raw.execute("DELETE FROM answers WHERE expires <= ?", (now,)).rowcount


def _vocabulary(answer: Stored) -> str:
    """The taxonomy's name in its fingerprint."""
    return answer.taxonomy.rpartition("@")[0]


def _rank_and_time(answer: Stored) -> tuple[int, float]:
    return PROVENANCES.index(answer.provenance), answer.created


def _parameters(answer: Stored, now: float, merge: bool) -> dict[str, Any]:
    """A row as `_PUT` takes it."""
    rank, created = _rank_and_time(answer)
    return {
        "key": key_of(answer.template),
        "vocabulary": _vocabulary(answer),
        "template": _plain(answer.template),
        "label": answer.label,
        "confidence": answer.confidence,
        "provenance": rank,
        "taxonomy": answer.taxonomy,
        "created": created,
        "expires": None if rank == HUMAN else answer.expires,
        "sample": _plain(answer.sample[:LONGEST_SAMPLE]),
        "source": _plain(answer.source),
        "model": answer.model,
        "prompt": answer.prompt_version,
        "replaced": msgspec.json.encode(answer.replaced).decode() if answer.replaced else None,
        "now": now,
        "merge": merge,
    }


def _plain(text: str) -> str:
    """Text that UTF-8 can hold."""
    return text.encode("utf-8", "replace").decode()


def _stored(row: Any) -> Stored | None:
    """A row as an answer; None where there is none, or what is in the file makes no sense."""
    if row is None:
        return None
    try:
        values = dict(zip(FIELDS, row, strict=False))
        values["provenance"] = PROVENANCES[values["provenance"]]
        if values["replaced"]:
            values["replaced"] = msgspec.json.decode(values["replaced"], type=Replaced)
        return Stored(**values)
    except (ValueError, TypeError, IndexError, msgspec.MsgspecError):
        return None
