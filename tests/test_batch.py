"""A batch gives back its lines, and every verdict exists once with a code for each severity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logclf.batch import WIDTH, Batch, Verdict, VerdictTable, line_starts
from logclf.taxonomy import DEFAULT, LEVELS, SEVERITIES, Severity


@settings(max_examples=100, deadline=None)
@given(st.lists(st.binary(max_size=6).map(lambda data: data.replace(b"\n", b" ")), min_size=1, max_size=8))
def test_lines_come_back(lines: list[bytes]) -> None:
    text = b"\n".join(lines)
    made = Batch(text, line_starts(text))
    assert made.count == len(lines)
    assert [made.line(number) for number in range(made.count)] == lines
    assert made.starts.dtype == np.int64


def test_a_verdict_has_one_code() -> None:
    table = VerdictTable(DEFAULT)
    first = table.rule("r", "Error", None)
    assert table.rule("r", "Error", None) == first
    assert table.answer("Error", 0.912, "model", "m@1") == table.answer("Error", 0.9149, "model", "m@1")
    assert table.answer("Error", 0.91, "model", "m@1", cached=True) != table.answer("Error", 0.91, "model", "m@1")
    assert len(table.verdicts) == 3 * WIDTH


@pytest.mark.parametrize("severity", SEVERITIES)
def test_code_plus_level_is_the_same_verdict_with_that_severity(severity: Severity) -> None:
    table = VerdictTable(DEFAULT)
    table.rule("other", "Error", None)
    base = table.rule("r", "HTTP Status", Severity.WARN)
    assert table.verdicts[base] == Verdict("HTTP Status", "WARN", "rules", 1.0, rule="r")
    assert table.verdicts[base + LEVELS[severity]] == Verdict("HTTP Status", severity.name, "rules", 1.0, rule="r")


@pytest.mark.parametrize(
    ("label", "own", "stated", "severity"),
    [
        ("Error", None, "INFO", "WARN"),  # raised to the label's floor
        ("Error", None, "FATAL", "ERROR"),  # above its ceiling: the label's own
        ("Error", Severity.WARN, "FATAL", "WARN"),  # or the rule's
        ("Error", Severity.INFO, "DEBUG", "INFO"),  # a rule may go below the floor, and then that is the floor
        ("System Notification", Severity.DEBUG, "FATAL", "DEBUG"),
        ("System Notification", None, "WARN", "WARN"),
        ("Critical Error", None, "WARN", "ERROR"),
        ("Security Alert", None, "ERROR", "ERROR"),
    ],
)
def test_a_stated_level_counts_within_what_the_label_allows(
    label: str, own: Severity | None, stated: str, severity: str
) -> None:
    table = VerdictTable(DEFAULT)
    code = table.rule("r", label, own) + LEVELS[Severity[stated]]
    assert table.verdicts[code].severity == severity


@pytest.mark.parametrize(
    ("label", "stated", "severity"),
    [
        ("System Notification", "ERROR", "ERROR"),
        ("System Notification", "FATAL", "ERROR"),
        ("Error", "FATAL", "ERROR"),
        ("Error", "INFO", "WARN"),
    ],
)
def test_a_model_never_hides_an_error(label: str, stated: str, severity: str) -> None:
    table = VerdictTable(DEFAULT)
    code = table.answer(label, 0.9, "model", "m@1") + LEVELS[Severity[stated]]
    assert table.verdicts[code].severity == severity


@pytest.mark.parametrize("stated", SEVERITIES)
def test_what_nobody_answered_keeps_the_level_it_states(stated: Severity) -> None:
    table = VerdictTable(DEFAULT)
    code = table.unclassified("low_confidence", "Error", 0.4, "m@1") + LEVELS[stated]
    assert table.verdicts[code].severity == stated.name


def test_severity_falls_back_to_the_labels() -> None:
    table = VerdictTable(DEFAULT)
    assert table.verdicts[table.rule("r", "Critical Error", None)].severity == "FATAL"
    assert table.verdicts[table.answer("Error", 1.0, "model", None)].severity == "ERROR"
    assert table.verdicts[table.unclassified("route")].severity == "INFO"


def test_unclassified_says_why_and_what_was_guessed() -> None:
    table = VerdictTable(DEFAULT)
    found = table.verdicts[table.unclassified("low_confidence", "Error", 0.41999, "m@1")]
    assert found == Verdict("Unclassified", "INFO", "none", 0.42, model="m@1", reason="low_confidence", guess="Error")


def test_verdicts_never_change() -> None:
    with pytest.raises(AttributeError):
        Verdict("Error", "ERROR", "model", 1.0).label = "x"  # type: ignore[misc]


@pytest.mark.parametrize(("confidence", "severity"), [(0.49, "INFO"), (0.5, "ERROR")])
def test_a_guess_gives_the_severity_only_where_it_is_likely(confidence: float, severity: str) -> None:
    table = VerdictTable(DEFAULT)
    assert table.verdicts[table.unclassified("low_confidence", "Error", confidence, "m@1")].severity == severity
