"""Which column of a table is the text, which the label: by the names that such columns usually have."""

from __future__ import annotations

from collections.abc import Sequence

from .errors import ConfigError
from .pretty import visible

TEXT_NAMES = (
    *("log_message", "message", "msg", "log", "text", "line", "content", "body"),
    *("log_line", "log_text", "raw_log", "raw_message", "event_message"),
)
LABEL_NAMES = ("target_label", "label", "class", "category", "target", "log_class")
SOURCE_NAMES = (
    *("source", "system", "service", "logger", "app", "application", "component", "file"),
    *("service_name", "source_system", "log_source"),
)
SEVERITY_NAMES = ("severity", "level", "log_level", "loglevel", "severity_text", "priority")
COUNT_NAMES = ("count", "occurrences", "lines", "frequency", "weight", "n")

MOST_SHOWN = 40  # of a table's columns in a message


def find_column(columns: Sequence[str], wanted: str | None, usual: Sequence[str], what: str, option: str) -> str | None:
    """The one column that is meant: the wanted one exactly, else the only one with a usual name, whatever its case.

    what, option: "text" and "--text-column", for the messages.

    Returns None where nothing was wanted and no column has a usual name; whoever needs one then says so with
    `missing_column`.

    Raises:
        ConfigError: the wanted column is not there, it is there more than once, or several have usual names.
    """
    if wanted is not None:
        if columns.count(wanted) == 1:
            return wanted
        problem = "there is no column" if wanted not in columns else "there is more than one column"
        raise ConfigError(f"{problem} {visible(wanted)!r} ({option}); the columns are {listed(columns)}")
    names = frozenset(usual)
    found = [column for column in columns if column.strip().lower() in names]
    if len(found) > 1:
        raise ConfigError(f"several columns may be the {what}: {listed(found)}; say which with {option}")
    return found[0] if found else None


def missing_column(columns: Sequence[str], what: str, option: str) -> ConfigError:
    """The error that no column looks like what is needed."""
    return ConfigError(f"no column looks like the {what} among {listed(columns)}; name it with {option}")


def listed(columns: Sequence[str]) -> str:
    """Column names for a message, safe to look at."""
    shown = ", ".join(repr(visible(column)) for column in columns[:MOST_SHOWN])
    more = len(columns) - MOST_SHOWN
    return (shown or "none") + (f" and {more} more" if more > 0 else "")
