"""Which server is asked: its base URL, and whether that is this host."""

from __future__ import annotations

import ipaddress
import os
import re
import socket
from urllib.parse import SplitResult, urlsplit

from ..errors import ConfigError
from ..pretty import visible
from .calls import LlmError
from .settings import LlmSettings

OLLAMA_PORT = 11434
OPENAI = "https://api.openai.com/v1"
LOCAL = "127.0.0.1"
ANY_ADDRESS = {"0.0.0.0": LOCAL, "::": "::1"}  # noqa: S104 - OLLAMA_HOST is also what a server binds to
CONNECT_SECONDS = 2.0
HOST_NAME = re.compile(r"[a-z0-9._:-]+")  # as urlsplit gives it; in others readers of URLs may see different hosts


def host_of(settings: LlmSettings) -> str:
    """The base URL that is asked, without a slash at its end.

    Raises:
        ConfigError: it is no http(s) URL, holds a password, or is another host's without `allow_remote`.
    """
    ollama = settings.provider == "ollama"
    named = settings.host or (os.environ.get("OLLAMA_HOST", "").strip() if ollama else "")
    where = "llm.host" if settings.host or not ollama else "OLLAMA_HOST"
    url = _url(named, where, ollama) if named else (f"http://{LOCAL}:{OLLAMA_PORT}" if ollama else OPENAI)
    if not settings.allow_remote and not is_loopback(url):
        raise ConfigError(
            f"the language model at {url} is not on this host; to send it lines, with their secrets masked, "
            "set `allow_remote: true` in the section `llm` of the configuration"
        )
    return url


def is_loopback(url: str) -> bool:
    """Whether a base URL is of this host. Names are not looked up: only `localhost` is one."""
    name = (urlsplit(url).hostname or "").rstrip(".").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _url(named: str, where: str, ollama: bool) -> str:
    """A host as people write it (`gpu`, `gpu:8080`, `https://gpu/api`, `:11434`) → a URL."""
    parts, port = _split(named if "://" in named else f"http://{named}")
    odd = parts is None or parts.scheme not in ("http", "https") or parts.query or parts.fragment
    if parts is None or odd or not HOST_NAME.fullmatch(parts.hostname or LOCAL):
        raise ConfigError(f"{where}: expected a host or an http(s) URL, as http://127.0.0.1:{OLLAMA_PORT}")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"{where}: no user or password in a URL, which others may read")
    if port is None and ollama and "://" not in named:
        port = OLLAMA_PORT
    name = ANY_ADDRESS.get(parts.hostname or "", parts.hostname or LOCAL)
    path = parts.path.rstrip("/") or ("" if ollama else "/v1")
    at = f"[{name}]" if ":" in name else name
    return visible(f"{parts.scheme}://{at}" + (f":{port}" if port else "") + path)


def _split(url: str) -> tuple[SplitResult | None, int | None]:
    try:
        parts = urlsplit(url)
        return parts, parts.port
    except ValueError:
        return None, None


def check_listening(url: str) -> None:
    """Whether anything listens on this host at a URL's port: a millisecond, where a call needs 0.3 s of imports.

    Raises:
        LlmError: nothing does.
    """
    parts = urlsplit(url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    try:
        socket.create_connection((parts.hostname or LOCAL, port), CONNECT_SECONDS).close()
    except OSError as error:
        raise LlmError("unreachable", f"no language model server at {url}", retry=True) from error
