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
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import msgspec

from .errors import PatternError

NEWLINE = 10
ALL = frozenset(range(256)) - {NEWLINE}
DIGIT = frozenset(b"0123456789")
UPPER = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ")
LOWER = frozenset(b"abcdefghijklmnopqrstuvwxyz")
WORD = DIGIT | UPPER | LOWER | frozenset(b"_")
SPACE = frozenset(b" \t\r\f")  # RE2's; vertical tab is no white space there
PUNCTUATION = frozenset(range(33, 127)) - DIGIT - UPPER - LOWER

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
    if _nullable(tree):
        raise PatternError("matches the empty string, so it would match every line")
    if not _anchored_at_edges(tree, True, True):
        raise PatternError("^ and $ stand for the line's start and end: nothing can come before ^ or after $")
    if _copies(tree) > MAX_REPEAT:
        raise PatternError(f"repeats within repeats multiply to more than {MAX_REPEAT}")
    names = tuple(_names(tree))
    repeated = {name for name in names if names.count(name) > 1}
    if repeated:
        raise PatternError(f"names a group twice: {min(repeated)}")
    detect = _trim(_trim(tree, last=True), last=False)
    bare = _without_captures(detect)
    short, wide = _write(bare), _write(_widen(bare))
    first, *rest = _sets(_required(tree)) or [()]
    also = tuple(words for words in rest if len(words) <= MOST_ALSO)
    return Pattern(
        source, _write(tree), short, wide if wide != short else None, first, also, names, _widen(tree) == tree
    )


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


def _nullable(node: Node) -> bool:
    """Whether the node can match without taking a byte."""
    match node:
        case Bytes() | Text():
            return False
        case Assertion():
            return True
        case Sequence(parts):
            return all(_nullable(part) for part in parts)
        case Alternation(branches):
            return any(_nullable(branch) for branch in branches)
        case Repeat(part, least):
            return least == 0 or _nullable(part)
        case Capture(part):
            return _nullable(part)


def _copies(node: Node) -> int:
    """How often counted repeats within each other repeat what is innermost, at most; RE2 limits their product."""
    match node:
        case Sequence(children) | Alternation(children):
            return max(map(_copies, children), default=1)
        case Repeat(part, least, most):
            return max(least, most or 0, 1) * _copies(part)
        case Capture(part):
            return _copies(part)
    return 1


def _widen(node: Node) -> Node:
    """Every set that has a digit gets all of them."""
    match node:
        case Bytes(values):
            return Bytes(values | DIGIT) if values & DIGIT else node
        case Text(value, fold) if value.translate(None, b"0123456789") != value:
            parts = re.split(rb"([0-9])", value)
            return Sequence(tuple(Bytes(DIGIT) if part.isdigit() else Text(part, fold) for part in parts if part))
        case Sequence(parts):
            return Sequence(tuple(map(_widen, parts)))
        case Alternation(branches):
            return Alternation(tuple(map(_widen, branches)))
        case Repeat(part) | Capture(part):
            return replace(node, part=_widen(part))
    return node


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


def _anchored_at_edges(node: Node, first: bool, last: bool) -> bool:
    """Whether `^` stands only where a match can start, and `$` where it can end; Hyperscan takes no others."""
    match node:
        case Assertion(text):
            return (text != "^" or first) and (text != "$" or last)
        case Sequence(parts):
            marks = [isinstance(part, Assertion) for part in parts]
            return all(
                _anchored_at_edges(part, first and all(marks[:at]), last and all(marks[at + 1 :]))
                for at, part in enumerate(parts)
            )
        case Alternation(branches):
            return all(_anchored_at_edges(branch, first, last) for branch in branches)
        case Capture(part):
            return _anchored_at_edges(part, first, last)
        case Repeat(part, _, most):
            return _anchored_at_edges(part, first and most == 1, last and most == 1)
    return True


def _names(node: Node) -> Iterator[str]:
    match node:
        case Sequence(children) | Alternation(children):
            for child in children:
                yield from _names(child)
        case Repeat(part):
            yield from _names(part)
        case Capture(part, name):
            if name:
                yield name
            yield from _names(part)


def _without_captures(node: Node) -> Node:
    match node:
        case Sequence(parts):
            return Sequence(tuple(map(_without_captures, parts)))
        case Alternation(branches):
            return Alternation(tuple(map(_without_captures, branches)))
        case Repeat(part):
            return replace(node, part=_without_captures(part))
        case Capture(part):
            return _without_captures(part)
    return node


def _trim(node: Node, last: bool) -> Node:
    """Shorten one end of the pattern as far as the set of matching lines allows.

    `user=\\S+` becomes `user=\\S`: a chunk scan reports every match end, and this one reports once per user, not
    once per letter.
    """
    match node:
        case Repeat(_, 0):
            return EMPTY
        case Repeat(part, 1):
            return _trim(part, last)
        case Repeat(part, least, most) if most != least:
            return Repeat(part, least, least)
        case Capture(part):
            return _trim(part, last)
        case Alternation(branches):
            trimmed = tuple(_trim(branch, last) for branch in branches)
            return EMPTY if EMPTY in trimmed else Alternation(trimmed)
        case Sequence(parts) if parts:
            end = -1 if last else 0
            rest = parts[:-1] if last else parts[1:]
            shorter = _trim(parts[end], last)
            if shorter == EMPTY:
                return _trim(Sequence(rest), last)
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


def _write(node: Node) -> str:
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
            return "".join(f"(?:{_write(p)})" if isinstance(p, Alternation) else _write(p) for p in parts)
        case Alternation(branches):
            return "|".join(map(_write, branches))
        case Capture(part, name):
            return f"(?P<{name}>{_write(part)})"
        case Repeat(part, least, most, lazy):
            alone = isinstance(part, (Bytes, Capture)) or (isinstance(part, Text) and len(part.value) == 1)
            body = _write(part) if alone else f"(?:{_write(part)})"
            return body + _counts(least, most) + ("?" if lazy else "")
    raise AssertionError(node)


def _counts(least: int, most: int | None) -> str:
    short = {(0, None): "*", (1, None): "+", (0, 1): "?", (1, 1): ""}
    if (least, most) in short:
        return short[least, most]
    return f"{{{least}}}" if most == least else f"{{{least},{'' if most is None else most}}}"
