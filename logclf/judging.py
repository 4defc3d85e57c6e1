"""One rule and one line, by RE2: whether the rule matches it, and what it captures from it."""

from __future__ import annotations

import ipaddress
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from .matching import re2_compile
from .patterns import Pattern
from .rulefile import Rule

Expression = Any  # a compiled RE2; the package has no types


class Span(NamedTuple):
    """A field's place in a line, and what is made of its text."""

    name: str
    convert: Callable[[str], object]
    start: int
    end: int


class Judge:
    """A rule's patterns as RE2 has them, compiled when they are first needed, for one line at a time."""

    def __init__(self, rule: Rule) -> None:
        self._any, self._none = _either(rule.any, "detect"), _either(rule.none, "detect")
        self._sure_any, self._sure_none = self._any, self._none
        self._wide_any, self._wide_none = self._any, self._none
        if any(pattern.wide for pattern in rule.any):
            self._sure_any = _either([pattern for pattern in rule.any if not pattern.wide], "detect")
            self._wide_any = _either(rule.any, "wide")
        if any(pattern.wide for pattern in rule.none):
            self._sure_none = _either([pattern for pattern in rule.none if not pattern.wide], "detect")
            self._wide_none = _either(rule.none, "wide")

    def found(self, line: bytes) -> bool:
        """Whether one of `any` is in the line."""
        return _search(self._any, line)

    def refuses(self, line: bytes) -> bool:
        """Whether one of `none` is in the line."""
        return _search(self._none, line)

    def wins(self, line: bytes) -> bool:
        return self.found(line) and not self.refuses(line)

    def of_shape(self, line: bytes) -> bool | None:
        """Whether the rule matches every line of this line's shape (True), no such line (False), or some (None)."""
        if not _search(self._wide_any, line) or _search(self._sure_none, line):
            return False
        certain = self._sure_any is self._any or _search(self._sure_any, line)
        if certain and (self._sure_none is self._none or not _search(self._wide_none, line)):
            return True
        return None


def _either(patterns: Sequence[Pattern], form: str) -> Expression | None:
    """One expression for any of some patterns; None for none at all."""
    written = [getattr(pattern, form) or pattern.detect for pattern in patterns]
    return re2_compile("|".join(written)) if written else None


def _search(expression: Expression | None, line: bytes) -> bool:
    return expression is not None and expression.search(line) is not None


class Captures:
    """A rule's capturing patterns, for a line that the rule has won."""

    def __init__(self, rule: Rule) -> None:
        self._patterns: list[tuple[Expression, tuple[tuple[str, Callable[[str], object]], ...]]] = []
        for pattern in rule.any:
            converters = tuple((name, CONVERTERS[rule.spec.fields.get(name, "str")]) for name in pattern.names)
            self._patterns.append((re2_compile(pattern.full), converters))

        self._digit_blind = all(pattern.digit_blind for pattern in rule.any)

    def find(self, line: bytes) -> dict[str, object]:
        """Fields by name, from the first pattern that is found in the line."""
        return {
            name: convert(line[start:end].decode("utf-8", "replace")) for name, convert, start, end in self._spans(line)
        }

    def spans(self, line: bytes) -> tuple[Span, ...] | None:
        """The fields' places, if every line of this line's shape has them there; else None."""
        return self._spans(line) if self._digit_blind else None

    def _spans(self, line: bytes) -> tuple[Span, ...]:
        for expression, converters in self._patterns:
            match = expression.search(line)
            if match is not None:
                places = [(name, convert, *match.span(number)) for number, (name, convert) in enumerate(converters, 1)]
                return tuple(Span(*place) for place in places if place[2] >= 0)
        return ()


def _ip(text: str) -> str:
    """IPv6 addresses in their one canonical form, so that equal ones are equal."""
    if ":" not in text:
        return text
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return text


def _integer(text: str) -> object:
    """A number of up to 18 digits, which every JSON reader takes whole."""
    digits = text.removeprefix("-")
    return int(text) if digits.isascii() and digits.isdigit() and len(digits) <= 18 else text


def _float(text: str) -> object:
    """A finite number in plain notation."""
    try:
        value = float(text)
    except ValueError:
        return text
    return value if math.isfinite(value) and "_" not in text else text


# A captured text that is not of its declared type stays text: the line matched, and its words are worth keeping.
CONVERTERS: dict[str, Callable[[str], object]] = {"str": str, "int": _integer, "float": _float, "ip": _ip}
