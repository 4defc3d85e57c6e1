"""Which columns a table has, which of them matter, and which it gains."""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import ConfigError
from ..pretty import visible
from ..tables import SOURCE_NAMES, TEXT_NAMES, find_column, missing_column
from .plan import EXPLAINED, Layout, Settings

PREFIX = "logclf_"


def layout(columns: Sequence[str], settings: Settings, where: str) -> Layout:
    """How a table with these columns is labelled.

    Raises:
        ConfigError: the text column is not clear, or the label column is there already.
    """
    try:
        text = find_column(columns, settings.text_column, TEXT_NAMES, "text", "--text-column")
        if text is None:
            raise missing_column(columns, "text", "--text-column")
        source = _source(columns, settings, text)
        label = _label(columns, settings)
    except ConfigError as error:
        raise ConfigError(error.message, where) from error
    explain = EXPLAINED if settings.explain else ()
    named = [settings.label_column] if label is None else []
    taken = [*columns, settings.label_column]
    for attribute in explain:
        named.append(_free_name(attribute, taken))
        taken.append(named[-1])
    return Layout(
        len(columns),
        columns.index(text),
        None if source is None else columns.index(source),
        label,
        tuple(named),
        explain,
    )


def _source(columns: Sequence[str], settings: Settings, text: str) -> str | None:
    if settings.source_column is None and settings.source is not None:
        return None  # the lines' source was said outright
    others = [column for column in columns if column != text]
    return find_column(others, settings.source_column, SOURCE_NAMES, "source", "--source-column")


def _label(columns: Sequence[str], settings: Settings) -> int | None:
    name = settings.label_column
    if name not in columns:
        return None
    if not settings.overwrite_column:
        raise ConfigError(
            f"there is a column {visible(name)!r} already; take another name with --label-column, "
            "or --overwrite-column to replace its values"
        )
    return columns.index(name)


def _free_name(name: str, taken: Sequence[str]) -> str:
    """The name itself, or with the program's name before it where a column has it."""
    while name in taken:
        name = PREFIX + name
    return name
