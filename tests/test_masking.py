"""What varies from line to line goes, what means something stays, and no line's template depends on its neighbours."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logclf import masking
from logclf.cascade import Answer, Cascade, Novel
from logclf.rules import RuleSet
from logclf.taxonomy import DEFAULT

from .helpers import batch


class Counting:
    """A stage that answers everything and keeps what it was asked."""

    name, version = "model", "counting@1"

    def __init__(self) -> None:
        self.asked: list[str] = []

    def answer(self, novel: Sequence[Novel]) -> list[Answer | None]:
        self.asked += [each.template for each in novel]
        return [Answer("Error", 1.0, True) for _ in novel]


NO_RULES = RuleSet([])


def templates(*lines: str, together: bool = True) -> int:
    """How many templates the cascade takes the lines for, given in one batch or one after the other."""
    stage = Counting()
    cascade = Cascade(DEFAULT, NO_RULES, [stage])
    for some in [lines] if together else [(line,) for line in lines]:
        cascade.classify(batch(*(line.encode() for line in some)))
    return len(stage.asked)


APART = {
    "HTTP status": ['10.0.0.1 - - "GET / HTTP/1.1" 200 12', '10.0.0.1 - - "GET / HTTP/1.1" 500 12'],
    "status=": ["request done status=200 in 5 ms", "request done status=503 in 5 ms"],
    "response code": ["upstream response code: 200", "upstream response code: 404"],
    "exit code": ["worker exited with code 0", "worker exited with code 137"],
    "exit status": ["make: exit status 1", "make: exit status 2"],
    "negative code": ["call returned -11", "call returned -22"],
    "sign": ["rc=1 from peer", "rc=-1 from peer"],
    "errno": ["write failed, errno 28", "write failed, errno 5"],
    "signal": ["process killed by signal 9", "process killed by signal 15"],
    "error code": ["mount: error code=13", "mount: error code=2"],
}
TOGETHER = {
    "pid": ["sshd[4711]: session opened", "sshd[815]: session opened"],
    "syslog time": ["Jan  5 10:00:00 host app: ready", "Jan 15 23:59:59 host app: ready"],
    "ISO time": ["2024-05-01T10:00:00.123Z ready", "2023-11-30T01:02:03.9Z ready"],
    "epoch": ["1700000000.5 ready", "1600000000 ready".replace(" ", ".25 ")],
    "IPv4": ["connect to 10.0.0.1 timed out", "connect to 192.168.100.200 timed out"],
    "IPv6": ["connect to 2001:db8::5 timed out", "connect to fe80::a1:b2ff:fe03:4 timed out"],
    "IPv6 first": ["2001:db8::5 timed out", "2001:db8:0:0:0:0:0:a timed out"],
    "IPv6 and a colon": ["no route to 2001:db8::5: giving up", "no route to 2001:db8::a7: giving up"],
    "IPv6 in brackets": ["listen on [::1]:80", "listen on [2001:db8::f00]:8080"],
    "MAC": ["lease for 00:1b:44:11:3a:b7 ends", "lease for 02:42:ac:11:00:02 ends"],
    "UUID": ["req 550e8400-e29b-41d4-a716-446655440000 ok", "req 6BA7B810-9DAD-11D1-80B4-00C04FD430C8 ok"],
    "hex id": ["container 4f66ad9b1c2d died", "container 123456789012 died", "container 0a1b2c3d4e5f died"],
    "0x": ["fault at 0xdeadbeef in main", "fault at 0x7ffe12 in main"],
    "random id": ["job aB3xY9kQ2z done", "job z8Kp4mN1wR done"],
    "port": ["listening on port 8080", "listening on port 443"],
    "counter": ["processed 17 of 99 items", "processed 100000 of 1 items"],
    "path": ["cannot open /var/log/a.log", "cannot open /srv/www/index/b.html"],
    "quoted path": ['cannot open "/etc/x.conf"', 'cannot open "/usr/lib/y/z"'],
}


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("lines", APART.values(), ids=APART)
def test_numbers_that_mean_something_keep_lines_apart(lines: list[str], together: bool) -> None:
    assert templates(*lines, together=together) == len(lines)
    assert templates(lines[0], lines[0], together=together) == 1


@pytest.mark.parametrize("together", [True, False])
@pytest.mark.parametrize("lines", TOGETHER.values(), ids=TOGETHER)
def test_what_varies_makes_no_template(lines: list[str], together: bool) -> None:
    assert templates(*lines, together=together) == 1


def test_placeholders_can_be_read() -> None:
    line = b"10.0.0.1 GET /a/b id=550e8400-e29b-41d4-a716-446655440000 \xff"
    assert masking.readable(masking.mask([line])[0]) == "<n>.<n>.<n>.<n> GET <path> id=<uuid> �"


WORDS = [
    "550e8400-e29b-41d4-a716-446655440000",
    "fe80::1",
    "10:00:00",
    "::",
    "0x1f",
    "0x",
    "/var/log",
    "a/b/c",
    "/",
    "deadbeef1",
]
WORDS += ["a1b2c3d4z", " ", ":", "-", "x", "5", "abc", "=", "[", "\x01", "\x02", "cafe", "1.2.3.4", "é", "\r"]
LINES = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=8).map(lambda words: "".join(words).encode()),
    st.binary(max_size=60).map(lambda data: data.replace(b"\n", b"")),
    st.text(alphabet="0123456789abcdefABCDEFx:-/ g", max_size=50).map(str.encode),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(LINES, max_size=8), st.integers(1, 40))
@example([b"fe80::1 up", b"fe80::1 up"], 10)
@example([b"", b"", b"5"], 1)
def test_a_template_depends_on_its_own_line_alone(lines: list[bytes], piece: int) -> None:
    alone = [masking.mask([line])[0] for line in lines]
    assert masking.mask(lines) == alone
    assert masking.mask(lines[::-1]) == alone[::-1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(masking, "PIECE", piece)
        assert masking.mask(lines) == alone


@settings(max_examples=200, deadline=None)
@given(LINES)
def test_no_digit_is_left_and_nothing_grows(line: bytes) -> None:
    (masked,) = masking.mask([line])
    assert not set(masked) & set(masking.DIGITS)
    assert len(masked) <= len(line)
    assert masking.mask([masked]) == [masking.mask([masked])[0]]
    masking.readable(masked).encode()


@settings(max_examples=300, deadline=None)
@given(LINES, st.randoms(use_true_random=False))
@example(b"id 0x5f", random.Random(1))
@example(b"1x2 and 10x2", random.Random(1))
def test_lines_with_equal_first_level_keys_have_equal_templates(line: bytes, rng: random.Random) -> None:
    other = bytes(
        rng.choice(masking.DIGITS) if char in masking.DIGITS and rng.random() < 0.7 else char for char in line
    )
    one, two = masking.first_keys(b"\n".join((line, other)))
    assert one != two or masking.mask([line]) == masking.mask([other])
    assert not any(char in b"123456789" for char in one)


@settings(max_examples=100, deadline=None)
@given(text=st.binary(max_size=40), numbers=st.lists(st.integers(-999, 999).map(lambda n: b"%d" % n), max_size=3))
def test_keys_are_bounded_and_tell_numbers_apart(text: bytes, numbers: list[bytes]) -> None:
    for repeat in (1, 100):
        key = masking.key(text * repeat, numbers)
        assert len(key) <= masking.LONGEST_KEY
        assert key != masking.key(text * repeat, [*numbers, b"7"])
        assert key != masking.key(text * repeat + b"x", numbers)


@pytest.mark.parametrize(
    ("text", "number"), [(b"code -11", b"-11"), (b"404", b"404"), (b"-5", b"-5"), (b"a", b""), (b"", b"")]
)
def test_number_before_an_offset(text: bytes, number: bytes) -> None:
    assert masking.number_before(text, len(text)) == number


@pytest.mark.parametrize("text", ["f", "0", "a1", ":", "1:", "/", "/a", "-", "0x", "12345678-", " ", "\xff"])
def test_hostile_lines_of_a_megabyte(text: str) -> None:
    """Seconds, not hours: the test's time limit is the assertion."""
    line = (text * (1 << 20))[: 1 << 20].encode("latin-1")
    first, second = masking.mask([line, b"job 5"])
    assert len(first) <= len(line)
    assert second == b"job \x01"
