"""Bytes become the same batches however they arrive, and nothing that arrives is lost or invented."""

from __future__ import annotations

import json
from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logclf.batch import Batch
from logclf.decoding import ALL_FORMS, EVENT_FORMS, MESSAGE_KEYS, TEXT, Block, Decoder, Framer
from logclf.errors import ConfigError
from logclf.events import event_level
from logclf.taxonomy import LEVELS, Severity

EXAMPLES = settings(max_examples=120, deadline=None)
LIMIT = 12

STREAMS = st.one_of(
    st.binary(max_size=60),
    st.lists(
        st.sampled_from([b"\n", b"\r\n", b"\r", b"a", b"\x00", b"\xff", "é".encode(), b"x" * LIMIT, b"y" * 30]),
        max_size=20,
    ).map(b"".join),
)


@st.composite
def splits(draw: st.DrawFn, streams: st.SearchStrategy[bytes]) -> tuple[bytes, list[bytes]]:
    """A stream, and the same stream in chunks."""
    stream = draw(streams)
    cuts = sorted(draw(st.lists(st.integers(0, len(stream)), max_size=8)))
    edges = [0, *cuts, len(stream)]
    return stream, [stream[start:end] for start, end in pairwise(edges)]


def framed(framer: Framer, chunks: list[bytes]) -> tuple[list[bytes], dict[int, int]]:
    lines: list[bytes] = []
    cut: dict[int, int] = {}
    blocks: list[Block | None] = [*map(framer.feed, chunks), framer.flush()]
    for block in blocks:
        if block is not None:
            cut |= {len(lines) + number: size for number, size in block.cut.items()}
            lines += block.text.split(b"\n")
    return lines, cut


@EXAMPLES
@given(splits(STREAMS))
@example((b"a\nb", [b"a", b"", b"\n", b"b"]))
@example((b"x" * 40 + b"\n", [b"x" * 20, b"x" * 20, b"\n"]))
def test_framing_is_the_same_under_any_split(case: tuple[bytes, list[bytes]]) -> None:
    stream, chunks = case
    whole = stream.split(b"\n")
    whole = whole if whole[-1] else whole[:-1]
    lines, cut = framed(Framer(LIMIT), chunks)
    assert lines == [line[:LIMIT] for line in whole]
    assert cut == {number: len(line) for number, line in enumerate(whole) if len(line) > LIMIT}


@EXAMPLES
@given(splits(STREAMS))
def test_pending_is_what_follows_the_last_newline(case: tuple[bytes, list[bytes]]) -> None:
    framer, seen = Framer(LIMIT), b""
    for chunk in case[1]:
        framer.feed(chunk)
        seen += chunk
        assert framer.pending == len(seen) - (seen.rfind(b"\n") + 1)
    framer.flush()
    assert framer.pending == 0


def test_an_endless_line_is_held_within_the_limit() -> None:
    framer = Framer(100)
    for _ in range(1000):
        assert framer.feed(b"x" * 50) is None
    assert framer._held == 100
    assert framer.feed(b"\nnext\n") == Block(b"x" * 100 + b"\nnext", {0: 50_000})


def decoded(decoder: Decoder, *chunks: bytes) -> list[Batch]:
    found = [*map(decoder.decode, chunks), decoder.flush()]
    return [batch for batch in found if batch is not None]


def rows(batches: list[Batch]) -> list[tuple[bytes, bytes | None, int, dict[str, object]]]:
    """Every line of some batches: message, event, level, flaws."""
    return [
        (
            batch.line(number),
            batch.events[number] if batch.events else None,
            int(batch.levels[number]) if batch.levels is not None else 0,
            batch.flaws.get(number, {}),
        )
        for batch in batches
        for number in range(batch.count)
    ]


def messages(*chunks: bytes, **options: object) -> list[bytes]:
    return [row[0] for row in rows(decoded(Decoder(**options), *chunks))]  # type: ignore[arg-type]


KEYS = st.one_of(st.sampled_from([*MESSAGE_KEYS, "level", "a", "", "logclf"]), st.text(max_size=5))
SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=12),
    st.sampled_from(["two\nlines", "tab\t", 'quo"te', "back\\slash", "\u2028", "\x00", "😀", "cr\r", "end\n"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3), max_leaves=6
)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=5)


def dumped(value: object, ascii_only: bool, tight: bool) -> bytes:
    return json.dumps(value, ensure_ascii=ascii_only, separators=(",", ":") if tight else None).encode()


ENCODED = st.builds(dumped, OBJECTS, st.booleans(), st.booleans())


def expected_message(event: bytes) -> str:
    """The message as the json module sees it."""
    members = json.loads(event)
    value = next(
        (members[key] for key in MESSAGE_KEYS if isinstance(members.get(key), str | int | float | list | dict)), None
    )
    return event.decode() if value is None else value if isinstance(value, str) else json.dumps(value)


@EXAMPLES
@given(events=st.lists(ENCODED, min_size=1, max_size=6), end=st.sampled_from([b"\n", b"\r\n", b""]))
def test_events_keep_their_bytes_and_show_the_message_that_json_finds(events: list[bytes], end: bytes) -> None:
    found = rows(decoded(Decoder(), (end or b"\n").join(events) + end))
    assert [row[1] for row in found] == events
    for message, event, _, flaws in found:
        want = expected_message(event or b"")
        if json.dumps(want) != json.dumps(message.decode()):
            try:  # a message that is no string is its JSON text, in whatever spacing
                same = json.loads(want) == json.loads(message)
            except ValueError:
                same = want.rstrip("\r\n").replace("\n", " ") == message.decode()
            assert same, (want, message)
        assert not flaws


LINES = st.one_of(
    ENCODED,
    st.sampled_from(
        [
            b"plain text",
            b"",
            b"{broken",
            b"{}",
            b"{   }",
            b'{"a":1} {"b":2}',
            b'{"a":1}{"b":2}',
            b'{"message":',
            b'{"a":1}}',
            b'{"m":[',
            b'{"a":1}  ',
            b' {"a":1}',
            b"\x00",
            b"caf\xe9",
            "naïve".encode(),
            b'{"message":"caf\xe9"}',
            b"2024-05-01T10:00:00.000000001Z stdout F whole",
            b"2024-05-01T10:00:00.000000001Z stderr F other",
            b"z" * 150,
        ]
    ),
)


@EXAMPLES
@given(lines=st.lists(LINES, min_size=1, max_size=8), cuts=st.lists(st.integers(0, 400), max_size=5))
@example(lines=[b'{"message":', b'{"a":1}}'], cuts=[])
@example(lines=[b'{"message":', b'{"a":1}}{"b":2}'], cuts=[])
@example(lines=[b'{"a":1}{"b":2}', b"{"], cuts=[])
def test_mixed_blocks_keep_order_and_count_under_any_split(lines: list[bytes], cuts: list[int]) -> None:
    stream = b"\n".join(lines) + b"\n"
    edges = [0, *sorted(cuts), max(len(stream), *cuts, 0)]
    whole, pieces = Decoder(max_line=100), Decoder(max_line=100)
    found = rows(decoded(whole, stream))
    assert rows(decoded(pieces, *[stream[a:b] for a, b in pairwise(edges)])) == found
    assert whole.counts == pieces.counts
    assert len(found) == len(lines) == whole.counts.lines
    for line, (message, event, _, flaws) in zip(lines, found, strict=True):
        if b" F " in line:
            assert message == line.rpartition(b" ")[2]
        elif event is not None:
            assert json.loads(event) == json.loads(line.decode("utf-8", "replace"))
        else:
            clean = line[:100].decode("utf-8", "replace").encode()
            assert message == clean or ("truncated" in flaws and clean.startswith(message))


def test_broken_json_goes_on_as_text_and_is_counted() -> None:
    decoder = Decoder()
    bad = [b"{", b'{"a":1}{"b":2}', b'{"a":NaN}', b'{"a":"\\ud800"}', b'{"a":1,}', b"{'a':1}"]
    found = rows(decoded(decoder, b"\n".join(bad) + b"\n"))
    assert [(message, event) for message, event, *_ in found] == [(line, None) for line in bad]
    assert decoder.counts.broken_json == len(bad)


def test_an_event_nested_deeper_than_the_stack_is_text() -> None:
    decoder = Decoder()
    deep = b'{"a":' + b"[" * 50_000 + b"]" * 50_000 + b"}"
    found = rows(decoded(decoder, deep + b'\n{"message":"x"}\n'))
    assert [row[0] for row in found] == [deep, b"x"]
    assert decoder.counts.broken_json == 1


def test_lines_over_the_limit_are_cut_and_say_how_long_they_were() -> None:
    decoder = Decoder(max_line=10)
    found = rows(decoded(decoder, b"short\n" + b"x" * 25 + b"\n" + b"y" * 11))
    assert [(row[0], row[3]) for row in found] == [
        (b"short", {}),
        (b"x" * 10, {"truncated": True, "raw_bytes": 25}),
        (b"y" * 10, {"truncated": True, "raw_bytes": 11}),
    ]
    assert decoder.counts.truncated == 2


def test_a_cut_inside_a_character_is_not_called_invalid() -> None:
    decoder = Decoder(max_line=3)
    assert rows(decoded(decoder, "ééé\n".encode())) == [("é".encode(), None, 0, {"truncated": True, "raw_bytes": 6})]
    assert decoder.counts.invalid_utf8 == 0


def test_invalid_utf8_is_replaced_flagged_and_counted() -> None:
    decoder = Decoder()
    found = rows(decoded(decoder, b"caf\xe9 ol\xe9\nfine\n\xed\xa0\x80\n"))
    assert [row[0].decode() for row in found] == ["caf� ol�", "fine", "���"]
    assert [row[3] for row in found] == [
        {"invalid_utf8": True, "raw_bytes": 8},
        {},
        {"invalid_utf8": True, "raw_bytes": 3},
    ]
    assert decoder.counts.invalid_utf8 == 2


def test_nul_and_line_ends() -> None:
    assert messages(b"a\x00b\r\n\r\nc\rd\r\nlast\r") == [b"a\x00b", b"", b"c\rd", b"last"]


def test_no_bytes_no_batch() -> None:
    assert decoded(Decoder(), b"") == []
    assert messages(b"\n") == [b""]


def test_message_keys_in_their_order() -> None:
    event = b'{"MESSAGE":"E","body":"D","msg":"C","log":"B","message":"A"}\n'
    assert messages(event) == [b"A"]
    assert messages(b'{"body":"D","msg":"C"}\n') == [b"C"]
    assert messages(b'{"message":null,"log":"B"}\n') == [b"B"]
    assert messages(b'{"other":"x"}\n') == [b'{"other":"x"}']
    assert messages(event, message_keys=["text", "body"]) == [b"D"]
    assert messages(b'{"text":{"b":[1]},"body":"D"}\n', message_keys=["text", "body"]) == [b'{"b":[1]}']
    assert messages(b'{"a":"x"}\n', message_keys=["a", "a"]) == [b"x"]
    assert messages(b'{"a.b c":"x"}\n', message_keys=["a.b c"]) == [b"x"]


@pytest.mark.parametrize("key", ['q"', "back\\slash", "\n"])
def test_a_key_that_cannot_be_looked_for_is_refused(key: str) -> None:
    with pytest.raises(ConfigError, match="message keys"):
        Decoder(message_keys=[key])


def test_line_breaks_within_a_message_become_blanks() -> None:
    assert messages(b'{"message":"a\\nb\\n"}\n{"message":"c\\r\\n"}\n') == [b"a b", b"c"]


EVENT_LEVELS = {
    '{"level":"warning"}': "WARN",
    '{"level":" ERROR "}': "ERROR",
    '{"severity":"NOTICE"}': "INFO",
    '{"levelname":"CRITICAL"}': "FATAL",
    '{"level":30}': "INFO",
    '{"level":"50"}': "ERROR",
    '{"level":60}': "FATAL",
    '{"level":10}': "TRACE",
    '{"PRIORITY":"3"}': "ERROR",
    '{"PRIORITY":0}': "FATAL",
    '{"PRIORITY":7}': "DEBUG",
    '{"level":null,"severityText":"debug"}': "DEBUG",
    '{"level":true}': None,
    '{"level":-1}': None,
    '{"level":8}': None,
    '{"level":99999999999999999999999}': None,
    '{"level":30.5}': None,
    '{"level":["error"]}': None,
    '{"level":"²"}': None,
    '{"level":"whatever"}': None,
    '{"message":"ERROR"}': None,
}


@pytest.mark.parametrize(("event", "severity"), EVENT_LEVELS.items())
def test_the_level_that_an_event_states(event: str, severity: str | None) -> None:
    for chunk in (event + "\n", event + "\ntext\n"):  # a block of events, and a mixed one
        assert rows(decoded(Decoder(), chunk.encode()))[0][2] == (LEVELS[Severity[severity]] if severity else 0)


@given(st.one_of(SCALARS, VALUES))
@EXAMPLES
def test_any_level_has_a_meaning_or_none(value: object) -> None:
    assert event_level(value) in range(7)


def test_a_level_key_may_be_the_message_key() -> None:
    found = rows(decoded(Decoder(message_keys=["level"]), b'{"level":"error"}\n'))
    assert [(row[0], row[2]) for row in found] == [(b"error", LEVELS[Severity.ERROR])]


TIME = b"2024-05-01T10:00:00.000000001Z"
LATER = b"2024-05-01T10:00:09.000000001Z"


def cri(message: bytes, tag: bytes = b"F", stream: bytes = b"stdout", time: bytes = TIME) -> bytes:
    return b" ".join([time, stream, tag, message]) + b"\n"


def test_cri_lines_become_events() -> None:
    (row,) = rows(decoded(Decoder(path="/var/log/pods/a.log"), cri(b'say "hi"')))
    assert row[0] == b'say "hi"'
    assert json.loads(row[1] or b"") == {
        "message": 'say "hi"',
        "stream": "stdout",
        "time": TIME.decode(),
        "file": "/var/log/pods/a.log",
    }


def test_cri_pieces_are_joined_by_stream() -> None:
    lines = [
        cri(b"one ", b"P"),
        cri(b"err", stream=b"stderr"),
        cri(b"two ", b"P", time=LATER),
        cri(b"three"),
        cri(b"four"),
    ]
    found = rows(decoded(Decoder(), b"".join(lines)))
    assert [row[0] for row in found] == [b"err", b"one two three", b"four"]
    assert json.loads(found[1][1] or b"")["time"] == TIME.decode()


PIECES = st.tuples(
    st.sampled_from([b"stdout", b"stderr"]),
    st.sampled_from([b"P", b"P", b"F"]),
    st.sampled_from([b"", b"a", b"bc ", b"\xff", b"d\r"]),
)


@EXAMPLES
@given(pieces=st.lists(PIECES, max_size=10), cuts=st.lists(st.integers(0, 300), max_size=4), newline=st.booleans())
@example(pieces=[(b"stdout", b"P", b"a"), (b"stdout", b"F", b"a")], cuts=[], newline=False)
@example(pieces=[(b"stdout", b"P", b"a")], cuts=[], newline=False)
def test_cri_joining_under_any_split(pieces: list[tuple[bytes, bytes, bytes]], cuts: list[int], newline: bool) -> None:
    stream = b"".join(cri(text, tag, name) for name, tag, text in pieces)
    stream = stream if newline else stream.removesuffix(b"\n")
    want: list[bytes] = []
    held: dict[bytes, bytes] = {}
    for name, tag, text in pieces:
        held[name] = held.get(name, b"") + text.removesuffix(b"\r").replace(b"\xff", "�".encode())
        if tag == b"F":
            want.append(held.pop(name))
    edges = [0, *sorted(cuts), max(len(stream), *cuts, 0)]
    decoder = Decoder()
    found = rows(decoded(decoder, *[stream[a:b] for a, b in pairwise(edges)]))
    assert [row[0] for row in found] == want + list(held.values())
    assert decoder.pending == 0


def test_what_is_no_cri_is_text() -> None:
    lines = [b"2024-05-01T10:00:00Z stdout Finished the job", b"x stdout F y", b"now stdout is shut", TIME + b" stdout"]
    assert messages(b"\n".join(lines) + b"\n") == lines


def test_cri_is_left_alone_where_it_is_not_asked_for() -> None:
    line = cri(b"x", b"P")
    assert messages(line, forms=EVENT_FORMS) == [line[:-1]]


def test_json_is_left_alone_where_it_is_not_asked_for() -> None:
    (row,) = rows(decoded(Decoder(forms=frozenset((TEXT,))), b'{"message":"x"}\n'))
    assert row[:2] == (b'{"message":"x"}', None)


def test_a_joined_line_is_cut_at_the_limit_and_flagged() -> None:
    decoder = Decoder(max_line=60)
    for _ in range(50):
        assert decoder.decode(cri(b"0123456789", b"P")) is None
    (row,) = rows(decoded(decoder, cri(b"end")))
    assert row[0] == b"0123456789" * 6
    assert row[3] == {"truncated": True, "raw_bytes": 503}
    assert decoder.counts.truncated == 1


def test_flaws_stay_with_their_lines_when_pieces_are_joined() -> None:
    found = rows(decoded(Decoder(), cri(b"a\xff", b"P") + b"plain\n" + cri(b"b") + b"bad \xff\n"))
    assert [row[0].decode() for row in found] == ["plain", "a�b", "bad �"]
    assert ["invalid_utf8" in row[3] for row in found] == [False, True, True]


PARTS = st.sampled_from(
    [
        cri(b"piece", b"P"),
        cri(b"piece\r", b"P"),
        cri(b"b\xff\xfe", b"P", b"stderr"),
        cri(b"end"),
        cri(b"end", stream=b"stderr"),
        b"text\r\n",
        b"caf\xe9\n",
        b'{"message":"x"}\n',
        b"{broken\n",
        b"w" * 200 + b"\n",
        cri(b"v" * 200, b"P"),
    ]
)


@EXAMPLES
@given(parts=st.lists(PARTS, max_size=10), left=st.sampled_from([b"", b"no newline yet"]), size=st.integers(1, 90))
@example(parts=[cri(b"piece\r", b"P"), b'{"message":"x"}\n'], left=b"", size=1000)
def test_pending_bytes_are_exact(parts: list[bytes], left: bytes, size: int) -> None:
    """A restart reads again from before the first piece that no batch holds yet, to the byte."""
    held: set[bytes] = set()
    want = 0
    for part in parts:
        words = part.split(b" ")
        if part.startswith(TIME):
            held = held | {words[1]} if words[2] == b"P" else held - {words[1]}
        want = want + len(part) if held else 0
    decoder = Decoder(max_line=100)
    stream = b"".join(parts) + left
    for start in range(0, len(stream), size):
        decoder.decode(stream[start : start + size])
    assert decoder.pending == want + len(left)


def test_all_forms_by_default() -> None:
    assert frozenset(("text", "json", "cri")) == ALL_FORMS


def test_a_path_that_is_no_utf8_can_be_written() -> None:
    (batch,) = decoded(Decoder(path="/x/caf\udce9.log"), b"x\n")
    assert batch.path == "/x/caf\\xe9.log"


def test_json_inside_cri_is_about_its_message() -> None:
    inner = b'{"message":"disk is on fire","level":"fatal"}'
    broken = b'{"message":'
    lines = [b"2024-05-01T10:00:00.123456789Z stdout F " + text for text in (inner, broken, b"plain")]
    batch = Decoder().decode(b"\n".join(lines) + b"\n")
    assert batch is not None
    assert batch.text.split(b"\n") == [b"disk is on fire", broken, b"plain"]
    assert batch.levels is not None
    assert batch.levels.tolist() == [6, 0, 0]
    assert batch.events is not None
    assert [json.loads(event or b"")["message"].encode() for event in batch.events] == [inner, broken, b"plain"]
