"""Try a configuration without a language model: a server that says what a test tells it to.

    from logclf.testing import Busy, Hang, ScriptedOllama

    def answer(messages):                       # the chat messages that were sent → a label, or any raw text
        return "Security Alert" if "door" in messages[-1]["content"] else "unsure"

    with ScriptedOllama(answer) as server:
        subprocess.run(["logclf", "filter", "--llm", "on"], env={**os.environ, "OLLAMA_HOST": server.host}, …)
        assert len(server.asked) == 1           # one question per template
        server.script(Busy(), Busy(), Hang())   # what becomes of the next three questions
        server.always(Fail(500))                # of all from here on; None heals it

It speaks Ollama's HTTP API and, at `server.host + "/v1"`, OpenAI's, on a port of this host that is free.
What a label is, it takes from the question's own JSON schema: a text that is not one of its labels is sent as it is,
which is what a server does that ignores `format`.
"""

from .misbehaviour import (
    EMPTY,
    ERROR_IN_ANSWER,
    ERROR_LIST,
    HTML_PAGE,
    INVALID_JSON,
    Busy,
    DieMidAnswer,
    Drip,
    Exchange,
    Fail,
    Hang,
    Huge,
    Misbehaviour,
    NoModel,
    Redirect,
    Send,
    Slow,
)
from .server import Request, ScriptedOllama

__all__ = [
    "EMPTY",
    "ERROR_IN_ANSWER",
    "ERROR_LIST",
    "HTML_PAGE",
    "INVALID_JSON",
    "Busy",
    "DieMidAnswer",
    "Drip",
    "Exchange",
    "Fail",
    "Hang",
    "Huge",
    "Misbehaviour",
    "NoModel",
    "Redirect",
    "Request",
    "ScriptedOllama",
    "Send",
    "Slow",
]
