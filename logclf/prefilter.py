"""Which words a line must contain to match a pattern (the prefilter of RE2 and of Rust's regex, after Cox 2012).

Thousands of patterns cost little when most of them are ruled out by a word that the line does not have.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from .pattern_tree import DIGIT, UPPER, Alternation, Assertion, Bytes, Capture, Node, Repeat, Sequence, Text

LONGEST_LITERAL = 24
FEWEST_LETTERS = 3  # of a literal; what has fewer is in most lines
MOST_LITERALS = 64
MOST_SETS = 3
MOST_ALSO = 8  # words of a further set; looking for more costs as much as the expression itself
# Words that stand in many lines of any log: a pattern's other words tell more.
COMMON = frozenset(
    [
        "info",
        "warn",
        "warning",
        "error",
        "debug",
        "fatal",
        "err",
        "fail",
        "failed",
        "time",
        "status",
        "server",
        "user",
        "from",
        "for",
        "with",
        "http",
        "get",
        "api",
        "host",
        "port",
        "the",
        "and",
        "not",
        "org",
        "com",
        "java",
        "main",
        "log",
        "level",
        "msg",
        "message",
        "exception",
        "kernel",
        "invalid",
        "system",
        "info:",
        "error:",
        "warning:",
        "[error]",
        "[info]",
    ]
)


_LOWER = {code: code + 32 for code in UPPER}


@dataclass(frozen=True)
class Required:
    """exact: all that the node can match, if that is few strings.

    sets: sets of words, of each of which every match contains one; the rarest first.
    """

    exact: frozenset[str] | None
    sets: tuple[tuple[str, ...], ...] = ()


def _required(node: Node) -> Required:
    """Which words a match must contain (the prefilter of RE2 and Rust's regex, after Cox 2012)."""
    match node:
        case Bytes(values):
            if len(values) > 4 or values & DIGIT:
                return Required(None)
            return Required(frozenset(chr(value).translate(_LOWER) for value in values))
        case Text(value):
            words = re.split(r"[0-9]", value.decode("latin-1").translate(_LOWER))
            if len(words) == 1:
                return Required(frozenset(words))
            return Required(None, _rarest(_useful(frozenset((word,))) for word in words))
        case Assertion():
            return Required(frozenset(("",)))
        case Capture(part):
            return _required(part)
        case Repeat(part, least, most):
            inner = _required(part)
            if least == 0:
                return Required(inner.exact | {""} if inner.exact is not None and most == 1 else None)
            return Required(inner.exact if (least, most) == (1, 1) else None, _sets(inner))
        case Alternation(branches):
            return _required_of_any(list(map(_required, branches)))
        case Sequence(parts):
            return _required_of_all(list(map(_required, parts)))


def _sets(found: Required) -> tuple[tuple[str, ...], ...]:
    """What a node requires, its exact strings included."""
    return _rarest((*found.sets, _useful(found.exact)))


def _required_of_any(found: list[Required]) -> Required:
    sets = [_sets(each) for each in found]
    together = tuple(sorted({word for each in sets for word in each[0]})) if all(sets) else ()
    usable = (together,) if 0 < len(together) <= MOST_LITERALS else ()
    exact = [each.exact for each in found if each.exact is not None]
    if len(exact) < len(found) or sum(map(len, exact)) > MOST_LITERALS:
        return Required(None, usable)
    return Required(frozenset[str]().union(*exact), usable)


def _required_of_all(found: list[Required]) -> Required:
    sets: list[tuple[str, ...]] = []
    run = frozenset(("",))
    whole = True
    for each in found:
        sets += each.sets
        if each.exact is not None and len(run) * len(each.exact) <= MOST_LITERALS:
            run = frozenset(head + tail for head in run for tail in each.exact)
            continue
        sets.append(_useful(run))
        whole = False
        run = each.exact if each.exact is not None else frozenset(("",))
    return Required(run if whole else None, _rarest((*sets, _useful(run))))


def _useful(words: frozenset[str] | None) -> tuple[str, ...]:
    """Words as literals to look for, or () where one of them is too short to tell anything."""
    if not words or min(sum(map(str.isalpha, word)) for word in words) < FEWEST_LETTERS:
        return ()
    return tuple(sorted({word[:LONGEST_LITERAL] for word in words}))


def _rarest(sets: Iterable[tuple[str, ...]]) -> tuple[tuple[str, ...], ...]:
    """The sets that fewest lines can be expected to have a word of."""
    return tuple(sorted({words for words in sets if words}, key=lambda words: (_expected(words), words))[:MOST_SETS])


def _expected(words: tuple[str, ...]) -> float:
    """A guess at how often a line has one of the words: every further letter makes a word rarer."""
    return sum(0.2 if word.strip() in COMMON else 4.0 ** -min(sum(map(str.isalpha, word)), 9) for word in words)


def required_words(node: Node) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """The set of words (lower case, no digits) of which every match contains one, the rarest there is, or ();
    and up to two further such sets, small ones."""
    first, *rest = _sets(_required(node)) or [()]
    return first, tuple(words for words in rest if len(words) <= MOST_ALSO)
