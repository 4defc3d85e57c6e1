"""One dialect: refused with a message and a place, or read as RE2 reads it, in every form that is derived from it."""

from __future__ import annotations

import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logclf.errors import PatternError
from logclf.matching import re2_compile
from logclf.patterns import MAX_REPEAT, parse

REFUSED = [
    ("", "matches the empty string", None),
    ("a?", "matches the empty string", None),
    ("a*|b", "matches the empty string", None),
    (r"^\b$", "matches the empty string", None),
    ("(?i)", "matches the empty string", None),
    ("a{0}", "matches the empty string", None),
    ("(?:a*)+", "matches the empty string", None),
    ("a\nb", "a newline never occurs", 1),
    (r"ab\n", "a newline never occurs", 2),
    (r"\x0a", "a newline never occurs", 0),
    ("x[\\n]", "a class that matches nothing", 1),
    (r"[^\x00-\xff]", "a class that matches nothing", 0),
    ("a**", "a repeat of a repeat", 1),
    ("a++", "a repeat of a repeat", 1),
    ("ab{2}{3}", "a repeat of a repeat", 2),
    ("a{3,2}", "repeat counts go up to", 1),
    (f"a{{{MAX_REPEAT + 1}}}", "repeat counts go up to", 1),
    ("a{99999999999999999999}", "repeat counts go up to", 1),
    ("(?:a{40}b){40}", "multiply to more than 1000", None),
    ("*a", "nothing to repeat", 0),
    ("a|+", "nothing to repeat", 2),
    ("({2}a)", "nothing to repeat", 1),
    ("a^*", "nothing to repeat", 2),
    ("x(a", "( without )", 1),
    ("a)", "unmatched )", 1),
    ("a[b", "[ without ]", 1),
    ("[z-a]", "a range that runs backwards", 0),
    ("x[é]", "only ASCII may stand in a [class]", 1),
    ("[[:foo:]]", "unknown class [:foo:]", 0),
    (r"a\1", r"back-references cannot be matched in linear time: \1", 1),
    (r"\k<a>", "back-references", 0),
    (r"a\q", r"unknown escape \q", 1),
    (r"\pL", r"unknown escape \p", 0),
    ("a\\", "a backslash at the end", 1),
    (r"a\x4", r"expected \xHH", 1),
    (r"\xg0", r"expected \xHH", 0),
    (r"\x{100}", r"expected \xHH", 0),
    (r"\x{{41}}", r"expected \xHH", 0),
    (r"a\012", "octal", 1),
    ("a(?=b)", "look-around", 1),
    ("(?<!a)b", "look-around", 0),
    (r"\d$\d", "nothing can come before ^ or after $", None),
    ("a(?:b|^c)", "nothing can come before ^ or after $", None),
    ("(?s:a)", "inline flags other than (?i)", 0),
    ("(?P<1>a)", "expected (?P<name>", 0),
    ("(?P<é>a)", "expected (?P<name>", 0),
    ("(?P<a", "expected (?P<name>", 0),
    ("(?P<a>x)(?P<a>y)", "names a group twice: a", None),
    ("(" * 51 + "a" + ")" * 51, "groups nest too deeply", 50),
]


@pytest.mark.parametrize(("source", "message", "position"), REFUSED)
def test_refused_with_message_and_position(source: str, message: str, position: int | None) -> None:
    with pytest.raises(PatternError) as caught:
        parse(source)
    assert message in caught.value.message
    assert caught.value.position == position
    if position is not None:
        assert str(caught.value).endswith(f"(at character {position + 1})")


FOUND = [
    ("a{,3}", b"a{,3}", b"aaa"),  # a brace that opens no counts is a brace
    ("a{x}", b"a{x}", b"aax"),
    ("a{1,2", b"a{1,2", b"aa"),
    ("[]a]b", b"]b", b"[b"),
    ("[^]a]b", b"cb", b"]b"),
    ("[a-]x", b"-x", b"bx"),
    (r"[\d-z]x", b"-x", b"yx"),
    (r"[\b]", b"\x08", b"b"),
    (r"\x{e9}", b"\xe9", b"\xc3\xa9"),
    ("é+$", "éé".encode(), b"\xa9\xc3"),
    (r"\Aone\z", b"one", b"one "),
    (r"a\Z", b"ba", b"ab"),
    ("(?i)[^a]b", b"cB", b"AB"),
    ("x(?:(?i)a|b)c", b"xBc", b"xBC"),
    (r"a\sb", b"a\x0cb", b"a\x0bb"),
    (r"\0", b"\0", b"0"),
    ("(?<n>a)b", b"ab", b"b"),
    ("a\\ b", b"a b", b"a\\ b"),
]


@pytest.mark.parametrize(("source", "matching", "other"), FOUND)
def test_meaning(source: str, matching: bytes, other: bytes) -> None:
    pattern = parse(source)
    for form in (pattern.full, pattern.detect):
        assert re2_compile(form).search(matching)
        assert not re2_compile(form).search(other)


def test_names_are_in_the_order_of_their_numbers() -> None:
    pattern = parse(r"(?P<b>x(?P<a>\d))|(?P<c>y)(z)")
    assert pattern.names == ("b", "a", "c")
    match = re2_compile(pattern.full).search(b"x7")
    assert [match.group(number) for number in (1, 2, 3)] == [b"x7", b"7", None]


def test_wide_only_where_digits_decide() -> None:
    assert parse(r"user=\S+ \d+").wide is None
    assert parse(r"status=5\d\d").wide == r"status=[\x30-\x39][\x30-\x39][\x30-\x39]"


def test_literals_are_the_rarest_words_that_every_match_has() -> None:
    assert parse(r"(?i)Connection \S+ by \d+").literals == ("connection ",)
    assert parse(r"(?:refused|denied)\s+\w").literals == ("denied", "refused")
    assert parse(r"\d+ \w").literals == ()


ITEMS = ["a", "b", "A", "B", "5", "0", "_", "-", " ", "\\d", "\\w", "\\s", "x", "é"]
CLASSES = [
    "[ab]",
    "[^a]",
    "[0-4x]",
    "[^5]",
    "[[:alpha:]_]",
    "[\\d-]",
    "[a-c5]",
    "[^\\w ]",
    "[[:upper:]]",
    "[\\x41-\\x43]",
]
ATOMS = st.sampled_from(
    [*ITEMS, *CLASSES, ".", "\\D", "\\W", "\\S", "\\.", "\\x41", "\\x{62}", "ab", "fail", "50x", "{", "a{,2}", "\\t"]
)
ASSERTIONS = st.sampled_from(["^", "$", "\\b", "\\B", "\\A", "\\z"])
COUNTS = st.sampled_from(["*", "+", "?", "*?", "+?", "??", "{2}", "{1,2}", "{0,1}", "{2,}", "{1}", "{0}", "{1,}?"])


def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    group = st.tuples(st.sampled_from(["(", "(?:", "(?P<n{}>", "(?i:"]), inner).map(lambda both: f"{both[0]}{both[1]})")
    return st.one_of(
        st.lists(inner, min_size=1, max_size=4).map("".join),
        st.lists(inner, min_size=2, max_size=3).map(lambda some: f"(?:{'|'.join(some)})"),
        st.lists(inner, min_size=2, max_size=3).map("|".join),
        group,
        st.tuples(group, COUNTS).map("".join),
        inner.map(lambda text: f"(?i){text}"),
    )


BASE = st.one_of(ATOMS, ATOMS, ATOMS, st.tuples(ATOMS, COUNTS).map("".join), ASSERTIONS, st.just("()"))


def numbered(text: str) -> str:
    """Give groups' names their numbers, so that none repeats."""
    pieces = text.split("{}")
    return "".join(piece + (str(number) if number < len(pieces) - 1 else "") for number, piece in enumerate(pieces))


SOURCES = st.recursive(BASE, larger, max_leaves=8).map(numbered)
TEXTS = st.lists(
    st.sampled_from(
        ["a", "b", "A", "B", "ab", "fail", "FAIL", "50x", "5", "0", "9", "x", "_", "-", " ", ".", "\t", "é", "{", "aa"]
    ),
    max_size=9,
).map(lambda some: "".join(some).encode())
LINES = st.lists(
    st.one_of(TEXTS, st.binary(max_size=8).map(lambda data: data.replace(b"\n", b""))), min_size=1, max_size=12
)


def as_written(source: str) -> re2._Regexp[bytes] | None:
    """RE2's own reading, over Latin-1; None where it refuses what the dialect allows."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1
    options.log_errors = False
    try:
        return re2.compile(source.encode(), options)
    except re2.error:
        return None


def parsed(source: str) -> object:
    try:
        return parse(source)
    except PatternError:
        return None


@settings(max_examples=500, deadline=None)
@given(source=SOURCES, lines=LINES, digits=st.binary(min_size=8, max_size=8))
@example(source="(?:a|b*)5", lines=[b"5", b"6"], digits=b"01234567")
@example(source=r"\w*\bab+", lines=[b"xab", b"ab", b"a"], digits=b"01234567")
@example(source="[^5]x", lines=[b"5x", b"6x"], digits=b"56565656")
@example(source="(?i)5[^0]K", lines=[b"51k", b"50k"], digits=b"05050505")
def test_every_form_agrees_with_the_source(source: str, lines: list[bytes], digits: bytes) -> None:
    """detect, full: the same lines. wide: any line that a change of digits makes match. literals: one in each match."""
    pattern, written = parsed(source), as_written(source)
    if pattern is None or written is None or (not source.isascii() and "(?i" in source):
        return  # RE2 over Latin-1 folds the bytes of é, which are no letters here
    full, detect, wide = (re2_compile(form) for form in (pattern.full, pattern.detect, pattern.wide or pattern.detect))
    for line in lines:
        changed = bytes(48 + digits[at % 8] % 10 if 48 <= byte < 58 else byte for at, byte in enumerate(line))
        found = written.search(line)
        assert bool(full.search(line)) == bool(detect.search(line)) == bool(found)
        assert not found or (wide.search(line) and wide.search(changed))
        assert bool(wide.search(line)) == bool(wide.search(changed))
        for words in (pattern.literals, *pattern.also) if found else ():
            assert not words or any(word.encode("latin-1") in found.group().lower() for word in words)


@settings(max_examples=300, deadline=None)
@given(st.one_of(st.text(max_size=20), st.text(alphabet="ab5()[]{}|*+?\\^$.,:<>iPxd-=!é\n", max_size=16)))
def test_any_text_is_a_pattern_or_an_error_within_it(source: str) -> None:
    pattern, position = None, None
    try:
        pattern = parse(source)
    except PatternError as error:
        position = error.position
    assert position is None or 0 <= position <= len(source)
    if pattern:
        re2_compile(pattern.full)
        re2_compile(pattern.wide or pattern.detect)
