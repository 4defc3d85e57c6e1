"""The regular expressions of rules: one dialect, the same meaning in every engine.

A pattern is parsed here and written out again in the part of the syntax that no engine can read differently: explicit
byte sets, concatenation, alternation, repetition and line assertions. No byte set ever holds a newline, so a match in
a block of lines is a match in one line.

Parsing also finds what makes matching thousands of patterns cheap (see rules.py): the words that every match must
contain, and whether the pattern tells one digit from another.

Patterns are matched against bytes. Classes are ASCII (`\\w` is `[0-9A-Za-z_]`); other characters are matched as
their UTF-8 bytes and may not stand in a `[class]`.
"""

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from .errors import PatternError
from .pattern_tree import (
    ALL,
    DIGIT,
    LOWER,
    NEWLINE,
    PUNCTUATION,
    SPACE,
    UPPER,
    WORD,
    Alternation,
    Assertion,
    Bytes,
    Capture,
    Node,
    Repeat,
    Sequence,
    Text,
    anchored_at_edges,
    copies,
    group_names,
    nullable,
    trim,
    widen,
    without_captures,
    write,
)
from .prefilter import required_words

ESCAPED_SETS = {"d": DIGIT, "D": ALL - DIGIT, "w": WORD, "W": ALL - WORD, "s": SPACE, "S": ALL - SPACE}
ESCAPED_BYTES = {"t": 9, "r": 13, "f": 12, "v": 11, "a": 7, "e": 27, "0": 0}
ASSERTIONS = {"b": r"\b", "B": r"\B", "A": "^", "z": "$", "Z": "$"}
POSIX = {
    "alpha": UPPER | LOWER,
    "digit": DIGIT,
    "alnum": UPPER | LOWER | DIGIT,
    "upper": UPPER,
    "lower": LOWER,
    "space": SPACE,
    "punct": PUNCTUATION,
    "xdigit": DIGIT | frozenset(b"abcdefABCDEF"),
    "word": WORD,
}
MAX_REPEAT = 1000  # RE2's own limit
HEX = re.compile(r"([0-9A-Fa-f]{2})|\{([0-9A-Fa-f]{1,8})\}")
COUNTS = re.compile(r"\{([0-9]{1,999})(?:(,)([0-9]{1,999})?)?\}")
# Plain characters that no repeat follows: most of most patterns, taken in one step.
PLAIN_RUN = re.compile(r"""[A-Za-z0-9 _:;,/='"<>@%&~!#`-]+(?![*+?{])""", re.ASCII)


class Pattern(msgspec.Struct, frozen=True):
    """A parsed pattern: what was written, and what the engines get.

    full: with its named groups; `names`, in the order of their numbers.
    detect: finds the same lines without groups, and leaves off at either end what does not change which lines match.
    wide: `detect` with every set that has a digit given all ten; None where that changes nothing. What it says of a
        line holds for every line that differs in digits only.
    literals: words (lower case, no digits) of which every match contains at least one, whatever the case of its
        letters; () where there are none worth looking for.
    also: up to two more such sets, of which every match contains a word each.
    digit_blind: no digit is told from another, so that groups too stay where they are when digits change.
    """

    source: str
    full: str
    detect: str
    wide: str | None = None
    literals: tuple[str, ...] = ()
    also: tuple[tuple[str, ...], ...] = ()
    names: tuple[str, ...] = ()
    digit_blind: bool = True


@lru_cache(maxsize=8192)
def parse(source: str) -> Pattern:
    """Parse one pattern of a rule. Kept, since validating, compiling and capturing all ask for it.

    Raises:
        PatternError: outside the dialect, or able to match the empty string.
    """
    tree = _Parser(source).parse()
    if nullable(tree):
        raise PatternError("matches the empty string, so it would match every line")
    if not anchored_at_edges(tree, True, True):
        raise PatternError("^ and $ stand for the line's start and end: nothing can come before ^ or after $")
    if copies(tree) > MAX_REPEAT:
        raise PatternError(f"repeats within repeats multiply to more than {MAX_REPEAT}")
    names = tuple(group_names(tree))
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise PatternError(f"names a group twice: {min(repeated)}")
    detect = trim(trim(tree, last=True), last=False)
    bare = without_captures(detect)
    short, wide = write(bare), write(widen(bare))
    first, also = required_words(tree)
    return Pattern(source, write(tree), short, wide if wide != short else None, first, also, names, widen(tree) == tree)


class _Parser:
    """Recursive descent over the pattern's characters."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.at = 0
        self.fold = False
        self.depth = 0

    def parse(self) -> Node:
        tree = self._alternation()
        if self.at < len(self.source):
            raise self._error("unmatched )")
        return tree

    def _error(self, message: str, position: int | None = None) -> PatternError:
        return PatternError(message, self.at if position is None else position)

    def _peek(self) -> str:
        return self.source[self.at : self.at + 1]

    def _take(self, text: str) -> bool:
        if self.source.startswith(text, self.at):
            self.at += len(text)
            return True
        return False

    def _alternation(self) -> Node:
        branches = [self._sequence()]
        while self._take("|"):
            branches.append(self._sequence())
        return branches[0] if len(branches) == 1 else Alternation(tuple(branches))

    def _sequence(self) -> Node:
        parts: list[Node] = []
        while self._peek() not in ("", "|", ")"):
            if self._take("(?i)"):
                self.fold = True
                continue
            run = PLAIN_RUN.match(self.source, self.at)
            if run:
                self.at = run.end()
                parts.append(Text(run.group().encode(), self.fold))
                continue
            parts.append(self._repeated(self._atom()))
        return parts[0] if len(parts) == 1 else Sequence(tuple(parts))

    def _repeated(self, atom: Node) -> Node:
        start = self.at
        bounds = self._bounds()
        if bounds is None:
            return atom
        if isinstance(atom, Assertion):
            raise self._error("nothing to repeat", start)
        least, most = bounds
        if max(least, most or 0) > MAX_REPEAT or (most is not None and most < least):
            raise self._error(f"repeat counts go up to {MAX_REPEAT}, the smaller first", start)
        lazy = self._take("?")
        if self._peek() in ("*", "+", "?") or (self._peek() == "{" and self._bounds() is not None):
            raise self._error("a repeat of a repeat (possessive repeats are not supported)", start)
        return Repeat(atom, least, most, lazy)

    def _bounds(self) -> tuple[int, int | None] | None:
        for text, bounds in (("*", (0, None)), ("+", (1, None)), ("?", (0, 1))):
            if self._take(text):
                return bounds
        if self._peek() != "{":
            return None
        counts = COUNTS.match(self.source, self.at)
        if counts is None:
            return None  # a brace that opens no counts is a plain brace
        self.at = counts.end()
        least, comma, most = counts.groups()
        return int(least), (int(most) if most else None) if comma else int(least)

    def _atom(self) -> Node:
        start = self.at
        char = self.source[self.at]
        self.at += 1
        if char == ".":
            return Bytes(ALL)
        if char in "^$":
            return Assertion(char)
        if char == "[":
            return self._class()
        if char == "(":
            return self._group()
        if char == "\\":
            return self._escape()
        if char in "*+?" or COUNTS.match(self.source, start):
            raise self._error("nothing to repeat", start)
        return self._literal(char, start)

    def _literal(self, char: str, start: int) -> Node:
        if char == "\n":
            raise self._error("a newline never occurs in a line", start)
        encoded = char.encode("utf-8", "surrogatepass")
        return Text(encoded, self.fold)

    def _folded(self, values: frozenset[int]) -> frozenset[int]:
        if not self.fold:
            return values
        return values | {value ^ 32 for value in values & (UPPER | LOWER)}

    def _escape(self) -> Node:
        start = self.at - 1
        char = self._peek()
        if char in ASSERTIONS and char:
            self.at += 1
            return Assertion(ASSERTIONS[char])
        if char in ESCAPED_SETS and char:
            self.at += 1
            return Bytes(ESCAPED_SETS[char])
        return self._literal_byte(self._escaped_byte(start), start)

    def _literal_byte(self, value: int | str, start: int) -> Node:
        if isinstance(value, str):
            return self._literal(value, start)
        if value == NEWLINE:
            raise self._error("a newline never occurs in a line", start)
        return Text(bytes((value,)), self.fold)

    def _escaped_byte(self, start: int) -> int | str:
        """The byte or character behind a backslash."""
        char = self._peek()
        self.at += 1
        if char == "n":
            return NEWLINE
        if char == "0" and self._peek().isdigit():  # RE2 reads octal, others a zero byte and a digit
            raise self._error("octal escapes are read differently everywhere; write \\xHH", start)
        if char in ESCAPED_BYTES and char:
            return ESCAPED_BYTES[char]
        if char == "x":
            return self._hex(start)
        if not char:
            raise self._error("a backslash at the end", start)
        if char.isdigit() or char in "gk":
            raise self._error(f"back-references cannot be matched in linear time: \\{char}", start)
        if char.isascii() and char.isalnum():
            raise self._error(f"unknown escape \\{char}", start)
        return char

    def _hex(self, start: int) -> int:
        found = HEX.match(self.source, self.at)
        value = int(found[1] or found[2], 16) if found else 256
        if found is None or value > 255:
            raise self._error("expected \\xHH, one byte in hexadecimal", start)
        self.at = found.end()
        return value

    def _class(self) -> Node:
        start = self.at - 1
        negated = self._take("^")
        values: set[int] = set()
        first = True
        while first or self._peek() != "]":
            if not self._peek():
                raise self._error("[ without ]", start)
            first = False
            values |= self._class_item(start)
        self.at += 1
        chosen = self._folded(frozenset(values))
        chosen = (ALL - chosen) if negated else chosen - {NEWLINE}
        if not chosen:
            raise self._error("a class that matches nothing within a line", start)
        return Bytes(chosen)

    def _class_item(self, start: int) -> frozenset[int]:
        if self._take("[:"):
            name, found, _ = self.source[self.at :].partition(":]")
            if not found or name not in POSIX:
                raise self._error(f"unknown class [:{name[:12]}:]", start)
            self.at += len(name) + 2
            return POSIX[name]
        if self._peek() == "\\" and self.source[self.at + 1 : self.at + 2] in (*"dDwWsS",):
            self.at += 2
            return ESCAPED_SETS[self.source[self.at - 1]]
        low = self._class_byte(start)
        if self._peek() == "-" and self.source[self.at + 1 : self.at + 2] not in ("]", ""):
            self.at += 1
            high = self._class_byte(start)
            if high < low:
                raise self._error("a range that runs backwards", start)
            return frozenset(range(low, high + 1))
        return frozenset((low,))

    def _class_byte(self, start: int) -> int:
        char = self._peek()
        self.at += 1
        if char == "\\":
            if self._peek() == "b":
                self.at += 1
                return 8
            value = self._escaped_byte(self.at - 1)
            if isinstance(value, int):
                return value
            char = value
        if not char.isascii() or not char:
            raise self._error("only ASCII may stand in a [class]; write (?:é|è) instead", start)
        return ord(char)

    def _group(self) -> Node:
        start = self.at - 1
        self.depth += 1
        if self.depth > 50:
            raise self._error("groups nest too deeply", start)
        fold = self.fold
        name: str | None = None
        captures = False
        if self._take("?:") or self._take("?i:"):
            self.fold = fold or self.source[self.at - 2] == "i"
        elif self._take("?P<") or (self.source[self.at : self.at + 3] not in ("?<=", "?<!") and self._take("?<")):
            name, found, _ = self.source[self.at :].partition(">")
            if not found or not name.isidentifier() or not name.isascii():
                raise self._error("expected (?P<name>…)", start)
            self.at += len(name) + 1
            captures = True
        elif self._peek() == "?":
            raise self._error("look-around, inline flags other than (?i) and conditionals are not supported", start)
        part = self._alternation()
        if not self._take(")"):
            raise self._error("( without )", start)
        self.fold = fold
        self.depth -= 1
        return Capture(part, name) if captures else part
