"""Compiled rules: which rule wins each line of a block, found for all lines and rules in one scan.

The scan reports pattern matches; a few array operations over them settle rule order, `none:` and `where:`. Only lines
won by a rule that captures fields are touched one by one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

import numpy as np

from .batch import Batch
from .matching import CompiledCache, Hits, compile_patterns, re2_compile
from .rulefile import Rule, Where
from .signals import REACH, number_patterns, severity_patterns

if TYPE_CHECKING:
    import re2
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

NO_RULE = -1
ANY, NONE, LEVEL, NUMBER = range(4)


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan of a block found, line by line.

    rule: position in `RuleSet.rules` of the rule that wins the line, or NO_RULE.
    level: the severity that the line states (see `taxonomy.LEVELS`), 0 where it states none.
    numbers: ends of digits that belong into the template key, as (line, offset in the block), in order.
    """

    rule: Integers
    level: Integers
    numbers: list[tuple[int, int]]


class RuleSet:
    """Rules in the order in which they win: higher priority first, then as given.

    Raises:
        PatternError: an engine refuses a pattern.
    """

    def __init__(self, rules: Iterable[Rule], cache: CompiledCache | None = None, engine: str = "auto") -> None:
        self.rules: tuple[Rule, ...] = tuple(sorted(rules, key=lambda rule: -rule.priority))
        patterns: list[str] = []
        roles: list[tuple[int, int]] = []  # by pattern: what it is, and of which rule (or which level)

        def add(pattern: str, role: int, owner: int) -> None:
            patterns.append(pattern)
            roles.append((role, owner))

        for pattern, level in severity_patterns():
            add(pattern, LEVEL, level)
        for pattern in number_patterns():
            add(pattern, NUMBER, 0)
        for position, rule in enumerate(self.rules):
            for written in rule.any:
                add(written.detect, ANY, position)
            for written in rule.none:
                add(written.detect, NONE, position)
        self._matcher = compile_patterns(patterns, cache, engine)
        table = np.array(roles, np.int64).reshape(-1, 2)
        self._role, self._owner = table[:, 0], table[:, 1]
        self._scopes: dict[tuple[str, str | None], NDArray[np.bool_] | None] = {}
        self._scoped = [(position, rule.spec.where) for position, rule in enumerate(self.rules) if rule.spec.where != Where()]
        self._captures: dict[int, Captures] = {}
        # One more than there are rules, so that NO_RULE, which is -1, has an entry too.
        self.capturing = np.array([*(rule.captures for rule in self.rules), False], np.bool_)

    @property
    def engine(self) -> str:
        """The engine in use: "hyperscan" or "re2"."""
        return self._matcher.name

    def scan(self, batch: Batch) -> Scan:
        """Scan the messages of a batch."""
        hits = self._matcher.scan(batch.text, batch.starts)
        role = self._role[hits.pattern]
        return Scan(
            self._winners(hits, role, batch.count, batch.source, batch.path),
            _levels(batch.starts, hits, self._owner, role == LEVEL),
            _numbers(hits, role == NUMBER),
        )

    def matching(self, batch: Batch) -> list[tuple[Rule, bool]]:
        """For one line, every rule that has a pattern in it, in order, and whether `none` or `where` rule it out."""
        hits = self._matcher.scan(batch.text, batch.starts)
        role, owner = self._role[hits.pattern], self._owner[hits.pattern]
        out = set(owner[role == NONE].tolist())
        scope = self._scope(batch.source, batch.path)
        return [
            (self.rules[position], position in out or (scope is not None and not scope[position]))
            for position in sorted(set(owner[role == ANY].tolist()))
        ]

    def captured(self, position: int, line: bytes) -> dict[str, object]:
        """The fields that a winning rule captures in its line."""
        if position not in self._captures:
            self._captures[position] = Captures(self.rules[position])
        return self._captures[position].find(line)

    def _winners(self, hits: Hits, role: Integers, count: int, source: str, path: str | None) -> Integers:
        if not self.rules:
            return np.full(count, NO_RULE, np.int64)
        owner = self._owner[hits.pattern]
        chosen = role == ANY
        scope = self._scope(source, path)
        if scope is not None:
            chosen &= scope[np.where(chosen, owner, 0)]
        line, rule = hits.line[chosen], owner[chosen]
        refused = role == NONE
        if refused.any():
            width = len(self.rules)
            allowed = ~np.isin(line * width + rule, hits.line[refused] * width + owner[refused])
            line, rule = line[allowed], rule[allowed]
        nobody = len(self.rules)
        best = np.full(count, nobody, np.int64)
        np.minimum.at(best, line, rule)
        best[best == nobody] = NO_RULE
        return best

    def _scope(self, source: str, path: str | None) -> NDArray[np.bool_] | None:
        """Which rules apply to lines from there, or None when all do."""
        if not self._scoped:
            return None
        key = (source, path)
        if key not in self._scopes:
            if len(self._scopes) >= 4096:  # thousands of rotating file names: start anew rather than grow
                self._scopes.clear()
            applies = np.ones(len(self.rules), np.bool_)
            for position, where in self._scoped:
                applies[position] = _globbed(source, where.source) and _globbed(path or "", where.path)
            self._scopes[key] = None if applies.all() else applies
        return self._scopes[key]


def _globbed(value: str, globs: Sequence[str]) -> bool:
    return not globs or any(fnmatchcase(value, glob) for glob in globs)


def _levels(starts: Integers, hits: Hits, owner: Integers, chosen: NDArray[np.bool_]) -> Integers:
    """The level that each line states first, within REACH of its start; 0 where none."""
    level = np.zeros(len(starts), np.int64)
    line, end = hits.line[chosen], hits.end[chosen]
    near = end - starts[line] <= REACH
    line, end, stated = line[near], end[near], owner[hits.pattern[chosen][near]]
    late_first = np.argsort(-end, kind="stable")  # of several writes to one line the last stays: the earliest match
    level[line[late_first]] = stated[late_first]
    return level


def _numbers(hits: Hits, chosen: NDArray[np.bool_]) -> list[tuple[int, int]]:
    if not chosen.any():
        return []
    return sorted(set(zip(hits.line[chosen].tolist(), hits.end[chosen].tolist(), strict=True)))


class Captures:
    """A rule's capturing patterns, for a line that the rule has won."""

    def __init__(self, rule: Rule) -> None:
        self._patterns: list[tuple[re2._Regexp[bytes], tuple[tuple[str, int, Callable[[str], object]], ...]]] = []
        for pattern in rule.any:
            expression = re2_compile(pattern.full)
            places = tuple(
                (name, number, CONVERTERS[rule.spec.fields.get(name, "str")]) for number, name in enumerate(pattern.names, 1)
            )
            self._patterns.append((expression, places))

    def find(self, line: bytes) -> dict[str, object]:
        """Fields by name, from the first pattern that is found in the line."""
        for expression, places in self._patterns:
            match = expression.search(line)
            if match is not None:
                return {
                    name: convert(text.decode("utf-8", "replace"))
                    for name, number, convert in places
                    if (text := match.group(number)) is not None
                }
        return {}


def _ip(text: str) -> str | None:
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _number(kind: type[int] | type[float]) -> Callable[[str], object]:
    def convert(text: str) -> object:
        try:
            return kind(text)
        except ValueError:
            return text

    return convert


# A captured text that is not of its declared type stays text: the line matched, and its words are worth keeping.
CONVERTERS: dict[str, Callable[[str], object]] = {"str": str, "int": _number(int), "float": _number(float), "ip": _ip}
