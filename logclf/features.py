"""What the model reads of a template: its component and its message, without the header.

Timestamps, hosts, thread names and ids say nothing about what a line means, and every system writes them another way.
What is left of `<n>-<n>-<n> <n>,<n> WARN [main] org.apache.hadoop.ipc.Client: Address change detected` is
`org apache hadoop ipc client: address change detected`, and apart from it the level word.

The level is told to the model beside the text, but for FATAL: programs print whole dumps of harmless detail under it.
"""

from __future__ import annotations

import string
from typing import NamedTuple

HEADER_TOKENS = 16
MESSAGE_CHARACTERS = 600

LEVEL_WORDS = {
    **dict.fromkeys(("TRACE", "FINEST", "FINER", "VERBOSE", "V"), "trace"),
    **dict.fromkeys(("DEBUG", "FINE", "D"), "debug"),
    **dict.fromkeys(("INFO", "NOTICE", "INFORMATION", "LOG", "NOTE", "I", "info", "notice", "note"), "info"),
    **dict.fromkeys(("WARN", "WARNING", "W", "warn", "warning", "Warning"), "warn"),
    **dict.fromkeys(("ERROR", "ERR", "SEVERE", "FAILURE", "E", "error", "err", "Error"), "error"),
    **dict.fromkeys(("FATAL", "CRITICAL", "CRIT", "ALERT", "EMERG", "PANIC", "F", "crit", "alert", "emerg"), "fatal"),
}
TOLD_LEVELS = ("trace", "debug", "info", "warn", "error")
CALENDAR = frozenset(
    (
        "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec Mon Tue Wed Thu Fri Sat Sun AM PM UTC GMT CET CEST EST PST Z T"
    ).split()
)
BRACKETS = "[](){}<>|\"'"
EDGES = BRACKETS + ",;:*-#=~."


class Reading(NamedTuple):
    """A template as the model reads it; `level` is "" where the line states none."""

    component: str
    message: str
    level: str

    @property
    def text(self) -> str:
        return f"{self.component}: {self.message}" if self.component else self.message

    @property
    def hinted(self) -> str:
        """The text with its level as one more word, which no message can spell: punctuation in it stands apart."""
        return f"{self.text} level={self.level}" if self.level in TOLD_LEVELS else self.text


def read(template: str) -> Reading:
    """Take the header off a readable template."""
    tokens = template.split()
    known = _fixed_header(tokens)
    if known:
        return known
    at, level, component, dated = int(_is_prefix(tokens)), "", "", False
    while at < min(len(tokens) - 1, HEADER_TOKENS):
        token = tokens[at]
        core = token.replace("<n>", "").replace("<uuid>", "").replace("<path>", "/").strip(EDGES)
        word = token.strip(EDGES)
        if not core.strip(EDGES + "/_+TZ") or core in CALENDAR:
            dated = dated or "<n>" in token
        elif not level and word in LEVEL_WORDS and (dated or at == 0 or token[0] in "[<("):
            level = LEVEL_WORDS[word]
        elif token[0] in "[(" and (dated or level) and (closing := _closing(tokens, at)) is not None:
            if closing + 1 >= len(tokens):
                break
            at = closing
        elif token.endswith((":", "]:")) and (dated or level or at == 0) and _is_name(core):
            component, at = core.split("[")[0].replace("(", " "), at + 1
            break
        elif (dated or level) and not component and _is_dotted(core):
            component = core
        elif dated and not level and _is_id(token, core):
            pass
        elif dated and not level and not component and (ahead := _header_ahead(tokens, at)) is not None:
            component = tokens[ahead - 1] if ahead - 1 > at and tokens[ahead - 1].isalpha() else ""
            at = ahead - 1
        else:
            break
        at += 1
    return _reading(component, tokens[at:], level)


def _fixed_header(tokens: list[str]) -> Reading | None:
    """Two headers whose fields stand by place: RFC 5424's and that of Python's `logging.basicConfig`."""
    if len(tokens) > 7 and tokens[0] == "<<n>><n>":
        data = next((at for at in range(6, len(tokens)) if tokens[at].endswith("]")), 6) if tokens[6][0] == "[" else 6
        return _reading(tokens[3].strip("-"), tokens[data + 1 :], "")
    level, _, rest = tokens[0].partition(":") if tokens else ("", "", "")
    name, colon, word = rest.partition(":")
    if colon and level.isupper() and level in LEVEL_WORDS and name.replace(".", "").isidentifier():
        return _reading(name, [word, *tokens[1:]], LEVEL_WORDS[level])
    return None


def _reading(component: str, words: list[str], level: str) -> Reading:
    return Reading(normalize(component), normalize(" ".join(words)[:MESSAGE_CHARACTERS]), level)


def _closing(tokens: list[str], at: int) -> int | None:
    """Where a bracket group that a token opens is closed, a few tokens on at most."""
    close = "]" if tokens[at][0] == "[" else ")"
    for index in range(at, min(at + 8, len(tokens))):
        if tokens[index].rstrip(":").endswith(close):
            return index
    return None


def _header_ahead(tokens: list[str], at: int) -> int | None:
    """Where a host or facilities end: at a `tag:` next to them, or at a level word after names without lower case."""
    if at + 1 < len(tokens) - 1 and tokens[at + 1].endswith(":") and _is_name(tokens[at + 1].strip(EDGES)):
        return at + 1
    for index in range(at + 1, min(at + 7, len(tokens) - 1)):
        word = tokens[index].strip(EDGES)
        if len(word) > 1 and word in LEVEL_WORDS and word.isupper():
            return index
        if tokens[index].replace("<n>", "").upper() != tokens[index].replace("<n>", ""):
            return None
    return None


def _is_prefix(tokens: list[str]) -> bool:
    """A word of the shipper's (a file name, an alert tag) before the line's own timestamp."""
    if len(tokens) < 4 or tokens[0][0] in "<[(":
        return False
    return all("<n>" in token and not token.replace("<n>", "").strip(EDGES + "/_T") for token in tokens[1:3])


def _is_name(core: str) -> bool:
    """Whether a tag before a colon can be a program, class or logger."""
    return 1 < len(core) <= 80 and not any(char in core for char in "\"'=,;") and any(char.isalpha() for char in core)


def _is_dotted(core: str) -> bool:
    parts = core.split(".")
    return len(parts) > 1 and all(part and (part[0].isalpha() or part[0] in "_$") for part in parts)


def _is_id(token: str, core: str) -> bool:
    """A location or record id: numbers with single letters between them."""
    letters = sum(char.isalpha() for char in core)
    return token.count("<n>") > 1 and letters <= 2 * token.count("<n>")


_TABLE = str.maketrans({char: f" {char} " for char in string.punctuation if char not in "<>-'"})


def normalize(text: str) -> str:
    """Lower case, camelCase split, placeholders short, punctuation apart."""
    text = text.replace("<uuid>", "<n>").replace("<path>", "<p>")
    pieces: list[str] = []
    previous = ""
    for char in text:
        if char.isupper() and previous.islower():
            pieces.append(" ")
        pieces.append(char)
        previous = char
    return " ".join("".join(pieces).replace("_", " ").replace(".", " ").lower().split())


def words(text: str) -> list[str]:
    """The words of a text: runs of two or more letters, placeholders left out."""
    bare = text.replace("<n>", " ").replace("<p>", " ")
    return [word for word in "".join(char if char.isalpha() else " " for char in bare).split() if len(word) > 1]
