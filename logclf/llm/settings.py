"""How the LLM stage is set up: the `llm` section of a configuration."""

from __future__ import annotations

from typing import Literal

import msgspec

from ..errors import ConfigError

# In auto mode the first of these that the server has is used: small enough for a laptop, good enough with examples.
PREFERRED = ("qwen3:4b", "qwen3:8b", "qwen3:1.7b", "gemma3:4b", "llama3.2:3b", "qwen3:0.6b", "gemma3:1b")


class LlmSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Times in seconds.

    mode: auto joins in when a server and a model are there, on makes their absence an error at the start.
    provider: ollama, or any server with OpenAI's chat API.
    model: None for the first of PREFERRED that the server has.
    host: base URL; None for OLLAMA_HOST or 127.0.0.1:11434 (ollama), or OpenAI's own (openai).
    api_key_env: the environment variable with the key; never the key itself.
    allow_remote: ask a server that is not on this host. What it is asked then always has its secrets masked.
    timeout: of a call. max_wait: how long a batch waits for answers before it goes out without them.
    concurrency: calls at a time. queue: templates waiting at most. budget: calls in any hour.
    max_chars: of a line that is shown. num_ctx, num_predict, keep_alive: Ollama's; constant, since a change reloads.
    examples: nearest labelled templates in the prompt. ttl: how long an answer holds.
    min_confidence: below it an answer is a guess. redact: further patterns (RE2) of what must not be shown.
    """

    mode: Literal["auto", "on", "off"] = "auto"
    provider: Literal["ollama", "openai"] = "ollama"
    model: str | None = None
    host: str | None = None
    api_key_env: str = "OPENAI_API_KEY"
    allow_remote: bool = False
    timeout: float = 30.0
    max_wait: float = 2.0
    concurrency: int = 2
    queue: int = 1000
    budget: int = 600
    max_chars: int = 1000
    num_ctx: int = 4096
    num_predict: int = 48
    keep_alive: str = "10m"
    examples: int = 8
    ttl: float = 30 * 86_400.0
    min_confidence: float = 0.5
    redact: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("timeout", "max_wait", "concurrency", "queue", "budget", "max_chars", "num_ctx", "num_predict"):
            if getattr(self, name) < (0 if name in ("max_wait", "budget") else 1e-3):
                raise ConfigError(f"llm.{name} must be above 0, not {getattr(self, name)}")
