"""Many patterns over many lines at once.

A matcher holds numbered patterns (written by `patterns.py`, so no match ever spans a newline) and reports every
match in a block of lines as three columns: which pattern, which line, where the match ends. Hyperscan does it in
one pass over the block; the RE2 matcher gives the same answers one line at a time where Hyperscan is missing.
"""

from __future__ import annotations

import hashlib
import importlib
from array import array
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
import re2

from .errors import PatternError
from .patterns import Pattern

hyperscan: Any  # its types lack __version__, and it may be None
try:
    hyperscan = importlib.import_module("hyperscan")
except ImportError:  # no wheel for this platform; RE2 gives the same answers, more slowly
    hyperscan = None

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

ID_BITS = 20
ID_MASK = (1 << ID_BITS) - 1


class Hits(NamedTuple):
    """Every match in a block, in no particular order; three columns of equal length.

    pattern: the pattern's number. line: the line's number in the block. end: offset in the block behind the match.
    """

    pattern: NDArray[np.int64]
    line: NDArray[np.int64]
    end: NDArray[np.int64]


class Matcher(Protocol):
    """Patterns compiled for scanning; `name` says by which engine."""

    name: str

    def scan(self, text: bytes, starts: NDArray[np.int64]) -> Hits:
        """Find all matches of all patterns in lines joined by newlines, which start at `starts`."""


class CompiledCache(Protocol):
    """Where compiled databases are kept between runs."""

    def load(self, key: str) -> bytes | None: ...

    def store(self, key: str, payload: bytes) -> None: ...


def compile_patterns(patterns: Sequence[str], cache: CompiledCache | None = None, engine: str = "auto") -> Matcher:
    """Compile patterns, numbered in their order.

    engine: "hyperscan", "re2", or "auto" (Hyperscan where it is installed).
    """
    if not patterns:
        return NoPatterns()
    if engine == "re2" or (engine == "auto" and hyperscan is None):
        return Re2Matcher(patterns)
    return HyperscanMatcher(patterns, cache)


def engines_refuse(pattern: Pattern) -> str | None:
    """Why an engine refuses a pattern that the dialect allows, or None.

    Only counted repeats can make one grow too large, so RE2 is asked of nothing else. Hyperscan gets the few that have
    no words, and refuses some that can never match too (`\\d\\b\\B\\d`).
    """
    if "{" in pattern.full:
        for written in {pattern.full, pattern.detect, pattern.wide or pattern.detect}:
            why = refusal(written)
            if why:
                return why
    return None if pattern.literals else bulk_refusal(pattern.wide or pattern.detect)


def refusal(written: str) -> str | None:
    """Why RE2 refuses a pattern, or None."""
    try:
        re2_compile(written)
    except PatternError as error:
        return error.message
    return None


def bulk_refusal(written: str) -> str | None:
    """Why Hyperscan, where it is there, refuses a pattern, or None."""
    try:
        if hyperscan is not None:
            _compile_hyperscan([written])
    except PatternError as error:
        return error.message
    return None


def literal(word: str) -> str:
    """A pattern for a word in any case; characters stand for bytes."""
    return "(?i:" + "".join(char if char.isascii() and char.isalnum() else f"\\x{ord(char):02x}" for char in word) + ")"


def re2_compile(pattern: str) -> Any:
    """Compile for RE2 over bytes.

    Raises:
        PatternError: RE2 refuses the pattern.
    """
    try:
        return re2.compile(pattern.encode("ascii"), _re2_options())
    except re2.error as error:
        raise PatternError(f"RE2 refuses it: {error.args[0]!s}") from error


def _re2_options() -> re2.Options:
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1  # a byte is a character, as for Hyperscan
    options.log_errors = False
    options.max_mem = 64 << 20  # the limit of one pattern's automaton, not its size
    return options


class NoPatterns:
    name = "none"

    def scan(self, text: bytes, starts: NDArray[np.int64]) -> Hits:
        nothing = np.zeros(0, np.int64)
        return Hits(nothing, nothing, nothing)


def _compile_hyperscan(patterns: Sequence[str]) -> Any:
    database = hyperscan.Database(mode=hyperscan.HS_MODE_BLOCK)
    try:
        database.compile(
            expressions=[pattern.encode("ascii") for pattern in patterns],
            ids=list(range(len(patterns))),
            elements=len(patterns),
            flags=[hyperscan.HS_FLAG_MULTILINE] * len(patterns),
        )
    except hyperscan.error as error:
        raise PatternError(f"Hyperscan refuses it: {error}") from error
    return database


class HyperscanMatcher:
    """All patterns in one automaton; a block costs one pass, however many patterns there are."""

    name = "hyperscan"

    def __init__(self, patterns: Sequence[str], cache: CompiledCache | None = None) -> None:
        if len(patterns) > ID_MASK:
            raise PatternError(f"more than {ID_MASK} patterns")
        self._database = self._load(patterns, cache) if cache else _compile_hyperscan(patterns)
        self._scratch = hyperscan.Scratch(self._database)

    @staticmethod
    def _load(patterns: Sequence[str], cache: CompiledCache) -> Any:
        """From the cache where it holds these very patterns for this build of Hyperscan."""
        content = "\n".join((hyperscan.__version__, *patterns))
        key = hashlib.sha256(content.encode("ascii")).hexdigest()
        stored = cache.load(key)
        if stored is not None:
            try:
                return hyperscan.loadb(stored, hyperscan.HS_MODE_BLOCK)
            except hyperscan.error:
                stored = None  # built on another kind of processor: compile again and replace it
        database = _compile_hyperscan(patterns)
        cache.store(key, hyperscan.dumpb(database))
        return database

    def scan(self, text: bytes, starts: NDArray[np.int64]) -> Hits:
        found = array("q")
        self._database.scan(text, match_event_handler=_collector(found.append), scratch=self._scratch)
        packed = np.frombuffer(found, np.int64) if found else np.zeros(0, np.int64)
        end = packed >> ID_BITS
        return Hits(packed & ID_MASK, np.searchsorted(starts, end) - 1, end)


def _collector(append: Callable[[int], None]) -> Callable[[int, int, int, int, object], None]:
    """The callback for one match: one packed integer, since this runs more often than anything else."""

    def collect(pattern: int, _start: int, end: int, _flags: int, _context: object) -> None:
        append(end << ID_BITS | pattern)

    return collect


class Re2Matcher:
    """The same answers from RE2, line by line: an RE2 set names the patterns, each is then found again for its ends."""

    name = "re2"

    def __init__(self, patterns: Sequence[str]) -> None:
        options = _re2_options()
        options.never_capture = True
        self._set = re2.Set.SearchSet(options)
        for pattern in patterns:
            self._set.Add(pattern.encode("ascii"))
        self._set.Compile()
        self._single = [re2_compile(pattern) for pattern in patterns]

    def scan(self, text: bytes, starts: NDArray[np.int64]) -> Hits:
        found: list[tuple[int, int, int]] = []
        start = 0
        for number, line in enumerate(text.split(b"\n")):
            for pattern in self._set.Match(line) or ():
                found += [(pattern, number, start + match.end()) for match in self._single[pattern].finditer(line)]
            start += len(line) + 1
        columns = np.array(found, np.int64).reshape(-1, 3)
        return Hits(columns[:, 0], columns[:, 1], columns[:, 2])
