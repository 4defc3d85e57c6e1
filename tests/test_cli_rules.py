"""The rule commands: what they find, where they say it is, and their exit codes."""

from __future__ import annotations

from pathlib import Path

import pytest

from .helpers import objects
from .test_cli import SAMPLE, logclf, one_line

pytestmark = pytest.mark.usefixtures("cache_dir")

RULE = r"""version: 1
rules:
  - id: own.jam
    label: Error
    match:
      any: ['frobnicator jammed on (?P<unit>\d+)']
    fields: {unit: int}
    examples:
      match: ["the frobnicator jammed on 7"]
      no_match: ["the frobnicator is fine"]
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One path for all, because compiled rules are kept by path and content."""
    path = tmp_path_factory.mktemp("rules") / "own.yaml"
    path.write_text(RULE)
    return path


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "own.yaml"
    path.write_text(RULE)
    return path


@pytest.mark.parametrize("command", ["validate", "test"])
def test_good_rules_pass(command: str, rules: Path) -> None:
    done = logclf(command, rules)
    assert (done.returncode, done.stdout) == (0, b""), done.stdout


BROKEN = {
    "unknown key": (RULE.replace("    label:", "    labl: x\n    label:"), 4),
    "unknown label": (RULE.replace("label: Error", "label: Mistake"), 4),
    "bad pattern": (RULE.replace(r"(?P<unit>\d+)", "(?P<unit>"), None),
    "not YAML": (RULE.replace("rules:", "rules: ["), None),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_rules_are_found_with_file_and_line(case: str, rules: Path) -> None:
    text, line = BROKEN[case]
    rules.write_text(text)
    done = logclf("validate", rules)
    assert done.returncode == 1
    assert done.stdout.decode().startswith(f"{rules}:{line}: " if line else f"{rules}:")
    for arguments in (["tail", "--no-follow", SAMPLE], ["filter"], ["bench", SAMPLE]):
        done = logclf(*arguments, "--rules", rules)
        assert done.returncode == 78
        assert (f"{rules}:{line}: " if line else f"{rules}:") in one_line(done)


def test_an_unknown_label_is_named(rules: Path) -> None:
    rules.write_text(BROKEN["unknown label"][0])
    assert "Mistake" in one_line(logclf("filter", "--rules", rules))


def test_examples_that_fail(rules: Path) -> None:
    rules.write_text(RULE.replace("is fine", "jammed on 9"))
    done = logclf("test", rules)
    assert done.returncode == 1
    assert done.stdout.startswith(f"{rules}:".encode())
    assert b"must not" in done.stdout


def test_rules_list_show_and_explain(good: Path) -> None:
    rules = good
    listed = [line.split()[0] for line in logclf("rules", "list", "--rules", rules).stdout.decode().splitlines()]
    assert listed.index("own.jam") < min(listed.index(name) for name in listed if name.startswith("generic."))
    assert logclf("rules", "show", "--rules", rules, "own.jam").stdout.decode().startswith(f"# {rules}:")
    assert logclf("rules", "show", "no.such").returncode == 2
    done = logclf("rules", "explain", "--rules", rules, "ERROR: the frobnicator jammed on 7")
    assert done.returncode == 0
    assert b"own.jam wins: Error" in done.stdout
    assert b"unit = 7" in done.stdout
    assert b"ERROR" in done.stdout
    assert logclf("rules", "explain", "qwzx").returncode == 1


def test_own_rules_come_first_and_capture(tmp_path: Path, good: Path) -> None:
    file = tmp_path / "a.log"
    file.write_text('{"text":"the frobnicator jammed on 7","message":"ok"}\n')
    done = logclf("tail", "--no-follow", "--message-key", "text,message", "--rules", good, "--model", "none", file)
    (event,) = objects(done.stdout)
    assert event["logclf"]["rule"] == "own.jam"
    assert event["logclf"]["fields"] == {"unit": 7}
