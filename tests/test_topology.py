"""What is asked for is what is built: own rules before the packs, models by name or path, clear refusals."""

from __future__ import annotations

from pathlib import Path

import pytest

from logclf import resources
from logclf.errors import ArtifactError, ConfigError
from logclf.rulecheck import winning_rule
from logclf.rulefile import MAX_PRIORITY
from logclf.taxonomy import Label, Severity, Taxonomy
from logclf.topology import build_cascade, build_rules, model_directory

OWN = """
version: 1
rules:
  - id: {id}
    label: System Notification
    priority: {priority}
    match: {{any: ['Failed password for \\S+ from']}}
    examples: {{match: ["Failed password for bob from 192.0.2.1"]}}
"""
LINE = "Oct  3 10:14:02 web1 sshd[811]: Failed password for root from 203.0.113.9 port 50273 ssh2"


@pytest.fixture
def own(tmp_path: Path, cache_dir: Path) -> Path:
    return tmp_path / "own.yaml"


@pytest.mark.parametrize("priority", [0, -MAX_PRIORITY])
def test_own_rules_come_before_the_packs(own: Path, priority: int) -> None:
    own.write_text(OWN.format(id="mine.quiet", priority=priority))
    winner = winning_rule(build_rules([own]), LINE)
    assert winner is not None
    assert winner.id == "mine.quiet"
    shipped = winning_rule(build_rules([]), LINE)
    assert shipped is not None
    assert shipped.id.startswith("sshd.")


def test_an_own_rule_replaces_the_shipped_one_of_its_id(own: Path) -> None:
    own.write_text(OWN.format(id="sshd.failed_authentication", priority=0))
    rules = build_rules([own]).rules
    same = [rule for rule in rules if rule.id == "sshd.failed_authentication"]
    assert [rule.spec.label for rule in same] == ["System Notification"]


def test_own_ids_are_distinct(own: Path, tmp_path: Path) -> None:
    own.write_text(OWN.format(id="mine.a", priority=0))
    (tmp_path / "other.yaml").write_text(own.read_text())
    with pytest.raises(ConfigError, match=r"rule mine\.a exists already, at .*own\.yaml:4"):
        build_rules([own, tmp_path / "other.yaml"])


def test_rules_from_the_cache_are_the_rules(own: Path) -> None:
    own.write_text(OWN.format(id="mine.quiet", priority=0))
    first, second = build_rules([own]), build_rules([own])
    assert [rule.id for rule in first.rules] == [rule.id for rule in second.rules]
    own.write_text(OWN.format(id="mine.changed", priority=0))
    assert build_rules([own]).rules[0].id == "mine.changed"


def test_models_by_name_and_path() -> None:
    assert model_directory("default") == resources.MODELS / "default"
    assert model_directory(str(resources.MODELS / "default")) == resources.MODELS / "default"
    with pytest.raises(ArtifactError, match=r"no model 'nope': neither a directory nor a shipped model \(default\)"):
        model_directory("nope")


def test_a_model_must_speak_the_taxonomy(cache_dir: Path) -> None:
    other = Taxonomy("other", (Label("Low", "unimportant", Severity.INFO),))
    with pytest.raises(ArtifactError, match="gives labels that this taxonomy lacks"):
        build_cascade(packs=False, taxonomy=other)
