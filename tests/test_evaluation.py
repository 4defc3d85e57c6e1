"""What `eval` counts: rows, templates and lines, answers and guesses, each line under its own source."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from logclf import Classifier, evaluation
from logclf.cascade import Route
from logclf.evaluation import Evaluation, by_source, evaluate, severity_named, tables
from logclf.taxonomy import DEFAULT
from logclf.topology import build_cascade
from logclf.training.labelled import Rows

from .test_store import write_model

pytestmark = pytest.mark.usefixtures("cache_dir")

RULES = """\
version: 1
rules:
  - {id: own.login, label: User Action, severity: WARN, match: {any: [logged in]}, examples: {match: [logged in]}}
"""


@pytest.fixture(scope="module")
def classifier(tmp_path_factory: pytest.TempPathFactory, cache_dir: Path) -> Classifier:
    """A rule that knows log-ins, and a model that says Error to everything else and meets no line of `bare`."""
    directory = tmp_path_factory.mktemp("evaluation")
    (directory / "own.yaml").write_text(RULES)
    write_model(directory / "m", "Error")
    routes = [Route("bare", ("rules",))]
    return Classifier(build_cascade([directory / "own.yaml"], str(directory / "m"), routes, packs=False))


def rows(*cells: tuple[str, str], source: list[str] | None = None, **more: list[str] | list[int]) -> Rows:
    text, label = ([cell[at] for cell in cells] for at in (0, 1))
    return Rows(text, label, source, more.get("severity"), more.get("count"))  # type: ignore[arg-type]


def measured(found: Rows, classifier: Classifier) -> tuple[evaluation.Tested, Evaluation]:
    tested, result = evaluate([found], classifier, DEFAULT.names)
    assert result
    return tested, result


def test_rows_templates_and_counts_are_three_views(classifier: Classifier) -> None:
    _, result = measured(
        rows(
            ("user 1 logged in", "User Action"),
            ("user 2 logged in", "User Action"),
            ("disk full", "Error"),
            ("backup done", "System Notification"),
            count=[10**12, 1, 1, 1],
        ),
        classifier,
    )
    assert (result.rows.examples, result.rows.accuracy) == (4, 0.75)
    assert (result.templates.examples, result.templates.accuracy) == (3, 0.6667)
    assert result.weighted
    assert (result.weighted.examples, result.weighted.accuracy) == (10**12 + 3, 1.0)
    assert result.rows.macro_f1 == pytest.approx((1 + 2 / 3 + 0) / 3, abs=1e-4)
    assert [(each.name, each.examples) for each in result.stages] == [("rules", 2), ("model", 2)]
    assert [(each.label, each.answer, each.sample) for each in result.confused] == [
        ("System Notification", "Error", "backup done")
    ]


def test_without_a_count_column_nothing_is_weighted(classifier: Classifier) -> None:
    assert measured(rows(("disk full", "Error")), classifier)[1].weighted is None


def test_what_no_stage_answers_is_neither_right_nor_guessed(classifier: Classifier) -> None:
    _, result = measured(rows(("disk full", "Error"), ("disk full", "Error"), source=["bare", "other"]), classifier)
    assert (result.rows.answered, result.rows.right, result.rows.accuracy) == (0.5, 1.0, 0.5)
    assert {each.name: each.right for each in result.sources} == {"bare": 0.0, "other": 1.0}
    assert result.confused[0].answer == "(no guess)"


def test_each_line_is_asked_under_its_own_source_and_order_stays(classifier: Classifier) -> None:
    found = by_source([b"disk full", b"user logged in", b"disk full"], ["bare", "bare", "x"], classifier)
    assert [verdict.stage for verdict in found] == ["none", "rules", "model"]
    assert by_source([], [], classifier) == []


def test_rows_that_cannot_be_measured_are_counted(classifier: Classifier) -> None:
    found = rows(("", "Error"), ("nan", "Error"), ("x", ""), ("x", " "), ("x", "Eror"), (" disk full\n", " Error "))
    tested, result = measured(found, classifier)
    assert result.rows.examples == 1
    assert tested.dropped == Counter({"no text": 2, "no label": 2})
    assert tested.unknown == Counter({"Eror": 1})
    assert evaluate([rows(("", "Error"))], classifier, DEFAULT.names)[1] is None
    assert evaluate([], classifier, DEFAULT.names)[1] is None


def test_severity_is_compared_where_it_is_stated(classifier: Classifier) -> None:
    found = rows(*[("user logged in", "User Action")] * 4, severity=["warning", "INFO", "High", ""])
    assert measured(found, classifier)[1].severity == 0.5
    assert measured(rows(("disk full", "Error")), classifier)[1].severity is None


@pytest.mark.parametrize(
    ("text", "name"), [("warning", "WARN"), (" Critical ", "FATAL"), ("info", "INFO"), ("High", None), ("", None)]
)
def test_severities_have_several_names(text: str, name: str | None) -> None:
    assert severity_named(text) == name


def test_tables_say_all_and_nothing_that_a_terminal_obeys(classifier: Classifier) -> None:
    evil = "\x1b]0;owned\x07 \u202e backup\r done"
    tested, result = measured(
        rows((evil, "System Notification"), ("user logged in", "User Action"), source=["\x1b[31m", "b"]), classifier
    )
    shown = tables(result, tested.dropped + Counter({"no label": 1234}))
    assert not set(shown) & {"\x1b", "\x07", "\u202e", "\r"}
    for said in ("each template once", "rules  ", "\\x1b[31m", "\\x1b]0;owned", "left out: 1,234 rows with no label"):
        assert said in shown, said
    assert "by count" not in shown
