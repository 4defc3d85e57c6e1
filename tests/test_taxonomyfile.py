"""A taxonomy is what its file says, and whatever is wrong with the file is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logclf.errors import ConfigError
from logclf.taxonomy import DEFAULT, Severity
from logclf.taxonomyfile import load_taxonomy, parse_taxonomy

GOOD = """\
version: 1
name: bank
labels:
  - name: Low
    description: nothing to do
    severity: INFO
    ceiling: WARN
  - name: High
    description: act now
    severity: ERROR
    floor: WARN
"""


def test_a_good_file() -> None:
    found = parse_taxonomy(GOOD.encode(), "t.yaml")
    assert (found.name, found.names) == ("bank", ("Low", "High"))
    low, high = found.labels
    assert (low.description, low.severity, low.floor, low.ceiling) == (
        "nothing to do",
        Severity.INFO,
        Severity.TRACE,
        Severity.WARN,
    )
    assert (high.severity, high.floor, high.ceiling) == (Severity.ERROR, Severity.WARN, Severity.FATAL)


# What is put in the place of what, and the message that follows.
MISTAKES = [
    ("version: 1", "version: 2", "t.yaml:1: version 2 is not known here; this logclf reads 1"),
    ("version: 1\n", "", "t.yaml:1: Object missing required field `version`"),
    ("name: bank", "nmae: bank", "t.yaml:2: unknown key 'nmae'; did you mean 'name'?"),
    ("name: bank", "name: ''", "t.yaml:2: name: name is 1 to 80 printable characters"),
    ("labels:", "lables:", "t.yaml:3: unknown key 'lables'; did you mean 'labels'?"),
    ("name: Low", "name: 404", "t.yaml:4: name: Expected `str`, got `int`"),
    ("name: Low", "name: 'Low '", "t.yaml:4: a label's name is 1 to 80 printable characters without blanks"),
    ("name: Low", 'name: "L\\e[31mow"', "t.yaml:4: a label's name is 1 to 80 printable characters"),
    ("name: Low", "name: Unclassified", "t.yaml:4: 'Unclassified' is what a line without a label is called"),
    ("name: High", "name: Low", "t.yaml:8: label 'Low' exists already, at t.yaml:4"),
    ("    description: act now\n", "", "t.yaml:8: Object missing required field `description`"),
    ("description: act", "desription: act", "t.yaml:9: unknown key 'desription'; did you mean 'description'?"),
    ("severity: ERROR", "severity: ERR", "t.yaml:10: severity: 'ERR' is not known here; did you mean 'ERROR'?"),
    ("floor: WARN", "flor: WARN", "t.yaml:11: unknown key 'flor'; did you mean 'floor'?"),
    ("floor: WARN", "floor: FATAL", "t.yaml:10: severity ERROR is not between floor FATAL and ceiling FATAL"),
    ("severity: INFO", "severity: &a INFO\n    floor: *a", "t.yaml:7: YAML aliases (*name) are not supported here"),
]


@pytest.mark.parametrize(("old", "new", "message"), MISTAKES)
def test_every_mistake_has_its_line(old: str, new: str, message: str) -> None:
    assert old in GOOD
    with pytest.raises(ConfigError) as caught:
        parse_taxonomy(GOOD.replace(old, new, 1).encode(), "t.yaml")
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.yaml:1: expected `version:`, `name:` and `labels:`"),
        ("version: 1\nname: a\nlabels: []\n", "t.yaml:3: labels: a taxonomy needs at least one"),
        ("version: 1\nname: a\nlabels: {a: b}\n", "t.yaml:3: labels: Expected `array`, got `object`"),
        ("version: 1\nname: a\nlabels: [Low, High]\n", "t.yaml:3: Expected `object`, got `str`"),
    ],
)
def test_files_that_are_no_taxonomies(text: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_taxonomy(text.encode(), "t.yaml")
    assert str(caught.value) == message


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read this taxonomy: No such file or directory"):
        load_taxonomy(tmp_path / "none.yaml")


def problem(data: bytes) -> str | None:
    try:
        parse_taxonomy(data, "t.yaml")
    except ConfigError as error:
        return str(error)
    return None


@settings(max_examples=100, deadline=None)
@given(at=st.integers(0, len(GOOD)), width=st.integers(0, 12), new=st.binary(max_size=6))
def test_a_damaged_file_is_read_or_refused_with_its_line(at: int, width: int, new: bytes) -> None:
    data = GOOD.encode()
    assert (problem(data[:at] + new + data[at + width :]) or "t.yaml:").startswith("t.yaml:")


def test_the_default_taxonomy_can_be_written_as_a_file(tmp_path: Path) -> None:
    lines = ["version: 1", "name: default", "labels:"]
    for label in DEFAULT.labels:
        levels = {"severity": label.severity, "floor": label.floor, "ceiling": label.ceiling}
        texts = {"name": label.name, "description": label.description}
        members = [f"{key}: {text!r}" if "'" not in text else f'{key}: "{text}"' for key, text in texts.items()]
        members += [f"{key}: {severity.name}" for key, severity in levels.items()]
        lines.append("  - {" + ", ".join(members) + "}")
    (tmp_path / "t.yaml").write_text("\n".join(lines))
    assert load_taxonomy(tmp_path / "t.yaml") == DEFAULT
