"""The bodies that Ollama and OpenAI's API speak in: requests checked, answers worded. No sockets here."""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

CAPABLE_OF_LOGPROBS = (0, 12, 11)
THOUGHTS = "Okay, the user wants me to look at a line of a log. Let me think about what it says, step by step. " * 3
TOKEN = re.compile(r"\s?\w{1,6}|\W")
DURATION = re.compile(r"-?(\d+(\.\d+)?(ns|us|ms|s|m|h))+|0")
INTEGERS = ("num_ctx", "num_predict", "seed", "top_k")
DIMENSIONS = 8  # of an embedding
NANOSECONDS = 1_000_000_000


class RefusedError(Exception):
    """A request that is refused, with the status and the words that the server has for that."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclass(frozen=True)
class Asked:
    """A question, whatever the dialect. think: None where nothing was said about it."""

    model: str
    messages: list[dict[str, Any]]
    schema: Any
    options: dict[str, Any]
    stream: bool
    think: Any = None
    logprobs: bool = False
    top_logprobs: int = 0
    keep_alive: Any = None


@dataclass(frozen=True)
class Answered:
    """What the model says. tokens: of content, in order; reason: `stop`, or `length` where it was cut."""

    content: str
    tokens: tuple[str, ...]
    thinking: str
    reason: str
    prompt_tokens: int
    seconds: float


def asked_of(path: str, body: Any) -> Asked:
    """A request's body → what it asks.

    Raises:
        RefusedError: it is none that the server understands.
    """
    if not isinstance(body, dict):
        raise RefusedError(400, "json: cannot unmarshal into Go value of type api.ChatRequest")
    if path.startswith("/v1/"):
        return _of_openai(body)
    messages = body.get("messages") or []
    if path == "/api/generate":
        system = [{"role": "system", "content": body["system"]}] if body.get("system") else []
        messages = [*system, {"role": "user", "content": body.get("prompt", "")}] if body.get("prompt") else []
    keep_alive = body.get("keep_alive")
    if isinstance(keep_alive, str) and not DURATION.fullmatch(keep_alive):
        raise RefusedError(400, f'time: invalid duration "{keep_alive}"')
    return Asked(
        str(body.get("model", "")),
        messages,
        body.get("format"),
        body.get("options") or {},
        body.get("stream", True),
        body.get("think"),
        bool(body.get("logprobs")),
        int(body.get("top_logprobs") or 0),
        keep_alive,
    )


def _of_openai(body: dict[str, Any]) -> Asked:
    if not body.get("messages"):
        raise RefusedError(400, "[] is too short - 'messages'")
    wanted = body.get("response_format") or {}
    schema = (wanted.get("json_schema") or {}).get("schema") if wanted.get("type") == "json_schema" else None
    options = {"num_predict": body.get("max_completion_tokens", body.get("max_tokens"))}
    return Asked(
        str(body.get("model", "")),
        body["messages"],
        "json" if wanted.get("type") == "json_object" else schema,
        {name: value for name, value in options.items() if value is not None},
        bool(body.get("stream")),
        think=False if body.get("reasoning_effort") == "none" else None,
        logprobs=bool(body.get("logprobs")),
        top_logprobs=int(body.get("top_logprobs") or 0),
    )


def check(asked: Asked, capabilities: frozenset[str]) -> None:
    """Refuse what the server refuses."""
    if not 0 <= asked.top_logprobs <= 20:
        raise RefusedError(400, "top_logprobs must be between 0 and 20")
    if asked.think and "thinking" not in capabilities:
        raise RefusedError(400, f'"{asked.model}" does not support thinking')
    if "completion" not in capabilities:
        raise RefusedError(400, f'"{asked.model}" does not support chat')
    for name in INTEGERS:
        value = asked.options.get(name, 0)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise RefusedError(500, f'option "{name}" must be of type integer')
    if asked.schema not in (None, "", "json") and not isinstance(asked.schema, dict):
        raise RefusedError(500, f'invalid format: {json.dumps(asked.schema)}; expected "json" or a valid JSON Schema')


def content_of(said: Any, schema: Any) -> str:
    """What a test's answer is as text: one of the schema's labels goes into an object, all else is sent as it is."""
    if not isinstance(said, str):
        return json.dumps(said)
    properties = schema.get("properties", {}) if isinstance(schema, dict) else {}
    for name, about in properties.items():
        if said in about.get("enum", ()):
            return json.dumps({name: said}, ensure_ascii=False)
    return said


def answer(asked: Asked, said: Any, capabilities: frozenset[str], seconds: float) -> Answered:
    """What comes of a question: thinking aloud unless that was switched off, and no more tokens than are allowed."""
    limit = int(asked.options.get("num_predict", -1))
    limit = limit if limit > 0 else 1 << 30
    thinks = "thinking" in capabilities and asked.think is not False
    thoughts = TOKEN.findall(THOUGHTS)[:limit] if thinks else []
    every = TOKEN.findall(content_of(said, asked.schema))
    tokens = every[: limit - len(thoughts)]
    length = sum(len(TOKEN.findall(str(each.get("content")))) for each in asked.messages)
    context = int(asked.options.get("num_ctx", 4096))
    reason = "stop" if len(tokens) == len(every) else "length"
    return Answered("".join(tokens), tuple(tokens), "".join(thoughts), reason, min(length, context), seconds)


def now() -> str:
    return datetime.now(UTC).isoformat().replace("+00:00", "Z")


def ollama_body(path: str, asked: Asked, given: Answered, logprobs: list[dict[str, Any]] | None) -> dict[str, Any]:
    """The whole answer, as `stream: false` gets it."""
    said = _said(path, given.content, given.thinking)
    return {
        "model": asked.model,
        "created_at": now(),
        **said,
        "done": True,
        "done_reason": given.reason,
        **_metrics(given),
        **({} if logprobs is None else {"logprobs": logprobs}),
    }


def ollama_parts(path: str, asked: Asked, given: Answered, logprobs: list[dict[str, Any]] | None) -> Iterator[bytes]:
    """The lines of a streamed answer: thoughts, a line for each token, and the figures."""
    head = {"model": asked.model, "created_at": now()}
    if given.thinking:
        yield _line(head | _said(path, "", given.thinking) | {"done": False})
    for at, token in enumerate(given.tokens):
        known = {} if logprobs is None else {"logprobs": [logprobs[at]]}
        yield _line(head | _said(path, token, "") | {"done": False} | known)
    yield _line(head | _said(path, "", "") | {"done": True, "done_reason": given.reason} | _metrics(given))


def _said(path: str, content: str, thinking: str) -> dict[str, Any]:
    thoughts = {"thinking": thinking} if thinking else {}
    if path == "/api/generate":
        return {"response": content, **thoughts}
    return {"message": {"role": "assistant", "content": content, **thoughts}}


def _line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode() + b"\n"


def _metrics(given: Answered) -> dict[str, int]:
    spent = int(given.seconds * NANOSECONDS) + 1
    return {
        "total_duration": spent,
        "load_duration": 1,
        "prompt_eval_count": given.prompt_tokens,
        "prompt_eval_duration": spent // 2,
        "eval_count": len(given.tokens) + len(TOKEN.findall(given.thinking)),
        "eval_duration": spent // 2,
    }


def openai_body(asked: Asked, given: Answered, logprobs: list[dict[str, Any]] | None) -> dict[str, Any]:
    """A `chat.completion`."""
    message = {"role": "assistant", "content": given.content} | (
        {"reasoning": given.thinking} if given.thinking else {}
    )
    choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": given.reason}
    if logprobs is not None:
        choice["logprobs"] = {"content": logprobs, "refusal": None}
    spent = {"prompt_tokens": given.prompt_tokens, "completion_tokens": len(given.tokens)}
    usage = spent | {"total_tokens": sum(spent.values())}
    return _openai_head(asked, "chat.completion") | {"choices": [choice], "usage": usage}


def openai_parts(asked: Asked, given: Answered) -> Iterator[bytes]:
    """The events of a streamed completion."""
    for token in (*given.tokens, ""):
        reason = None if token else given.reason
        choice = {"index": 0, "delta": {"role": "assistant", "content": token}, "finish_reason": reason}
        yield b"data: " + _line(_openai_head(asked, "chat.completion.chunk") | {"choices": [choice]}) + b"\n"
    yield b"data: [DONE]\n\n"


def _openai_head(asked: Asked, kind: str) -> dict[str, Any]:
    created = int(datetime.now(UTC).timestamp())
    return {"id": "chatcmpl-1", "object": kind, "created": created, "model": asked.model, "system_fingerprint": "fp"}


def error_body(path: str, status: int, message: str) -> bytes:
    """An error in the dialect of a path."""
    if not path.startswith("/v1/"):
        return json.dumps({"error": message}).encode()
    kinds = {400: "invalid_request_error", 401: "invalid_request_error", 404: "not_found_error"}
    about = {"message": message, "type": kinds.get(status, "api_error"), "param": None, "code": None}
    return json.dumps({"error": about}).encode()


def listed(name: str) -> dict[str, Any]:
    """A model as /api/tags has it."""
    digest = hashlib.sha256(name.encode()).hexdigest()
    return {
        "name": name,
        "model": name,
        "modified_at": now(),
        "size": 1 << 31,
        "digest": digest,
        "details": details(name),
    }


def loaded(name: str, context: int) -> dict[str, Any]:
    """A model as /api/ps has it."""
    expires = (datetime.now(UTC) + timedelta(minutes=5)).isoformat()
    return listed(name) | {"expires_at": expires, "size_vram": 0, "context_length": context}


def details(name: str) -> dict[str, Any]:
    family, _, size = name.partition(":")
    return {
        "parent_model": "",
        "format": "gguf",
        "family": family,
        "families": [family],
        "parameter_size": size.upper() or "4B",
        "quantization_level": "Q4_K_M",
    }


def shown(name: str, capabilities: frozenset[str] | None) -> dict[str, Any]:
    """A model as /api/show has it; servers before 0.6.4 say nothing of capabilities."""
    found = {
        "license": "Apache License 2.0",
        "modelfile": f"FROM {name}",
        "parameters": "temperature 0.7",
        "template": "{{ .Prompt }}",
        "details": details(name),
        "model_info": {"general.architecture": name.partition(":")[0], "general.context_length": 40_960},
        "modified_at": now(),
    }
    return found if capabilities is None else found | {"capabilities": sorted(capabilities)}


def embedding(text: str) -> list[float]:
    """A unit vector that depends on the text alone."""
    raw = [byte - 127.5 for byte in hashlib.sha256(text.encode()).digest()[:DIMENSIONS]]
    length = math.hypot(*raw)
    return [value / length for value in raw]


def version_tuple(version: str) -> tuple[int, ...]:
    """`0.12.11-rc1` → (0, 12, 11)."""
    return tuple(int(part) for part in re.findall(r"\d+", version.partition("-")[0]))


def token_logprobs(tokens: tuple[str, ...], logprob: float, top: int) -> list[dict[str, Any]]:
    """Each token as the server reports it, with as many others as were asked for."""
    found = []
    for token in tokens:
        each: dict[str, Any] = {"token": token, "logprob": logprob, "bytes": list(token.encode())}
        others = [{"token": f"{token}{n}" if n else token, "logprob": logprob - n} for n in range(top)]
        found.append(each | ({"top_logprobs": others} if top else {}))
    return found
