"""Examples are tests of the whole ordered rule set, and every finding says which rule and where."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from logclf.rulecheck import check_files, failed_examples, single_line, winning_rule
from logclf.rulefile import Examples, Rule, Where
from logclf.rules import RuleSet
from logclf.taxonomy import DEFAULT

from .helpers import make_rule

RULE = (
    "version: 1\nrules:\n  - id: {id}\n    label: Error\n    match: {{any: ['{any}']}}\n    examples: {{match: [x]}}\n"
)


def with_examples(rule: Rule, match: tuple[str, ...], no_match: tuple[str, ...] = ()) -> Rule:
    spec = msgspec.structs.replace(rule.spec, examples=Examples(match, no_match))
    return msgspec.structs.replace(rule, spec=spec)


def findings(*rules: Rule, only: frozenset[str] | None = None) -> list[str]:
    return [str(problem) for problem in failed_examples(RuleSet(rules), only)]


def test_files_are_checked_together(tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{name}.yaml" for name in "abc")
    first.write_text(RULE.format(id="one", any="x"))
    second.write_text(RULE.format(id="one", any="y"))
    third.write_text(RULE.format(id="two", any="("))
    rules, problems = check_files([first, second, third, tmp_path / "none.yaml", tmp_path], DEFAULT)
    assert [rule.origin for rule in rules] == [f"{first}:3", f"{second}:3"]
    assert [str(problem) for problem in problems] == [
        f"{third}:5: pattern '(' ( without ) (at character 1)",
        f"{tmp_path / 'none.yaml'}: cannot read this rule file: No such file or directory",
        f"{tmp_path}: cannot read this rule file: Is a directory",
        f"{second}:3: rule one exists already, at {first}:3",
    ]


def test_repeated_ids_in_one_file_are_told_once(tmp_path: Path) -> None:
    text = RULE.format(id="one", any="x")
    path = tmp_path / "a.yaml"
    path.write_text(text + text.split("rules:\n")[1])
    assert len(check_files([path], DEFAULT)[1]) == 1


def test_examples_that_hold_find_nothing() -> None:
    assert findings(with_examples(make_rule("a", "disk"), ("disk full", "a\ndisk"), ("tape full",))) == []


def test_an_example_that_no_rule_wins() -> None:
    rule = with_examples(make_rule("a", "disk", none=("ok",)), ("disk full", "disk ok"))
    assert findings(rule) == ["test:a: rule a does not match its example 'disk ok'"]


def test_an_example_that_must_not_match() -> None:
    rule = with_examples(make_rule("a", "disk"), ("disk",), ("disk ok",))
    assert findings(rule) == ["test:a: rule a matches 'disk ok', which its examples say it must not"]


def test_a_shadowed_rule_names_the_other() -> None:
    wide, narrow = (
        with_examples(make_rule(name, pattern), ("disk full",)) for name, pattern in (("w", "disk"), ("n", "disk full"))
    )
    assert findings(wide, narrow) == ["test:n: rule n is shadowed by w (test:w) on 'disk full'"]
    assert findings(narrow, wide, only=frozenset(("n",))) == []
    urgent = with_examples(make_rule("u", "full", priority=1), ("full",))
    assert findings(narrow, urgent) == ["test:n: rule n is shadowed by u (test:u) on 'disk full'"]


@pytest.mark.parametrize(
    "where",
    [
        Where(source=("sshd*",)),
        Where(source=("app-[ab]", "x")),
        Where(source=("app-[!ab]?",)),
        Where(path=("/var/log/*/app?.log",)),
        Where(source=("a",), path=("*",)),
        Where(source=("[!a-z]*[0-9][]x]",)),
    ],
)
def test_examples_are_taken_to_come_from_where_the_rule_applies(where: Where) -> None:
    rule = with_examples(make_rule("a", "disk", where=where), ("disk full",))
    assert findings(rule) == []
    assert winning_rule(RuleSet([rule]), "disk full", rule) is rule
    assert winning_rule(RuleSet([with_examples(make_rule("b", "disk"), ("disk",))]), "tape") is None


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        (r"\d\b\B\d", "Hyperscan refuses it: Pattern can never match"),
        (".{1000}x" * 3000, "RE2 refuses it"),
    ],
)
def test_patterns_that_an_engine_refuses_are_found_with_their_line(tmp_path: Path, pattern: str, why: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(RULE.format(id="bad", any=pattern))
    rules, (problem,) = check_files([path], DEFAULT)
    assert rules == []
    assert str(problem).startswith(f"{path}:5: pattern ")
    assert why in str(problem)


def test_a_pattern_with_a_word_is_scanned_for_by_the_word(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(RULE.format(id="fine", any=r"needle\b\Bx"))
    assert [rule.id for rule in check_files([path], DEFAULT)[0]] == ["fine"]


def test_a_single_line_has_no_newline() -> None:
    assert single_line("a\nb\udcff", "s", "/p").text == b"a b\xff"
