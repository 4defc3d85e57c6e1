"""What the bulk scan looks for besides rules: severities that lines state, and numbers that mean something.

*Severity* counts in its proper place only: where log4j, syslog, Android, glog, nginx or logfmt put it, near the start
of the line. The earliest one wins, so `INFO [main] Worker: got ERROR from peer` is INFO.

No pattern here tells one digit from another, so that what they find holds for a line's shape (rules.py). A syslog
priority does, and is read for itself.

*Numbers*: template keys leave digits out, yet two lines that differ in an HTTP status, an exit code, a signal or an
errno may deserve different labels. The digits that end at such a match stay in the key.
"""

from __future__ import annotations

from functools import lru_cache

from .patterns import parse
from .taxonomy import LEVELS, Severity

# A level word counts within this many bytes; the longest headers in use (Blue Gene's) put it at about 110.
REACH = 130

WORDS = {
    Severity.TRACE: "TRACE|FINEST|FINER|VERBOSE",
    Severity.DEBUG: "DEBUG\\d?|FINE",
    Severity.INFO: "INFO|NOTICE|INFORMATION|CONFIG",
    Severity.WARN: "WARN|WARNING",
    Severity.ERROR: "ERROR|ERR|SEVERE|FAILURE",
    Severity.FATAL: "FATAL|CRITICAL|CRIT|ALERT|EMERG|EMERGENCY|PANIC",
}
LOWER_WORDS = {
    Severity.TRACE: "trace|verbose",
    Severity.DEBUG: "debug",
    Severity.INFO: "info|notice|information|note|system",
    Severity.WARN: "warn|warning",
    Severity.ERROR: "error|err|severe",
    Severity.FATAL: "fatal|critical|crit|alert|emerg|panic",
}
LETTERS = {
    Severity.TRACE: "V",
    Severity.DEBUG: "D",
    Severity.INFO: "I",
    Severity.WARN: "W",
    Severity.ERROR: "E",
    Severity.FATAL: "FA",
}
REDIS = {Severity.DEBUG: r"\.", Severity.TRACE: "-", Severity.INFO: r"\*", Severity.WARN: "#"}
POSTGRES = {Severity.INFO: "LOG|NOTICE|STATEMENT|DETAIL|HINT", Severity.FATAL: "PANIC"}
SYSLOG = tuple(LEVELS[Severity[name]] for name in ["FATAL", "FATAL", "FATAL", "ERROR", "WARN", "INFO", "INFO", "DEBUG"])
HIGHEST_PRIORITY = 191


def _severity_patterns() -> list[tuple[str, Severity]]:
    found: list[tuple[str, Severity]] = []
    for severity in Severity:
        found += [
            # 2015-10-18 18:01:47,978 INFO [main] …; … RAS KERNEL FATAL …; [ERROR] …; ERROR: …
            (rf"(?:^|[ \t\[(|<*])(?:{WORDS[severity]})(?:[ \t\])|>*:]|$)", severity),
            # [Sun Dec 04 04:47:44 2005] [error] …; [core:warn]; 2024/05/01 12:00:00 [crit] 31#31: …
            (rf"(?i)[\[:](?:{LOWER_WORDS[severity]})\]", severity),
            # level=warn, "level":"error", severity: info
            (rf'(?i)\b(?:level|lvl|severity|loglevel)["\']?(?:=| ?: ?)["\']?(?:{LOWER_WORDS[severity]})\b', severity),
            # 03-17 16:13:38.811  1702  2395 D WindowManager: …
            (rf"^\d\d-\d\d \d\d:\d\d:\d\d\.\d+ +\d+ +\d+ [{LETTERS[severity]}] ", severity),
            (rf"^[{LETTERS[severity]}]/[^ :]{{1,60}}\( *\d+\): ", severity),
            # I0518 09:12:33.123456   12 server.go:55] …
            (rf"^[{LETTERS[severity]}]\d{{4}} \d\d:\d\d:\d\d", severity),
        ]
    for severity, words in POSTGRES.items():
        found.append((rf"(?:^|[ \]])(?:{words}):  ", severity))
    # xinetd[811]: warning: …; what daemons call an error there is too often a client's failed log-in
    found.append((r"(?:\]|[a-z]): (?:warning|Warning): ", Severity.WARN))
    for severity, mark in REDIS.items():
        found.append((rf"^\d+:[MSCX] \d+ \w+ (?:\d+ )?\d\d:\d\d:\d\d\.\d+ {mark} ", severity))
    return found


# Android's platform says INFO where it traces its own methods: `I PanelView: onTrackingStarted`. That is DEBUG.
INTERNAL = (
    r"^\d\d-\d\d \d\d:\d\d:\d\d\.\d+ +\d+ +\d+ I [^:]*: [a-z]+[A-Z]",
    r"^I/[^ :]{1,60}\( *\d+\): [a-z]+[A-Z]",
)

NUMBERS = (
    r'(?i)\bHTTP/[0-9.]+"? \d{3}\b',
    r"(?i)\b(?:http|response|status|status[ _-]?code|http[ _-]?code|http[ _-]?status)"
    r"[\"']?(?: ?[=:] ?| is | was | of | )[\"']?\d{3}\b",
    r"(?i)\bexit(?:ed|s)?(?:[ _-]?(?:code|status|value))?[\"']?(?: with)?(?: ?[=:] ?| is | was | of | )?"
    r"(?:(?:error |non-zero )?(?:exit )?(?:code|status) ?[=:]? ?)?[\"']?-?\d+\b",
    r"(?i)\b(?:status|code|rc|ret|retval|return code|return value|returned|error|errno|err|signal|sig|reason)"
    r"[\"']?(?: ?[=:#] ?| )[\"'(]?-?\d+\b",
    r"(?i)\b(?:errno|signal|error code|error no)[ =:(#]{1,2}-?\d+\b",
)


@lru_cache(maxsize=1)
def severity_patterns() -> tuple[tuple[str, int], ...]:
    """Patterns with the level (see `taxonomy.LEVELS`) that a match states."""
    return tuple((parse(source).detect, LEVELS[severity]) for source, severity in _severity_patterns())


@lru_cache(maxsize=1)
def internal_patterns() -> tuple[str, ...]:
    """Patterns of lines that call themselves INFO and are a trace of internals, so DEBUG."""
    return tuple(parse(source).detect for source in INTERNAL)


@lru_cache(maxsize=1)
def number_patterns() -> tuple[str, ...]:
    """Patterns whose matches end with the digits to keep."""
    return tuple(parse(source).full for source in NUMBERS)


def syslog_level(line: bytes) -> int:
    """The level of a line that begins with a syslog priority, `<0>` to `<191>`; else 0."""
    end = line.find(b">", 2, 5)
    number = line[1:end]
    if end < 0 or not line.startswith(b"<") or not number.isdigit() or int(number) > HIGHEST_PRIORITY:
        return 0
    return SYSLOG[int(number) % 8]
