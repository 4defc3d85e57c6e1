"""Which columns matter and which are added."""

from __future__ import annotations

import pytest

from logclf.archive.columns import layout
from logclf.archive.plan import Settings
from logclf.errors import ConfigError


def test_the_classic_columns() -> None:
    found = layout(["timestamp", "source", "log_message"], Settings(), "x.csv")
    assert (found.columns, found.text, found.source, found.label, found.added) == (3, 2, 1, None, ("target_label",))


def test_the_text_column_is_not_the_source_as_well() -> None:
    assert layout(["source", "file"], Settings(text_column="file"), "x.csv").source == 0


def test_a_source_that_was_said_outright_needs_no_column() -> None:
    columns = ["source", "service", "message"]
    assert layout(columns, Settings(source="shop"), "x.csv").source is None
    with pytest.raises(ConfigError, match=r"x\.csv: several columns may be the source: 'source', 'service'"):
        layout(columns, Settings(), "x.csv")


def test_explaining_columns_step_aside_for_those_that_are_there() -> None:
    found = layout(["message", "rule", "logclf_rule"], Settings(explain=True, label_column="stage"), "x.csv")
    assert found.added == ("stage", "logclf_stage", "confidence", "severity", "logclf_logclf_rule")
