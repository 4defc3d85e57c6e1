"""Whatever is wrong with a rule file is told with its file and line, and nothing in a file can bring logclf down."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logclf.errors import ConfigError
from logclf.rulefile import check_rules, load_file, parse_rules
from logclf.taxonomy import DEFAULT
from logclf.yamlfile import MAX_DEPTH

GOOD = """\
version: 1
priority: 3
rules:
  - id: sshd.failed
    label: Security Alert
    severity: WARN
    where:
      source: ["sshd*"]
    match:
      any:
        - 'Failed \\S+ for (?P<user>\\S+)'
        - 'Invalid user (?P<user>\\S+)'
      none: ['publickey']
    fields:
      user: str
    examples:
      match: ["Failed password for root"]
"""
SECOND = """\
  - id: other
    label: Error
    priority: 0
    match: {any: [broken]}
    examples: {match: [broken]}
"""


def problems(text: str | bytes) -> list[str]:
    data = text.encode() if isinstance(text, str) else text
    return [str(problem) for problem in check_rules(data, "f.yaml", DEFAULT)[1]]


def test_a_good_file() -> None:
    rules = parse_rules((GOOD + SECOND).encode(), "f.yaml", DEFAULT)
    assert [(rule.id, rule.origin, rule.priority, rule.captures) for rule in rules] == [
        ("sshd.failed", "f.yaml:4", 3, True),
        ("other", "f.yaml:18", 0, False),
    ]
    assert rules[0].spec.where.source == ("sshd*",)


# What is put in the place of what, and the message that follows.
MISTAKES = [
    ("version: 1", "version: 2", "f.yaml:1: version 2 is not known here; this logclf reads 1"),
    ("version: 1", "version: '1'", "f.yaml:1: version: Expected `int`, got `str`"),
    ("version: 1\n", "", "f.yaml:1: Object missing required field `version`"),
    ("priority: 3", "priorty: 3", "f.yaml:2: unknown key 'priorty'; did you mean 'priority'?"),
    ("priority: 3", f"priority: {10**30}", "f.yaml:2: priority: Expected `int` <= 1000000"),
    ("    severity:", "    severty:", "f.yaml:6: unknown key 'severty'; did you mean 'severity'?"),
    ("    where:", "    wheer:", "f.yaml:7: unknown key 'wheer'; did you mean 'where'?"),
    ("source:", "sorce:", "f.yaml:8: where: unknown key 'sorce'; did you mean 'source'?"),
    ("      any:", "      ayn:", "f.yaml:10: match: unknown key 'ayn'; did you mean 'any'?"),
    ("      none: [", "      zzz: [", "f.yaml:13: match: unknown key 'zzz'; known are any, none"),
    ("    severity:", '    "a`b":', "f.yaml:6: unknown key 'a`b'; did you mean 'label'?"),
    ("id: sshd.failed", "id: 7", "f.yaml:4: id: Expected `str`, got `int`"),
    ("id: sshd.failed", "id: 2024-99-99", "f.yaml:4: not YAML: month must be in 1..12"),
    ("id: sshd.failed", "id: 'a b'", "f.yaml:4: a rule id is letters"),
    ("id: sshd.failed", f"id: {'a' * 101}", "f.yaml:4: a rule id is letters"),
    (
        "label: Security Alert",
        "label: Secruity Alert",
        "f.yaml:5: unknown label 'Secruity Alert'; did you mean 'Security Alert'?",
    ),
    ("label: Security Alert", "label:\n      Unclassified", "f.yaml:5: unknown label 'Unclassified'"),
    ("    label: Security Alert\n", "", "f.yaml:4: Object missing required field `label`"),
    (
        "label: Security Alert",
        "label: !!python/name:os.system",
        "f.yaml:5: not YAML: could not determine a constructor",
    ),
    ("WARN", "Warn", "f.yaml:6: severity: 'Warn' is not known here; known are DEBUG, ERROR"),
    ('["sshd*"]', "sshd", "f.yaml:8: where.source: Expected `array`, got `str`"),
    ("'Invalid user (?P<user>\\S+)'", "404", "f.yaml:12: match.any.1: Expected `str`, got `int`"),
    ("'Invalid user (?P<user>\\S+)'", "'a(b'", "f.yaml:12: pattern 'a(b' ( without ) (at character 2)"),
    ("'publickey'", "'x*'", "f.yaml:13: pattern 'x*' matches the empty string"),
    ("user: str", "usr: str", "f.yaml:15: field 'usr' is captured by no pattern; did you mean 'user'?"),
    ("user: str", "ip: ip\n      user: ipv6", "f.yaml:16: fields.user: 'ipv6' is not known here; did you mean 'ip'?"),
    ("user: str", "user: [ip]", "f.yaml:15: fields.user: Expected `str`, got `array`"),
    ('["Failed password for root"]', "[]", "f.yaml:17: examples.match needs a line"),
    ("version: 1", "version: 1\nversion: 1", "f.yaml:2: key 'version' is given twice"),
    ("    severity:", "    label:", "f.yaml:6: key 'label' is given twice"),
    ("    severity: WARN", "    7: WARN", "f.yaml:6: a key must be text"),
    ("    severity: WARN", "    [a]: WARN", "f.yaml:6: a key must be text"),
    ("    severity: WARN", "    ? {a: b}\n    : WARN", "f.yaml:6: a key must be text"),
    ("    severity: WARN", "    <<: {severity: WARN}", "f.yaml:6: a key must be text"),
    ("user: str", "user: &a str\n      other: *a", "f.yaml:16: YAML aliases (*name) are not supported here"),
    ("severity: WARN", "severity: WARN\n\tx: 1", "f.yaml:7: not YAML: "),
    ("severity: WARN", "severity: W\x07ARN", "f.yaml:6: not YAML: control characters are not allowed"),
    ("priority: 3", f"priority: {'9' * 5000}", "f.yaml:2: not YAML: Exceeds the limit"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_every_mistake_has_its_line(old: str, new: str, message: str) -> None:
    assert old in GOOD
    found = problems(GOOD.replace(old, new, 1))
    assert found
    assert found[0].startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "f.yaml:1: expected `version:` and `rules:`"),
        ("- a\n", "f.yaml:1: expected `version:` and `rules:`"),
        ("version: 1\n", "f.yaml:1: Object missing required field `rules`"),
        ("version: 1\nrules:\n", "f.yaml:2: rules: Expected `array`, got `null`"),
        ("version: 1\nrules: {a: b}\n", "f.yaml:2: rules: Expected `array`, got `object`"),
        ("version: 1\nrules: &a\n  - *a\n", "f.yaml:3: YAML aliases (*name) are not supported here"),
        (b"version: 1\n# \xff\n", "f.yaml:2: not UTF-8"),
        ("version: 1\n".encode("utf-16"), "f.yaml:1: not UTF-8"),
        (GOOD + "---\n" + GOOD, "f.yaml:18: not YAML: but found another document"),
    ],
)
def test_files_that_are_no_rule_files(text: str | bytes, message: str) -> None:
    assert problems(text) == [message]


def test_each_rule_is_judged_for_itself() -> None:
    text = (
        GOOD.replace("WARN", "Loud")
        + SECOND
        + SECOND.replace("id: other", "id: third").replace("label: Error", "label: X")
    )
    rules, wrong = check_rules(text.encode(), "f.yaml", DEFAULT)
    assert [rule.id for rule in rules] == ["other"]
    assert [problem.where for problem in wrong] == ["f.yaml:6", "f.yaml:24"]


def test_several_mistakes_in_one_rule_are_all_told() -> None:
    text = GOOD.replace("Security Alert", "Nothing").replace("'publickey'", "'('").replace("user: str", "host: ip")
    assert [problem.split(": ")[0] for problem in problems(text)] == ["f.yaml:5", "f.yaml:13", "f.yaml:15"]


def test_repeated_ids_name_the_first() -> None:
    assert problems(GOOD + SECOND + SECOND) == ["f.yaml:23: rule other exists already, at f.yaml:18"]


@pytest.mark.parametrize("deep", ["[" * 100_000, "{a: " * 50_000, "- " * 50_000, "[{b: " * 50_000])
def test_deep_nesting_is_refused_before_anything_is_built(deep: str) -> None:
    (found,) = problems("version: 1\nrules:\n  " + deep)
    assert found == f"f.yaml:3: nested more than {MAX_DEPTH} levels deep"


def test_carriage_returns_and_byte_order_mark() -> None:
    assert problems(b"\xef\xbb\xbf" + GOOD.replace("\n", "\r\n").encode()) == []
    assert problems(GOOD.replace("\n", "\r\n").replace("severity", "severty"))[0].startswith("f.yaml:6: unknown key")


def test_file_that_cannot_be_read(tmp_path: Path) -> None:
    for path, reason in ((tmp_path / "none.yaml", "No such file or directory"), (tmp_path, "Is a directory")):
        with pytest.raises(ConfigError) as caught:
            load_file(path, DEFAULT)
        assert str(caught.value) == f"{path}: cannot read this rule file: {reason}"


def test_file_beyond_the_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("logclf.yamlfile.MAX_FILE", 100)
    path = tmp_path / "big.yaml"
    path.write_text(GOOD)
    with pytest.raises(ConfigError, match="the limit is 100"):
        load_file(path, DEFAULT)


@settings(max_examples=150, deadline=None)
@given(at=st.integers(0, len(GOOD)), width=st.integers(0, 12), new=st.binary(max_size=6))
def test_a_damaged_file_is_read_or_refused_with_its_line(at: int, width: int, new: bytes) -> None:
    data = GOOD.encode()
    rules, wrong = check_rules(data[:at] + new + data[at + width :], "f.yaml", DEFAULT)
    assert rules or wrong or b"rules" in data[:at]
    for problem in wrong:
        assert problem.where is not None
        assert problem.where.startswith("f.yaml:")
        assert 1 <= int(problem.where.split(":")[1]) <= GOOD.count("\n") + 8
