"""The default model's corpus: templates with slots, rendered into lines as real systems write them.

A corpus file is tab-separated: label, severity, component, message. `{ip}` and the like are slots, `{a|b}` is a choice.
Rendering is reproducible: the same template, seed and number give the same line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ..errors import ConfigError
from ..taxonomy import Severity, Taxonomy

SLOT = re.compile(r"\{\{|\}\}|\{([^{}]*)\}")


@dataclass(frozen=True)
class CorpusTemplate:
    """One template; `system` is the corpus file's name, by which systems can be held out."""

    label: str
    severity: str
    component: str
    message: str
    system: str


def read_corpus(directory: Path, taxonomy: Taxonomy) -> list[CorpusTemplate]:
    """All templates of a directory's *.tsv files.

    Raises:
        ConfigError: a malformed line, with file:line.
    """
    found: list[CorpusTemplate] = []
    for path in sorted(directory.glob("*.tsv")):
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            where = f"{path}:{number}"
            columns = line.split("\t")
            if len(columns) != 4:
                raise ConfigError(f"expected 4 columns, found {len(columns)}", where)
            label, severity, component, message = columns
            if label not in taxonomy.names or severity not in Severity.__members__:
                raise ConfigError(f"unknown label {label!r} or severity {severity!r}", where)
            unknown = [
                slot
                for slot in SLOT.findall(f"{component} {message}")
                if slot and "|" not in slot and slot not in SLOTS
            ]
            if unknown:
                raise ConfigError(f"unknown slot {unknown[0]!r}", where)
            found.append(CorpusTemplate(label, severity, "" if component == "-" else component, message, path.stem))
    if not found:
        raise ConfigError("no corpus: expected *.tsv files", str(directory))
    return found


def fill(text: str, rng: Random) -> str:
    """A template's text with its slots filled."""

    def value(match: re.Match[str]) -> str:
        slot = match.group(1)
        if slot is None:
            return match.group(0)[0]
        return rng.choice(slot.split("|")) if "|" in slot else SLOTS[slot](rng)

    return SLOT.sub(value, text)


def render(template: CorpusTemplate, rng: Random) -> str:
    """A whole line: one of the usual headers, and the message."""
    component, message = fill(template.component, rng), fill(template.message, rng)
    return rng.choice(HEADERS)(component, template.severity, rng) + message


NAMES = (
    "alpha web app core edge batch data main node api auth billing cart orders search cache proxy "
    "worker relay gate mail"
).split()
USERS = (
    "root admin alice bob carol deploy jenkins postgres www-data oracle test guest svc_backup jsmith mlopez"
).split()
WORDS = (
    "default primary standby blue green east west temp shared local remote inbound outbound session config events"
).split()
TOP = "com org net io".split()
ENDINGS = ("Service", "Task", "Impl")


def _hexes(rng: Random, count: int) -> str:
    return f"{rng.getrandbits(4 * count):0{count}x}"


def _host(rng: Random) -> str:
    return f"{rng.choice(NAMES)}-{rng.randrange(1, 40)}" + rng.choice(("", "", ".example.net", ".internal"))


def _path(rng: Random) -> str:
    return (
        "/"
        + "/".join(rng.choice(NAMES + WORDS) for _ in range(rng.randrange(2, 5)))
        + rng.choice(("", ".log", ".conf", ".dat"))
    )


def _file(rng: Random) -> str:
    return f"{rng.choice(NAMES)}_{rng.choice(WORDS)}{rng.choice(('.log', '.conf', '.xml', '.csv', '.jar', '.so'))}"


def _ip(rng: Random) -> str:
    return ".".join(str(rng.randrange(1, 255)) for _ in range(4))


def _clock(rng: Random) -> str:
    return f"{rng.randrange(24):02}:{rng.randrange(60):02}:{rng.randrange(60):02}"


def _date(rng: Random) -> str:
    return f"20{rng.randrange(5, 27):02}-{rng.randrange(1, 13):02}-{rng.randrange(1, 29):02}"


def _number(low: int, high: int) -> Callable[[Random], str]:
    return lambda rng: str(rng.randrange(low, high))


def _one_of(*values: str) -> Callable[[Random], str]:
    return lambda rng: rng.choice(values)


def _status(*hundreds: int) -> Callable[[Random], str]:
    known = {
        1: (101,),
        2: (200, 201, 202, 204),
        3: (301, 302, 304),
        4: (400, 401, 403, 404, 409, 429),
        5: (500, 502, 503, 504),
    }
    return lambda rng: str(rng.choice(known[rng.choice(hundreds)]))


SLOTS: dict[str, Callable[[Random], str]] = {
    "ip": _ip,
    "ip6": lambda rng: f"2001:db8:{_hexes(rng, 4)}::{_hexes(rng, 3)}",
    "port": _number(22, 65536),
    "host": _host,
    "user": _one_of(*USERS),
    "path": _path,
    "file": _file,
    "url": lambda rng: f"https://{_host(rng)}{_path(rng)}",
    "uri": lambda rng: _path(rng) + rng.choice(("", "?id=12", "?page=2&size=50")),
    "int": _number(2, 5000),
    "num": _number(2, 5000),
    "big": _number(10**7, 10**12),
    "float": lambda rng: f"{rng.uniform(0, 100):.2f}",
    "pct": lambda rng: f"{rng.randrange(1, 101)}%",
    "hex": lambda rng: _hexes(rng, 8),
    "addr": lambda rng: "0x" + _hexes(rng, rng.choice((8, 16))),
    "uuid": lambda rng: "-".join(_hexes(rng, count) for count in (8, 4, 4, 4, 12)),
    "id": lambda rng: _hexes(rng, rng.choice((10, 12, 16))),
    "key": lambda rng: f"{rng.choice(WORDS)}:{_hexes(rng, 8)}",
    "pid": _number(100, 60000),
    "ms": _number(1, 9000),
    "dur": lambda rng: f"{rng.uniform(0, 60):.1f}s",
    "size": lambda rng: f"{rng.randrange(1, 900)}{rng.choice((' MB', 'MB', ' GB', 'K', ' KiB', 'Mi'))}",
    "bytes": _number(100, 10**8),
    "date": _date,
    "time": _clock,
    "datetime": lambda rng: f"{_date(rng)} {_clock(rng)}",
    "email": lambda rng: f"{rng.choice(USERS)}@example.com",
    "mac": lambda rng: ":".join(_hexes(rng, 2) for _ in range(6)),
    "domain": lambda rng: f"{rng.choice(NAMES)}.example.org",
    "class": lambda rng: (
        f"{rng.choice(TOP)}.example.{rng.choice(NAMES)}.{rng.choice(WORDS).title()}{rng.choice(ENDINGS)}"
    ),
    "word": _one_of(*WORDS),
    "name": lambda rng: f"{rng.choice(NAMES)}-{rng.choice(WORDS)}",
    "version": lambda rng: f"{rng.randrange(1, 12)}.{rng.randrange(20)}.{rng.randrange(30)}",
    "dev": _one_of("sda1", "sdb", "eth0", "ens3", "nvme0n1", "md0", "wlan0"),
    "method": _one_of("GET", "POST", "PUT", "DELETE", "PATCH", "HEAD"),
    "status": _status(2, 3, 4, 5),
    "s2xx": _status(2),
    "s4xx": _status(4),
    "s5xx": _status(5),
    "errno": _number(1, 120),
    "exit": _number(1, 140),
    "ua": _one_of("curl/8.5.0", "Mozilla/5.0 (X11; Linux x86_64)", "Go-http-client/1.1", "python-requests/2.31"),
    "sql": _one_of(
        "SELECT id FROM orders WHERE state = $1", "UPDATE users SET seen = now()", "INSERT INTO events VALUES ($1, $2)"
    ),
    "json": _one_of('{"id":17,"state":"ok"}', '{"code":42,"detail":"x"}'),
}

Header = Callable[[str, str, Random], str]
MONTHS = "Jan Feb Mar Apr May Jun Jul Aug Sep Oct Nov Dec".split()
LETTER = {"TRACE": "V", "DEBUG": "D", "INFO": "I", "WARN": "W", "ERROR": "E", "FATAL": "F"}


def _bare(component: str, _severity: str, _rng: Random) -> str:
    return f"{component}: " if component else ""


def _syslog(component: str, _severity: str, rng: Random) -> str:
    stamp = f"{rng.choice(MONTHS)} {rng.randrange(1, 29):2} {_clock(rng)} {_host(rng)} "
    return stamp + (f"{component}{rng.choice(('', f'[{rng.randrange(99, 32000)}]'))}: " if component else "")


def _log4j(component: str, severity: str, rng: Random) -> str:
    thread = rng.choice(("", "[main] ", f"[pool-{rng.randrange(9)}-thread-{rng.randrange(20)}] "))
    tag = f"{component}: " if component else ""
    return f"{_date(rng)} {_clock(rng)},{rng.randrange(1000):03} {severity} {thread}{tag}"


def _python(component: str, severity: str, rng: Random) -> str:
    return f"{_date(rng)} {_clock(rng)}.{rng.randrange(1000):03} {rng.randrange(100, 30000)} {severity} {component} "


def _android(component: str, severity: str, rng: Random) -> str:
    process = f"{rng.randrange(9999):5} {rng.randrange(9999):5}"
    return (
        f"{_date(rng)[5:]} {_clock(rng)}.{rng.randrange(1000):03} {process} {LETTER[severity]} {component or 'App'}: "
    )


# Half the lines come without a level: what a line says must count, not only what it calls itself.
HEADERS: tuple[Header, ...] = (_bare, _syslog, _syslog, _bare, _log4j, _log4j, _python, _android)


def samples(templates: list[CorpusTemplate], per_template: int, seed: int) -> Iterator[tuple[CorpusTemplate, str]]:
    """Each template, rendered several times."""
    for number, template in enumerate(templates):
        rng = Random(seed * 1_000_003 + number)  # noqa: S311  (reproducible, not secret)
        for _ in range(per_template):
            yield template, render(template, rng)
