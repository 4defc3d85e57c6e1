"""Every line of output is one JSON object that the json module reads back to what came in, and a verdict."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logclf.batch import Batch, Classified, VerdictTable, line_starts
from logclf.decoding import Decoder
from logclf.encoding import Encoder, escape
from logclf.taxonomy import DEFAULT, Severity

from .test_decoding import LINES, OBJECTS, dumped

EXAMPLES = settings(max_examples=120, deadline=None)
TABLE = VerdictTable(DEFAULT)
RULE = TABLE.rule("sshd.failed", "Security Alert", Severity.WARN)
MODEL = TABLE.answer("Error", 0.871, "model", "default-1", cached=True)
NOTHING = TABLE.unclassified("low_confidence", "Error", 0.42)


def encoded(
    batch: Batch | None,
    codes: list[int] | int = RULE,
    fields: dict[int, dict[str, object]] | None = None,
    **options: str,
) -> list[bytes]:
    assert batch is not None
    chosen = [codes] * batch.count if isinstance(codes, int) else codes
    data = Encoder(TABLE, **options).encode(batch, Classified(np.array(chosen), fields or {}))
    assert data.endswith(b"\n")
    return data[:-1].split(b"\n")


def decode(*lines: bytes, path: str | None = None) -> Batch:
    batch = Decoder(path=path).decode(b"\n".join(lines) + b"\n")
    assert batch is not None
    return batch


def only(line: bytes, **options: str) -> dict[str, object]:
    (text,) = encoded(decode(line), **options)
    result: dict[str, object] = json.loads(text)
    return result


CHARACTERS = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\n"), max_size=20),
    st.text(st.sampled_from('"\\\t\x00\x01\x1b\x1f\x7f\x85\u2028\u2029é😀{}:,/<'), max_size=10),
)


@EXAMPLES
@given(lines=st.lists(CHARACTERS, min_size=1, max_size=6), path=st.none() | CHARACTERS)
@example(lines=["", "\x00", '"', "\\"], path='/a"b\\c\x01')
def test_messages_come_back_from_json(lines: list[str], path: str | None) -> None:
    text = "\n".join(lines).encode()
    found = [json.loads(line) for line in encoded(Batch(text, line_starts(text), path=path))]
    assert [event["message"] for event in found] == lines
    assert [event.get("file") for event in found] == [path] * len(lines)
    assert all(
        list(event) == (["message", "logclf"] if path is None else ["message", "file", "logclf"]) for event in found
    )


@EXAMPLES
@given(lines=st.lists(CHARACTERS, min_size=1, max_size=6))
def test_both_ways_of_escaping_agree(lines: list[str]) -> None:
    quick, thorough = "\n".join(lines), "\n".join([*lines, "\x01"])
    pieces = [json.loads(b'"' + piece + b'"') for piece in escape(quick.encode())]
    assert pieces == lines == [json.loads(b'"' + piece + b'"') for piece in escape(thorough.encode())][:-1]


@EXAMPLES
@given(
    event=OBJECTS,
    ascii_only=st.booleans(),
    tight=st.booleans(),
    older=st.none() | st.just({"label": "x"}),
    first=st.booleans(),
)
@example(event={}, ascii_only=True, tight=True, older=None, first=True)
@example(event={"logclf": None}, ascii_only=True, tight=True, older=None, first=True)
@example(event={"a": "logclf"}, ascii_only=True, tight=False, older=None, first=True)
def test_an_event_keeps_its_members_and_bytes_and_gains_one(
    event: dict[str, object], ascii_only: bool, tight: bool, older: object, first: bool
) -> None:
    if older is not None:
        event = {"logclf": older} | event if first else event | {"logclf": older}
    line = dumped(event, ascii_only, tight)
    (text,) = encoded(decode(line))
    pairs = json.loads(text, object_pairs_hook=list) if event else [["logclf", 0]]
    assert [name for name, _ in pairs].count("logclf") == 1
    assert pairs[-1][0] == "logclf"
    found = json.loads(text)
    verdict = found.pop("logclf")
    assert verdict["label"] == "Security Alert"
    assert found == {name: value for name, value in event.items() if name != "logclf"}
    if event and "logclf" not in event:
        assert text.startswith(line[:-1] + b","), "its own bytes come first"


@pytest.mark.parametrize(
    "text",
    [b"{}", b"{ }", b"{       }", b"{\t\t\t\t\t\t}", b"{}   ", b'{"logclf":1}', b' {"logclf" : {"a":[1]} } '.strip()],
)
def test_an_event_without_other_members(text: bytes) -> None:
    assert list(only(text)) == ["logclf"]


@pytest.mark.parametrize(
    "text",
    [
        b'{"a":1}',
        b'{"":1}',
        b'{"":""}',
        b'{ "a" : 1 }',
        b'{"a":1 }  ',
        b'{"a":{}}',
        b'{"a":[{ }]\t}',
        b'{"a":"logclf"}',
    ],
)
def test_blanks_and_small_events(text: bytes) -> None:
    found = only(text)
    del found["logclf"]
    assert found == json.loads(text)


def test_numbers_keep_their_digits_when_an_older_verdict_goes() -> None:
    (text,) = encoded(decode(b'{"n":1.50,"logclf":{"label":"old"},"big":123456789012345678901234567890}'))
    assert text.startswith(b'{"n":1.50,"big":123456789012345678901234567890,"logclf":{"label":"Security Alert"')


def test_events_and_text_in_one_block() -> None:
    lines = encoded(
        decode(b"plain", b'{"message":"x"}', b"{}", b'sa"y', b"{broken", path="/a.log"),
        [RULE, MODEL, RULE, NOTHING, MODEL],
    )
    found = [json.loads(line) for line in lines]
    stages = [event.pop("logclf")["stage"] for event in found]
    assert stages == ["rules", "model", "rules", "none", "model"]
    assert found == [
        {"message": "plain", "file": "/a.log"},
        {"message": "x"},
        {},
        {"message": 'sa"y', "file": "/a.log"},
        {"message": "{broken", "file": "/a.log"},
    ]


def test_text_whose_message_or_file_speaks_of_the_key() -> None:
    batch = decode(b'say "logclf"', b'{"a":1}', path="logclf")
    assert json.loads(encoded(batch)[0])["message"] == 'say "logclf"'


@EXAMPLES
@given(lines=st.lists(LINES, min_size=1, max_size=8), path=st.sampled_from([None, "/a.log"]))
def test_whatever_is_decoded_is_encoded(lines: list[bytes], path: str | None) -> None:
    for line in encoded(decode(*lines, path=path)):
        assert json.loads(line)["logclf"]["rule"] == "sshd.failed"


def test_members_of_a_verdict() -> None:
    rule, model, nothing = (
        json.loads(line)["logclf"] for line in encoded(decode(b"a", b"b", b"c"), [RULE, MODEL, NOTHING])
    )
    assert rule == {
        "label": "Security Alert",
        "severity": "WARN",
        "stage": "rules",
        "confidence": 1.0,
        "rule": "sshd.failed",
    }
    assert model == {"label": "Error", "severity": "ERROR", "stage": "model", "confidence": 0.87, "cached": True}
    assert nothing == {
        "label": "Unclassified",
        "severity": "INFO",
        "stage": "none",
        "confidence": 0.42,
        "reason": "low_confidence",
        "guess": "Error",
    }


def test_the_severity_of_the_line_itself_wins() -> None:
    found = encoded(decode(b"a", b"b"), [RULE, RULE + 6])
    assert [json.loads(line)["logclf"]["severity"] for line in found] == ["WARN", "FATAL"]


def test_fields_and_flaws_join_the_verdict_of_their_line_only() -> None:
    batch = decode(b"caf\xe9", b"fine", b'{"a":1}', b"{}")
    found = [
        json.loads(line)["logclf"]
        for line in encoded(batch, fields={1: {"user": 'r"oot', "n": 7}, 2: {"ip": "::1"}, 3: {}})
    ]
    assert [set(verdict) - {"label", "severity", "stage", "confidence", "rule"} for verdict in found] == [
        {"invalid_utf8", "raw_bytes"},
        {"fields"},
        {"fields"},
        set(),
    ]
    assert found[1]["fields"] == {"user": 'r"oot', "n": 7}
    assert found[0]["raw_bytes"] == 4


def test_fields_on_an_empty_event() -> None:
    (text,) = encoded(decode(b"{}"), fields={0: {"user": "root"}})
    assert json.loads(text)["logclf"]["fields"] == {"user": "root"}


def test_invalid_utf8_is_replaced_and_flagged_in_text_and_events() -> None:
    lines = encoded(decode(b"caf\xe9", b'{"message":"\xff","x":"\xfe"}'))
    text, event = (json.loads(line) for line in lines)
    assert text["message"] == "caf�"
    assert event["message"] == event["x"] == "�"
    assert text["logclf"]["invalid_utf8"] is event["logclf"]["invalid_utf8"] is True


@pytest.mark.parametrize("key", ["verdict", "a b", 'q"uote', "ключ", "message_class"])
def test_another_output_key(key: str) -> None:
    older = json.dumps({"a": 1, key: "old", "logclf": "kept"}, ensure_ascii=False).encode()
    text, event = encoded(decode(b"x", older), key=key)
    assert list(json.loads(text)) == ["message", key]
    found = json.loads(event)
    assert (found["a"], found["logclf"], found[key]["label"]) == (1, "kept", "Security Alert")
    assert len(json.loads(event, object_pairs_hook=list)) == 3


def test_tails_of_many_files_stay_apart() -> None:
    encoder = Encoder(TABLE)
    for number in [*range(600), 0, 1]:
        batch = Batch(b"x", np.zeros(1, np.int64), path=f"/{number}.log")
        assert json.loads(encoder.encode(batch, Classified(np.array([RULE]), {})))["file"] == f"/{number}.log"
    assert len(encoder._tails) <= 256
