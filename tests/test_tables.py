"""Finding columns by their usual names."""

from __future__ import annotations

import pytest

from logclf.errors import ConfigError
from logclf.tables import LABEL_NAMES, SOURCE_NAMES, TEXT_NAMES, find_column, listed, missing_column


def text(columns: list[str], wanted: str | None = None) -> str | None:
    return find_column(columns, wanted, TEXT_NAMES, "text", "--text-column")


def test_the_classic_columns_are_found() -> None:
    columns = ["timestamp", "source", "log_message", "target_label"]
    assert text(columns) == "log_message"
    assert find_column(columns, None, SOURCE_NAMES, "source", "--source-column") == "source"
    assert find_column(columns, None, LABEL_NAMES, "label", "--label-column") == "target_label"


def test_case_and_blanks_around_a_name_do_not_matter_and_it_keeps_its_own_spelling() -> None:
    assert text(["Time", " Message "]) == " Message "


def test_none_where_no_name_is_usual() -> None:
    assert text(["a", "b"]) is None


def test_a_wanted_column_is_taken_whatever_else_there_is() -> None:
    assert text(["message", "msg", "x"], "x") == "x"


@pytest.mark.parametrize(
    ("columns", "wanted", "words"),
    [
        (["message", "msg"], None, "several columns may be the text: 'message', 'msg'; say which with --text-column"),
        (["a", "b"], "c", "there is no column 'c' (--text-column); the columns are 'a', 'b'"),
        (["a", "a"], "a", "there is more than one column 'a'"),
        (["message", "message"], None, "several columns"),
    ],
)
def test_what_is_not_clear_is_an_error_that_names_columns_and_option(
    columns: list[str], wanted: str | None, words: str
) -> None:
    with pytest.raises(ConfigError) as error:
        text(columns, wanted)
    assert words in str(error.value)


def test_a_missing_column_names_what_there_is_and_the_option() -> None:
    assert str(missing_column(["a"], "text", "--text-column")) == (
        "no column looks like the text among 'a'; name it with --text-column"
    )


def test_names_are_safe_to_look_at_and_not_endless() -> None:
    assert listed(["\x1b[31m"]) == r"'\\x1b[31m'"
    assert listed([str(n) for n in range(50)]).endswith("'39' and 10 more")
    assert listed([]) == "none"
