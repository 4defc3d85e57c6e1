"""A server's text → a label, and how sure the model was of it. Everything here is what a stranger sent.

Structured output is a promise of the server's that some releases break, and a model can be talked into anything: what
is not exactly the JSON object that was asked for is a failure, never a label.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Sequence
from typing import Any

from .calls import UNSURE, LlmError

MAX_REPLY = 2048  # characters; the longest valid reply is a label's name and 13 more
MAX_TOKENS = MAX_REPLY
LEAST = -1e6  # servers say -9999 where they mean never
BLANKS = " \t\n\r"  # JSON's own, and no other white space
# The label's characters as they are spelt. It cannot backtrack: no two of its parts may begin with the same character.
SPELT = re.compile(r'\{[ \t\n\r]*"label"[ \t\n\r]*:[ \t\n\r]*"((?:[^"\\]|\\.)+)"[ \t\n\r]*\}')


def parse(text: str, labels: Collection[str]) -> str:
    """The label of a reply, one of `labels` or UNSURE.

    Raises:
        LlmError: `invalid_reply`: anything but the object {"label": …} with white space around it.
    """
    if len(text) > MAX_REPLY:
        raise _invalid(f"more than {MAX_REPLY} characters")
    try:
        found = json.loads(text.strip(BLANKS), object_pairs_hook=_members)
    except (ValueError, RecursionError):  # not from it: the error quotes the text
        raise _invalid("not one JSON object") from None
    if not isinstance(found, _Members) or len(found) != 1 or found[0][0] != "label":
        raise _invalid("not an object whose one member is the label")
    label = found[0][1]
    if not isinstance(label, str) or (label != UNSURE and label not in labels):
        raise _invalid("a label that was not asked for")
    return label


def confidence(logprobs: object, text: str | None = None) -> float | None:
    """The probability of the tokens that spell the label, 0 to 1; None where it cannot be told.

    logprobs: as Ollama (`logprobs` of a chat response) or OpenAI (`choices[0].logprobs`, or its `content`) gives them:
        tokens in order, each with `token` and `logprob`, as mappings or as objects that can be indexed like one.
    text: the reply that was parsed; without it the tokens must spell nothing else.
    """
    tokens = _tokens(logprobs)
    if not tokens:
        return None
    spelt = "".join(token for token, _ in tokens)
    reply = (spelt if text is None else text).strip(BLANKS)
    start = spelt.rfind(reply)  # behind it may stand an end-of-turn token, before it what the model thought
    match = SPELT.fullmatch(reply)
    if match is None or start < 0:
        return None
    return _probability(tokens, start + match.start(1), start + match.end(1))


def _probability(tokens: Sequence[tuple[str, float]], start: int, end: int) -> float | None:
    """Of the tokens with a character between two offsets of the text that all of them spell."""
    total, at, any_token = 0.0, 0, False
    for token, logprob in tokens:
        if at < end and at + len(token) > start:
            total, any_token = total + logprob, True
        at += len(token)
    return math.exp(total) if any_token else None


class _Members(list[tuple[str, Any]]):
    """An object's members as written, repeated ones too."""


def _members(pairs: list[tuple[str, Any]]) -> _Members:
    return _Members(pairs)


def _invalid(what: str) -> LlmError:
    return LlmError("invalid_reply", f"the model's reply is {what}", retry=False, server=False)


def _tokens(logprobs: object) -> list[tuple[str, float]] | None:
    """Tokens with their log-probabilities, None where one is missing or is none."""
    content = logprobs if isinstance(logprobs, Sequence) else _member(logprobs, "content")
    if not isinstance(content, Sequence) or isinstance(content, str | bytes) or len(content) > MAX_TOKENS:
        return None
    found: list[tuple[str, float]] = []
    for each in content:
        token, logprob = _member(each, "token"), _member(each, "logprob")
        if not isinstance(token, str) or isinstance(logprob, bool) or not isinstance(logprob, int | float):
            return None
        if not LEAST < logprob <= 0:  # which no NaN is
            return None
        found.append((token, float(logprob)))
    return found


def _member(value: object, name: str) -> object:
    """A member of a mapping, or of an object that can be indexed like one; None where there is none."""
    try:
        return value[name]  # type: ignore[index]  # whatever a server sent
    except (TypeError, KeyError, IndexError, AttributeError):
        return None
