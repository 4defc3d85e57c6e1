"""The queue between the stream and a language model: daemon threads that ask, each question once.

Nothing here waits for the stream and the stream waits for nothing here: `submit` accepts or refuses at once, and what
came of a question is told to `on_answer`, from a worker's thread, exactly once for each that was accepted.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from .breaker import FAILURES, FIRST_PAUSE, LONGEST_PAUSE, Breaker, Budget, Clock, State
from .calls import UNSURE, LlmClient, LlmError, Prompt, Question, Reply
from .settings import LlmSettings

log = logging.getLogger(__name__)

BUDGET, QUEUE_FULL, UNAVAILABLE, CLOSED = "budget", "queue_full", "llm_unavailable", "closed"
BUSY, DEFECT = "busy", "defect"
ATTEMPTS = 3  # of one question, but for a busy server, which is asked until the call's time is over
BACKOFF, LONGEST_BACKOFF = 0.25, 4.0  # seconds


class Prompts(Protocol):
    """What makes a question into what is sent, as prompt.PromptMaker."""

    def prompt(self, question: Question) -> Prompt: ...


# What came of a question: its reply, else the reason that there is none.
OnAnswer = Callable[[Question, Reply | None, str], None]


class Pauses(msgspec.Struct, frozen=True):
    """How patient a worker is with a server that fails: failures in a row that open the breaker, its pauses, and the
    first pause before a call is tried again; seconds."""

    failures: int = FAILURES
    first: float = FIRST_PAUSE
    longest: float = LONGEST_PAUSE
    backoff: float = BACKOFF


USUAL_PAUSES = Pauses()


@dataclass(slots=True)
class Counts:
    """What happened so far. calls: sent, retries included. seconds: that they took, together."""

    asked: int = 0
    calls: int = 0
    answered: int = 0
    unsure: int = 0
    seconds: float = 0.0
    failed: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)


class Worker:
    """Asks a model, some questions at a time.

    labels: the taxonomy's names, for checking replies.
    clock: seconds that only grow; for budget, breaker and the time of a call.
    """

    def __init__(
        self,
        client: LlmClient,
        prompts: Prompts,
        settings: LlmSettings,
        labels: Sequence[str],
        on_answer: OnAnswer,
        clock: Clock = time.monotonic,
        pauses: Pauses = USUAL_PAUSES,
    ) -> None:
        self.client = client
        self.counts = Counts()
        self._prompts, self._settings, self._labels = prompts, settings, tuple(labels)
        self._on_answer, self._clock, self._pauses = on_answer, clock, pauses
        self._breaker = Breaker(clock, pauses.failures, pauses.first, pauses.longest)
        self._budget = Budget(settings.budget, clock)
        self._queue: deque[Question] = deque()
        self._in_flight: dict[str, bool] = {}  # template → whether this is the call that tries a server anew
        self._uncalled: set[str] = set()  # of these, those that no call was made for yet: the budget must do for them
        self._threads: list[threading.Thread] = []
        self._changed = threading.Condition()
        self._closed = threading.Event()

    @property
    def waiting(self) -> int:
        """Questions that no call was made for yet."""
        return len(self._queue)

    @property
    def state(self) -> State:
        """The breaker's."""
        return self._breaker.state

    def submit(self, question: Question, first: bool = True) -> str | None:
        """Take a question, unless its template is under way already; the reason where it is refused.

        first: not for what can wait, which is taken only while less than half of the queue is.
        """
        with self._changed:
            if question.template in self._in_flight:
                return None
            reason = self._refusal(first)
            if reason:
                self.counts.refused[reason] += 1
                return reason
            self._in_flight[question.template] = self._breaker.state == "half_open"
            self._uncalled.add(question.template)
            self.counts.asked += 1
            self._queue.append(question)
            self._start()
            self._changed.notify()
        return None

    def _refusal(self, first: bool) -> str | None:
        if self._closed.is_set():
            return CLOSED
        if len(self._queue) >= (self._settings.queue if first else self._settings.queue // 2):
            return QUEUE_FULL
        if self._budget.left <= len(self._uncalled):
            return BUDGET
        return None if self._breaker.admits() else UNAVAILABLE

    def close(self) -> None:
        """Begin nothing more. Calls under way are left to themselves: their threads keep no process from ending."""
        self._closed.set()
        with self._changed:
            self._queue.clear()
            self._in_flight.clear()
            self._uncalled.clear()
            self._changed.notify_all()

    def _start(self) -> None:
        """One more thread where there is more to do than there are threads."""
        if len(self._threads) < min(self._settings.concurrency, len(self._in_flight)):
            thread = threading.Thread(target=self._work, name=f"llm-{len(self._threads)}", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (question := self._next()) is not None:
            reply, reason = self._outcome(question)
            self._finish(question, reply, reason)

    def _next(self) -> Question | None:
        with self._changed:
            while not self._queue and not self._closed.is_set():
                self._changed.wait()
            return None if self._closed.is_set() else self._queue.popleft()

    def _finish(self, question: Question, reply: Reply | None, reason: str) -> None:
        with self._changed:
            self._uncalled.discard(question.template)
            if self._in_flight.pop(question.template, False):
                self._breaker.not_called()  # unless it was, and the breaker is no longer half open
            if self._closed.is_set():
                return
            if reply is None:
                self.counts.failed[reason] += 1
            elif reply.label == UNSURE:
                self.counts.unsure += 1
            else:
                self.counts.answered += 1
        self._on_answer(question, reply, reason)

    def _outcome(self, question: Question) -> tuple[Reply | None, str]:
        """Ask, again where that may help; never more than a call's time in all."""
        try:
            prompt = self._prompts.prompt(question)
            deadline = self._clock() + self._settings.timeout
            for attempt in itertools.count():
                reason = self._may_call(question)
                if reason:
                    return None, reason
                try:
                    return self._call(prompt), ""
                except LlmError as error:
                    if not self._again(error, attempt, deadline):
                        return None, error.reason
        except LlmError as error:
            return None, error.reason
        except Exception as error:  # a defect met by one question must not end the thread that asks the others
            log.error("asking the language model failed: %s", type(error).__name__)
            return None, DEFECT
        return None, UNAVAILABLE

    def _may_call(self, question: Question) -> str:
        """Count a call that is about to be made, or say why none is."""
        with self._changed:
            tries = self._in_flight.get(question.template, False)
            if self._closed.is_set():
                return CLOSED
            if self._breaker.state != "closed" and not (tries and self._breaker.state == "half_open"):
                return UNAVAILABLE
            if not self._budget.spend():
                return BUDGET
            self._uncalled.discard(question.template)
            self.counts.calls += 1
        return ""

    def _call(self, prompt: Prompt) -> Reply:
        begun = self._clock()
        try:
            reply = self.client.ask(prompt, self._labels)
        except LlmError as error:
            self._spent(begun)
            # A busy server is asked again, and is blamed only when a call's whole time is over. One that answers
            # nonsense has answered.
            if error.reason != BUSY:
                self._blame() if error.server else self._trust()
            raise
        self._spent(begun)
        self._trust()
        return reply

    def _spent(self, begun: float) -> None:
        with self._changed:
            self.counts.seconds += self._clock() - begun

    def _trust(self) -> None:
        with self._changed:
            if self._breaker.state != "closed" and not self._closed.is_set():
                log.info("the language model %s answers again", self.client.model)
            self._breaker.succeeded()

    def _blame(self) -> None:
        """Tell the breaker; where that opens it, whoever waits is told at once."""
        with self._changed:
            was_closed = self._breaker.state == "closed"
            dropped: list[Question] = []
            if self._breaker.failed():
                dropped = list(self._queue)
                self._queue.clear()
            if was_closed and self._breaker.state == "open" and not self._closed.is_set():
                log.warning("the language model %s does not answer; it is left alone for a while", self.client.model)
        for question in dropped:
            self._finish(question, None, UNAVAILABLE)

    def _again(self, error: LlmError, attempt: int, deadline: float) -> bool:
        """Whether to call once more, after a pause that doubles; nobody's pauses fall together."""
        pause = min(self._pauses.backoff * 2**attempt, LONGEST_BACKOFF) * random.uniform(0.5, 1)  # noqa: S311 - no secret
        often = attempt + 1 >= ATTEMPTS and error.reason != BUSY
        if not error.retry or often or self._clock() + pause >= deadline:
            if error.reason == BUSY:
                self._blame()
            return False
        return not self._closed.wait(pause)
