"""Rules, memory, stages: who is asked, what is remembered, and what is said when nobody answers."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logclf import masking
from logclf.batch import Batch, Verdict, line_starts
from logclf.cascade import ALL_STAGES, TEMPLATE_BYTES, Answer, Cascade, Novel, Route
from logclf.errors import StageError
from logclf.rulefile import Rule, Where
from logclf.rules import RuleSet
from logclf.taxonomy import DEFAULT, LEVELS, Severity

from .helpers import batch, make_rule


class FakeStage:
    """A stage with a table of answers by a word of the template; a word it lacks makes it abstain."""

    def __init__(self, name: str, answers: dict[str, Answer | None] | None = None) -> None:
        self.name, self.version = name, f"{name}@1"
        self.answers = answers or {}
        self.asked: list[Novel] = []
        self.broken = False

    def answer(self, novel: Sequence[Novel]) -> list[Answer | None]:
        self.asked += novel
        if self.broken:
            raise StageError("out of order")
        return [next((found for word, found in self.answers.items() if word in each.template), None) for each in novel]


SURE = {"disk": Answer("Resource Usage", 0.987, True), "login": Answer("User Action", 0.5, False)}


NO_RULES = RuleSet([])  # compiled once: it takes longer than most tests here
FULL = RuleSet([make_rule("full", "full")])


def cascade(*stages: FakeStage, rules: Iterable[Rule] = (), routes: Iterable[Route] = ()) -> Cascade:
    return Cascade(DEFAULT, RuleSet(rules) if rules else NO_RULES, stages, routes)


def verdicts(made: Cascade, *lines: str, source: str = "") -> list[Verdict]:
    codes = made.classify(batch(*(line.encode() for line in lines), source=source)).codes
    return [made.verdict(code) for code in codes.tolist()]


def test_a_rule_settles_its_lines_and_no_stage_is_asked() -> None:
    model = FakeStage("model", SURE)
    made = cascade(model, rules=[make_rule("full", r"disk (?P<name>\w+) full")])
    found = made.classify(batch(b"disk sda full", b"disk is fine"))
    assert [made.verdict(code).stage for code in found.codes.tolist()] == ["rules", "model"]
    assert made.verdict(int(found.codes[0])) == Verdict("Error", "ERROR", "rules", 1.0, rule="full")
    assert found.fields == {0: {"name": "sda"}}
    assert [novel.sample for novel in model.asked] == [b"disk is fine"]


def test_a_template_is_asked_once_and_later_lines_say_cached() -> None:
    model = FakeStage("model", SURE)
    made = cascade(model)
    first, second = verdicts(made, "disk 1 at 10%", "disk 22 at 95%")
    (third,) = verdicts(made, "disk 3 at 40%")
    assert first == Verdict("Resource Usage", "INFO", "model", 0.99, model="model@1")
    assert second == third == Verdict("Resource Usage", "INFO", "model", 0.99, model="model@1", cached=True)
    assert [novel.template for novel in model.asked] == ["disk <n> at <n>%"]
    assert (made.counts.templates, made.counts.memory_hits, made.counts.memory_misses) == (1, 1, 2)


def test_what_a_line_is_given_does_not_depend_on_the_lines_before_it() -> None:
    texts = ["disk sda ok", "disk sda1 ok", "login 0x1f ok", "login 1x1f ok", "login bob ok", "login bob1 ok"]

    def given_(order: list[str]) -> dict[str, list[str]]:
        model = FakeStage(
            "model", {"<n>": Answer("Resource Usage", 0.9, True), "login": Answer("User Action", 0.8, True)}
        )
        found = verdicts(cascade(model), *order, *order)
        return {text: [verdict.label for verdict in found[at :: len(order)]] for at, text in enumerate(order)}

    assert given_(texts) == given_(texts[::-1])


def test_answers_given_elsewhere_are_learned_by_key_and_nobody_is_asked_again() -> None:
    model, other = FakeStage("model", SURE), FakeStage("model", SURE)
    lines = ["disk 1 at 10%", "login of bob", "disk 22 at 5%"]
    expected = verdicts(cascade(model), *lines)
    novel = {masking.mask([line.encode()])[0]: Novel(line, line.encode(), "") for line in lines}
    made = cascade(other)
    made.learn(cascade(model).answers(novel, ALL_STAGES), ALL_STAGES)
    found = verdicts(made, *lines)
    assert other.asked == []
    assert [msgspec.structs.replace(verdict, cached=False) for verdict in expected] == found


def test_answers_that_failed_are_not_handed_on() -> None:
    model = FakeStage("model", SURE)
    model.broken = True
    assert cascade(model).answers({b"disk": Novel("disk", b"disk", "")}, ALL_STAGES) == {}


def test_origins_that_are_treated_alike_are_told_by_their_treatment() -> None:
    assert not cascade().minds_source
    routed = cascade(routes=[Route("pay*", ("rules",))])
    assert routed.minds_source
    assert routed.treatment("pay-eu") == routed.treatment("pay-us") != routed.treatment("shop")
    scoped = cascade(rules=[make_rule("full", "full", where=Where(source=("db*",)))])
    assert scoped.minds_source
    assert scoped.treatment("db1") == scoped.treatment("db2") != scoped.treatment("shop")


def test_first_level_keys_that_share_a_template_are_asked_once() -> None:
    model = FakeStage("model", SURE)
    made = cascade(model)
    ids = ["a1b2c3d4e5f6", "0f9e8d7c6b5a", "11ee22dd33cc"]
    found = verdicts(made, *(f"disk {id_} ready" for id_ in ids))
    assert [verdict.cached for verdict in found] == [False, True, True]
    assert verdicts(made, "disk dd00ee11ff22 ready")[0].cached
    assert len(model.asked) == 1


def test_what_the_model_leaves_open_goes_to_the_llm() -> None:
    model, llm = FakeStage("model", SURE), FakeStage("llm", {"login": Answer("Security Alert", 1.0, True)})
    made = cascade(model, llm)
    found = verdicts(made, "disk ok", "login by eve")
    assert [(verdict.label, verdict.stage, verdict.model) for verdict in found] == [
        ("Resource Usage", "model", "model@1"),
        ("Security Alert", "llm", "llm@1"),
    ]
    assert [novel.template for novel in llm.asked] == ["login by eve"]


def test_abstaining_hands_the_guess_on() -> None:
    model, llm = FakeStage("model", SURE), FakeStage("llm")
    (alone,) = verdicts(cascade(model), "login by eve")
    assert alone == Verdict(
        "Unclassified", "INFO", "none", 0.5, model="model@1", reason="low_confidence", guess="User Action"
    )
    (both,) = verdicts(cascade(FakeStage("model", SURE), llm), "login by eve")
    assert (both.guess, both.reason, both.model) == ("User Action", "nothing_to_read", "model@1")


def test_a_stages_own_reason_is_given() -> None:
    llm = FakeStage("llm", {"x": Answer("Error", 0.2, False, reason="llm_timeout")})
    assert verdicts(cascade(llm), "x")[0].reason == "llm_timeout"


def test_reasons_when_nobody_is_there_to_ask() -> None:
    assert verdicts(cascade(), "x")[0] == Verdict("Unclassified", "INFO", "none", 0.0, reason="no_stage")
    assert verdicts(cascade(FakeStage("model")), "x")[0].reason == "nothing_to_read"
    made = cascade(FakeStage("model", SURE), routes=[Route("s", ("rules",))])
    assert verdicts(made, "disk", source="s")[0].reason == "route"


def test_an_abstention_is_remembered() -> None:
    model = FakeStage("model", SURE)
    made = cascade(model)
    assert [verdicts(made, line)[0].cached for line in ("login 1", "login 2", "hm 1", "hm 2")] == [
        False,
        True,
        False,
        True,
    ]
    assert len(model.asked) == 2


def test_failure_is_no_abstention_and_is_not_remembered(caplog: pytest.LogCaptureFixture) -> None:
    model = FakeStage("model", SURE)
    made = cascade(model)
    model.broken = True
    with caplog.at_level(logging.WARNING, "logclf"):
        found = verdicts(made, "disk 1", "disk 2", "login")
    assert {(verdict.label, verdict.stage, verdict.reason) for verdict in found} == {
        ("Unclassified", "none", "model_failed")
    }
    assert made.counts.failures == {"model": 2}
    assert "the model stage failed on 2 templates: out of order" in caplog.text
    model.broken = False
    assert [(verdict.stage, verdict.cached) for verdict in verdicts(made, "disk 3", "disk 4")] == [
        ("model", False),
        ("model", True),
    ]
    assert len(model.asked) == 3


def test_the_next_stage_answers_for_one_that_failed() -> None:
    model, llm = FakeStage("model", SURE), FakeStage("llm", {"disk": Answer("Error", 0.9, True)})
    made = cascade(model, llm)
    model.broken = True
    assert [verdicts(made, "disk 1")[0].stage for _ in range(2)] == ["llm", "llm"]
    model.broken = False
    assert verdicts(made, "disk 1")[0] == Verdict("Resource Usage", "INFO", "model", 0.99, model="model@1")


def test_a_failing_llm_leaves_the_models_guess() -> None:
    model, llm = FakeStage("model", SURE), FakeStage("llm")
    made = cascade(model, llm)
    llm.broken = True
    for _ in range(2):
        (found,) = verdicts(made, "login by eve")
        assert (found.guess, found.reason, found.cached) == ("User Action", "llm_failed", False)
    assert len(llm.asked) == 2


def test_an_answer_that_is_not_to_be_remembered_is_asked_again_of_its_own_stage_only() -> None:
    model, llm = FakeStage("model", SURE), FakeStage("llm", {"login": Answer("", 0.0, False, "later", remember=False)})
    made = cascade(model, llm)
    first, second = verdicts(made, "login 1", "login 2")
    assert (first.reason, first.guess, first.model, first.cached) == ("later", "User Action", "model@1", False)
    assert second.cached
    llm.answers = {"login": Answer("Security Alert", 0.9, True, model="older@1")}
    (found,) = verdicts(made, "login 3")
    assert (found.label, found.stage, found.model) == ("Security Alert", "llm", "older@1")
    assert verdicts(made, "login 4")[0].cached
    assert [len(stage.asked) for stage in (model, llm)] == [1, 2]
    assert llm.asked[0].guess == "User Action"
    assert made.counts.templates == 1


def test_no_opinion_leaves_reason_and_guess_as_they_were() -> None:
    model, llm = FakeStage("model", SURE), FakeStage("llm", {"login": Answer("", 0.0, False, reason="")})
    assert verdicts(cascade(model, llm), "login 1") == verdicts(cascade(model), "login 1")
    assert verdicts(cascade(llm), "login 1")[0].reason == "llm_unavailable"


def test_what_is_forgotten_is_asked_anew() -> None:
    model = FakeStage("model", SURE)
    made = cascade(model)
    verdicts(made, "login 1")
    made.forget()
    assert not verdicts(made, "login 2")[0].cached
    assert len(model.asked) == 2


def test_stages_are_told_the_numbers_that_mean_something() -> None:
    llm = FakeStage("llm")
    verdicts(cascade(llm), '"GET / HTTP/1.1" 200 1', "exit code 7")
    assert [novel.numbers for novel in llm.asked] == [("200",), ("7",)]


def test_routes_choose_the_stages_and_the_first_that_fits_counts() -> None:
    model, llm = FakeStage("model", SURE), FakeStage("llm", {"disk": Answer("Error", 1.0, True)})
    rules = [make_rule("full", "disk full")]
    routes = [Route("crm*", ("llm",)), Route("pay*", ("rules", "model")), Route("crm-x", ("model",))]
    made = cascade(model, llm, rules=rules, routes=routes)
    assert [verdicts(made, "disk full", source=s)[0].stage for s in ("crm-x", "payments", "other")] == [
        "llm",
        "rules",
        "rules",
    ]
    assert [verdicts(made, "disk ok", source=s)[0].stage for s in ("crm-x", "payments", "other")] == [
        "llm",
        "model",
        "model",
    ]
    assert verdicts(made, "login", source="payments")[0].reason == "low_confidence"
    assert not any(novel.source == "payments" for novel in llm.asked)


def test_answers_of_different_routes_do_not_mix() -> None:
    model, llm = FakeStage("model", SURE), FakeStage("llm", {"disk": Answer("Error", 1.0, True)})
    made = cascade(model, llm, routes=[Route("crm", ("llm",))])
    assert [verdicts(made, "disk 7", source=s)[0].label for s in ("crm", "", "crm")] == [
        "Error",
        "Resource Usage",
        "Error",
    ]


def test_a_route_past_the_rules_keeps_meaningful_numbers_apart() -> None:
    """Also where a rule, which is not asked, would have won the line."""
    llm = FakeStage("llm", {"GET": Answer("HTTP Status", 1.0, True)})
    made = cascade(llm, rules=[make_rule("http", "GET (?P<p>.+)")], routes=[Route("crm", ("llm",))])
    lines = ['"GET / HTTP/1.1" 200 1', '"GET / HTTP/1.1" 500 2', '"GET / HTTP/1.1" 500 3']
    assert [verdict.cached for verdict in verdicts(made, *lines, source="crm")] == [False, False, True]
    assert made.classify(batch(b"GET x", source="crm")).fields == {}


def test_where_conditions_hold_in_the_cascade() -> None:
    made = cascade(rules=[make_rule("ssh", "refused", where=Where(source=("sshd*",)))])
    assert [verdicts(made, "refused", source=s)[0].stage for s in ("sshd-1", "x")] == ["rules", "none"]


def test_level_in_the_text_beats_the_labels() -> None:
    made = cascade(FakeStage("model", SURE), rules=[make_rule("full", "full", label="Resource Usage", severity="WARN")])
    found = verdicts(made, "disk full", "FATAL disk full", "disk ok", "[error] disk ok")
    assert [verdict.severity for verdict in found] == ["WARN", "FATAL", "INFO", "ERROR"]


def test_level_of_a_json_event_beats_the_text() -> None:
    made = cascade(FakeStage("model", SURE))
    lines = batch(b"[error] disk ok", b"[error] disk ok", b"disk ok")
    lines.levels = np.array([LEVELS[Severity.DEBUG], 0, LEVELS[Severity.FATAL]], np.int64)
    assert [made.verdict(code).severity for code in made.classify(lines).codes.tolist()] == ["DEBUG", "ERROR", "FATAL"]


def test_stages_see_no_more_than_their_share_of_a_line() -> None:
    model = FakeStage("model", SURE)
    verdicts(cascade(model), "disk " + "word " * 10_000)
    assert len(model.asked[0].template) <= TEMPLATE_BYTES
    assert len(model.asked[0].sample) == TEMPLATE_BYTES


def test_lines_that_differ_late_are_different_templates() -> None:
    model = FakeStage("model", SURE)
    long = "disk " + "word " * 1_000
    verdicts(cascade(model), long + "one", long + "two", long + "one")
    assert len(model.asked) == 2


def test_novelty_without_end_stays_within_the_memory_budget() -> None:
    made = Cascade(DEFAULT, RuleSet([]), [FakeStage("model", SURE)], memory_budget=50_000)
    for start in range(0, 5_000, 500):
        verdicts(made, *(f"disk {chr(97 + n % 26)}{n // 26 * 'z'} q" for n in range(start, start + 500)))
    (memory,) = made._memories.values()
    assert len(memory) < 50_000 // 160


WORDS = st.lists(
    st.sampled_from(["disk", "login", "hm", "7", "4711", "status 200", "status 500", "full", "a1b2c3d4e5"]), max_size=4
)


@settings(max_examples=80, deadline=None)
@given(lines=st.lists(WORDS.map(" ".join), min_size=1, max_size=12), cut=st.integers(0, 12))
def test_verdicts_do_not_depend_on_batching(lines: list[str], cut: int) -> None:
    """But for the cached flag, which is on for all but the first line of a template, the same however lines arrive."""
    whole = verdicts(Cascade(DEFAULT, FULL, [FakeStage("model", SURE)]), *lines)
    made = Cascade(DEFAULT, FULL, [FakeStage("model", SURE)])
    parts = [verdict for some in (lines[:cut], lines[cut:]) if some for verdict in verdicts(made, *some)]
    assert parts == whole


class Sure:
    """A stage that is sure of everything."""

    name, version = "model", "sure@1"

    def answer(self, novel: Sequence[Novel]) -> list[Answer | None]:
        return [Answer("Error", 0.9, True) for _ in novel]


MANY = 2_500_000  # both generations of the memory are full after one


def resident() -> float:
    return int(Path("/proc/self/status").read_text().split("VmRSS:")[1].split()[0]) / 1024


@pytest.mark.timeout(900)
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="resident memory is read from /proc")
def test_millions_of_novel_lines_take_time_but_no_memory() -> None:
    letters = bytes.maketrans(b"0123456789", b"ghijklmnop")
    made = Cascade(DEFAULT, RuleSet([make_rule("never", "no such line")]), [Sure()])
    at_a_million = 0.0
    for start in range(0, MANY, 5_000):
        text = b"\n".join([b"w%07d q" % number for number in range(start, start + 5_000)]).translate(letters)
        made.classify(Batch(text, line_starts(text)))
        if start == 1_000_000:
            at_a_million = resident()
    assert made.counts.templates == MANY
    assert resident() < at_a_million + 30
