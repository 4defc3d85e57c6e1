"""A terminal shows hostile lines; it never obeys them."""

from __future__ import annotations

import os
import unicodedata

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logclf.batch import Batch, Classified, VerdictTable
from logclf.decoding import Decoder
from logclf.pretty import COLOURS, PrettySink, visible
from logclf.taxonomy import DEFAULT, Severity

TABLE = VerdictTable(DEFAULT)
CODE = TABLE.rule("r", "Error", Severity.ERROR)

HOSTILE = [
    b"\x1b[2J\x1b[H cleared",
    b"\x1b]0;title\x07",
    b"\x1b]8;;http://203.0.113.9/\x1b\\link\x1b]8;;\x1b\\",
    b"\x1b]52;c;cm0gLXJmIC8=\x07 clipboard",
    b'\x1bP$q"p\x1b\\ device control',
    b"\x1b_payload\x1b\\ application command",
    b"\x1b^private\x1b\\",
    b"\x1bc reset",
    b"\x1b[?1049h other screen",
    b"\x1b[6n report",
    b"\x1b#8 alignment",
    "\u009b31m single-character CSI".encode(),
    "\u009d0;title\u009c".encode(),
    "\u0090q\u009c".encode(),
    b"\x9b31m raw C1 byte",
    b"real\rfake",
    b"over\x08\x08\x08\x08write",
    b"bell\x07\x07",
    b"nul\x00byte",
    b"delete\x7f",
    b"\x0e shifted \x0f",
    b"form\x0cfeed\x0bvertical",
    "user \u202egnp.exe\u202c".encode(),
    "\u2066isolate\u2069 \u2067rtl\u2069".encode(),
    "\u061c arabic letter mark \u200e\u200f".encode(),
    "zero\u200bwidth\u2060\ufeff".encode(),
    "line\u2028separator\u2029paragraph\u0085next".encode(),
    "tag \U000e0041\U000e0042\U000e007f hidden".encode(),
    "annotation \ufff9a\ufffab\ufffb".encode(),
    "soft\u00adhyphen \u180e".encode(),
    b'{"message":"in JSON \\u001b[31m \\u202e \\u009b \\u0000 \\r\\n \\b"}',
    b"\xff\xfe\x1b[31m",
    b"\xe2\x80 cut bidi \xe2",
    b"\x1b" * 50,
]
# Cc: C0, C1 and DEL; Cf: bidi and invisible formats; Zl, Zp: line breaks; Cs: lone surrogates.
FORBIDDEN = {"Cc", "Cf", "Zl", "Zp", "Cs"}
JOINERS = "\u200c\u200d"  # part of ordinary Persian, Hindi and emoji; they neither reorder nor command


def shown(batch: Batch, code: int = CODE, colour: bool = False) -> str:
    reader, writer = os.pipe()
    PrettySink(writer, TABLE, colour).write(batch, Classified(np.full(batch.count, code), {}))
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        return file.read().decode()


def decoded(line: bytes) -> Batch:
    batch = Decoder().decode(line + b"\n")
    assert batch is not None
    return batch


def test_the_corpus_is_large_enough() -> None:
    assert len(set(HOSTILE)) >= 20


@pytest.mark.parametrize("line", HOSTILE)
def test_no_control_reaches_the_terminal(line: bytes) -> None:
    text = shown(decoded(line))
    assert text.endswith("\n")
    assert [char for char in text[:-1] if unicodedata.category(char) in FORBIDDEN] == []


@pytest.mark.parametrize("line", HOSTILE)
def test_with_colours_the_only_escapes_are_ours(line: bytes) -> None:
    text = shown(decoded(line), colour=True)
    assert text.startswith(f"\x1b[{COLOURS['ERROR']}mERROR")
    assert (text.count("\x1b"), text.count("\x1b[0m"), text.count("\n")) == (2, 1, 1)


@settings(max_examples=200, deadline=None)
@given(
    st.text(st.characters(exclude_categories=["Cs"]))
    | st.text(st.characters(categories=["Cc", "Cf", "Zl", "Zp"]), max_size=5)
)
def test_bidi_and_controls_never_pass(text: str) -> None:
    for char in visible(text):
        assert unicodedata.category(char) not in {"Cc", "Zl", "Zp"}
        assert unicodedata.bidirectional(char) not in {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def test_ordinary_text_is_left_alone() -> None:
    text = 'GET /a?b=%20 "ünïcode" 日本語 עברית 😀👩' + JOINERS[1] + "🚒 C:\\path"
    assert visible(text) == text
    assert visible("a\tb") == "a    b"
    assert visible("\x1b[31m\u202e") == "\\x1b[31m\\u202e"


def test_a_line_a_line_with_its_verdict() -> None:
    text = shown(decoded(b'{"message":"two\\nlines"}'))
    assert text.split() == ["ERROR", "Error", "rules", "two", "lines"]
    guess = TABLE.unclassified("low_confidence", "User Action", 0.4)
    assert shown(decoded(b"x"), guess).startswith("INFO   ? User Action           none   x")


def test_every_severity_has_a_colour() -> None:
    assert set(COLOURS) == {severity.name for severity in Severity}
