"""Compiled rules: which rule wins each line of a block.

Three steps, each for the lines that the one before leaves open:

1. *Shapes.* A line's shape is the line with every digit made 0. Nearly no pattern can tell a line from its shape, so
   what was found in one line holds, exactly, for all lines of its shape, and is remembered by it. In a stream of logs
   nearly every line ends here: three calls per block, one dictionary lookup per line.
2. *Words.* Every pattern but a few has words that its matches must contain (patterns.py). All words of all rules, and
   the few patterns without any, are one automaton that scans the remaining lines together and names candidates.
3. *RE2.* Candidates are confirmed one by one, in rule order, `none:` and `where:` included.

A pattern that does tell digits apart (`status=5\\d\\d`) leaves its rule uncertain for a shape: then the shape remembers
which rules to ask, and each line asks those alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .batch import Batch, line_starts
from .judging import Captures, Judge, Span
from .masking import LONGEST_KEY, ZEROED, key
from .matching import CompiledCache, Hits, compile_patterns, literal
from .memory import Memory
from .rulefile import Rule, Where
from .signals import REACH, internal_patterns, number_patterns, severity_patterns, syslog_level
from .taxonomy import LEVELS, Severity

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]

NO_RULE = -1
LEVEL, NUMBER, WORD, INTERNAL = range(4)
LONGEST_SHAPE = LONGEST_KEY  # longer ones are remembered by their beginning and a digest
SHAPES_BUDGET = 16 << 20
MOST_SCOPES = 3
MOST_SPECIAL = 20_000
LEVEL_BITS = 3
LEVEL_MASK = (1 << LEVEL_BITS) - 1


@dataclass(frozen=True, slots=True)
class Scan:
    """What one scan of a block found, line by line.

    rule: position in `RuleSet.rules` of the rule that wins the line, or NO_RULE.
    level: the severity that the line states (see `taxonomy.LEVELS`), 0 where it states none.
    numbers: of lines that no rule wins, ends of digits that belong into the template key: (line, offset), in order.
    fields: by line, what the winning rule captures.
    """

    rule: Integers
    level: Integers
    numbers: list[tuple[int, int]]
    fields: dict[int, dict[str, object]]


class Use(NamedTuple):
    """A rule that a word may mean, if the line has a word of each of these further sets too."""

    rule: int
    also: tuple[tuple[bytes, ...], ...]


class Special(NamedTuple):
    """What a shape says that one number cannot.

    ask: rules to ask of each line, in order, before the `value` that holds where none of them wins.
    ends: where, from the line's start, digits end that belong into the template key.
    spans: where the winning rule's fields are, if that is the same for all lines of the shape.
    """

    value: int
    ask: tuple[int, ...]
    ends: tuple[int, ...]
    spans: tuple[Span, ...] | None


class RuleSet:
    """Rules in the order in which they win: higher priority first, then as given.

    Raises:
        PatternError: an engine refuses a pattern.
    """

    def __init__(self, rules: Iterable[Rule], cache: CompiledCache | None = None, engine: str = "auto") -> None:
        self.rules: tuple[Rule, ...] = tuple(sorted(rules, key=lambda rule: -rule.priority))
        patterns: list[str] = []
        roles: list[tuple[int, int]] = []  # by pattern: what it is, and which level or which word's rules it means
        words: dict[str, list[Use]] = {}
        for pattern, level in severity_patterns():
            patterns.append(pattern)
            roles.append((LEVEL, level))
        for pattern in internal_patterns():
            patterns.append(pattern)
            roles.append((INTERNAL, 0))
        for pattern in number_patterns():
            patterns.append(pattern)
            roles.append((NUMBER, 0))
        for position, rule in enumerate(self.rules):
            for written in rule.any:
                use = Use(position, tuple(tuple(word.encode("latin-1") for word in also) for also in written.also))
                for word in map(literal, written.literals) if written.literals else [written.wide or written.detect]:
                    words.setdefault(word, []).append(use)
        self._uses = list(words.values())
        roles += [(WORD, number) for number in range(len(words))]
        table = np.array(roles, np.int64).reshape(-1, 2)
        self._role, self._owner = table[:, 0], table[:, 1]
        self._matcher = compile_patterns([*patterns, *words], cache, engine)
        self._shapes: dict[bytes, Memory] = {}
        self._special: list[Special] = []
        self._judges: dict[int, Judge] = {}
        self._captures: dict[int, Captures] = {}
        self._scopes: dict[tuple[str, str | None], NDArray[np.bool_] | None] = {}
        self._scoped = [
            (position, rule.spec.where) for position, rule in enumerate(self.rules) if rule.spec.where != Where()
        ]

    @property
    def engine(self) -> str:
        """The engine in use: "hyperscan" or "re2"."""
        return self._matcher.name

    @property
    def scoped(self) -> bool:
        """Whether a rule says `where`."""
        return bool(self._scoped)

    def scope(self, source: str, path: str | None) -> bytes:
        """Which rules apply to lines from there; equal for origins to which the same ones do."""
        applies = self._scope(source, path)
        return b"" if applies is None else applies.tobytes()

    def scan(self, batch: Batch) -> Scan:
        """Find winners, levels and numbers of a batch's messages."""
        scope = self._scope(batch.source, batch.path)
        memory = self._memory(b"" if scope is None else scope.tobytes())
        shapes = batch.text.translate(ZEROED).split(b"\n")
        if max(map(len, shapes)) > LONGEST_SHAPE:
            shapes = [key(shape) for shape in shapes]
        found = memory.find(shapes)
        if None in found:
            if len(self._special) > MOST_SPECIAL:
                self._forget()
                found = memory.find(shapes)
            self._look(batch, shapes, found, memory, scope)
        packed = np.array(found, np.int64)
        numbers: list[tuple[int, int]] = []
        fields: dict[int, dict[str, object]] = {}
        for number in np.flatnonzero(packed < 0).tolist():
            special = self._special[-int(packed[number]) - 1]
            line = batch.line(number)
            value = packed[number] = self._asked(special, line) if special.ask else special.value
            if special.ends:
                start = int(batch.starts[number])
                numbers += [(number, start + end) for end in special.ends]
            winner = (int(value) >> LEVEL_BITS) - 1
            if special.spans is not None:
                fields[number] = {
                    name: convert(line[start:end].decode("utf-8", "replace"))
                    for name, convert, start, end in special.spans
                }
            elif winner != NO_RULE and self.rules[winner].captures:
                fields[number] = self.captured(winner, line)
        level = packed & LEVEL_MASK
        first_bytes = np.frombuffer(batch.text + b"\n", np.uint8)[batch.starts]
        for number in np.flatnonzero(first_bytes == ord("<")).tolist():
            level[number] = syslog_level(batch.line(number)) or level[number]
        return Scan((packed >> LEVEL_BITS) - 1, level, numbers, fields)

    def matching(self, batch: Batch) -> list[tuple[Rule, bool]]:
        """For one line, every rule that has a pattern in it, in order, and whether `none` or `where` rule it out."""
        scope = self._scope(batch.source, batch.path)
        return [
            (rule, self._judge(position).refuses(batch.text) or (scope is not None and not scope[position]))
            for position, rule in enumerate(self.rules)
            if self._judge(position).found(batch.text)
        ]

    def _asked(self, special: Special, line: bytes) -> int:
        """The value of a line whose digits decide."""
        for position in special.ask:
            if self._judge(position).wins(line):
                return (position + 1) << LEVEL_BITS | (special.value & LEVEL_MASK)
        return special.value

    def _look(
        self,
        batch: Batch,
        shapes: list[bytes],
        found: list[int | None],
        memory: Memory,
        scope: NDArray[np.bool_] | None,
    ) -> None:
        """Look at one line of each shape that is not known, and remember what holds for the shape."""
        places: dict[bytes, list[int]] = {}
        for number, known in enumerate(found):
            if known is None:
                places.setdefault(shapes[number], []).append(number)
        lines = [batch.line(numbers[0]) for numbers in places.values()]
        text = b"\n".join(lines)
        starts = line_starts(text)
        hits = self._matcher.scan(text, starts)
        role = self._role[hits.pattern]
        levels = _levels(starts, hits, self._owner, role == LEVEL)
        internal = np.unique(hits.line[role == INTERNAL])
        levels[internal[levels[internal] == LEVELS[Severity.INFO]]] = LEVELS[Severity.DEBUG]
        ends = _ends(starts, hits, role == NUMBER)
        candidates = self._candidates(lines, hits, role == WORD, scope)
        for number, (shape, same) in enumerate(places.items()):
            winner, ask = self._decide(candidates.get(number, ()), lines[number])
            value = (winner + 1) << LEVEL_BITS | int(levels[number])
            captures = winner != NO_RULE and self.rules[winner].captures
            if ask or captures or (number in ends and winner == NO_RULE):
                spans = self._capturing(winner).spans(lines[number]) if captures and not ask else None
                self._special.append(Special(value, ask, ends.get(number, ()), spans))
                value = -len(self._special)
            for line in same:
                found[line] = value
            memory.remember(shape, value)

    def _candidates(
        self, lines: Sequence[bytes], hits: Hits, chosen: NDArray[np.bool_], scope: NDArray[np.bool_] | None
    ) -> dict[int, list[int]]:
        """By line, the rules with a pattern all of whose words are in it, in order."""
        words: dict[int, set[int]] = {}
        for line, word in zip(hits.line[chosen].tolist(), self._owner[hits.pattern[chosen]].tolist(), strict=True):
            words.setdefault(line, set()).add(word)
        applies = None if scope is None else set(np.flatnonzero(scope).tolist())
        found: dict[int, list[int]] = {}
        for line, present in words.items():
            text = lines[line].lower()
            rules: set[int] = set()
            for word in present:
                for position, also in self._uses[word]:
                    if position not in rules and _has_each(text, also):
                        rules.add(position)
            found[line] = sorted(rules if applies is None else rules & applies)
        return found

    def _decide(self, candidates: Sequence[int], line: bytes) -> tuple[int, tuple[int, ...]]:
        """The first rule that wins all lines of this shape, and the rules before it that win some of them."""
        ask: list[int] = []
        for position in candidates:
            certain = self._judge(position).of_shape(line)
            if certain:
                return position, tuple(ask)
            if certain is None:
                ask.append(position)
        return NO_RULE, tuple(ask)

    def _judge(self, position: int) -> Judge:
        if position not in self._judges:
            self._judges[position] = Judge(self.rules[position])
        return self._judges[position]

    def _memory(self, scope: bytes) -> Memory:
        """The shapes of lines to which the same rules apply; of few such scopes, so that memory stays bounded."""
        if scope not in self._shapes:
            if len(self._shapes) >= MOST_SCOPES:
                del self._shapes[next(iter(self._shapes))]
            self._shapes[scope] = Memory(SHAPES_BUDGET)
        return self._shapes[scope]

    def _forget(self) -> None:
        """Start anew: more shapes than can be kept have something special about them."""
        self._special.clear()
        for memory in self._shapes.values():
            memory.clear()

    def captured(self, position: int, line: bytes) -> dict[str, object]:
        """The fields that a winning rule captures in its line."""
        return self._capturing(position).find(line)

    def _capturing(self, position: int) -> Captures:
        if position not in self._captures:
            self._captures[position] = Captures(self.rules[position])
        return self._captures[position]

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


def _has_each(text: bytes, also: tuple[tuple[bytes, ...], ...]) -> bool:
    """Whether the text has a word of each set. Plain loops: generators would double what a new shape costs."""
    for words in also:
        for word in words:
            if word in text:
                break
        else:
            return False
    return True


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


def _ends(starts: Integers, hits: Hits, chosen: NDArray[np.bool_]) -> dict[int, tuple[int, ...]]:
    """By line, where its meaningful numbers end, counted from its start."""
    found: dict[int, set[int]] = {}
    for line, end in zip(hits.line[chosen].tolist(), (hits.end - starts[hits.line])[chosen].tolist(), strict=True):
        found.setdefault(line, set()).add(end)
    return {line: tuple(sorted(ends)) for line, ends in found.items()}
