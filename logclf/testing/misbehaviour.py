"""What can go wrong with a server, as values that a test hands to ScriptedOllama."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

JSON, HTML = "application/json; charset=utf-8", "text/html"
QUEUE_FULL = "server busy, please try again.  maximum pending requests exceeded"
Proper = Callable[[], bytes]  # makes the body of the answer that would have been given


class Exchange(Protocol):
    """One request's connection, as a misbehaviour needs it."""

    def send(self, status: int, body: bytes, kind: str = JSON, headers: dict[str, str] | None = None) -> None: ...

    def begin(self, length: int, kind: str = JSON) -> None:
        """Status 200 and the headers of a body of that many bytes."""

    def write(self, data: bytes) -> None: ...

    def wait(self, seconds: float) -> None:
        """Ends early, by an exception, when the client hangs up or the server stops."""

    def reset(self) -> None:
        """Cut the connection."""

    def error(self, status: int, message: str) -> bytes:
        """An error's body in the dialect that was spoken to."""


class Misbehaviour(Protocol):
    """Answers a request in the place of the server."""

    def act(self, exchange: Exchange, proper: Proper) -> None: ...


@dataclass(frozen=True)
class Hang:
    """Takes the request and never answers."""

    def act(self, exchange: Exchange, proper: Proper) -> None:
        exchange.wait(3600)


@dataclass(frozen=True)
class Slow:
    """Answers properly, some seconds later."""

    seconds: float = 1.0

    def act(self, exchange: Exchange, proper: Proper) -> None:
        body = proper()
        exchange.wait(self.seconds)
        exchange.send(200, body)


@dataclass(frozen=True)
class Drip:
    """Answers properly, a byte at a time."""

    seconds: float = 0.05

    def act(self, exchange: Exchange, proper: Proper) -> None:
        body = proper()
        exchange.begin(len(body))
        for at in range(len(body)):
            exchange.write(body[at : at + 1])
            exchange.wait(self.seconds)


@dataclass(frozen=True)
class DieMidAnswer:
    """Sends a part of the answer and cuts the connection."""

    after: int = 20  # bytes of the body

    def act(self, exchange: Exchange, proper: Proper) -> None:
        body = proper()
        exchange.begin(len(body))
        exchange.write(body[: self.after])
        exchange.reset()


@dataclass(frozen=True)
class Fail:
    """An error with its status, as the server words it."""

    status: int = 500
    message: str = "model runner has unexpectedly stopped, this may be due to resource limitations"
    headers: dict[str, str] = field(default_factory=dict)

    def act(self, exchange: Exchange, proper: Proper) -> None:
        exchange.send(self.status, exchange.error(self.status, self.message), headers=dict(self.headers))


@dataclass(frozen=True)
class Busy:
    """The queue is full."""

    retry_after: int | None = None  # seconds; Ollama itself does not say

    def act(self, exchange: Exchange, proper: Proper) -> None:
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        exchange.send(503, exchange.error(503, QUEUE_FULL), headers=headers)


@dataclass(frozen=True)
class NoModel:
    """The model was removed meanwhile."""

    def act(self, exchange: Exchange, proper: Proper) -> None:
        exchange.send(404, exchange.error(404, "model 'removed' not found"))


@dataclass(frozen=True)
class Send:
    """Any body at all, with status 200 unless told."""

    body: bytes
    kind: str = JSON
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    def act(self, exchange: Exchange, proper: Proper) -> None:
        exchange.send(self.status, self.body, self.kind, dict(self.headers))


@dataclass(frozen=True)
class Huge:
    """A body of that many bytes, and valid JSON."""

    size: int = 10_000_000

    def act(self, exchange: Exchange, proper: Proper) -> None:
        head, tail = b'{"model":"', b'","message":{"role":"assistant","content":"{}"},"done":true}'
        exchange.send(200, head + b"x" * (self.size - len(head) - len(tail)) + tail)


@dataclass(frozen=True)
class Redirect:
    """Sends the client to another address."""

    to: str
    status: int = 307

    def act(self, exchange: Exchange, proper: Proper) -> None:
        exchange.send(self.status, b"", headers={"Location": self.to})


HTML_PAGE = Send(b"<!doctype html><title>Welcome</title><h1>It works!</h1>", HTML)
INVALID_JSON = Send(b'{"model": "qwen3:4b", "message": {"role":')
EMPTY = Send(b"")
ERROR_LIST = Send(b'["server error"]', status=500)
ERROR_IN_ANSWER = Send(b'{"error":"an error was encountered while running the model"}')
