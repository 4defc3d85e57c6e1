"""The queue before a language model: once each, bounded, within a budget, and patient with servers that fail."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logclf.llm.breaker import HOUR, Breaker, Budget
from logclf.llm.calls import UNSURE, LlmError, Prompt, Question, Reply
from logclf.llm.settings import LlmSettings
from logclf.llm.worker import Pauses, Worker

from .llm_fakes import Clock, FakeClient, PlainPrompts, failing, wait_until

QUICK = Pauses(backoff=0.001)


class Made:
    """A worker, and what came of its questions."""

    def __init__(self, client: FakeClient, clock: Clock | None = None, **settings: object) -> None:
        self.came: list[tuple[str, Reply | None, str]] = []
        chosen = LlmSettings(**settings)  # type: ignore[arg-type]
        more = {"clock": clock} if clock else {}
        self.worker = Worker(client, PlainPrompts(), chosen, ("Error", "User Action"), self._note, pauses=QUICK, **more)

    def _note(self, question: Question, reply: Reply | None, reason: str) -> None:
        self.came.append((question.template, reply, reason))

    def submit(self, *templates: str) -> list[str | None]:
        return [self.worker.submit(Question(template, template)) for template in templates]

    def reasons(self, count: int) -> list[str]:
        wait_until(lambda: len(self.came) >= count)
        return [reason for _, _, reason in self.came]


@contextmanager
def worker(client: FakeClient, clock: Clock | None = None, **settings: object) -> Iterator[Made]:
    made = Made(client, clock, **settings)
    try:
        yield made
    finally:
        client.gate.set()
        made.worker.close()


def test_every_question_comes_back_once_with_its_answer() -> None:
    client = FakeClient(lambda template: UNSURE if template == "b" else "Error")
    with worker(client) as made:
        assert made.submit("a", "b", "c") == [None] * 3
        assert made.reasons(3) == [""] * 3
        assert {template: reply and reply.label for template, reply, _ in made.came} == {
            "a": "Error",
            "b": UNSURE,
            "c": "Error",
        }
        counts = made.worker.counts
        assert (counts.asked, counts.calls, counts.answered, counts.unsure) == (3, 3, 2, 1)
        assert made.worker.waiting == 0


def test_a_template_is_under_way_once_however_often_it_is_asked() -> None:
    client = FakeClient()
    client.gate.clear()
    with worker(client) as made:
        assert made.submit(*["a"] * 50) == [None] * 50
        client.gate.set()
        assert made.reasons(1) == [""]
        assert client.asked == ["a"]


def test_no_more_calls_at_a_time_than_allowed() -> None:
    client = FakeClient(seconds=0.01)
    with worker(client, concurrency=3) as made:
        made.submit(*map(str, range(20)))
        made.reasons(20)
        assert client.most == 3


def test_a_full_queue_refuses_and_what_can_wait_finds_it_full_earlier() -> None:
    client = FakeClient()
    client.gate.clear()
    with worker(client, concurrency=1, queue=4) as made:
        made.submit("under way")
        wait_until(lambda: client.asked)
        assert made.submit("a", "b") == [None, None]
        assert made.worker.submit(Question("stale", ""), first=False) == "queue_full"
        assert made.submit("c", "d", "e", "f") == [None, None, "queue_full", "queue_full"]
        assert made.worker.counts.refused == {"queue_full": 3}
        client.gate.set()
        assert made.reasons(5) == [""] * 5


def test_no_more_calls_in_an_hour_than_the_budget() -> None:
    clock, client = Clock(), FakeClient()
    with worker(client, clock, budget=3) as made:
        assert made.submit(*"abc") == [None] * 3
        made.reasons(3)
        assert made.submit("d") == ["budget"]
        clock.now += HOUR + 1
        assert made.submit("d") == [None]
        made.reasons(4)
        assert client.asked.count("d") == 1


def test_a_budget_of_nothing_asks_nothing() -> None:
    client = FakeClient()
    with worker(client, budget=0) as made:
        assert made.submit("a") == ["budget"]
        assert client.asked == []


def test_a_busy_server_is_asked_again_until_it_answers() -> None:
    client = FakeClient()
    turns = iter(range(100))

    def answer(_: str) -> str:
        if next(turns) < 6:
            raise LlmError("busy", "503", retry=True)
        return "Error"

    client.answer = answer
    with worker(client) as made:
        made.submit("a")
        assert made.reasons(1) == [""]
        assert made.worker.counts.calls == 7
        assert made.worker.state == "closed"


def test_a_busy_server_is_given_up_when_the_calls_time_is_over() -> None:
    with worker(FakeClient(failing("busy", retry=True)), timeout=0.1) as made:
        made.submit("a")
        assert made.reasons(1) == ["busy"]


def test_a_lost_connection_is_tried_again_but_not_for_ever() -> None:
    client = FakeClient(failing("unreachable", retry=True))
    with worker(client, concurrency=1) as made:
        made.submit("a")
        assert made.reasons(1) == ["unreachable"]
        assert len(client.asked) == 3


def test_what_cannot_be_mended_is_asked_once() -> None:
    client = FakeClient(failing("invalid_reply", server=False))
    with worker(client) as made:
        made.submit(*"abcdefgh")
        assert made.reasons(8) == ["invalid_reply"] * 8
        assert len(client.asked) == 8
        assert made.worker.state == "closed", "a server that answers nonsense answers"


def test_the_breaker_opens_drops_what_waits_and_lets_one_call_try() -> None:
    clock, client = Clock(), FakeClient(failing("server_error"))
    with worker(client, clock, concurrency=1) as made:
        client.gate.clear()
        made.submit(*"abcdefgh")
        client.gate.set()
        assert sorted(made.reasons(8)) == ["llm_unavailable"] * 3 + ["server_error"] * 5
        assert made.worker.state == "open"
        assert made.submit("x") == ["llm_unavailable"]
        clock.now += 6
        client.gate.clear()
        assert made.submit("y", "z") == [None, "llm_unavailable"], "one call tries"
        assert made.worker.state == "half_open"
        client.gate.set()
        made.reasons(9)
        assert made.worker.state == "open"
        clock.now += 6
        assert made.submit("y") == ["llm_unavailable"], "the pause has doubled"
        clock.now += 5
        client.answer = lambda _: "Error"
        assert made.submit("y") == [None]
        assert made.reasons(10)[-1] == ""
        assert made.worker.state == "closed"
        assert made.submit("p", "q") == [None, None]


def test_a_trial_that_is_not_made_leaves_the_next_one_free() -> None:
    clock, client = Clock(), FakeClient(failing("server_error"))
    with worker(client, clock, concurrency=1, budget=5) as made:
        for each in "abcde":
            made.submit(each)
        made.reasons(5)
        assert made.worker.state == "open"
        clock.now += HOUR  # the budget is there again too
        made.worker._prompts = Broken()
        assert made.submit("f") == [None]
        assert made.reasons(6)[-1] == "defect"
        assert made.worker.state == "open"
        assert made.submit("g") == [None]


class Broken:
    """Prompts that have a defect."""

    def prompt(self, question: Question) -> Prompt:
        raise ZeroDivisionError


def test_a_defect_fails_its_question_and_the_thread_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    with worker(FakeClient()) as made:
        good = made.worker._prompts
        made.worker._prompts = Broken()
        made.submit("secret text")
        assert made.reasons(1) == ["defect"]
        assert "secret" not in caplog.text
        made.worker._prompts = good
        made.submit("b")
        assert made.reasons(2)[-1] == ""


def test_closing_returns_at_once_and_nothing_comes_afterwards() -> None:
    client = FakeClient()
    client.gate.clear()
    with worker(client) as made:
        made.submit("a", "b", "c")
        made.worker.close()
        client.gate.set()
        assert made.submit("d") == ["closed"]
        wait_until(lambda: not client.running)
        assert made.came == []


@given(st.lists(st.tuples(st.sampled_from(["ok", "fail", "wait"]), st.floats(0, 50)), max_size=60))
def test_a_breaker_is_open_only_after_failures_and_one_call_tries_at_a_time(events: list[tuple[str, float]]) -> None:
    clock = Clock()
    breaker = Breaker(clock, failures=3, pause=10, longest=40)
    row = trials = 0
    for what, seconds in events:
        if what == "wait":
            clock.now += seconds
            continue
        before = breaker.state
        if not breaker.admits():
            assert row >= 3
            continue
        trials = trials + 1 if before == "open" else 0
        if what == "ok":
            breaker.succeeded()
            row = 0
        else:
            breaker.failed()
            row += 1
        assert (breaker.state == "closed") == (row < 3)


@given(st.integers(0, 5), st.lists(st.floats(0, 2000), max_size=40))
def test_a_budget_holds_in_any_hour(most: int, pauses: list[float]) -> None:
    clock = Clock()
    budget, spent = Budget(most, clock), []
    for pause in pauses:
        clock.now += pause
        if budget.spend():
            spent.append(clock.now)
    assert all(sum(begin <= each < begin + HOUR for each in spent) <= most for begin in spent)
