"""Ollama, asked through its own client.

What its server and its client really do, and what is made of it:

    the model is missing                   404                          no_model
    its queue is full                      503                          busy, again in a moment
    nothing listens                        ConnectionError              unreachable
    too slow, or bytes that drip           httpx.ReadTimeout, deadline  timeout
    the connection is cut                  httpx.RemoteProtocolError    unreachable
    200 that is no JSON, or another's      JSONDecodeError, TypeError   invalid_reply
    an error whose body is a list          AttributeError               by its status
    `think` that it does not know          400                          asked again without
    a prompt too long for the context      cut in silence               invalid_reply
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ..errors import ConfigError
from ..pretty import visible
from .calls import LlmClient, LlmError, Prompt, Reply
from .failures import Pause, failure_of_status
from .host import check_listening, host_of, is_loopback
from .reply import confidence, parse
from .settings import PREFERRED, LlmSettings

if TYPE_CHECKING:
    import ollama

    from .wire import Call

# `ollama` and httpx (0.3 s together) are imported by the first call; wire.py imports httpx.

SEED = 1
PROBE_SECONDS = 5.0
# What the library's `latest` stands for, where a server lists a model by that name.
LATEST = {"qwen3:latest": "qwen3:8b", "gemma3:latest": "gemma3:4b", "llama3.2:latest": "llama3.2:3b"}
MAX_NAME = 200
MODEL_NAME = re.compile(rf"[\w.:/@+-]{{1,{MAX_NAME}}}", re.ASCII)  # others that a server lists are left out
Got = TypeVar("Got")


class Installed(msgspec.Struct, frozen=True):
    """What a server says of itself: its version, and the names of its models."""

    version: str
    models: tuple[str, ...]


class OllamaClient:
    """One model of an Ollama server. Thread-safe.

    Raises:
        ConfigError: the host is not this one, and not allowed.
    """

    def __init__(self, settings: LlmSettings, model: str) -> None:
        self.model = visible(model)[:MAX_NAME]
        self.host = host_of(settings)
        self._name, self._settings = model, settings
        self._who = f"Ollama's {self.model} at {self.host}"
        self._extras: dict[str, Any] | None = None  # of a request; None until the model's abilities are known
        self._pause = Pause()
        self._lock = threading.Lock()

    def ask(self, prompt: Prompt, labels: Sequence[str]) -> Reply:
        """One question. See LlmClient."""
        self._pause.check(self._who)
        with _call(self.host, self._settings.timeout) as call:
            try:
                answer = self._guarded(call, lambda client: self._chat(client, prompt))
            finally:
                self._pause.heed(call.retry_after)
            self._check_length(answer)
            text = answer.message.content or ""
            return Reply(parse(text, labels), confidence(answer.logprobs, text), call.seconds)

    def probe(self) -> None:
        """Whether the server is there and has the model."""
        if find_name(self._name, models_of(self._settings)) is None:
            raise LlmError("no_model", f"{self._who}: no such model there; {_pull(self.model)}")

    def _guarded(self, call: Call, work: Callable[[ollama.Client], Got]) -> Got:
        return _guarded(call, self._who, _pull(self.model), work)

    def _chat(self, client: ollama.Client, prompt: Prompt) -> ollama.ChatResponse:
        """Ask; where the server refuses one of the extras, again without it. What helped is remembered, so that a
        question that is refused for itself changes nothing for the others."""
        import ollama

        extras = self._known_extras(client)
        while True:
            try:
                answer = self._send(client, prompt, extras)
            except ollama.ResponseError as error:
                if error.status_code != 400 or not extras:
                    raise
                extras = _without_one(extras, str(error.error))
                continue
            with self._lock:
                self._extras = extras
            return answer

    def _send(self, client: ollama.Client, prompt: Prompt, extras: dict[str, Any]) -> ollama.ChatResponse:
        chosen = self._settings
        options = {"temperature": 0, "seed": SEED, "num_predict": chosen.num_predict, "num_ctx": chosen.num_ctx}
        return client.chat(
            self._name,
            list(prompt.messages),
            stream=False,
            format=prompt.schema,
            options=options,
            keep_alive=chosen.keep_alive,
            **extras,
        )

    def _known_extras(self, client: ollama.Client) -> dict[str, Any]:
        """What goes along beside the question: thinking off where the model could, log-probabilities always, which
        servers that do not know them ignore."""
        if self._extras is None:
            extras: dict[str, Any] = {"logprobs": True}
            if "thinking" in _capabilities(client, self._name):
                extras["think"] = False
            with self._lock:
                self._extras = extras if self._extras is None else self._extras
        return self._extras

    def _check_length(self, answer: ollama.ChatResponse) -> None:
        """Servers cut a prompt that does not fit without a word, and the answer is then to something else."""
        read = answer.prompt_eval_count or 0
        if read + self._settings.num_predict > self._settings.num_ctx:
            raise LlmError("invalid_reply", f"{self._who}: the question fills the context (llm.num_ctx)", server=False)


def _without_one(extras: dict[str, Any], said: str) -> dict[str, Any]:
    """The extras without the one that a refusal speaks of, else without the one that is refused most."""
    name = "think" if "think" in extras and not ("logprob" in said and "logprobs" in extras) else "logprobs"
    return {key: value for key, value in extras.items() if key != name}


def _capabilities(client: ollama.Client, name: str) -> Sequence[str]:
    """What a model can do; nothing where the server is too old to say."""
    import pydantic

    try:
        return client.show(name).capabilities or ()
    except pydantic.ValidationError:
        return ()


def _pull(model: str) -> str:
    return f"`ollama pull {model}` gets it"


def _call(url: str, seconds: float) -> Call:
    from .wire import Call

    return Call(url, seconds)


def _guarded(call: Call, who: str, no_model: str, work: Callable[[ollama.Client], Got]) -> Got:
    """Do something with a client of the call's own; whatever goes wrong is an LlmError.

    Foreign errors are left behind: requests, with prompts and keys, hang on them.
    """
    import ollama

    from .wire import failure_of_transport

    failure: LlmError
    try:
        with ollama.Client(call.url, **call.options()) as client:
            return work(client)
    except ollama.ResponseError as error:
        failure = failure_of_status(error.status_code, who, no_model)
    except Exception as error:  # whatever the client raises on a hostile reply; see the table above
        wrong = call.status is not None and call.status >= 300 and not call.expired
        failure = (
            failure_of_status(call.status or 0, who, no_model) if wrong else failure_of_transport(error, call, who)
        )
    raise failure from None


def installed(settings: LlmSettings) -> Installed:
    """A server's version and models.

    Raises:
        ConfigError: the host is not this one, and not allowed.
        LlmError: it is not there, or what is there is no Ollama.
    """
    import httpx

    from .wire import Call

    host = host_of(settings)
    models = models_of(settings)
    with Call(host, min(settings.timeout, PROBE_SECONDS)) as call, httpx.Client(**call.options()) as client:
        try:
            version = str(client.get(f"{host}/api/version").json()["version"])
        except Exception:  # versions are for people: a server that keeps its own to itself is asked all the same
            version = ""
    return Installed(visible(version[:40]), models)


def models_of(settings: LlmSettings) -> tuple[str, ...]:
    """The names of an Ollama server's models, newest first; raises as `installed`."""
    host = host_of(settings)
    if is_loopback(host):
        check_listening(host)
    with _call(host, min(settings.timeout, PROBE_SECONDS)) as call:
        listed = _guarded(call, f"Ollama at {host}", "is that Ollama's address?", lambda client: client.list())
    return tuple(each.model for each in listed.models if MODEL_NAME.fullmatch(each.model or "") and each.model)


def find_model(settings: LlmSettings) -> str | None:
    """The model that is asked: the one of the settings, else the first of PREFERRED that the server has, as the server
    names it; None where it has none of them.

    Raises:
        ConfigError: the host is not this one, and not allowed.
        LlmError: the server is not there.
    """
    if settings.provider == "openai":
        from .openai import find_model as find

        return find(settings)
    models = models_of(settings)
    wanted = (settings.model,) if settings.model else PREFERRED
    return next((found for name in wanted if (found := find_name(name, models))), None)


def find_name(wanted: str, models: Iterable[str]) -> str | None:
    """A model by name among those of a server: `qwen3:4b` itself or a variant of it (`qwen3:4b-instruct-2507-q4_K_M`),
    an instruct variant before others since those may think aloud whatever they are told, and none that only thinks."""
    wanted = wanted.lower() if ":" in wanted.rpartition("/")[2] else f"{wanted.lower()}:latest"

    def rank(name: str) -> int:
        known = name.lower()
        if known != wanted and not known.startswith(f"{wanted}-"):
            return 3 if LATEST.get(known) == wanted else 9
        if "thinking" in known.removeprefix(wanted) or "embed" in known:
            return 9
        return 0 if "instruct" in known else 1 if known == wanted else 2

    best = min(models, key=rank, default=None)
    return best if best is not None and rank(best) < 9 else None


def connect(settings: LlmSettings) -> LlmClient | None:
    """A client for the model that the server has; None where it has none that is wanted.

    Raises: as `find_model`.
    """
    if settings.mode == "off":
        raise ConfigError("llm.mode is off")
    model = find_model(settings)
    if model is None:
        return None
    if settings.provider == "openai":
        from .openai import OpenAiClient

        return OpenAiClient(settings, model)
    return OllamaClient(settings, model)
