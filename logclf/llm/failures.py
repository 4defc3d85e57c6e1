"""What a reply's status means, and servers that ask to be left alone; without httpx."""

from __future__ import annotations

import time

from .calls import LlmError

BUSY = (429, 503)
NO_ACCESS = (401, 403, 407)
STARTING = (502, 504)  # a gateway's, for a server that is not there yet


class Pause:
    """The time for which a server asked to be left alone; until then calls fail without being sent."""

    def __init__(self) -> None:
        self._until = 0.0

    def heed(self, seconds: float | None) -> None:
        """It begins, where a reply asked for that."""
        if seconds:
            self._until = time.monotonic() + seconds

    def check(self, who: str) -> None:
        """Raises LlmError while it lasts."""
        if time.monotonic() < self._until:
            raise LlmError("busy", f"{who} asked to be left alone for a while", retry=True)


def failure_of_status(status: int, who: str, no_model: str, key: str = "") -> LlmError:
    """What a reply's status says. Nothing of its body is quoted: it may hold the line that was asked about.

    who: names server and model. no_model: what to type where the model is missing; key: where the key is from.
    """
    if status == 404:
        return LlmError("no_model", f"{who}: no such model there; {no_model}")
    if status in NO_ACCESS:
        return LlmError("refused", f"{who}: access refused (status {status})" + (f"; {key}" if key else ""))
    if status in BUSY:
        return LlmError("busy", f"{who} is busy (status {status})", retry=True)
    if 300 <= status < 400:
        return LlmError("server_error", f"{who} sends elsewhere (status {status}), which is not followed")
    if 400 <= status < 500:
        return LlmError("refused", f"{who} refuses the question (status {status})", server=False)
    return LlmError("server_error", f"{who} failed (status {status})", retry=status in STARTING)
