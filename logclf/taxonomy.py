"""Labels and severities: what a line can be called.

A taxonomy is data. The default one names nine labels; a team can bring its own with its own rules and model.
"""

from __future__ import annotations

from enum import IntEnum

import msgspec

from .errors import ConfigError

UNCLASSIFIED = "Unclassified"


class Severity(IntEnum):
    """How serious a line is; names and numbers are OpenTelemetry's."""

    TRACE = 1
    DEBUG = 5
    INFO = 9
    WARN = 13
    ERROR = 17
    FATAL = 21


# The dense numbering that columns use; 0 stands for "the line names no severity".
SEVERITIES: tuple[Severity, ...] = tuple(Severity)
LEVELS: dict[Severity, int] = {severity: number for number, severity in enumerate(SEVERITIES, 1)}


class Label(msgspec.Struct, frozen=True):
    """One label, what it covers, and the severity of its lines where nothing else tells.

    floor, ceiling: how far a level that a line states can be believed. Programs report failed operations as INFO and
    their own dumps of state as FATAL; what a line means bounds how serious it can be.
    """

    name: str
    description: str
    severity: Severity
    floor: Severity = Severity.TRACE
    ceiling: Severity = Severity.FATAL


class Taxonomy(msgspec.Struct, frozen=True):
    """The labels that rules, model and LLM may give."""

    name: str
    labels: tuple[Label, ...]

    def __post_init__(self) -> None:
        names = self.names
        repeated = {name for name in names if names.count(name) > 1}
        if repeated or not names or UNCLASSIFIED in names:
            raise ConfigError(f"a taxonomy needs distinct labels other than {UNCLASSIFIED}, not {list(names)}")
        for label in self.labels:
            if not label.floor <= label.severity <= label.ceiling:
                raise ConfigError(f"label {label.name!r}: its severity is not between its floor and its ceiling")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(label.name for label in self.labels)

    def severity(self, label: str) -> Severity:
        """The severity of a label's lines where neither line nor rule says; INFO for Unclassified."""
        found = self.find(label)
        return found.severity if found else Severity.INFO

    def find(self, label: str) -> Label | None:
        return next((known for known in self.labels if known.name == label), None)


DEFAULT = Taxonomy(
    "default",
    (
        Label("HTTP Status", "the record of one HTTP request or response, whatever its status", Severity.INFO),
        Label(
            "Security Alert",
            "a possible attack or breach, refused access, failed authentication, privilege escalation",
            Severity.WARN,
            floor=Severity.WARN,
        ),
        Label("User Action", "an account's ordinary act: log-in, log-out, upload, account created", Severity.INFO),
        Label(
            "Resource Usage",
            "a measurement or state of CPU, memory, disk, quota, queue, pool, battery, bandwidth",
            Severity.INFO,
        ),
        Label(
            "Critical Error",
            "service, node or hardware down or damaged, data lost: panic, crash, OOM kill, unrecoverable",
            Severity.FATAL,
            floor=Severity.ERROR,
        ),
        Label(
            "Error",
            "an operation failed, timed out or was refused, and the system goes on",
            Severity.ERROR,
            floor=Severity.WARN,
            ceiling=Severity.ERROR,
        ),
        Label(
            "Workflow Error",
            "a job, task, order, ticket or other multi-step process failed or was aborted",
            Severity.ERROR,
            floor=Severity.WARN,
            ceiling=Severity.ERROR,
        ),
        Label("Deprecation Warning", "something deprecated, outdated or to be removed", Severity.WARN),
        Label(
            "System Notification",
            "everything routine that a system says about itself",
            Severity.INFO,
            ceiling=Severity.WARN,
        ),
    ),
)
