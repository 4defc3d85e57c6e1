"""Labels are distinct and known, severities are OpenTelemetry's."""

from __future__ import annotations

import msgspec
import pytest

from logclf.errors import ConfigError
from logclf.taxonomy import DEFAULT, LEVELS, SEVERITIES, UNCLASSIFIED, Label, Severity, Taxonomy


def label(name: str, severity: Severity = Severity.INFO) -> Label:
    return Label(name, "what it covers", severity)


def test_severities_are_opentelemetrys() -> None:
    assert {severity.name: severity.value for severity in Severity} == {
        "TRACE": 1, "DEBUG": 5, "INFO": 9, "WARN": 13, "ERROR": 17, "FATAL": 21,
    }  # fmt: skip


def test_levels_are_dense_and_rise_from_one() -> None:
    assert [LEVELS[severity] for severity in SEVERITIES] == [1, 2, 3, 4, 5, 6]


def test_default_labels_are_the_promised_nine() -> None:
    assert DEFAULT.names == (
        "HTTP Status", "Security Alert", "User Action", "Resource Usage", "Critical Error", "Error",
        "Workflow Error", "Deprecation Warning", "System Notification",
    )  # fmt: skip
    assert all(known.description for known in DEFAULT.labels)


def test_severity_of_a_label() -> None:
    assert DEFAULT.severity("Critical Error") is Severity.FATAL
    assert DEFAULT.severity(UNCLASSIFIED) is Severity.INFO
    assert Taxonomy("bank", (label("High", Severity.ERROR),)).severity("High") is Severity.ERROR


@pytest.mark.parametrize("names", [(), ("A", "A"), ("A", UNCLASSIFIED)])
def test_labels_must_be_distinct_and_none_is_reserved(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="distinct labels other than Unclassified"):
        Taxonomy("bad", tuple(map(label, names)))


def test_a_taxonomy_never_changes() -> None:
    with pytest.raises(AttributeError):
        DEFAULT.name = "other"  # type: ignore[misc]
    assert msgspec.convert(msgspec.to_builtins(DEFAULT), Taxonomy) == DEFAULT


def test_a_severity_lies_between_floor_and_ceiling() -> None:
    Taxonomy("t", (Label("a", "d", Severity.WARN, floor=Severity.INFO, ceiling=Severity.ERROR),))
    for floor, ceiling in ((Severity.ERROR, Severity.FATAL), (Severity.TRACE, Severity.INFO)):
        with pytest.raises(ConfigError, match="'a': its severity is not between its floor and its ceiling"):
            Taxonomy("t", (Label("a", "d", Severity.WARN, floor=floor, ceiling=ceiling),))
