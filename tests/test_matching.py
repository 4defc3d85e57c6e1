"""Hyperscan and RE2 give the same answers, and a compiled database is taken only from a cache that fits."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logclf.batch import line_starts
from logclf.cache import DirectoryCache
from logclf.errors import PatternError
from logclf.matching import (
    ID_MASK,
    HyperscanMatcher,
    NoPatterns,
    Re2Matcher,
    bulk_refusal,
    compile_patterns,
    literal,
    re2_compile,
    refusal,
)
from logclf.patterns import parse
from logclf.signals import number_patterns, severity_patterns

ATOMS = [
    "error",
    "(?i)err",
    r"\d",
    r"\d{2}",
    "4[0-9]4",
    r"\S",
    "x+",
    "(?:a|ab)",
    "(?:fail|ok)+",
    "é",
    r"\x00",
    "[^a]",
    "q?",
    "a{1,3}",
]
ATOMS += [r"\b", " ", r"\s+", "(?i:K)", ".", ".*", "=", r"\x{ff}", "_", r"\B"]
SOURCES = st.tuples(
    st.sampled_from(["", "", "^", r"\b"]),
    st.lists(st.sampled_from(ATOMS), min_size=1, max_size=3),
    st.sampled_from(["", "", "$", r"\b"]),
).map(lambda parts: parts[0] + "".join(parts[1]) + parts[2])
WORDS = st.sampled_from(
    [
        b"error",
        b"ERR",
        b"fail",
        b"okfail",
        b"404",
        b"4",
        b"x",
        b"xx",
        b"aaab",
        "é".encode(),
        b"\0",
        b"\xff",
        b" ",
        b"\r",
        b"=",
        b"_",
        b"k",
        b"K",
    ]
)
LINES = st.one_of(
    st.lists(WORDS, max_size=8).map(b"".join), st.binary(max_size=12).map(lambda data: data.replace(b"\n", b""))
)


def usable(source: str) -> bool:
    try:
        parsed = parse(source)
    except PatternError:
        return False
    return bulk_refusal(parsed.detect) is None


@settings(max_examples=120, deadline=None)
@given(sources=st.lists(SOURCES, min_size=1, max_size=5), lines=st.lists(LINES, min_size=1, max_size=8))
@example(sources=["x"], lines=[b""])
@example(sources=["^x", "x$"], lines=[b"", b"x", b"", b"x"])
@example(sources=["[^a]x"], lines=[b"a", b"x", b"bx"])
def test_both_engines_find_the_same(sources: list[str], lines: list[bytes]) -> None:
    """The same patterns in the same lines; Hyperscan reports every end of a match, RE2 those of the leftmost ones."""
    patterns = [parse(source).detect for source in sources if usable(source)]
    if not patterns:
        return
    text = b"\n".join(lines)
    starts = line_starts(text)
    fast, slow = HyperscanMatcher(patterns).scan(text, starts), Re2Matcher(patterns).scan(text, starts)
    assert set(zip(fast.pattern, fast.line, strict=True)) == set(zip(slow.pattern, slow.line, strict=True))
    assert set(zip(*map(list, slow), strict=True)) <= set(zip(*map(list, fast), strict=True))
    for _, line, end in zip(*map(list, fast), strict=True):
        assert starts[line] < end <= starts[line] + len(lines[line])


SIGNALS = [pattern for pattern, _ in severity_patterns()] + list(number_patterns())


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(
            st.sampled_from(
                [
                    "INFO",
                    "[error]",
                    "level=warn",
                    "status",
                    "code",
                    "exit",
                    "signal",
                    'HTTP/1.1" ',
                    "404",
                    "-11",
                    ":",
                    " ",
                    "=",
                    "E0518 09:12:33",
                ]
            )
        ).map("".join),
        min_size=1,
        max_size=6,
    )
)
def test_both_engines_find_the_same_signals(lines: list[str]) -> None:
    text = "\n".join(lines).encode()
    starts = line_starts(text)
    fast, slow = FAST_SIGNALS.scan(text, starts), SLOW_SIGNALS.scan(text, starts)
    assert set(zip(fast.pattern, fast.line, strict=True)) == set(zip(slow.pattern, slow.line, strict=True))
    assert set(zip(*map(list, slow), strict=True)) <= set(zip(*map(list, fast), strict=True))


FAST_SIGNALS, SLOW_SIGNALS = HyperscanMatcher(SIGNALS), Re2Matcher(SIGNALS)


@settings(max_examples=100, deadline=None)
@given(word=st.text(alphabet=st.characters(max_codepoint=255, exclude_characters="\n"), min_size=1, max_size=10))
def test_a_literal_is_found_in_any_case_of_ascii_letters(word: str) -> None:
    data = word.encode("latin-1")
    starts = line_starts(b"x")
    for found in (data, data.upper(), data.lower(), b"-" + data + b"-"):
        assert HyperscanMatcher([literal(word)]).scan(found, starts).line.tolist()
        assert re2_compile(literal(word)).search(found)


def test_no_patterns_find_nothing() -> None:
    matcher = compile_patterns([])
    assert isinstance(matcher, NoPatterns)
    assert [column.tolist() for column in matcher.scan(b"x", line_starts(b"x"))] == [[], [], []]


def test_engine_by_name() -> None:
    assert [compile_patterns(["x"], engine=engine).name for engine in ("auto", "hyperscan", "re2")] == [
        "hyperscan",
        "hyperscan",
        "re2",
    ]


def test_refusals_say_why() -> None:
    assert refusal("x") is None
    assert "RE2 refuses it" in str(refusal("(?:x{1000}){1000}"))
    assert bulk_refusal("x") is None
    assert "Hyperscan refuses it: Embedded end anchors" in str(bulk_refusal("x$y"))
    with pytest.raises(PatternError, match="Hyperscan refuses it"):
        compile_patterns(["ok", "x$y"])


def test_more_patterns_than_ids() -> None:
    with pytest.raises(PatternError, match="more than"):
        HyperscanMatcher(["x"] * (ID_MASK + 1))


def test_a_database_comes_from_the_cache_when_it_fits(tmp_path: Path) -> None:
    cache = DirectoryCache(tmp_path / "cache")
    starts = line_starts(b"ab")
    for patterns in (["a"], ["b"], ["a"]):
        assert HyperscanMatcher(patterns, cache).scan(b"ab", starts).end.tolist() == [1 if patterns == ["a"] else 2]
    assert len(list((tmp_path / "cache").iterdir())) == 2


class WrongCache:
    """Answers every key with bytes that are no database."""

    def __init__(self) -> None:
        self.stored: list[bytes] = []

    def load(self, key: str) -> bytes | None:
        return b"from another processor"

    def store(self, key: str, payload: bytes) -> None:
        self.stored.append(payload)


def test_a_database_that_does_not_load_is_compiled_anew() -> None:
    cache = WrongCache()
    assert HyperscanMatcher(["b"], cache).scan(b"ab", line_starts(b"ab")).end.tolist() == [2]
    assert len(cache.stored) == 1
