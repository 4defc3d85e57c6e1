"""A pattern as a tree: what it is made of, and what can be asked of it and made of it without running it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

NEWLINE = 10
ALL = frozenset(range(256)) - {NEWLINE}
DIGIT = frozenset(b"0123456789")
UPPER = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
LOWER = frozenset(b"abcdefghijklmnopqrstuvwxyz")
WORD = DIGIT | UPPER | LOWER | frozenset(b"_")
SPACE = frozenset(b" \t\r\f")  # RE2's; vertical tab is no white space there
PUNCTUATION = frozenset(range(33, 127)) - DIGIT - UPPER - LOWER


@dataclass(frozen=True)
class Bytes:
    """One byte out of a set."""

    values: frozenset[int]


@dataclass(frozen=True)
class Text:
    """Bytes one after the other; `fold`: ASCII letters in either case."""

    value: bytes
    fold: bool = False


@dataclass(frozen=True)
class Assertion:
    """A zero-width test, as both engines write it."""

    text: str


@dataclass(frozen=True)
class Sequence:
    parts: tuple[Node, ...] = ()


@dataclass(frozen=True)
class Alternation:
    branches: tuple[Node, ...]


@dataclass(frozen=True)
class Repeat:
    part: Node
    least: int
    most: int | None
    lazy: bool = False


@dataclass(frozen=True)
class Capture:
    part: Node
    name: str | None


Node = Bytes | Text | Assertion | Sequence | Alternation | Repeat | Capture
EMPTY = Sequence()


def nullable(node: Node) -> bool:
    """Whether the node can match without taking a byte."""
    match node:
        case Bytes() | Text():
            return False
        case Assertion():
            return True
        case Sequence(parts):
            return all(nullable(part) for part in parts)
        case Alternation(branches):
            return any(nullable(branch) for branch in branches)
        case Repeat(part, least):
            return least == 0 or nullable(part)
        case Capture(part):
            return nullable(part)


def copies(node: Node) -> int:
    """How often counted repeats within each other repeat what is innermost, at most; RE2 limits their product."""
    match node:
        case Sequence(children) | Alternation(children):
            return max(map(copies, children), default=1)
        case Repeat(part, least, most):
            return max(least, most or 0, 1) * copies(part)
        case Capture(part):
            return copies(part)
    return 1


def widen(node: Node) -> Node:
    """Every set that has a digit gets all of them."""
    match node:
        case Bytes(values):
            return Bytes(values | DIGIT) if values & DIGIT else node
        case Text(value, fold) if value.translate(None, b"0123456789") != value:
            parts = re.split(rb"([0-9])", value)
            return Sequence(tuple(Bytes(DIGIT) if part.isdigit() else Text(part, fold) for part in parts if part))
        case Sequence(parts):
            return Sequence(tuple(map(widen, parts)))
        case Alternation(branches):
            return Alternation(tuple(map(widen, branches)))
        case Repeat(part) | Capture(part):
            return replace(node, part=widen(part))
    return node


def anchored_at_edges(node: Node, first: bool, last: bool) -> bool:
    """Whether `^` stands only where a match can start, and `$` where it can end; Hyperscan takes no others."""
    match node:
        case Assertion(text):
            return (text != "^" or first) and (text != "$" or last)
        case Sequence(parts):
            marks = [isinstance(part, Assertion) for part in parts]
            return all(
                anchored_at_edges(part, first and all(marks[:at]), last and all(marks[at + 1 :]))
                for at, part in enumerate(parts)
            )
        case Alternation(branches):
            return all(anchored_at_edges(branch, first, last) for branch in branches)
        case Capture(part):
            return anchored_at_edges(part, first, last)
        case Repeat(part, _, most):
            return anchored_at_edges(part, first and most == 1, last and most == 1)
    return True


def group_names(node: Node) -> Iterator[str]:
    match node:
        case Sequence(children) | Alternation(children):
            for child in children:
                yield from group_names(child)
        case Repeat(part):
            yield from group_names(part)
        case Capture(part, name):
            if name:
                yield name
            yield from group_names(part)


def without_captures(node: Node) -> Node:
    match node:
        case Sequence(parts):
            return Sequence(tuple(map(without_captures, parts)))
        case Alternation(branches):
            return Alternation(tuple(map(without_captures, branches)))
        case Repeat(part):
            return replace(node, part=without_captures(part))
        case Capture(part):
            return without_captures(part)
    return node


def trim(node: Node, last: bool) -> Node:
    """Shorten one end of the pattern as far as the set of matching lines allows.

    `user=\\S+` becomes `user=\\S`: a chunk scan reports every match end, and this one reports once per user, not
    once per letter.
    """
    match node:
        case Repeat(_, 0):
            return EMPTY
        case Repeat(part, 1):
            return trim(part, last)
        case Repeat(part, least, most) if most != least:
            return Repeat(part, least, least)
        case Capture(part):
            return trim(part, last)
        case Alternation(branches):
            trimmed = tuple(trim(branch, last) for branch in branches)
            return EMPTY if EMPTY in trimmed else Alternation(trimmed)
        case Sequence(parts) if parts:
            end = -1 if last else 0
            rest = parts[:-1] if last else parts[1:]
            shorter = trim(parts[end], last)
            if shorter == EMPTY:
                return trim(Sequence(rest), last)
            return Sequence((*rest, shorter) if last else (shorter, *rest))
    return node


PLAIN = frozenset(b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz _:;,/='\"<>@%&~")


def _byte(value: int) -> str:
    return chr(value) if value in PLAIN else f"\\x{value:02x}"


@lru_cache(maxsize=4096)
def _ranges(values: frozenset[int]) -> str:
    """A set as ranges; kept, because the same few sets make up nearly all patterns."""
    text = ""
    for low in sorted(value for value in values if value - 1 not in values):
        high = low
        while high + 1 in values:
            high += 1
        text += f"\\x{low:02x}" if low == high else f"\\x{low:02x}-\\x{high:02x}"
    return text


def write(node: Node) -> str:
    """The pattern in the syntax that every engine reads the same way."""
    match node:
        case Text(value, fold):
            written = "".join(map(_byte, value))
            return f"(?i:{written})" if fold and value.lower() != value.upper() else written
        case Bytes(values) if len(values) == 1:
            return _byte(*values)
        case Bytes(values):
            return f"[{_ranges(values)}]"
        case Assertion(text):
            return text
        case Sequence(parts):
            return "".join(f"(?:{write(p)})" if isinstance(p, Alternation) else write(p) for p in parts)
        case Alternation(branches):
            return "|".join(map(write, branches))
        case Capture(part, name):
            return f"(?P<{name}>{write(part)})"
        case Repeat(part, least, most, lazy):
            alone = isinstance(part, (Bytes, Capture)) or (isinstance(part, Text) and len(part.value) == 1)
            body = write(part) if alone else f"(?:{write(part)})"
            return body + _counts(least, most) + ("?" if lazy else "")
    raise AssertionError(node)


def _counts(least: int, most: int | None) -> str:
    short = {(0, None): "*", (1, None): "+", (0, 1): "?", (1, 1): ""}
    if (least, most) in short:
        return short[least, most]
    return f"{{{least}}}" if most == least else f"{{{least},{'' if most is None else most}}}"
