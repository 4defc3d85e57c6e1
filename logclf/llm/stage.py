"""The cascade's last stage: what rules and model leave open is asked of a language model, beside the stream.

A batch waits for its new templates, at most `max_wait`, then goes out without them; what comes later is there for the
next such line. A template holds one batch at most, and where a whole wait was in vain none is held again until the
server has shown that it lives. What is missing is never remembered by the cascade, which asks again next time; that
costs a look into a dictionary.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeVar

import msgspec

from ..batch import LLM
from ..cascade import Answer, Novel
from ..errors import ConfigError
from .breaker import Clock
from .calls import UNSURE, LlmClient, LlmError, Question, Reply
from .questions import Questions
from .settings import LlmSettings
from .worker import BUDGET, CLOSED, QUEUE_FULL, UNAVAILABLE, USUAL_PAUSES, Counts, Pauses, Prompts, Worker

log = logging.getLogger(__name__)

USUAL_CONFIDENCE = 0.8  # of an answer where the server gives no log-probabilities
TIMEOUT, FAILED, UNSURE_REASON = "llm_timeout", "llm_failed", "llm_unsure"
# Reasons of calls and refusals → those in verdicts; any other is llm_failed.
REASONS = {
    "timeout": TIMEOUT,
    "unreachable": UNAVAILABLE,
    "busy": UNAVAILABLE,
    "no_model": UNAVAILABLE,
    UNAVAILABLE: UNAVAILABLE,
    CLOSED: UNAVAILABLE,
    BUDGET: BUDGET,
    QUEUE_FULL: QUEUE_FULL,
}
UNCALLED = frozenset((UNAVAILABLE, CLOSED, BUDGET, QUEUE_FULL))  # nothing was asked: nothing speaks against asking soon
MOST_KEPT = 20_000  # templates that are known here, and as many that rest
FIRST_REST, LONGEST_REST = 30.0, 3600.0  # seconds until a template that failed is asked again
FIRST_LOOK, LONGEST_LOOK = 30.0, 600.0  # seconds between two looks for a server
SHELF_AGAIN = 10.0  # seconds until the shelf is asked again about a template that it didn't have
SLICE = 0.1  # seconds after which a wait looks whether it should end
NO_SERVER = "no_server"
NOTHING = Answer("", 0.0, False, reason="")  # no opinion: as if this stage were not there


Key = TypeVar("Key")
Value = TypeVar("Value")


class Known(msgspec.Struct, frozen=True):
    """An answer that was given before. model: who gave it. stale: by an older prompt or taxonomy; ask again at leisure.
    sure: False where it is only a guess; the label is UNSURE where there was not even that."""

    label: str
    confidence: float
    model: str
    stale: bool = False
    sure: bool = True


class Shelf(Protocol):
    """Answers that outlive the process. Neither method raises: a shelf that breaks says so once and stays empty."""

    def find(self, templates: Sequence[str]) -> Mapping[str, Known]: ...

    def keep(self, question: Question, known: Known) -> None:
        """Thread-safe."""

    def close(self) -> None: ...


class NoShelf:
    """Nothing outlives the process."""

    def find(self, templates: Sequence[str]) -> Mapping[str, Known]:
        return {}

    def keep(self, question: Question, known: Known) -> None:
        return None

    def close(self) -> None:
        return None


class Connection(msgspec.Struct, frozen=True):
    """A client whose server and model are there, and what makes its prompts."""

    client: LlmClient
    prompts: Prompts


class Rest(msgspec.Struct, frozen=True):
    """A template that failed: why, until when it is let be, and how long that is."""

    reason: str
    until: float
    pause: float


class LlmStage:
    """Answers from memory, store and a language model.

    connect: finds server and model; raises LlmError or ConfigError where one is missing.
    labels: the taxonomy's names.
    mask: takes secrets out of templates, before they are kept or sent anywhere.
    patient: wait for every answer, as long as answers come: for archives, which nobody waits for.
    look: seconds between the first two looks for a server.
    """

    name = LLM

    def __init__(
        self,
        settings: LlmSettings,
        labels: Sequence[str],
        connect: Callable[[], Connection],
        shelf: Shelf | None = None,
        mask: Callable[[str], str] = str,
        clock: Clock = time.monotonic,
        patient: bool = False,
        pauses: Pauses = USUAL_PAUSES,
        look: float | None = None,
    ) -> None:
        self.settings = settings
        self.joined = 0  # how often a server was found: what was remembered before is worth asking again then
        self.stopped: Callable[[], bool] = lambda: False  # asked while waiting; True ends all waiting
        self._labels, self._connect, self._shelf = tuple(labels), connect, shelf or NoShelf()
        self._clock, self._patient, self._pauses = clock, patient, pauses
        self._look = look or FIRST_LOOK
        self._worker: Worker | None = None
        self._looking = False  # for a server, and the first look is not over
        self._missing = ""  # what was missing at the last look
        self._alive = True  # False when a whole wait was in vain, until something comes
        self._said: dict[str, Known] = {}
        self._resting: dict[str, Rest] = {}
        self._failed: dict[str, str] = {}  # why there was no answer
        self._questions = Questions(mask)
        self._waited: dict[str, None] = {}  # templates that have held a batch
        self._looked: dict[str, float] = {}  # when the shelf was last asked about a template
        self._pending: set[str] = set()  # under way
        self._news = threading.Condition()
        self._closed = threading.Event()

    # --- connecting

    def connect(self) -> None:
        """Find server and model now.

        Raises:
            ConfigError: one of them is not there; the message says what to do.
        """
        try:
            found = self._connect()
        except LlmError as error:
            raise ConfigError(f"{error}; --llm auto goes on without, `logclf doctor` shows what is missing") from error
        self._join(found)

    def look_around(self) -> None:
        """Look for server and model in the background, now and then, until they are there."""
        self._looking = True
        threading.Thread(target=self._look_until_found, name="llm-look", daemon=True).start()

    def _look_until_found(self) -> None:
        pause = self._look
        while not self._closed.is_set():
            try:
                found: Connection | None = self._connect()
            except (LlmError, ConfigError) as error:
                found, self._missing = None, str(error)
            if found:
                self._join(found)
                log.info("the language model %s answers what rules and model don't know", found.client.model)
                return
            with self._news:
                self._looking = False
                self._news.notify_all()
            self._closed.wait(pause)
            pause = min(pause * 2, LONGEST_LOOK)

    def _join(self, found: Connection) -> None:
        worker = Worker(
            found.client, found.prompts, self.settings, self._labels, self._arrived, self._clock, self._pauses
        )
        with self._news:
            self._worker, self._looking = worker, False
            self.joined += 1
            self._news.notify_all()

    @property
    def version(self) -> str:
        """The model's name; empty while none is known."""
        return self._worker.client.model if self._worker else self.settings.model or ""

    @property
    def counts(self) -> Counts | None:
        """Of calls; None where no server was found."""
        return self._worker.counts if self._worker else None

    @property
    def worker(self) -> Worker | None:
        return self._worker

    def close(self) -> None:
        """Ask nothing more. Returns at once: what is under way keeps no process from ending."""
        self._closed.set()
        if self._worker:
            self._worker.close()
        with self._news:
            self._news.notify_all()
        self._shelf.close()

    # --- answering

    def answer(self, novel: Sequence[Novel]) -> list[Answer | None]:
        """The cascade's question."""
        deadline = self._clock() + self.settings.max_wait
        self._wait(lambda: self._looking, deadline)
        questions = [self._questions.of(each) for each in novel]
        size = self.settings.queue if self._patient else max(len(questions), 1)
        refused: dict[str, str] = {}
        for start in range(0, len(questions), size):
            refused |= self._ask(questions[start : start + size], deadline)
        return [self._answer(each.template, refused) for each in questions]

    def _ask(self, questions: Sequence[Question], deadline: float) -> dict[str, str]:
        """Ask what is not known, wait where that is worth it; by template, why others were not asked."""
        self._look_on_shelf([each.template for each in questions if each.template not in self._said])
        refused: dict[str, str] = {}
        held: set[str] = set()
        for question in questions:
            known = self._said.get(question.template)
            if known is None or known.stale:
                reason = self._submit(question, first=known is None)
                if known is None and reason:
                    refused[question.template] = reason
                elif known is None and question.template not in self._waited:
                    held.add(question.template)
        self._wait_for(held, deadline)
        return refused

    def _look_on_shelf(self, templates: Sequence[str]) -> None:
        """Take in what is kept of templates, by other processes too: each is looked for now and then."""
        now = self._clock()
        due = [each for each in templates if now - self._looked.get(each, -SHELF_AGAIN) >= SHELF_AGAIN]
        for template in due:
            _keep(self._looked, template, now)
        for template, known in (self._shelf.find(due) if due else {}).items():
            with self._news:
                _keep(self._said, template, known)

    def _submit(self, question: Question, first: bool) -> str:
        """Ask in the background; empty where that is done, else why not. Without a server nothing is asked."""
        template = question.template
        rest = self._resting.get(template)
        if rest and self._clock() < rest.until:
            return rest.reason
        if self._worker is None:
            return NO_SERVER
        if template in self._pending:
            return ""
        self._pending.add(template)  # first, as its answer may come at once
        reason = self._worker.submit(question, first)
        if reason:
            self._pending.discard(template)
        return reason or ""

    def _wait_for(self, held: set[str], deadline: float) -> None:
        """Let a batch wait for answers to templates, each of which does so once."""
        worker = self._worker
        if not held or worker is None:
            return
        for template in held:
            _keep(self._waited, template, None)
        if not self._patient and not (self._alive and worker.state == "closed"):
            return
        before = worker.counts.answered + worker.counts.unsure
        over = self._wait(lambda: not self._pending.isdisjoint(held), None if self._patient else deadline)
        if over and worker.counts.answered + worker.counts.unsure == before:
            self._alive = False

    def _wait(self, pending: Callable[[], bool], deadline: float | None) -> bool:
        """Wait while something is pending; whether it still is when time is up."""
        with self._news:
            while pending() and not self._closed.is_set():
                left = SLICE if deadline is None else min(deadline - self._clock(), SLICE)
                if left <= 0 or self.stopped():
                    return True
                self._news.wait(left)
        return False

    def _arrived(self, question: Question, reply: Reply | None, reason: str) -> None:
        """What came of a question; in a worker's thread.

        It is kept before the stream hears of it: that may be all the stream waited for before it ends.
        """
        known = self._known(reply) if reply is not None else None
        if known is not None:
            self._shelf.keep(question, known)
        with self._news:
            self._pending.discard(question.template)
            if known is not None:
                self._alive = True
                _keep(self._said, question.template, known)
                self._resting.pop(question.template, None)
                self._failed.pop(question.template, None)
            else:
                _keep(self._failed, question.template, reason)
                if reason not in UNCALLED:
                    self._let_rest(question.template, reason)
            self._news.notify_all()

    def _known(self, reply: Reply) -> Known:
        confidence = USUAL_CONFIDENCE if reply.confidence is None else reply.confidence
        sure = reply.label != UNSURE and confidence >= self.settings.min_confidence
        return Known(reply.label, confidence, self.version, sure=sure)

    def _let_rest(self, template: str, reason: str) -> None:
        before = self._resting.pop(template, None)
        pause = min(before.pause * 2, LONGEST_REST) if before else FIRST_REST
        _keep(self._resting, template, Rest(reason, self._clock() + pause, pause))

    def _answer(self, template: str, refused: Mapping[str, str]) -> Answer:
        known = self._said.get(template)
        if known is not None:
            return self._told(template, known)
        reason = refused.get(template, "")
        if reason == NO_SERVER:
            self._say_none()
            return NOTHING
        if not reason and template not in self._pending:
            reason = self._failed.get(template, UNAVAILABLE)
        return Answer("", 0.0, False, REASONS.get(reason, FAILED) if reason else TIMEOUT, remember=False)

    def _told(self, template: str, known: Known) -> Answer:
        """A known answer as the cascade takes it; a stale one is not remembered while a fresh one is under way."""
        remember = not (known.stale and template in self._pending)
        label = "" if known.label == UNSURE else known.label
        return Answer(label, known.confidence, known.sure, UNSURE_REASON, remember, known.model)

    def _say_none(self) -> None:
        if self._missing:
            log.info("what rules and model don't know stays open: %s", self._missing)
            self._missing = ""


def _keep(table: dict[Key, Value], key: Key, value: Value) -> None:
    """Put something into a table, without what has been there longest where it is full."""
    table.pop(key, None)
    table[key] = value
    if len(table) > MOST_KEPT:
        del table[next(iter(table))]
