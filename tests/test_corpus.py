"""The default model's corpus is whole, and training renders it the same way each time."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from random import Random

import pytest

from logclf import resources
from logclf.errors import ConfigError
from logclf.taxonomy import DEFAULT
from logclf.training.corpus import SLOTS, CorpusTemplate, fill, read_corpus, render, samples
from logclf.training.default import training_readings

CORPUS = resources.MODELS / "default" / "corpus"


@pytest.fixture(scope="module")
def templates() -> list[CorpusTemplate]:
    return read_corpus(CORPUS, DEFAULT)


def test_broad_enough(templates: list[CorpusTemplate]) -> None:
    labels = Counter(template.label for template in templates)
    assert len({template.message for template in templates}) >= 3000
    assert set(labels) == set(DEFAULT.names)
    assert min(labels.values()) >= 200
    assert len({template.system for template in templates}) >= 20


def test_rendering_is_reproducible(templates: list[CorpusTemplate]) -> None:
    first = [line for _, line in samples(templates[:200], 2, seed=3)]
    assert first == [line for _, line in samples(templates[:200], 2, seed=3)]
    assert first != [line for _, line in samples(templates[:200], 2, seed=4)]


def test_texts_are_distinct_and_most_templates_give_one(templates: list[CorpusTemplate]) -> None:
    readings, owners = training_readings(templates)
    assert len(set(readings)) == len(readings) == len(owners) > 2 * len(templates)
    texts = [reading.text for reading in readings[:2000]]
    assert not any("{" + slot + "}" in text for text in texts for slot in ("ip", "int", "user"))


@pytest.mark.parametrize("slot", sorted(SLOTS))
def test_slots_fill(slot: str) -> None:
    text = fill(f"a {{{slot}}} b", Random(1))
    assert text.startswith("a ")
    assert text.endswith(" b")
    assert "{" + slot + "}" not in text


def test_choices_and_literal_braces() -> None:
    template = CorpusTemplate("Error", "ERROR", "", "{{x}} {up|down}", "s")
    assert {fill(template.message, Random(n)) for n in range(20)} == {"{x} up", "{x} down"}
    assert render(template, Random(1))


@pytest.mark.parametrize(
    ("line", "what"),
    [
        ("Error\tERROR\t-", "expected 4 columns"),
        ("Errror\tERROR\t-\tx", "unknown label"),
        ("Error\tBAD\t-\tx", "severity"),
        ("Error\tERROR\t-\tx {nope}", "unknown slot 'nope'"),
    ],
)
def test_mistakes_name_file_and_line(tmp_path: Path, line: str, what: str) -> None:
    (tmp_path / "a.tsv").write_text(f"# comment\n{line}\n")
    with pytest.raises(ConfigError, match=rf"a\.tsv:2: .*{what}"):
        read_corpus(tmp_path, DEFAULT)


def test_no_corpus(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no corpus"):
        read_corpus(tmp_path, DEFAULT)
