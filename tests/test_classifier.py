"""The library's front door: lines in, verdicts out, in order, whatever the lines are."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import logclf
from logclf import Classifier, Route, Severity, Taxonomy, Verdict
from logclf.cascade import Cascade
from logclf.errors import ArtifactError, ConfigError
from logclf.rules import RuleSet
from logclf.taxonomy import DEFAULT, Label

from .helpers import make_rule

FAILED = "Failed password for root from 203.0.113.9 port 50273 ssh2"


RULES = RuleSet([make_rule("two", "one two"), make_rule("user", r"user (?P<name>\S+)")])


def classifier() -> Classifier:
    return Classifier(Cascade(DEFAULT, RULES))


@pytest.fixture(scope="module")
def shipped(cache_dir: Path) -> Classifier:
    return Classifier.default()


def test_shipped_rules_and_model(shipped: Classifier) -> None:
    rule, model = shipped.classify([FAILED, "the quick brown frobnicator settled down for the night"])
    assert (rule.label, rule.stage, rule.confidence) == ("Security Alert", "rules", 1.0)
    assert rule.rule is not None
    assert rule.rule.startswith("sshd.")
    assert (model.stage, model.reason) == ("none", "unfamiliar")
    assert model.model is not None
    assert model.model.startswith("default@")


def test_fields(shipped: Classifier) -> None:
    assert {"src_ip": "203.0.113.9", "user": "root"}.items() <= shipped.fields(FAILED).items()
    assert shipped.fields("nothing that any rule knows, frobnicator") == {}
    assert classifier().fields(b"user \xff!") == {"name": "\ufffd!"}


def test_text_and_bytes_are_the_same() -> None:
    assert classifier().classify(["one two", "é user x"]) == classifier().classify([b"one two", "é user x".encode()])


def test_any_iterable_of_lines_and_none_at_all() -> None:
    made = classifier()
    assert [verdict.rule for verdict in made.classify(line for line in ("x", "one two"))] == [None, "two"]
    assert made.classify([]) == []
    assert made.classify([""])[0].stage == "none"


@pytest.mark.parametrize("line", ["one\ntwo", b"one\ntwo", "a\n\none\ntwo\n"])
def test_a_newline_in_a_line_is_a_blank(line: str | bytes) -> None:
    found = classifier().classify(["x", line, "one two"])
    assert [verdict.rule for verdict in found] == [None, "two", "two"]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.one_of(st.text(alphabet=st.characters(), max_size=8), st.binary(max_size=8)), max_size=6))
def test_any_lines_get_one_verdict_each(lines: list[str | bytes]) -> None:
    found = classifier().classify([*lines, "one two"])
    assert len(found) == len(lines) + 1
    assert found[-1].rule == "two"


def test_lone_surrogates_are_no_error() -> None:
    found = classifier().classify(["\ud800 one two", "\udcff one two"])
    assert [verdict.rule for verdict in found] == ["two", "two"]


def test_own_rules_come_first(tmp_path: Path, cache_dir: Path) -> None:
    path = tmp_path / "mine.yaml"
    text = (
        "version: 1\nrules:\n  - id: mine\n    label: User Action\n    match: {any: ['Failed password']}\n"
        "    where: {source: [app]}\n    examples: {match: ['Failed password']}\n"
    )
    path.write_text(text)
    made = Classifier.default(rules=[path], model=None)
    assert made.classify([FAILED], source="app")[0].rule == "mine"
    assert made.classify([FAILED])[0].rule != "mine"
    path.write_text(text.replace("Action", "Auction"))
    with pytest.raises(ConfigError, match=r"mine\.yaml:4: unknown label 'User Auction'; did you mean 'User Action'"):
        Classifier.default(rules=[path], model=None)


def test_routes(cache_dir: Path) -> None:
    made = Classifier.default(model=None, routes=[Route("raw", ())])
    assert [made.classify([FAILED], source=source)[0].stage for source in ("raw", "x")] == ["none", "rules"]


def test_a_model_that_does_not_fit(tmp_path: Path, cache_dir: Path) -> None:
    with pytest.raises(ArtifactError, match="no model 'nowhere'"):
        Classifier.default(model="nowhere")
    other = Taxonomy("other", (*DEFAULT.labels[:-1], Label("Noise", "the rest", Severity.INFO)))
    with pytest.raises(ArtifactError, match=r"gives labels that this taxonomy lacks: .'System Notification'."):
        Classifier.default(taxonomy=other)


def test_the_names_that_are_promised() -> None:
    assert sorted(logclf.__all__) == ["Classifier", "Route", "Severity", "Taxonomy", "Verdict", "__version__"]
    assert logclf.Verdict is Verdict
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = logclf.nothing


def test_importing_costs_nothing_and_streaming_loads_nothing_heavy(cache_dir: Path) -> None:
    code = (
        "import sys, logclf; assert 'numpy' not in sys.modules; from logclf import Classifier;"
        "Classifier.default().classify(['a line that no rule knows, frobnicator']);"
        "print(*sorted({'sklearn', 'pandas', 'torch', 'sentence_transformers', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == ""
