"""A server on a port of this host that speaks as Ollama does, and misbehaves when it is told to."""

from __future__ import annotations

import json
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, cast

from . import dialects
from .dialects import Asked, RefusedError, error_body
from .misbehaviour import JSON, QUEUE_FULL, Misbehaviour

Messages = list[dict[str, Any]]
Answer = Callable[[Messages], Any]  # a label, raw text, or a value to be sent as JSON
CHATS = frozenset({"/api/chat", "/api/generate", "/v1/chat/completions"})
POLL = 0.02  # seconds between two looks whether the client is still there
PREFIX, STREAMED, EVENTS = "/v1/", "application/x-ndjson", "text/event-stream"
RESET = struct.pack("ii", 1, 0)  # lingering for no time: closing cuts the connection


@dataclass(frozen=True)
class Request:
    """What was asked of the server. body: decoded JSON, None where there was none."""

    method: str
    path: str
    body: Any
    headers: Mapping[str, str]


class GoneError(Exception):
    """The client hung up, or the server stops."""


def unsure(_: Messages) -> str:
    """The answer of a model that never knows."""
    return "unsure"


class ScriptedOllama:
    """A server whose model is a function of the test's. A context manager; thread-safe.

    answer: the chat messages → a label of the schema that was sent along, else raw text.
    models: names, or names with what each can do (`completion`, `thinking`, `embedding`, …).
    version: what it says it is; those before 0.12.11 know nothing of log-probabilities.
    seconds: that a call takes. parallel: calls at a time. queue: calls that may wait, more get a 503.
    logprob: of every token. refuses: members of a request that are answered with a 400, as another release would.
    key: what an Authorization header must hold, as OpenAI's servers have it.
    """

    def __init__(
        self,
        answer: Answer = unsure,
        models: Iterable[str] | Mapping[str, Iterable[str]] = ("qwen3:4b",),
        *,
        version: str = "0.13.5",
        seconds: float = 0.0,
        parallel: int = 1,
        queue: int = 512,
        logprob: float = -0.01,
        refuses: Iterable[str] = (),
        key: str | None = None,
    ) -> None:
        self.answer, self.version, self.seconds, self.queue, self.logprob = answer, version, seconds, queue, logprob
        usual = ("completion", "thinking", "tools")
        able = models if isinstance(models, Mapping) else dict.fromkeys(models, usual)
        self.models = {name: frozenset(what) for name, what in able.items()}
        self.refuses, self.key = frozenset(refuses), key
        self.requests: list[Request] = []
        self.loads = 0  # times that a model was loaded, which a change of num_ctx costs too
        self.loaded: tuple[str, int] | None = None
        self._slots, self._waiting = threading.Semaphore(parallel), 0
        self._script: deque[Misbehaviour | None] = deque()
        self._always: Misbehaviour | None = None
        self._everywhere = False
        self._lock = threading.Lock()
        self._port = 0
        self._server: _Server | None = None

    @property
    def host(self) -> str:
        """The base URL, as for OLLAMA_HOST."""
        return f"http://127.0.0.1:{self._port}"

    @property
    def asked(self) -> list[Request]:
        """The requests that asked the model something, in order."""
        with self._lock:
            return [request for request in self.requests if request.path in CHATS]

    def script(self, *next_ones: Misbehaviour | None) -> None:
        """What becomes of the next questions, one each; None answers properly."""
        with self._lock:
            self._script.extend(next_ones)

    def always(self, misbehaviour: Misbehaviour | None, everywhere: bool = False) -> None:
        """What becomes of all questions that no script is left for (`everywhere`: of all requests); None heals."""
        with self._lock:
            self._always, self._everywhere = misbehaviour, everywhere

    def start(self) -> ScriptedOllama:
        """Listen; on the port of before where it did so once."""
        self._server = _Server(self, self._port)
        self._port = self._server.server_address[1]
        self._server.begin()
        return self

    def stop(self) -> None:
        """Cut all connections and listen no more. `start` revives it."""
        if self._server:
            self._server.end()
            self._server = None

    def __enter__(self) -> ScriptedOllama:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.stop()

    def note(self, request: Request) -> Misbehaviour | None:
        """Record a request; what is to become of it."""
        with self._lock:
            self.requests.append(request)
            if request.path not in CHATS:
                return self._always if self._everywhere else None
            return self._script.popleft() if self._script else self._always

    def ask(self, path: str, asked: Asked, wait: Callable[[float], None]) -> dialects.Answered:
        """Ask the model, after those that came before."""
        able = self._able(asked.model)
        dialects.check(asked, able)
        self._take_slot(wait)
        try:
            self._load(asked)
            wait(self.seconds)
            return dialects.answer(asked, self.answer(asked.messages), able, self.seconds)
        finally:
            self._slots.release()

    def _able(self, name: str) -> frozenset[str]:
        full = name if ":" in name else f"{name}:latest"
        if full not in self.models:
            raise RefusedError(404, f"model '{name}' not found")
        return self.models[full]

    def _take_slot(self, wait: Callable[[float], None]) -> None:
        if self._slots.acquire(blocking=False):
            return
        with self._lock:
            if self._waiting >= self.queue:
                raise RefusedError(503, QUEUE_FULL)
            self._waiting += 1
        try:
            while not self._slots.acquire(blocking=False):
                wait(POLL)
        finally:
            with self._lock:
                self._waiting -= 1

    def _load(self, asked: Asked) -> None:
        with self._lock:
            wanted = (asked.model, int(asked.options.get("num_ctx", 4096)))
            self.loads += self.loaded != wanted
            self.loaded = None if asked.keep_alive in (0, "0") else wanted

    def logprobs(self, asked: Asked, given: dialects.Answered) -> list[dict[str, Any]] | None:
        """Of an answer's tokens, where the server is new enough and was asked for them."""
        if not asked.logprobs or dialects.version_tuple(self.version) < dialects.CAPABLE_OF_LOGPROBS:
            return None
        return dialects.token_logprobs(given.tokens, self.logprob, asked.top_logprobs)

    def look_up(self, method: str, path: str, body: Any) -> dict[str, Any] | None:
        """Everything that asks the model nothing; None for a path that there is not."""
        if (method, path) == ("GET", "/api/version"):
            return {"version": self.version}
        if (method, path) == ("GET", "/api/tags"):
            return {"models": [dialects.listed(name) for name in self.models]}
        if (method, path) == ("GET", "/api/ps"):
            return {"models": [dialects.loaded(*self.loaded)] if self.loaded else []}
        if (method, path) == ("GET", "/v1/models"):
            names = [{"id": name, "object": "model", "created": 1, "owned_by": "library"} for name in self.models]
            return {"object": "list", "data": names}
        if (method, path) == ("POST", "/api/show"):
            able = self._able(str(body.get("model") or body.get("name")))
            return dialects.shown(str(body.get("model")), able if self._says_capabilities() else None)
        if (method, path) == ("POST", "/api/embed"):
            return self._embed(body)
        return None

    def _says_capabilities(self) -> bool:
        return dialects.version_tuple(self.version) >= (0, 6, 4)

    def _embed(self, body: Any) -> dict[str, Any]:
        self._able(str(body.get("model")))
        texts = body.get("input")
        texts = [texts] if isinstance(texts, str) else texts or []
        vectors = [dialects.embedding(str(text)) for text in texts]
        return {"model": body.get("model"), "embeddings": vectors, "total_duration": 1, "prompt_eval_count": len(texts)}


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, owner: ScriptedOllama, port: int) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.owner = owner
        self.closing = threading.Event()
        self._open: set[socket.socket] = set()
        self._at_work: list[threading.Thread] = []
        self._loop = threading.Thread(target=self.serve_forever, args=(POLL,), name="scripted-ollama", daemon=True)

    def begin(self) -> None:
        self._loop.start()

    def end(self) -> None:
        self.closing.set()
        self.shutdown()
        self._loop.join()
        for connection in list(self._open):
            _shut(connection)
        for thread in list(self._at_work):
            thread.join(2)
        self.server_close()

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        self._at_work.append(threading.current_thread())
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)
            self._at_work.remove(threading.current_thread())

    def shutdown_request(self, request: Any) -> None:
        self.close_request(request)  # no orderly end first, so that what is to be cut is cut

    def handle_error(self, request: Any, client_address: Any) -> None:
        return None  # clients that hang up are what is tested here


def _shut(connection: socket.socket) -> None:
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return  # its client was faster


class _Handler(BaseHTTPRequestHandler):
    """One connection; an Exchange for misbehaviours."""

    protocol_version = "HTTP/1.1"
    server_version, sys_version = "", ""

    def do_GET(self) -> None:
        self._serve()

    do_POST = do_HEAD = do_DELETE = do_GET  # noqa: N815 - names of the standard library's

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        return None

    @property
    def _owner(self) -> ScriptedOllama:
        return cast("_Server", self.server).owner

    def _serve(self) -> None:
        try:
            self._reply()
        except RefusedError as refusal:
            self.send(refusal.status, self.error(refusal.status, refusal.message))
        except (GoneError, OSError):
            self.close_connection = True

    def _reply(self) -> None:
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body, broken = _decoded(raw)
        request = Request(self.command, self.path, body, dict(self.headers))
        misbehaviour = self._owner.note(request)
        if misbehaviour:
            misbehaviour.act(self, lambda: self._proper(self._understood(body)))
            return
        if self.path in ("/", ""):
            self.send(200, b"Ollama is running", "text/plain; charset=utf-8")
            return
        if self.command == "POST" and (broken or not raw):
            raise RefusedError(400, broken or "missing request body")
        self._check_member_and_key(body)
        if self.path in CHATS and self.command == "POST":
            self._chat(self._understood(body))
            return
        found = self._owner.look_up(self.command, self.path, body)
        if found is None:
            self.send(404, b"404 page not found", "text/plain")
            return
        self.send(200, json.dumps(found).encode())

    def _check_member_and_key(self, body: Any) -> None:
        owner = self._owner
        if owner.key and self.headers.get("Authorization") != f"Bearer {owner.key}":
            raise RefusedError(401, "Incorrect API key provided")
        refused = sorted(owner.refuses & set(body)) if isinstance(body, dict) and self.path in CHATS else []
        if refused:
            raise RefusedError(400, f"Unsupported parameter: '{refused[0]}' is not supported with this model.")

    def _understood(self, body: Any) -> Asked:
        return dialects.asked_of(self.path, body)

    def _proper(self, asked: Asked) -> bytes:
        """The body of the whole answer, unstreamed."""
        given = self._owner.ask(self.path, asked, self.wait)
        logprobs = self._owner.logprobs(asked, given)
        if self.path.startswith(PREFIX):
            return json.dumps(dialects.openai_body(asked, given, logprobs)).encode()
        return json.dumps(dialects.ollama_body(self.path, asked, given, logprobs)).encode()

    def _chat(self, asked: Asked) -> None:
        if not asked.stream:
            self.send(200, self._proper(asked))
            return
        given = self._owner.ask(self.path, asked, self.wait)
        if self.path.startswith(PREFIX):
            self._stream(dialects.openai_parts(asked, given), EVENTS)
            return
        self._stream(dialects.ollama_parts(self.path, asked, given, self._owner.logprobs(asked, given)), STREAMED)

    def _stream(self, parts: Iterable[bytes], kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for part in (*parts, b""):
            self.write(b"%x\r\n%b\r\n" % (len(part), part))

    # what misbehaviours use

    def send(self, status: int, body: bytes, kind: str = JSON, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.write(body)

    def begin(self, length: int, kind: str = JSON) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(length))
        self.end_headers()

    def write(self, data: bytes) -> None:
        if self.command != "HEAD":
            self.wfile.write(data)

    def wait(self, seconds: float) -> None:
        ends = time.monotonic() + seconds
        while (left := ends - time.monotonic()) > 0:
            if cast("_Server", self.server).closing.wait(min(left, POLL)) or self._hung_up():
                raise GoneError

    def _hung_up(self) -> bool:
        readable, _, _ = select.select([self.connection], [], [], 0)
        return bool(readable) and not self.connection.recv(1, socket.MSG_PEEK)

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        self.close_connection = True

    def error(self, status: int, message: str) -> bytes:
        return error_body(self.path, status, message)


def _decoded(raw: bytes) -> tuple[Any, str]:
    """A body, or what is wrong with it."""
    try:
        return (json.loads(raw), "") if raw else (None, "")
    except ValueError:
        return None, "invalid character in request body"
