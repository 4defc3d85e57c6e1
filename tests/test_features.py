"""Headers come off, the component is found, and what is left is the message in plain lower-case words."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logclf import features, masking

HEADERS = {
    "syslog": ("Oct 11 22:14:15 host sshd[123]: Disk full", "sshd", ""),
    "syslog with priority": ("<34>Oct 11 22:14:15 mymachine su: Disk full", "su", ""),
    "kernel": ("Jan 5 10:00:00 host kernel: Disk full", "kernel", ""),
    "RFC 5424": ("<34>1 2003-10-11T22:14:15.003Z host.example.com su - ID47 - Disk full", "su", ""),
    "RFC 5424 with data": (
        '<165>1 2003-10-11T22:14:15.003Z h evntslog 12 ID47 [x@32473 iut="3" a="b c"] Disk full',
        "evntslog",
        "",
    ),
    "log4j": (
        "2015-10-18 18:01:47,978 INFO [main] org.apache.hadoop.ipc.Client: Disk full",
        "org apache hadoop ipc client",
        "info",
    ),
    "log4j short": ("17/06/09 20:10:40 WARN executor.CoarseBackend: Disk full", "executor coarse backend", "warn"),
    "spring": ("2024-05-01T10:00:00.123Z WARN  [http-nio-8080-exec-1] c.e.App : Disk full", "c e app", "warn"),
    "python": ("2024-05-01 10:00:00,123 - myapp.worker - ERROR - Disk full", "myapp worker", "error"),
    "python basicConfig": ("ERROR:root:Disk full", "root", "error"),
    "android": ("03-17 16:13:38.811  1702  2395 D WindowManager: Disk full", "window manager", "debug"),
    "apache": ("[Sun Dec 04 04:47:44 2005] [error] Disk full", "", "error"),
    "nginx": ("2024/05/01 12:00:00 [crit] 31#31: *1 Disk full", "", "fatal"),
    "glog": ("E0518 09:12:33.123456   12 server.go:55] Disk full", "server go", ""),
    "none": ("Disk full", "", ""),
}


def read(line: str) -> features.Reading:
    return features.read(masking.readable(masking.mask([line.encode("utf-8", "surrogateescape")])[0]))


@pytest.mark.parametrize(("line", "component", "level"), HEADERS.values(), ids=HEADERS)
def test_header_comes_off(line: str, component: str, level: str) -> None:
    found = read(line)
    assert found == features.Reading(component, "disk full", level)
    assert found.text == (f"{component}: disk full" if component else "disk full")


@pytest.mark.parametrize(
    "line", ["", " ", "[", "INFO", "10:00:00", "INFO:", "a:", "<34>", "<34>1 - - - - - -", "ERROR:x:", "Jan"]
)
def test_lines_that_are_all_header_are_read(line: str) -> None:
    assert all(isinstance(part, str) for part in read(line))


def test_a_level_inside_the_message_is_none() -> None:
    assert read("2024-05-01 10:00:00 INFO [main] a.b.C: got ERROR from peer").level == "info"
    assert read("the ERROR count is zero").level == ""


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("NodeManager lostContainer", "node manager lost container"),
        ("open <path> by <uuid> at <n>", "open <p> by <n> at <n>"),
        ("snake_case dotted.name", "snake case dotted name"),
        ("  many \t blanks ", "many blanks"),
    ],
)
def test_normalize(text: str, normal: str) -> None:
    assert features.normalize(text) == normal


def test_messages_are_bounded() -> None:
    assert len(read("word " * 10_000).message) <= features.MESSAGE_CHARACTERS


TOKENS = [
    "<n>",
    "[",
    "]",
    "INFO",
    "ERROR:x:y",
    "Oct",
    "<<n>><n>",
    "-",
    "a.b.C:",
    "[main]",
    "(x",
    "host",
    "<n>:<n>",
    ":",
    "é",
    "[pid",
]


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.text(max_size=40), st.lists(st.sampled_from(TOKENS), max_size=12).map(" ".join)))
def test_any_template_is_read_and_loses_no_last_word(template: str) -> None:
    found = features.read(template)
    assert features.normalize(found.message) == " ".join(found.message.split())
    if template.split() and len(template) < 100:
        last = features.normalize(template.rsplit(maxsplit=1)[-1])
        assert not last or found.text.endswith(last.split()[-1]) or "]" in template or ":" in template
