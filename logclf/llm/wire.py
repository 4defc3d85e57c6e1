"""HTTP as both clients need it: one deadline for a whole call, bounded replies, no redirects, no proxy for this host.

httpx's own time-outs are for each read, so that a server which drips bytes is never too slow for them; here a timer
shuts the connection down when the call's time is over. Every call has a connection of its own: one costs nothing
beside an answer, and none is stale.

Imported by what makes a call, never before (httpx: 0.2 s).
"""

from __future__ import annotations

import contextlib
import functools
import socket
import ssl
import threading
import time
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import httpx

from .calls import LlmError
from .failures import BUSY
from .host import CONNECT_SECONDS, is_loopback

MAX_REPLY = 1 << 20  # bytes; a real one has some thousands
LONGEST_PAUSE = 300.0  # seconds that a server may ask to be left alone


class UnusableReplyError(Exception):
    """A reply that is not even read: too large, or compressed though nobody asked for that."""


class Call:
    """One call: its deadline, over all requests that it takes, and what is known of its reply.

    seconds: that it may take. status, retry_after: of the last reply, None while there is none.
    """

    def __init__(self, url: str, seconds: float) -> None:
        self.url = url
        self.status: int | None = None
        self.retry_after: float | None = None
        self.expired = False
        self._begun, self._seconds = time.monotonic(), seconds
        self._socket: socket.socket | None = None
        self._timer = threading.Timer(seconds, self._expire)
        self._timer.daemon = True

    def __enter__(self) -> Call:
        self._timer.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._timer.cancel()

    @property
    def seconds(self) -> float:
        """Since it began."""
        return time.monotonic() - self._begun

    def options(self) -> dict[str, Any]:
        """For httpx.Client, or what passes it on."""
        local = is_loopback(self.url)
        return {
            "timeout": httpx.Timeout(self._seconds, connect=min(CONNECT_SECONDS, self._seconds)),
            "follow_redirects": False,
            "trust_env": not local,
            "verify": _certificates() if self.url.startswith("https:") or not local else _no_certificates(),
            "event_hooks": {"request": [self._prepare], "response": [self._receive]},
        }

    def _prepare(self, request: httpx.Request) -> None:
        if self.expired:
            raise httpx.ReadTimeout("the call's time is over", request=request)
        self.status = self.retry_after = None
        request.headers["Accept-Encoding"] = "identity"
        request.headers["Connection"] = "close"
        request.extensions["trace"] = self._trace

    def _trace(self, name: str, info: Mapping[str, Any]) -> None:
        if name.endswith(("connect_tcp.complete", "start_tls.complete")):
            self._socket = info["return_value"].get_extra_info("socket")
            if self.expired:
                self._shut_down()

    def _receive(self, response: httpx.Response) -> None:
        self.status = response.status_code
        self.retry_after = _seconds(response.headers.get("Retry-After", "")) if self.status in BUSY else None
        if response.headers.get("Content-Encoding", "identity") != "identity":
            raise UnusableReplyError("a compressed reply")  # of any size once it is unpacked
        stream = response.stream
        if isinstance(stream, httpx.SyncByteStream):
            response.stream = _Bounded(stream)

    def _expire(self) -> None:
        self.expired = True
        self._shut_down()

    def _shut_down(self) -> None:
        """Wake the thread that waits for the server. Of an encrypted connection only what lies beneath is touched: the
        encryption is that thread's."""
        if self._socket is not None:
            with contextlib.suppress(OSError):  # closed meanwhile: nobody waits
                socket.socket.shutdown(self._socket, socket.SHUT_RDWR)


class _Bounded(httpx.SyncByteStream):
    def __init__(self, stream: httpx.SyncByteStream) -> None:
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        size = 0
        for chunk in self._stream:
            size += len(chunk)
            if size > MAX_REPLY:
                raise UnusableReplyError("a reply that is too large")
            yield chunk

    def close(self) -> None:
        self._stream.close()


@functools.cache
def _certificates() -> ssl.SSLContext:
    return httpx.create_ssl_context()  # 20 ms


def _no_certificates() -> ssl.SSLContext:
    """For connections without encryption: trusts nobody."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def _seconds(text: str) -> float | None:
    """A Retry-After, of which only the form in seconds is understood."""
    return min(float(text), LONGEST_PAUSE) if text.isascii() and text.isdecimal() and len(text) < 16 else None


def failure_of_transport(error: Exception, call: Call, who: str) -> LlmError:
    """What came of a call that brought no reply, or none that can be read."""
    if call.expired or isinstance(error, httpx.TimeoutException | TimeoutError):
        if isinstance(error, httpx.ConnectTimeout):
            return LlmError("unreachable", f"{who} does not answer", retry=True)
        return LlmError("timeout", f"{who} did not answer within {call.seconds:.1f} s")
    if isinstance(error, UnusableReplyError):
        return LlmError("invalid_reply", f"{who} sent {error}")
    if isinstance(error, httpx.TransportError | OSError):
        lost = call.status is not None or isinstance(error, httpx.ReadError | httpx.RemoteProtocolError)
        return LlmError("unreachable", f"{who}: connection lost" if lost else f"{who} cannot be reached", retry=True)
    return LlmError("invalid_reply", f"{who} sent something that is no answer ({type(error).__name__})")
