"""A language model inside the test: what it answers, how long it takes, when it fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from logclf.llm.calls import LlmError, Prompt, Question, Reply


@dataclass
class Clock:
    """Time that passes when the test says so."""

    now: float = 1000.0

    def __call__(self) -> float:
        return self.now


class PlainPrompts:
    """The template is the prompt."""

    def prompt(self, question: Question) -> Prompt:
        return Prompt(({"role": "user", "content": question.template},), {})


@dataclass
class FakeClient:
    """Answers by a function of the template, which may raise; `gate` holds calls back while it is not set."""

    answer: Callable[[str], str | Reply] = lambda _: "Error"
    seconds: float = 0.0
    model: str = "fake:1b"
    asked: list[str] = field(default_factory=list)
    running: int = 0
    most: int = 0

    def __post_init__(self) -> None:
        self.gate = threading.Event()
        self.gate.set()
        self._lock = threading.Lock()

    def ask(self, prompt: Prompt, labels: Sequence[str]) -> Reply:
        template = prompt.messages[0]["content"]
        with self._lock:
            self.asked.append(template)
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            assert self.gate.wait(30)
            time.sleep(self.seconds)
            found = self.answer(template)
            return found if isinstance(found, Reply) else Reply(found, 0.9, self.seconds)
        finally:
            with self._lock:
                self.running -= 1

    def probe(self) -> None:
        return None


def failing(reason: str, retry: bool = False, server: bool = True) -> Callable[[str], str]:
    """An answer that is a failure."""

    def fail(_: str) -> str:
        raise LlmError(reason, f"fake: {reason}", retry, server)

    return fail


def wait_until(true: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.002)
