"""The LLM stage in a cascade: once per template, never in the way, and what is missing is asked again."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logclf.batch import Verdict
from logclf.cascade import ALL_STAGES, Answer, Cascade, Novel, Route
from logclf.errors import ConfigError
from logclf.llm.calls import UNSURE, LlmError, Question, Reply
from logclf.llm.settings import LlmSettings
from logclf.llm.stage import Connection, Known, LlmStage, NoShelf
from logclf.llm.worker import Pauses
from logclf.model import load_model
from logclf.rules import RuleSet
from logclf.switch import Joining, Switch
from logclf.taxonomy import DEFAULT

from .helpers import ROOT, batch
from .llm_fakes import Clock, FakeClient, PlainPrompts, failing, wait_until

NO_RULES = RuleSet([])


class Guessing:
    """A model that is sure of what has `known` in it and guesses the rest; counts how often it is asked."""

    name, version = "model", "guessing@1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, novel: Sequence[Novel]) -> list[Answer | None]:
        self.asked += [each.template for each in novel]
        return [Answer("HTTP Status", 0.3, "known" in each.template) for each in novel]


class Kept(NoShelf):
    """A shelf in memory."""

    def __init__(self, known: Mapping[str, Known] | None = None) -> None:
        self.known = dict(known or {})
        self.looked: list[str] = []

    def find(self, templates: Sequence[str]) -> Mapping[str, Known]:
        self.looked += templates
        return {each: self.known[each] for each in templates if each in self.known}

    def keep(self, question: Question, known: Known) -> None:
        self.known[question.template] = known


class Made:
    """A cascade of a guessing model and an LLM."""

    def __init__(self, client: FakeClient, connected: bool = True, model: bool = True, **options: object) -> None:
        chosen = {name: options.pop(name) for name in list(options) if name in LlmSettings.__struct_fields__}
        self.client, self.model = client, Guessing()
        self.there = connected
        self.stage = LlmStage(
            LlmSettings(**({"max_wait": 5.0} | chosen)),  # type: ignore[arg-type]
            DEFAULT.names,
            self.connect,
            **{"pauses": Pauses(backoff=0.001), **options},  # type: ignore[arg-type]
        )
        if connected:
            self.stage.connect()
        self.cascade = Cascade(DEFAULT, NO_RULES, [self.model, self.stage] if model else [self.stage])

    def connect(self) -> Connection:
        if not self.there:
            raise LlmError("unreachable", "nothing listens at fake")
        return Connection(self.client, PlainPrompts())

    def verdicts(self, *lines: str, source: str = "") -> list[Verdict]:
        codes = self.cascade.classify(batch(*(line.encode() for line in lines), source=source)).codes
        return [self.cascade.verdict(code) for code in codes.tolist()]

    def reasons(self, *lines: str) -> list[str | None]:
        return [verdict.reason for verdict in self.verdicts(*lines)]

    def timed(self, *lines: str) -> float:
        begun = time.monotonic()
        self.verdicts(*lines)
        return time.monotonic() - begun


@contextmanager
def made(client: FakeClient | None = None, **options: object) -> Iterator[Made]:
    it = Made(client or FakeClient(), **options)  # type: ignore[arg-type]
    try:
        yield it
    finally:
        it.client.gate.set()
        it.stage.close()


def test_what_the_model_is_unsure_of_is_answered_by_the_llm_once_for_all_batches() -> None:
    with made() as it:
        first, known, second = it.verdicts("disk 1 gone", "known 1", "disk 2 gone")
        assert first == Verdict("Error", "ERROR", "llm", 0.9, model="fake:1b")
        assert (known.stage, second.cached) == ("model", True)
        assert [it.verdicts("disk 7 gone")[0].stage for _ in range(3)] == ["llm"] * 3
        assert it.client.asked == ["disk <n> gone"]
        assert len(it.model.asked) == 2


def test_without_log_probabilities_the_confidence_is_the_usual_one() -> None:
    with made(FakeClient(lambda _: Reply("Error", None, 0.1))) as it:
        assert it.verdicts("x")[0].confidence == 0.8


def test_unsure_and_too_low_are_guesses_that_are_remembered() -> None:
    with made(FakeClient(lambda template: UNSURE if "a" in template else Reply("Error", 0.4, 0.1))) as it:
        unsure, low = it.verdicts("aa", "bb")
        assert unsure == Verdict(
            "Unclassified", "INFO", "none", 0.3, model="guessing@1", reason="llm_unsure", guess="HTTP Status"
        )
        assert (low.label, low.guess, low.confidence, low.model) == ("Unclassified", "Error", 0.4, "fake:1b")
        assert low.reason == "llm_unsure"
        assert [verdict.cached for verdict in it.verdicts("aa", "bb")] == [True, True]


def test_a_batch_waits_no_longer_than_allowed_and_the_late_answer_counts_from_then_on() -> None:
    client = FakeClient()
    client.gate.clear()
    with made(client, max_wait=0.2) as it:
        begun = time.monotonic()
        (late,) = it.verdicts("slow one")
        assert 0.15 < time.monotonic() - begun < 2
        assert (late.reason, late.guess, late.cached) == ("llm_timeout", "HTTP Status", False)
        assert it.timed("slow one") < 0.15, "a template holds one batch"
        client.gate.set()
        wait_until(lambda: it.stage.counts and it.stage.counts.answered)
        wait_until(lambda: it.verdicts("slow one")[0].stage == "llm")
        assert it.verdicts("slow one")[0].cached
        assert client.asked == ["slow one"]
        assert it.model.asked == ["slow one"], "the model is not asked again for what the LLM owes"


def test_a_server_that_hangs_holds_one_batch_only() -> None:
    client = FakeClient()
    client.gate.clear()
    with made(client, max_wait=0.2) as it:
        assert it.timed("a") > 0.15
        assert it.timed("b", "c") < 0.15
        assert it.timed("d") < 0.15
        client.gate.set()
        wait_until(lambda: len(client.asked) == 4)
        wait_until(lambda: it.verdicts("d")[0].stage == "llm")
        assert it.verdicts("e")[0].stage == "llm", "it lives: batches wait again"


def test_a_dead_server_costs_nothing_and_is_found_again() -> None:
    clock, client = Clock(), FakeClient(failing("unreachable"))
    with made(client, clock=clock, pauses=Pauses(failures=3, first=10)) as it:
        it.reasons("a", "b", "c")
        wait_until(lambda: it.stage.worker and it.stage.worker.state == "open")
        assert it.reasons("d", "a") == ["llm_unavailable"] * 2
        asked = len(client.asked)
        assert it.timed("e") < 0.5
        assert len(client.asked) == asked
        client.answer = lambda _: "Error"
        clock.now += 11
        it.verdicts("f")
        wait_until(lambda: it.stage.worker and it.stage.worker.state == "closed")
        clock.now += 31
        assert {verdict.stage for verdict in it.verdicts("d", "e", "g")} == {"llm"}


def test_an_invalid_reply_is_no_label_and_is_let_rest() -> None:
    clock, client = Clock(), FakeClient(failing("invalid_reply", server=False))
    with made(client, clock=clock) as it:
        assert [it.reasons("a")[0] for _ in range(3)] == ["llm_failed"] * 3
        assert client.asked == ["a"], "not with every batch"
        clock.now += 31
        client.answer = lambda _: "Error"
        it.verdicts("a")
        wait_until(lambda: it.verdicts("a")[0].stage == "llm")


def test_budget_and_queue_are_reasons_and_what_is_refused_is_asked_later() -> None:
    clock = Clock()
    with made(clock=clock, budget=2) as it:
        assert it.reasons("a", "b", "c") == [None, None, "budget"]
        assert it.reasons("c") == ["budget"]
        clock.now += 3601
        assert it.reasons("c") == [None]
    client = FakeClient()
    client.gate.clear()
    with made(client, queue=2, concurrency=1, max_wait=0.1) as it:
        reasons = it.reasons(*"abcdef")
        assert set(reasons) == {"llm_timeout", "queue_full"}
        client.gate.set()
        wait_until(lambda: it.reasons(*"abcdef") == [None] * 6)
        assert sorted(client.asked) == list("abcdef")


def test_answers_survive_on_the_shelf_and_nobody_is_asked() -> None:
    shelf = Kept()
    with made(shelf=shelf) as it:
        it.verdicts("disk 1 gone")
    with made(shelf=shelf) as it:
        assert it.verdicts("disk 5 gone")[0].label == "Error"
        assert it.client.asked == []
    with made(shelf=shelf, connected=False) as it:
        assert it.verdicts("disk 6 gone")[0].model == "fake:1b", "also without a server"


def test_an_answer_is_kept_before_the_stream_hears_of_it() -> None:
    class Slow(Kept):
        def keep(self, question: Question, known: Known) -> None:
            time.sleep(0.1)
            super().keep(question, known)

    shelf = Slow()
    with made(shelf=shelf) as it:
        assert it.verdicts("x")[0].stage == "llm"
        assert set(shelf.known) == {"x"}, "a stream may end right now"


def test_a_stale_answer_is_used_and_asked_again_behind_it() -> None:
    shelf = Kept({"x": Known("User Action", 0.7, "old:1b", stale=True)})
    with made(shelf=shelf) as it:
        assert it.verdicts("x")[0].model == "old:1b"
        wait_until(lambda: not shelf.known["x"].stale)
        assert it.verdicts("x")[0].model == "fake:1b"
    shelf = Kept({"x": Known("User Action", 0.7, "old:1b", stale=True)})
    with made(shelf=shelf, connected=False) as it:
        assert [verdict.cached for _ in range(2) for verdict in it.verdicts("x")] == [False, True]


def test_what_another_process_learned_is_looked_for_now_and_then() -> None:
    clock, shelf = Clock(), Kept()
    with made(FakeClient(failing("invalid_reply", server=False)), clock=clock, shelf=shelf) as it:
        assert it.reasons("x", "x") == ["llm_failed"] * 2
        it.reasons("x")
        assert shelf.looked == ["x"]
        shelf.known["x"] = Known("Error", 0.9, "theirs")
        clock.now += 11
        assert it.verdicts("x")[0].model == "theirs"


def test_numbers_that_mean_something_are_questions_of_their_own() -> None:
    with made() as it:
        it.verdicts('"GET / HTTP/1.1" 200 1', '"GET / HTTP/1.1" 500 2', '"GET / HTTP/1.1" 500 3')
        assert len(it.client.asked) == 2
        assert {"[200]", "[500]"} == {each.rpartition(" ")[2] for each in it.client.asked}


def test_secrets_are_kept_nowhere() -> None:
    shelf = Kept()
    with made(shelf=shelf, mask=lambda text: text.replace("hunter", "***")) as it:
        it.verdicts("password hunter 7")
        assert it.client.asked == ["password *** <n>"]
        assert set(shelf.known) == {"password *** <n>"}


# --- joining in


def test_without_a_server_everything_is_as_without_the_stage_and_it_is_said_once(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with made(connected=False, look=0.01) as it, caplog.at_level(logging.INFO, "logclf"):
        it.stage.look_around()
        found = [*it.verdicts("a", "known"), *it.verdicts("a", "b")]
        assert [verdict.reason for verdict in found] == ["low_confidence", None, "low_confidence", "low_confidence"]
        assert [verdict.cached for verdict in found] == [False, False, True, False]
        assert caplog.text.count("stays open") == 1
        assert "nothing listens at fake" in caplog.text


def test_a_route_to_an_llm_that_is_not_there_says_so() -> None:
    with made(connected=False, model=False) as it:
        assert it.reasons("a") == ["llm_unavailable"]


def test_a_server_that_appears_is_found_and_what_was_left_open_is_asked() -> None:
    with made(connected=False, look=0.02) as it:
        it.stage.look_around()
        look = Joining(it.cascade, it.stage)
        assert it.reasons("a") == ["low_confidence"]
        it.there = True
        wait_until(lambda: it.stage.joined)
        assert it.reasons("a") == ["low_confidence"], "remembered"
        look()
        assert it.verdicts("a")[0].stage == "llm"
        look()
        assert it.verdicts("a")[0].cached


def test_the_first_batch_waits_for_the_first_look() -> None:
    with made(connected=False) as it:
        it.there = True
        it.stage.look_around()
        assert it.verdicts("a")[0].stage == "llm"


def test_on_means_there_or_an_error() -> None:
    with made(connected=False) as it, pytest.raises(ConfigError, match=r"nothing listens at fake.*doctor"):
        it.stage.connect()


def test_another_model_leaves_the_llm_where_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    class Chosen:
        def stamp(self) -> tuple[int, int, int]:
            return (1, 1, 1)

        def current(self) -> str:
            return "default"

        def path(self, _: str) -> object:
            return ROOT / "models" / "default"

    clock = Clock()
    with made() as it:
        it.verdicts("a")
        switch = Switch(it.cascade, ROOT, Chosen(), clock)  # type: ignore[arg-type]
        clock.now += 2
        switch()
        assert [stage.name for stage in it.cascade.stages] == ["model", "llm"]
        assert it.cascade.stages[0].version == load_model(ROOT / "models" / "default").version
        it.verdicts("a")
        assert it.client.asked == ["a"], "it knows what it said"


# --- in the cascade


def test_the_llm_answers_for_a_model_that_failed_and_keeps_its_answer() -> None:
    from logclf.errors import StageError

    with made() as it:
        working, it.model.answer = it.model.answer, None  # type: ignore[method-assign]

        def broken(novel: Sequence[Novel]) -> list[Answer | None]:
            raise StageError("out of order")

        it.model.answer = broken  # type: ignore[method-assign]
        assert [it.verdicts("known 1")[0].stage for _ in range(2)] == ["llm", "llm"]
        assert it.client.asked == ["known <n>"]
        it.model.answer = working  # type: ignore[method-assign]
        assert it.verdicts("known 1")[0].stage == "model", "which may know better"


def test_routes_send_lines_to_the_llm_alone_or_keep_them_from_it() -> None:
    with made() as it:
        it.cascade = Cascade(
            DEFAULT, NO_RULES, it.cascade.stages, [Route("crm", ("llm",)), Route("pay", ("rules", "model"))]
        )
        assert it.verdicts("known", source="crm")[0].stage == "llm"
        assert it.verdicts("a secret", source="pay")[0].reason == "low_confidence"
        assert it.client.asked == ["known"]


def test_answers_for_other_processes_have_the_reasons_too() -> None:
    with made(budget=1) as it:
        novel = {text.encode(): Novel(text, text.encode(), "") for text in ("a", "b")}
        found = it.cascade.answers(novel, ALL_STAGES)
        assert [found[key].reason for key in (b"a", b"b")] == [None, "budget"]


def test_patience_waits_for_every_answer_however_many() -> None:
    with made(FakeClient(seconds=0.01), patient=True, max_wait=0.0, queue=3) as it:
        assert it.reasons(*(chr(97 + n) * 3 for n in range(20))) == [None] * 20


def test_a_stream_that_is_to_stop_waits_no_longer() -> None:
    client = FakeClient()
    client.gate.clear()
    with made(client, max_wait=30.0) as it:
        threading.Timer(0.1, lambda: setattr(it.stage, "stopped", lambda: True)).start()
        assert it.timed("a") < 5
        begun = time.monotonic()
        it.stage.close()
        assert time.monotonic() - begun < 0.5


@settings(max_examples=25, deadline=None)
@given(
    lines=st.lists(st.sampled_from(["a", "bb", "ccc", "known", "fail", "unsure", "disk 7"]), min_size=1, max_size=30),
    size=st.integers(1, 7),
)
def test_every_line_has_its_own_verdict_however_they_come(lines: list[str], size: int) -> None:
    def answer(template: str) -> str:
        if "fail" in template:
            raise LlmError("invalid_reply", "fake", server=False)
        return UNSURE if "unsure" in template else "Error"

    stages = {"fail": "none", "unsure": "none", "known": "model"}
    with made(FakeClient(answer)) as it:
        found = [
            verdict for start in range(0, len(lines), size) for verdict in it.verdicts(*lines[start : start + size])
        ]
        assert [verdict.stage for verdict in found] == [stages.get(line, "llm") for line in lines]
        assert len(it.client.asked) == len({line for line in lines if line != "known"})
