"""Which labelled templates are shown beside a question."""

from __future__ import annotations

import logging
from collections import Counter
from pathlib import Path
from threading import Thread

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logclf import features, resources
from logclf.cache import DirectoryCache
from logclf.errors import InputError
from logclf.llm import examples
from logclf.llm.calls import Example
from logclf.llm.examples import Bank, ExampleFinder, chosen, nearest
from logclf.rulefile import Rule
from logclf.taxonomy import DEFAULT, Label, Severity, Taxonomy

from .helpers import make_rule

QUESTION = "sshd[<n>]: Failed keyboard-interactive/pam for bob"


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> DirectoryCache:
    return DirectoryCache(tmp_path_factory.mktemp("examples") / "cache")


@pytest.fixture(scope="module")
def finder(cache: DirectoryCache) -> ExampleFinder:
    return ExampleFinder(DEFAULT, cache=cache)


def with_examples(label: str, *lines: str) -> Rule:
    rule = make_rule("own", "never", label=label)
    spec = msgspec.structs.replace(rule.spec, examples=msgspec.structs.replace(rule.spec.examples, match=lines))
    return msgspec.structs.replace(rule, spec=spec)


def test_the_nearest_of_the_corpus_come_first(finder: ExampleFinder) -> None:
    found = finder.find(QUESTION, 8)
    assert len(found) == 8
    assert [each.similarity for each in found] == sorted((each.similarity for each in found), reverse=True)
    assert "keyboard-interactive/pam" in found[0].template
    assert all(0 < each.similarity <= 1 for each in found)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 40])
@pytest.mark.parametrize("template", [QUESTION, "disk <n>% full", "GET <path> HTTP/<n>.<n> <n>", "zzz qqq"])
def test_no_text_twice_and_at_most_half_of_one_label(finder: ExampleFinder, template: str, count: int) -> None:
    found = finder.find(template, count)
    assert len(found) == count or count == 1
    texts = [features.read(each.template).text for each in found]
    assert len(set(texts)) == len(texts)
    assert max(Counter(each.label for each in found).values()) <= max(count // 2, 1)


def test_every_label_is_one_of_the_taxonomys(finder: ExampleFinder) -> None:
    bank = finder._ready()[-1]
    assert set(bank.labels) == set(DEFAULT.names)
    assert bank.vectors.shape == (len(bank.templates), 128)
    assert len(bank.templates) > 15_000


def test_half_characters_are_no_obstacle(tmp_path: Path) -> None:
    people = [("job \ud800 failed", "Error")]
    made = ExampleFinder(DEFAULT, corrections=lambda: people, corpus=None, cache=DirectoryCache(tmp_path))
    assert len(made.find("job \udfff", 2)) == 1


def test_no_examples_for_no_words_or_none_wanted(finder: ExampleFinder) -> None:
    assert finder.find("", 8) == []
    assert finder.find(QUESTION, 0) == []


def test_the_cache_gives_the_same_and_spares_the_corpus(
    finder: ExampleFinder, cache: DirectoryCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = finder.find(QUESTION, 8)
    monkeypatch.setattr(examples, "_corpus_lines", lambda _directory: pytest.fail("read again"))
    assert ExampleFinder(DEFAULT, cache=cache).find(QUESTION, 8) == before


@pytest.mark.parametrize("damage", ["truncated", "altered", "other"])
def test_a_damaged_cache_is_made_anew(tmp_path: Path, damage: str) -> None:
    corpus = tmp_path / "corpus"
    corpus.mkdir()
    (corpus / "a.tsv").write_text("Error\tERROR\tapp\tcannot frobnicate {int}\nUser Action\tINFO\tapp\tuser in\n")
    cache = DirectoryCache(tmp_path / "cache")
    before = ExampleFinder(DEFAULT, corpus=corpus, cache=cache).find("frobnicate", 2)
    assert [each.label for each in before] == ["Error", "User Action"]
    for path in (tmp_path / "cache").glob("examples*"):
        data = path.read_bytes()
        if damage == "other":
            DirectoryCache(tmp_path / "cache").store(path.name.partition(".")[0], b"\x93\x90\x90\x90\xc4\x00")
        else:
            path.write_bytes(data[: len(data) // 2] if damage == "truncated" else data[:-1] + b"\0")
    assert ExampleFinder(DEFAULT, corpus=corpus, cache=cache).find("frobnicate", 2) == before


def test_a_changed_corpus_is_read_again(tmp_path: Path) -> None:
    cache, file = DirectoryCache(tmp_path / "cache"), tmp_path / "a.tsv"
    for label in ("Error", "User Action"):
        file.write_text(f"{label}\tERROR\tapp\tcannot frobnicate\n")
        (found,) = ExampleFinder(DEFAULT, corpus=tmp_path, cache=cache).find("frobnicate", 1)
        assert found.label == label


def test_a_cache_that_cannot_be_written_costs_time_alone(tmp_path: Path) -> None:
    (tmp_path / "a.tsv").write_text("Error\tERROR\tapp\tcannot frobnicate\n")
    (tmp_path / "file").write_text("")
    cache = DirectoryCache(tmp_path / "file" / "cache")
    assert ExampleFinder(DEFAULT, corpus=tmp_path, cache=cache).find("frobnicate", 1)


def test_rules_examples_are_masked_and_carry_the_rules_label(tmp_path: Path) -> None:
    rules = [with_examples("Workflow Error", "job 4711 fell over", "job 4712 fell over", "task 7 failed")]
    found = ExampleFinder(DEFAULT, rules, corpus=None, cache=DirectoryCache(tmp_path)).find("job <n> fell over", 4)
    assert [(each.template, each.label) for each in found] == [
        ("job <n> fell over", "Workflow Error"),
        ("task <n> failed", "Workflow Error"),
    ]
    assert found[0].similarity == pytest.approx(1, abs=0.01)


def test_a_correction_comes_first_at_equal_similarity_and_replaces_the_rules_label(tmp_path: Path) -> None:
    rules = [with_examples("Error", "job 4711 fell over", "job 4711 fell")]
    people = [("job <n> fell over", "Workflow Error")]
    made = ExampleFinder(DEFAULT, rules, lambda: people, corpus=None, cache=DirectoryCache(tmp_path))
    found = made.find("job <n> fell over", 8)
    assert [(each.template, each.label) for each in found] == [
        ("job <n> fell over", "Workflow Error"),
        ("job <n> fell", "Error"),
    ]


def test_new_corrections_count_at_once(tmp_path: Path) -> None:
    people: list[tuple[str, str]] = []
    made = ExampleFinder(DEFAULT, corrections=lambda: people, corpus=None, cache=DirectoryCache(tmp_path))
    assert made.find("job", 2) == []
    people.append(("job <n> ok", "User Action"))
    assert [each.label for each in made.find("job", 2)] == ["User Action"]
    people[0] = ("job <n> ok", "Error")
    assert [each.label for each in made.find("job", 2)] == ["Error"]


def test_corrections_that_cannot_be_read_are_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def broken() -> list[tuple[str, str]]:
        raise InputError("memory.sqlite is damaged")

    rules = [with_examples("Error", "job 4711 fell over")]
    made = ExampleFinder(DEFAULT, rules, broken, corpus=None, cache=DirectoryCache(tmp_path))
    with caplog.at_level(logging.WARNING, "logclf"):
        assert len(made.find("job", 2)) == 1
    assert "memory.sqlite is damaged" in caplog.text


def test_no_corpus_means_no_examples_and_one_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = ExampleFinder(DEFAULT, corpus=tmp_path / "none", cache=DirectoryCache(tmp_path / "cache"))
    with caplog.at_level(logging.WARNING, "logclf"):
        assert made.find(QUESTION, 8) == made.find(QUESTION, 8) == []
    assert caplog.text.count("without examples") == 1


LEVELS = Taxonomy("levels", tuple(Label(name, "", Severity.INFO) for name in ("Error", "Low")))


def test_another_taxonomy_gets_only_examples_of_its_labels(cache: DirectoryCache) -> None:
    people = [("job <n> ok", "Low"), ("job <n> fell over", "Workflow Error")]
    made = ExampleFinder(LEVELS, [with_examples("User Action", "x y")], lambda: people, cache=cache)
    found = made.find("job <n> fell", 10)
    assert Counter(each.label for each in found) == {"Error": 5, "Low": 1}


def test_a_taxonomy_without_any_label_of_the_corpus_reads_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "_corpus_lines", lambda _directory: pytest.fail("read"))
    own = Taxonomy("own", (Label("Low", "", Severity.INFO),))
    made = ExampleFinder(own, corrections=lambda: [("job", "Low")], cache=DirectoryCache(tmp_path))
    assert made.find("job", 8) == [Example("job", "Low", pytest.approx(1, abs=0.01))]


def test_nothing_is_read_before_the_first_question(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "load_model", lambda _directory: pytest.fail("read"))
    ExampleFinder(DEFAULT, corrections=lambda: pytest.fail("asked"))


def test_warming_spares_the_first_question(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.tsv").write_text("Error\tERROR\tapp\tcannot frobnicate\n")
    made = ExampleFinder(DEFAULT, corpus=tmp_path, cache=DirectoryCache(tmp_path / "cache"))
    made.warm()
    monkeypatch.setattr(examples, "_kept", lambda *_given: pytest.fail("read again"))
    assert made.find("frobnicate", 1)


def test_threads_that_ask_at_once_build_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    built = []
    real = examples._kept
    monkeypatch.setattr(examples, "_kept", lambda *given_: built.append(1) or real(*given_))
    (tmp_path / "a.tsv").write_text("Error\tERROR\tapp\tcannot frobnicate\n")
    made = ExampleFinder(DEFAULT, corpus=tmp_path, cache=DirectoryCache(tmp_path / "cache"))
    found: list[list[Example]] = []
    threads = [Thread(target=lambda: found.append(made.find("frobnicate", 1))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 2  # rules and corpus
    assert len({repr(each) for each in found}) == 1


def test_the_corpus_is_the_shipped_models() -> None:
    assert (resources.MODELS / "default" / "corpus").is_dir()


CANDIDATES = st.lists(st.tuples(st.sampled_from("abcdef"), st.sampled_from(["X", "Y", "Z"])), max_size=30)


@given(CANDIDATES, st.integers(1, 10))
def test_what_is_chosen_keeps_order_and_bounds(pairs: list[tuple[str, str]], count: int) -> None:
    found = chosen(((Example(text, label), text) for text, label in pairs), count)
    assert len(found) <= count
    assert max(Counter(each.label for each in found).values(), default=0) <= max(count // 2, 1)
    firsts = list(dict(reversed(pairs)).items())
    assert all((each.template, each.label) in firsts for each in found)  # the first of each text
    order = [pairs.index((each.template, each.label)) for each in found]
    assert order == sorted(order)


def test_nearest_goes_by_cosine_then_by_trust() -> None:
    first = Bank(["a", "b"], ["X", "X"], ["a", "b"], np.array([[1, 0], [0, 1]], np.float32))
    second = Bank(["c", "d"], ["Y", "Y"], ["c", "d"], np.array([[0, 1], [0.6, 0.8]], np.float32))
    found = [each.template for each, _ in nearest([first, second], np.array([0, 1], np.float32))]
    assert found == ["b", "c", "d", "a"]
    assert list(nearest([], np.array([1.0], np.float32))) == []
