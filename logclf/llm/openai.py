"""Any server with OpenAI's chat API (vLLM, llama.cpp, Groq, OpenAI, Gemini's), asked with httpx, which comes with the
Ollama client: one POST needs no client of its own.

The key is read from the environment for each call, sent over https or within this host only, and kept nowhere.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec

from ..pretty import visible
from .calls import LlmError, Prompt, Reply
from .client import MAX_NAME, MODEL_NAME, PROBE_SECONDS, SEED
from .failures import Pause, failure_of_status
from .host import check_listening, host_of, is_loopback
from .reply import confidence, parse
from .settings import LlmSettings

if TYPE_CHECKING:
    from .wire import Call

# wire.py imports httpx (0.2 s), which the first call pays.

NO_MODEL = "name one that it has in llm.model"
# What servers and models differ in: a member of the request that one refuses, and what is sent instead of it.
REPLACED: dict[str, dict[str, Any]] = {
    "max_tokens": {"max_completion_tokens": None},  # takes over the number
    "response_format": {"response_format": {"type": "json_object"}},
}
DROPPED = ("logprobs", "seed", "temperature", "reasoning_effort")
THINKING = "thinking"  # is taken from the model once it has thought instead of answered
OK, REFUSALS = 200, (400, 422)
Refused = frozenset[str]
Got = TypeVar("Got")


class _Message(msgspec.Struct):
    content: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None
    logprobs: Any = None  # odd ones cost the confidence, not the answer


class _Completion(msgspec.Struct):
    choices: Annotated[list[_Choice], msgspec.Meta(min_length=1)]


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


class OpenAiClient:
    """One model of a server with OpenAI's chat API. Thread-safe.

    Raises:
        ConfigError: the host is not this one, and not allowed.
    """

    def __init__(self, settings: LlmSettings, model: str) -> None:
        self.model = visible(model)[:MAX_NAME]
        self.host = host_of(settings)
        self._name, self._settings = model, settings
        self._server = _Server(settings, f"{self.model} at {self.host}")
        self._refused: Refused = frozenset()  # members of the request that the server does not take
        self._lock = threading.Lock()

    def ask(self, prompt: Prompt, labels: Sequence[str]) -> Reply:
        """One question. See LlmClient."""
        from .wire import Call

        self._server.pause.check(self._server.who)
        with Call(self.host, self._settings.timeout) as call:
            choice = self._complete(call, prompt)
            text = choice.message.content or ""
            return Reply(parse(text, labels), confidence(choice.logprobs, text), call.seconds)

    def probe(self) -> None:
        """Whether the server is there and lets us in; that it lists the model is not asked, since many do not."""
        self._server.models()

    def _complete(self, call: Call, prompt: Prompt) -> _Choice:
        """Ask; where the server refuses a member of the request, again without it. What helped is remembered, so that a
        question that is refused for itself changes nothing for the others."""
        refused = self._refused
        while True:
            status, body = self._server.send(call, "POST", "/chat/completions", self._request(prompt, refused))
            if status in REFUSALS and (named := _named(body, refused)):
                refused |= {named}
                continue
            choice = self._server.decoded(status, body, _Completion).choices[0]
            if choice.message.content or choice.finish_reason != "length":
                with self._lock:
                    self._refused |= refused
                return choice
            if THINKING in refused:
                return choice
            refused |= {THINKING}

    def _request(self, prompt: Prompt, refused: Refused) -> dict[str, Any]:
        schema = {"name": "answer", "strict": True, "schema": prompt.schema}
        request: dict[str, Any] = {
            "model": self._name,
            "messages": list(prompt.messages),
            "stream": False,
            "temperature": 0,
            "seed": SEED,
            "max_tokens": self._settings.num_predict,
            "logprobs": True,
            "response_format": {"type": "json_schema", "json_schema": schema},
        }
        if THINKING in refused:
            request["reasoning_effort"] = "none"
        for name in refused:
            request |= {new: request[name] if value is None else value for new, value in REPLACED.get(name, {}).items()}
        return {name: value for name, value in request.items() if name not in refused or name in REPLACED.get(name, {})}


def _named(body: bytes, refused: Refused) -> str:
    """The member of the request that a refusal speaks of."""
    said = body.decode("utf-8", "replace").lower()
    return next((name for name in (*REPLACED, *DROPPED) if name in said and name not in refused), "")


class _Server:
    """What is sent and received, and whose key goes along."""

    def __init__(self, settings: LlmSettings, who: str) -> None:
        self.who = who
        self.host = host_of(settings)
        self.pause = Pause()
        self._settings = settings

    def models(self) -> tuple[str, ...]:
        """The names of its models.

        Raises:
            LlmError: it is not there, or does not let us in.
        """
        from .wire import Call

        if is_loopback(self.host):
            check_listening(self.host)
        with Call(self.host, min(self._settings.timeout, PROBE_SECONDS)) as call:
            status, body = self.send(call, "GET", "/models")
            return tuple(each.id for each in self.decoded(status, body, _Models).data if MODEL_NAME.fullmatch(each.id))

    def send(self, call: Call, method: str, path: str, request: dict[str, Any] | None = None) -> tuple[int, bytes]:
        """One request → status and body. Foreign errors are left behind: requests, with keys, hang on them."""
        import httpx

        from .wire import failure_of_transport

        headers = {**_authorization(self._settings, self.host), "User-Agent": "logclf"}
        try:
            with httpx.Client(**call.options()) as client:
                reply = client.request(method, self.host + path, json=request, headers=headers)
                return reply.status_code, reply.content
        except Exception as error:  # httpx's own, ssl's, h11's: all say that no reply came
            failure = failure_of_transport(error, call, self.who)
        finally:
            self.pause.heed(call.retry_after)
        raise failure from None

    def decoded(self, status: int, body: bytes, kind: type[Got]) -> Got:
        """A body that says what was asked for, else an LlmError."""
        if status != OK:
            raise failure_of_status(status, self.who, NO_MODEL, self._about_key())
        try:
            return msgspec.json.decode(body, type=kind)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            pass
        raise LlmError("invalid_reply", f"{self.who} sent something that is no answer")

    def _about_key(self) -> str:
        name = self._settings.api_key_env
        if not os.environ.get(name, "").strip():
            return f"${name} is not set"
        if not _authorization(self._settings, self.host):
            return f"the key in ${name} is sent over https only"
        return f"the key is from ${name}"


def _authorization(settings: LlmSettings, host: str) -> dict[str, str]:
    """The header with the key, where there is one and the way to the server keeps it."""
    key = os.environ.get(settings.api_key_env, "").strip()
    if not key or not (host.startswith("https:") or is_loopback(host)):
        return {}
    if not (key.isascii() and key.isprintable()):
        raise LlmError(
            "refused", f"${settings.api_key_env} holds no key: there are characters in it that no header takes"
        )
    return {"Authorization": f"Bearer {key}"}


def find_model(settings: LlmSettings) -> str | None:
    """The model of the settings, else the only one that the server has; None where it has several.

    Raises:
        ConfigError: the host is not this one, and not allowed.
        LlmError: the server is not there, or does not let us in.
    """
    models = _Server(settings, f"the server at {host_of(settings)}").models()
    if settings.model:
        return settings.model
    return models[0] if len(models) == 1 else None
