"""A block of lines gets the same winners as one rule after the other on one line after the other."""

from __future__ import annotations

import numpy as np
import pytest
import re2
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logclf.batch import Batch
from logclf.rulefile import Rule, Where
from logclf.rules import NO_RULE, RuleSet
from logclf.taxonomy import LEVELS, Severity

from .helpers import batch, make_rule

ENGINES = ("hyperscan", "re2")


def reference(rules: list[Rule], line: bytes) -> int:
    """One rule at a time, straight from what was written: RE2 over Latin-1 characters."""
    options = re2.Options()
    options.encoding = re2.Options.Encoding.LATIN1

    def found(patterns: tuple[str, ...]) -> bool:
        return any(re2.compile(pattern.encode(), options).search(line) for pattern in patterns)

    order = sorted(range(len(rules)), key=lambda number: -rules[number].priority)
    for rank, number in enumerate(order):
        if found(rules[number].spec.match.any) and not found(rules[number].spec.match.none):
            return rank
    return NO_RULE


PIECES = st.sampled_from(
    [
        "error",
        "ERR",
        "fail",
        "ok",
        "status=",
        "code ",
        "user ",
        "root",
        "5",
        "404",
        "50",
        " ",
        "=",
        "x",
        "é",
        "[",
        "a.b",
        "/",
        "-",
        "q",
    ]
)
WORDS = st.lists(PIECES, max_size=8).map("".join)
LINES = st.one_of(
    WORDS.map(str.encode),
    st.binary(max_size=40).map(lambda data: data.replace(b"\n", b"")),
    st.tuples(WORDS, st.binary(max_size=6)).map(lambda both: (both[0].encode() + both[1]).replace(b"\n", b"")),
    st.sampled_from(
        [
            b"y" * (1 << 20) + b" error 404",
            b"",
            b"\x00",
            b"\xff\xfe error",
            b"error\r",
            b"x" * 3000 + b" error 404",
            b"status=404",
        ]
    ),
)
ATOMS = st.sampled_from(
    [
        "error",
        "(?i)err",
        "fail",
        "ok",
        r"status=\d+",
        r"status=[45]\d\d",
        r"code \d",
        "user (?P<u>\\S+)",
        "root$",
        "^user",
        r"\bok\b",
    ]
    + [
        r"[0-4]04",
        "5",
        r"\d{2,3}",
        r"\s",
        "=.*x",
        "(?:a|err)or",
        "é",
        r"\x00",
        r"[^a-z]q",
        r"x+ ",
        "(?:fail|ok)+",
        r"\S5",
        "4?04x?",
    ]
)


@st.composite
def rule_sets(draw: st.DrawFn) -> list[Rule]:
    count = draw(st.integers(1, 7))
    return [
        make_rule(
            f"r{number}",
            *draw(st.lists(ATOMS, min_size=1, max_size=3, unique=True)),
            none=tuple(draw(st.lists(ATOMS, max_size=2, unique=True))),
            priority=draw(st.sampled_from([0, 0, 0, 1, -1])),
        )
        for number in range(count)
    ]


@pytest.mark.parametrize("engine", ENGINES)
@settings(max_examples=150, deadline=None)
@given(rules=rule_sets(), blocks=st.lists(st.lists(LINES, min_size=1, max_size=12), min_size=1, max_size=3))
@example(rules=[make_rule("a", r"status=[45]\d\d")], blocks=[[b"status=404", b"status=204", b"status=999"]])
@example(
    rules=[make_rule("a", "error", none=("[1-9]",)), make_rule("b", "err")],
    blocks=[[b"error 0", b"error 1"], [b"error 2"]],
)
def test_bulk_equals_one_by_one(engine: str, rules: list[Rule], blocks: list[list[bytes]]) -> None:
    ruleset = RuleSet(rules, engine=engine)
    for lines in blocks:  # shapes remembered from one block must hold in the next
        scan = ruleset.scan(batch(*lines))
        assert scan.rule.tolist() == [reference(rules, line) for line in lines]


@pytest.mark.parametrize("engine", ENGINES)
def test_lines_of_a_megabyte(engine: str) -> None:
    rules = [make_rule("last", "needle$"), make_rule("digits", r"n[1-3]x")]
    lines = [b"y" * (1 << 20) + b" needle", b"needle " + b"y" * (1 << 20), b"", b"y" * (1 << 20) + b"n2x"]
    assert RuleSet(rules, engine=engine).scan(batch(*lines)).rule.tolist() == [0, NO_RULE, NO_RULE, 1]


def test_no_match_across_lines() -> None:
    ruleset = RuleSet([make_rule("a", r"foo\s+bar"), make_rule("b", r"one[^x]two")])
    assert ruleset.scan(batch(b"foo", b"bar", b"one", b"two", b"foo \tbar")).rule.tolist() == [-1, -1, -1, -1, 0]


def test_priority_beats_order() -> None:
    ruleset = RuleSet([make_rule("first", "disk"), make_rule("urgent", "disk full", priority=5)])
    assert [ruleset.rules[n].id for n in ruleset.scan(batch(b"disk full", b"disk ok")).rule] == ["urgent", "first"]


def test_where_limits_source_and_path() -> None:
    rules = [
        make_rule("ssh", "refused", where=Where(source=("sshd*",))),
        make_rule("auth", "refused", where=Where(path=("/var/log/auth*",))),
        make_rule("any", "refused"),
    ]
    ruleset = RuleSet(rules)

    def winner(source: str, path: str | None) -> str:
        return ruleset.rules[int(ruleset.scan(batch(b"refused", source=source, path=path)).rule[0])].id

    assert [winner("sshd", None), winner("x", "/var/log/auth.log"), winner("x", "/var/log/app.log")] == [
        "ssh",
        "auth",
        "any",
    ]
    assert winner("sshd", None) == "ssh"  # the other sources' shapes are not taken for this one's


def test_fields_are_captured_and_converted() -> None:
    rule = make_rule(
        "login",
        r"login (?P<user>\w+) from (?P<ip>\S+) took (?P<ms>\d+)",
        r"logout (?P<user>\w+)",
        fields={"ip": "ip", "ms": "int"},
    )
    ruleset = RuleSet([rule])
    assert ruleset.captured(0, b"login bob from 2001:DB8::1 took 17") == {"user": "bob", "ip": "2001:db8::1", "ms": 17}
    assert ruleset.captured(0, b"logout eve") == {"user": "eve"}
    assert ruleset.captured(0, b"login bob from nowhere took 17")["ip"] == "nowhere"


LEVEL_LINES = {
    "2015-10-18 18:01:47,978 INFO [main] org.example.Worker: got ERROR from peer": "INFO",
    "[Sun Dec 04 04:47:44 2005] [error] something": "ERROR",
    "2024/05/01 12:00:00 [crit] 31#31: *1 open() failed": "FATAL",
    "[Tue Oct 15 10:00:00.1 2024] [ssl:warn] [pid 12] text": "WARN",
    "time=2024 level=warning msg=x": "WARN",
    '{"level":"error","x":1}': "ERROR",
    "03-17 16:13:38.811  1702  2395 D WindowManager: text": "DEBUG",
    "W/ActivityManager( 512): text": "WARN",
    "E0518 09:12:33.123456   12 server.go:55] text": "ERROR",
    "2024-05-01 10:00:00 UTC [12] LOG:  checkpoint starting": "INFO",
    "81:M 03 Oct 2024 10:14:02.512 # text": "WARN",
    "<34>Oct 11 22:14:15 host su: text": "FATAL",
    "<191>1 2024-05-01T00:00:00Z h a - - - text": "DEBUG",
    "<192>not a priority": None,
    "x" * 200 + " ERROR late": None,
    "no level here": None,
}


@pytest.mark.parametrize(("line", "severity"), LEVEL_LINES.items())
def test_level_in_its_proper_place(line: str, severity: str | None) -> None:
    scan = RuleSet([]).scan(batch(b"first", line.encode()))
    assert scan.level[1] == (LEVELS[Severity[severity]] if severity else 0)


def test_numbers_are_reported_for_lines_without_a_rule() -> None:
    ruleset = RuleSet([make_rule("r", "ruled")])
    texts = [b'x "GET / HTTP/1.1" 404 12', b"ruled exit code 1", b"exited with code 137 now"]
    for _ in range(2):
        scan = ruleset.scan(batch(*texts))
        block = b"\n".join(texts)
        assert [block[end - 3 : end] for line, end in scan.numbers if line != 1] == [b"404", b"137"]


def test_shapes_that_need_asking_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logclf.rules.MOST_SPECIAL", 50)
    ruleset = RuleSet([make_rule("r", "code [45]")])
    for start in range(0, 400, 20):
        lines = [b"w%b code %d" % (bytes([97 + n % 26]) * (n // 26 + 1), n % 10) for n in range(start, start + 20)]
        expected = [0 if n % 10 in (4, 5) else NO_RULE for n in range(start, start + 20)]
        assert ruleset.scan(batch(*lines)).rule.tolist() == expected
        assert len(ruleset._special) <= 50 + 20


def test_engines_name_themselves() -> None:
    rules = [make_rule("r", "x")]
    assert RuleSet(rules).engine == "hyperscan"
    assert RuleSet(rules, engine="re2").engine == "re2"


def test_empty_rule_set() -> None:
    scan = RuleSet([]).scan(Batch(b"a\nb", np.array([0, 2]), ""))
    assert scan.rule.tolist() == [NO_RULE, NO_RULE]
