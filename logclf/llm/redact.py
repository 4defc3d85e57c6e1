"""Secrets in lines, masked before a language model is shown them.

Four ways to know one:

    shapes   tokens that say what they are (AKIA…, ghp_…, eyJ….eyJ…), private key blocks, headers, connection strings
    names    what stands behind `password=`, `"api_key": ` and the like
    numbers  of cards and bank accounts, by length and check digits
    further  a person's own patterns

RE2 alone looks at the text, each pattern goes over it once, and what a pattern cannot say (check digits, where a value
ends) is decided on one match. Templates are lines too: a placeholder (`<n>`) may stand for a part of a secret, so that
it counts as one of its characters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import pairwise
from typing import Any

import msgspec
import re2

from .. import masking
from ..errors import ConfigError
from ..matching import re2_compile
from .calls import Question
from .checkdigits import account_length, is_card

MASK = "<masked>"
PLACEHOLDER = r"<(?:n|uuid|path|masked)>"

# Characters of tokens, as pieces of a pattern: letters and digits; URL-safe base64; base64 and what else headers have.
ALNUM = rf"(?:[A-Za-z0-9]|{PLACEHOLDER})"
URLSAFE = rf"(?:[\w-]|{PLACEHOLDER})"
BASE64 = rf"(?:[\w.~+/=-]|{PLACEHOLDER})"

# Begun by a word that nothing else begins with. Lengths are below the real ones: templates are shorter.
SHAPES = (
    rf"\b(?:AKIA|ASIA|ABIA|ACCA|AROA|AIDA|AGPA|ANPA|ANVA|AIPA)(?:[A-Z0-9]|{PLACEHOLDER}){{8,}}",  # AWS
    rf"\bgh[opsur]_{ALNUM}{{12,}}",  # GitHub
    rf"\bgithub_pat_{URLSAFE}{{12,}}",
    rf"\bgl(?:pat|ptt|rt|dt|cbt|soat|ft|imt|agent)-{URLSAFE}{{12,}}",  # GitLab
    rf"\bxox[a-z](?:\.xox[a-z])?-{URLSAFE}{{8,}}",  # Slack
    rf"\bxapp-{URLSAFE}{{8,}}",
    rf"\bhooks\.slack\.com/(?:services|workflows)/(?:[\w/]|{PLACEHOLDER}){{8,}}",
    rf"\bey[JI]{URLSAFE}{{8,}}(?:\.{URLSAFE}*){{1,4}}",  # JSON web tokens, signed or encrypted
    rf"\bey[JI]{URLSAFE}{{40,}}",  # the beginning of one that was cut
    rf"\b(?:AIza{URLSAFE}{{20,}}|ya29\.{URLSAFE}{{12,}}|GOCSPX-{URLSAFE}{{12,}})",  # Google
    rf"\b[rsp]k_(?:live|test)_{ALNUM}{{8,}}",  # Stripe
    rf"\bsk-(?:proj|ant|svcacct|admin|or|lf)-{URLSAFE}{{12,}}",  # providers of language models
    rf"\bsk-{ALNUM}{{20,}}",
    rf"\bwhsec_{BASE64}{{12,}}",
    rf"\b(?:npm|hf|gsk|dop_v1|doo_v1|dor_v1|shpat|shpss|shpca|lin_api|figd)_{ALNUM}{{20,}}",
    rf"\bpypi-{URLSAFE}{{24,}}",
    rf"\bSG\.{URLSAFE}{{12,}}\.{URLSAFE}{{12,}}",  # SendGrid
    rf"\bhv[sbr]\.{URLSAFE}{{12,}}",  # Vault
    rf"\b(?:\d{{8,10}}|<n>):AA{URLSAFE}{{20,}}",  # Telegram
    rf"\bAGE-SECRET-KEY-{ALNUM}{{12,}}",
    r"(?s)-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY[A-Z ]{0,20}-----.*?(?:-----END [A-Z0-9 ]{0,60}-----|\z)",
)

# The group is the secret: what may be shown around it stays.
GROUPS = (
    # A connection string's password: to the last @ before a slash; one with slashes where it cannot be a port.
    r"""://[^\s/:@\[\]"'<>]*:([^\s/"'`]+|\d{0,5}[^\d\s/@"'][^\s@"']*|\d{6}[^\s@"']*)@""",
    r"\b[\w.-]+:([^\s/@]+)@(?:tcp|unix)\(",  # Go's way of writing one: user:password@tcp(host:port)/database
    r"""(?i)\bauthorization\\*["']?\s*[:=]\s*\\*["']?"""
    rf"""(?:bearer|basic|negotiate|ntlm|token|api-?key)[ :=]+({BASE64}+)""",
    r"""(?i)\bauthorization\\*["']?\s*[:=]\s*\\*["']?(?:digest|oauth|hawk|signature|aws4-hmac-sha256)\s+"""
    r"""((?:[\w-]+=(?:"[^"]*"|[^\s,"]+),?\s*)+)""",
    r"""(?i)\bcookie\\*["']?\s*[:=]\s*\\*["']?([\w.-]+=[^;\s"']+(?:;\s*[\w.-]+(?:=[^;\s"']*)?)*)""",
)
SCHEME = rf"(?i)\b(?:bearer|basic|negotiate|ntlm|api-?key)[ :=]+({BASE64}{{6,}})"

# Names of secret values: passwords (group 1) and keys (group 2) may be any word, parsers speak of tokens.
PASSWORDS = r"passwords?|passwd|passwort|passphrase|passcode|pwd|(?:user|db)_?pass|cvv2?|cvc2?"
KEYS = (
    r"(?:api|access|secret|private|signing|encryption|account|master|auth|subscription|deploy"
    r"|webhook|storage|consumer)[_. -]?keys?|access[_-]?key[_-]?id|secrets?"
)
TOKENS = r"\bpass|tokens?|credentials?|accesssignature|amz-signature|authorization"
NAMED = (
    rf"""(?i)(?:({PASSWORDS})|({KEYS})|(?:{TOKENS}))(?:[_.-]?(?:value|hash|text|plain|b64|base64|\d))?"""
    r"""(?:\\*["'])?(\]?\s*(?:=>|:=|==?|%3d)\s*|\s?:\s*|>|\s(?:is|was)[:=]?\s)"""
)
OPTION = r"(?i)[\s\"']--?(?:[a-z]+-)*(?:password|passwd|pass|token|secret|api-?key)\s+"
SQL = r"(?i)\b(?:user|role|grant)\b[^;]{0,200}?\bidentified\s+(?:with\s+\S+\s+)?(?:by|as)\s+(?:password\s+)?"
STOP = r"""[\s"']|</|[,;&|][\w.-]+\s?[=:]"""  # what an unquoted value ends at, as at the next name
QUOTED = r"""(?s)"((?:[^"\\]|\\.)*)"|'((?:[^'\\]|\\.)*)'"""
NO_SECRET = rf"(?i)(?:{PLACEHOLDER}|[\x00-/:;=?@\[-`{{-\x7f]|x{{3,}})*"
SHORT_NUMBER = r"\d{1,6}(?:[.,]\d+)?[a-z%]{0,3}"
FILE = r"[/~][^:]*(?:\.[a-z]{1,5}|/)|<path>"
LONGEST_FILE = 512
HARMLESS = frozenset(
    b"true false null none nil yes no undefined unset empty missing invalid required expired wrong incorrect failed "
    b"failure denied rejected error not and or for from the was is has in on of to unknown redacted hidden masked "
    b"omitted removed filtered protected changed set reset disabled enabled ok user bearer basic "
    b"digest negotiate authentication login md5 password filtered".split()
)

CARD = r"\b(?:\d{4}[ -]\d{4}[ -]\d{4}[ -]\d{4}(?:[ -]\d{1,3})?|\d{4}[ -]\d{6}[ -]\d{4,5}|\d{13,19})\b"
ACCOUNT = r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,4})?\b"

Decision = Callable[[Any], tuple[int, int]]  # of a match: what to mask; nothing, where to look on, if it is empty


class Redactor:
    """Masks secrets in text; text without any comes back as it is. Thread-safe.

    patterns: further ones (RE2), whose whole matches are masked.

    Raises:
        ConfigError: RE2 refuses a pattern, or it matches the empty string.
    """

    def __init__(self, patterns: Iterable[str] = ()) -> None:
        self._own = [_own(pattern) for pattern in patterns]
        self._steps: list[tuple[Any, Decision]] = [(re2_compile(pattern), _whole) for pattern in SHAPES]
        self._steps += [(re2_compile(pattern), _group) for pattern in GROUPS]
        self._steps += [(re2_compile(SCHEME), _random_group)]
        values = Values()
        self._steps += [(re2_compile(pattern), values) for pattern in (NAMED, OPTION, SQL)]
        self._steps += [(re2_compile(CARD), _card), (re2_compile(ACCOUNT), _account)]
        self._no_secret = re2_compile(NO_SECRET)

    def mask(self, text: str) -> str:
        """The text with MASK in the place of each secret."""
        data = text.encode("utf-8", "replace")
        for pattern in self._own:
            data = pattern.sub(lambda _match: MASK.encode(), data)
        for pattern, decide in self._steps:
            data = self._masked(pattern, decide, data)
        return data.decode("utf-8", "replace")

    def _masked(self, pattern: Any, decide: Decision, data: bytes) -> bytes:
        pieces: list[bytes] = []
        done = at = 0
        while (match := pattern.search(data, at)) is not None:
            start, end = decide(match)
            if start < end and not self._no_secret.fullmatch(data[start:end]):
                pieces += [data[done:start], MASK.encode()]
                done = end
            at = max(end, match.start() + 1)
        return b"".join([*pieces, data[done:]]) if pieces else data

    def question(self, question: Question) -> Question:
        """A question that can be shown: where its sample has a secret, the template is that of the masked sample, as
        no pattern knows what is left of a secret whose digits are placeholders."""
        sample = self.mask(question.sample)
        template = question.template
        if sample != question.sample:
            line = " ".join(sample.splitlines()).encode("utf-8", "replace")
            template = masking.readable(masking.mask([line])[0])
        return msgspec.structs.replace(question, template=self.mask(template), sample=sample)


def _own(pattern: str) -> Any:
    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern, options)
    except re2.error as error:
        why = error.args[0].decode("utf-8", "replace") if isinstance(error.args[0], bytes) else str(error)
        raise ConfigError(f"llm.redact: RE2 refuses the pattern {pattern!r}: {why}") from error
    if any(match.start() == match.end() for text in ("", " a1 -") for match in compiled.finditer(text)):
        raise ConfigError(
            f"llm.redact: the pattern {pattern!r} matches the empty string, so that there is nothing to mask"
        )
    return compiled


def _whole(match: Any) -> tuple[int, int]:
    return match.start(), match.end()


def _group(match: Any) -> tuple[int, int]:
    start, end = match.span(1)
    return start, end


def _random_group(match: Any) -> tuple[int, int]:
    start, end = match.span(1)
    return (start, end) if looks_random(match.group(1)) else (start, start)


def _card(match: Any) -> tuple[int, int]:
    text, before = match.group(0).decode(), match.string[max(match.start() - 2, 0) : match.start()]
    negative = before[-1:] == b"-" and not before[:-1].isalnum()
    if not negative and is_card("".join(char for char in text if char.isdigit())):
        return match.start(), match.end()
    first = len(text.replace("-", " ").split()[0])
    return match.start() + first, match.start() + first


def _account(match: Any) -> tuple[int, int]:
    text = match.group(0).decode()
    left = account_length(text.replace(" ", ""))
    if not left:
        return match.start() + 4, match.start() + 4
    end = 0
    while left:
        left -= text[end] != " "
        end += 1
    return match.start(), match.start() + end


def looks_random(value: bytes) -> bool:
    """Whether a value is none that people would say: letters with digits in them, or capitals amid a word."""
    for name in (b"<n>", b"<uuid>", b"<path>", b"<masked>"):
        value = value.replace(name, b"0")
    text = value.decode("utf-8", "replace")
    digit, letter = any(map(str.isdigit, text)), any(map(str.isalpha, text))
    capitals = any(left.islower() and right.isupper() for left, right in pairwise(text))
    return len(text) >= 6 and ((digit and letter) or capitals or len(text) >= 24)


class Values:
    """Where the value behind a name ends, and whether it is a secret."""

    def __init__(self) -> None:
        self._quoted, self._stop = re2_compile(QUOTED), re2_compile(STOP)
        self._file, self._number = re2_compile(FILE), re2_compile(SHORT_NUMBER)

    def __call__(self, match: Any) -> tuple[int, int]:
        start, end, quoted = self._extent(match.string, match.end())
        value = match.string[start:end]
        if value.lower().strip(b"[]().:!*") in HARMLESS:
            secret = False
        elif not match.re.groups:  # an option or a statement
            secret = True
        elif match.group(1):
            secret = self._password(match, value, quoted)
        else:
            secret = self._key(match, value, quoted)
        return (start, end) if secret else (match.end(), match.end())

    def _password(self, match: Any, value: bytes, quoted: bool) -> bool:
        name, sign = match.group(1, 3)
        before = match.string[max(match.start() - 4, 0) : match.start()]
        # passwd, gdm-password and 1Password are programs whose names stand before their messages.
        program = b":" in sign and not quoted and (name == b"passwd" or before.endswith((b"gdm-", b"1")))
        if name.lower() == b"pwd" and value.startswith((b"/", b"~", b"<path>")):  # the working directory
            return len(value) > LONGEST_FILE
        return looks_random(value) if program or _said(sign) else True

    def _key(self, match: Any, value: bytes, quoted: bool) -> bool:
        sign = match.group(3)
        if len(value) <= LONGEST_FILE and self._file.fullmatch(value):
            return False
        if _said(sign) or (not match.group(2) and b":" in sign and not quoted):
            return looks_random(value)
        return bool(match.group(2)) or not self._number.fullmatch(value)

    def _extent(self, data: bytes, at: int) -> tuple[int, int, bool]:
        """Start and end of a value, and whether it stands in quotes."""
        begin = at
        while data[begin : begin + 1] == b"\\":
            begin += 1
        if data[begin : begin + 1] in (b'"', b"'"):
            if begin > at:  # JSON within JSON: the quote that closes it has as many backslashes
                end = data.find(data[at : begin + 1], begin + 1)
            else:
                found = self._quoted.match(data, begin)
                end = found.end() - 1 if found else -1
            if end >= 0:
                return begin + 1, end, True
            begin += 1
        stop = self._stop.search(data, begin)
        value = data[begin : stop.start() if stop else len(data)]
        return begin, begin + len(value.rstrip(b",;)]}")), False


def _said(sign: bytes) -> bool:
    """Whether what joins name and value is a verb: "is", "was"."""
    return b"s" in sign.lower()
