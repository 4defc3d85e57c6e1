"""What is asked of a language model and what comes back: the values and protocols between the stage's parts.

stage.py      novel templates → answers: store, queue, waiting
worker.py     the queue: concurrency, budget, breaker, retries
prompt.py     a question and its examples → messages and schema, secrets masked
reply.py      a server's text → a label, or a failure with its reason
client.py     Ollama; openai.py any server with OpenAI's chat API
store.py      answers that survive, by template
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import msgspec

from ..errors import LogclfError

UNSURE = "unsure"  # beside the labels, what a model may answer


class Question(msgspec.Struct, frozen=True):
    """A template that nobody is sure of, one line of it, where that came from, and the model's guess."""

    template: str
    sample: str
    source: str = ""
    guess: str | None = None


class Example(msgspec.Struct, frozen=True):
    """A labelled template to show; similarity is the cosine to the one in question."""

    template: str
    label: str
    similarity: float = 0.0


class Prompt(msgspec.Struct, frozen=True):
    """What is sent: chat messages ({"role": …, "content": …}) and the JSON schema that the reply must fit."""

    messages: tuple[dict[str, str], ...]
    schema: dict[str, Any]


class Reply(msgspec.Struct, frozen=True):
    """A valid reply.

    label: one of the taxonomy's, or UNSURE. confidence: of the label by the tokens' log-probabilities, None where the
    server gives none. seconds: that the call took.
    """

    label: str
    confidence: float | None
    seconds: float


class LlmError(LogclfError):
    """A call failed. reason: a word for counters (`timeout`, `unreachable`, `busy`, `no_model`, `invalid_reply`,
    `server_error`, `refused`). retry: whether the same call may succeed in a moment. server: whether it speaks against
    the server (and counts for the breaker), not against this one question."""

    def __init__(self, reason: str, message: str, retry: bool = False, server: bool = True) -> None:
        super().__init__(message)
        self.reason, self.retry, self.server = reason, retry, server


class LlmClient(Protocol):
    """A connection to a server. Thread-safe: several calls may run at once.

    Raises:
        LlmError: whatever goes wrong; no other error leaves it.
    """

    model: str  # what answers name, as "qwen3:4b"

    def ask(self, prompt: Prompt, labels: Sequence[str]) -> Reply:
        """One call; labels are the taxonomy's names, for checking the reply."""

    def probe(self) -> None:
        """A cheap look whether server and model are there."""
