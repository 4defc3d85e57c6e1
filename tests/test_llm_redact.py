"""No secret of a known kind survives, and what is none stays as it is."""

from __future__ import annotations

import base64
import json
import string
import time
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logclf import masking
from logclf.errors import ConfigError
from logclf.llm.calls import Question
from logclf.llm.checkdigits import LENGTHS, account_length, is_card, luhn
from logclf.llm.redact import HARMLESS, MASK, Redactor
from logclf.topology import build_rules

REDACTOR = Redactor()
ALNUM = string.ascii_letters + string.digits
URLSAFE = ALNUM + "-_"


def some(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most)


def with_check_digit(digits: str) -> str:
    return next(digits + last for last in string.digits if luhn(digits + last))


def iban(country: str, rest: str) -> str:
    turned = "".join(str(int(char, 36)) for char in f"{rest}{country}00")
    return f"{country}{98 - int(turned) % 97:02}{rest}"


def jwt(parts: tuple[dict[str, str], str]) -> str:
    head, signature = parts
    coded = [
        base64.urlsafe_b64encode(json.dumps(part).encode()).decode().rstrip("=")
        for part in ({"alg": "HS256", "typ": "JWT"}, {"sub": "1", **head})
    ]
    return ".".join([*coded, signature])


CARDS = st.one_of(
    some(string.digits, 14, 14).map(lambda rest: with_check_digit("4" + rest)),
    some(string.digits, 13, 13).map(lambda rest: with_check_digit("52" + rest)),
    some(string.digits, 12, 12).map(lambda rest: with_check_digit("37" + rest)),
    some(string.digits, 11, 11).map(lambda rest: with_check_digit("6011" + rest)),
)
CARDS_BY_FOURS = (
    some(string.digits, 14, 14)
    .map(lambda rest: with_check_digit("4" + rest))
    .map(lambda digits: (digits[:4], digits[4:8], digits[8:12], digits[12:]))
)
IBANS = st.sampled_from(sorted(LENGTHS)).flatmap(
    lambda country: some(
        string.digits + string.ascii_uppercase, int(LENGTHS[country]) - 4, int(LENGTHS[country]) - 4
    ).map(lambda rest: iban(country, rest))
)
# A password of any characters but those that end it where it stands; one that is no word said of passwords.
PASSWORD = some(ALNUM + "!#$%*+-./:?@^_~|=äпа", 8, 24).filter(
    lambda text: (
        any(map(str.isalnum, text)) and "://" not in text and text.lower().strip("[]().:!*").encode() not in HARMLESS
    )
)
PLAIN = some(ALNUM, 6, 20).map(lambda text: f"q7{text}Z")
KEY = some(ALNUM + "+/", 20, 44).map(lambda text: f"k9{text}")

SHAPES: dict[str, st.SearchStrategy[str]] = {
    "aws": st.builds(
        "{}{}".format, st.sampled_from(["AKIA", "ASIA"]), some(string.ascii_uppercase + string.digits, 16, 16)
    ),
    "github": st.builds("gh{}_{}".format, st.sampled_from("pousr"), some(ALNUM, 36, 36)),
    "github_pat": some(ALNUM, 22, 22).map(lambda text: f"github_pat_{text}_{text}"),
    "gitlab": some(URLSAFE, 20, 20).map("glpat-{}".format),
    "slack": st.builds(
        "xox{}-{}-{}".format, st.sampled_from("abprs"), some(string.digits, 10, 12), some(ALNUM, 12, 24)
    ),
    "slack hook": some(ALNUM, 8, 24).map("https://hooks.slack.com/services/T0000/B0000/{}".format),
    "jwt": st.tuples(st.dictionaries(some(ALNUM, 1, 5), some(ALNUM, 0, 9), max_size=3), some(URLSAFE, 43, 43)).map(jwt),
    "google": some(URLSAFE, 35, 35).map("AIza{}".format),
    "stripe": some(ALNUM, 24, 24).map("sk_live_{}".format),
    "private key": some(ALNUM + "+/=", 20, 90).map(
        lambda text: f"-----BEGIN RSA PRIVATE KEY-----\\n{text}\\n-----END RSA PRIVATE KEY-----"
    ),
    "open key": some(ALNUM + "+/=", 20, 90).map("-----BEGIN OPENSSH PRIVATE KEY-----\n{}".format),
    "card": CARDS,
    "card in fours": CARDS_BY_FOURS.map(" ".join),
    "card with dashes": CARDS_BY_FOURS.map("-".join),
    "iban": IBANS,
    "iban in fours": IBANS.map(lambda text: " ".join(text[at : at + 4] for at in range(0, len(text), 4))),
}

PLACES: dict[str, tuple[str, st.SearchStrategy[str]]] = {
    "password=": ("login user=bob password={} from host", PLAIN),
    "in json": ('{{"user":"bob","password":"{}","ok":false}}', PASSWORD),
    "in json within json": (r'{{"body":"{{\"api_key\":\"{}\",\"n\":1}}"}}', PASSWORD),
    "in a yaml dump": ("secret: {}", PLAIN),
    "with blanks": ("DB_PASSWORD = '{}' and more", PASSWORD.map(lambda text: f"{text} {text}")),
    "in a list": ("Config(host=a, passwd={}, port=1)", PLAIN),
    "before another": ("password={},token=abc", PASSWORD.filter(lambda text: "|" not in text)),
    "in a query": (
        "GET /login?user=bob&token={}&x=1 HTTP/1.1",
        KEY.map(lambda text: text.replace("/", "").replace("+", "")),
    ),
    "percent encoded": ("body=password%3D{}%26x", PLAIN),
    "xml": ("<Password>{}</Password>", PLAIN),
    "ruby": ('"password"=>"{}"', PASSWORD),
    "api key": ("x-api-key: {}", KEY),
    "aws secret": ("aws_secret_access_key={}", KEY),
    "account key": ("AccountName=a;AccountKey={}==;EndpointSuffix=b", KEY),
    "token": ("refresh_token: {}", KEY),
    "bearer": ("Authorization: Bearer {}", KEY),
    "bearer in json": ('{{"authorization":"Bearer {}","status":500}}', KEY),
    "bearer alone": ("curl sent Bearer {} to host", KEY),
    "basic": ("authorization=Basic {}", PLAIN.map(lambda text: base64.b64encode(text.encode()).decode())),
    "digest": ('Authorization: Digest username="bob", response="{}"', KEY),
    "cookie": ("Cookie: lang=en; sid={}; theme=dark", PLAIN),
    "url": ("cannot connect to postgres://bob:{}@db.internal:5432/shop", PASSWORD.filter(lambda text: "/" not in text)),
    "url without user": ("redis://:{}@cache:6379/0", PLAIN),
    "go": ("dial bob:{}@tcp(10.0.0.5:3306)/shop", PLAIN),
    "option": ("exec: mysql --user bob --password {} shop", PLAIN),
    "sql": ("CREATE USER bob IDENTIFIED BY '{}'", PASSWORD),
}


@pytest.mark.parametrize("kind", sorted(SHAPES))
def test_no_secret_that_has_a_shape_survives(kind: str) -> None:
    @settings(max_examples=60, deadline=None)
    @given(SHAPES[kind], st.sampled_from(["{}", "got {} from bob", '{{"x":"{}"}}', "key={}, next", "({})", "2024 {}"]))
    def check(secret: str, line: str) -> None:
        masked = REDACTOR.mask(line.format(secret))
        assert secret not in masked
        assert MASK in masked
        assert not any(piece in masked for piece in secret.split("\\n")[1:2] if len(piece) > 8)

    check()


@pytest.mark.parametrize("kind", sorted(PLACES))
def test_no_secret_that_a_name_gives_away_survives(kind: str) -> None:
    line, values = PLACES[kind]

    @settings(max_examples=60, deadline=None)
    @given(values)
    def check(secret: str) -> None:
        masked = REDACTOR.mask(line.format(secret))
        assert secret not in masked
        assert MASK in masked
        assert masked.startswith(line.split("{}")[0].replace("{{", "{").split(":")[0].split("=")[0][:4])

    check()


@pytest.mark.parametrize("kind", sorted(PLACES))
def test_what_stands_around_a_secret_stays(kind: str) -> None:
    line = PLACES[kind][0]
    secret = "k9Xw3Vtz8QpLm2RsT7"
    if kind in ("digest", "cookie", "before another", "bearer in json"):  # more than the secret goes
        return
    before, after = (part.replace("{{", "{").replace("}}", "}") for part in line.split("{}"))
    masked = REDACTOR.mask(line.format(secret))
    assert masked.startswith(before)
    assert masked.endswith(after.lstrip("=").removeprefix("%26x")[-8:])


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(sorted(PLACES)).flatmap(lambda kind: PLACES[kind][1].map(PLACES[kind][0].format)))
def test_masking_twice_masks_nothing_more(line: str) -> None:
    once = REDACTOR.mask(line)
    assert REDACTOR.mask(once) == once


WORDS = ("pass", "secret", "token", "key", "credential", "authorization", "bearer", "cookie", "pwd", "cvv", "cvc")


def ordinary_lines() -> list[str]:
    """The shipped rules' examples that speak of no secrets."""
    lines = [line for rule in build_rules().rules for line in (*rule.spec.examples.match, *rule.spec.examples.no_match)]
    return [line for line in lines if not any(word in line.lower() for word in WORDS)]


def test_ordinary_lines_and_their_templates_stay_byte_for_byte(cache_dir: Path) -> None:
    lines = ordinary_lines()
    assert len(lines) > 2500
    templates = [masking.readable(each) for each in masking.mask([line.encode() for line in lines])]
    assert [line for line in [*lines, *templates] if REDACTOR.mask(line) != line] == []


ORDINARY = [
    "Failed password for root from 203.0.113.9 port 50273 ssh2",
    "pam_unix(passwd:chauthtok): password changed for erin",
    "sudo: bob : TTY=pts/0 ; PWD=/root ; USER=root ; COMMAND=/bin/ls",
    "password is incorrect",
    "Password: incorrect",
    "password=***",
    "password=<n>",
    '{"password":null,"token":"","secret":false}',
    "Unexpected token: } in JSON at position 4711",
    "token expired",
    "total_tokens=512 tokens: 1234",
    "Basic authentication is required",
    "bearer token missing",
    "Authorization: denied",
    "secrets-store.csi.k8s.io mounted",
    "http://host:8080/a@b",
    "akka.tcp://driver@10.10.34.11:34984/user/x@y",
    "[2001:db8::1]:443/x@y",
    "https://bob@example.com/",
    "mail to bob@example.com at 10:30",
    "Received block blk_4343207286455274569 of size 67108864",
    "blk_-4111111111111111 deleted",
    "time 1700000000000 id 1234567890123456 ns 1700000000000000000",
    "order 4111111111111112",  # Luhn says no
    "DE00 3704 0044 0532 0130 00",
    "commit 3b18e512dba79e4c8300dd08aeb37f8e728b8dad",
    "task-abcdefghijklmnopqrstuvwxyz done",
    "desk-proj x",
    "private key: /etc/ssl/private/host.key",
    "amqp://shop:**@10.8.0.5:5672//",
    "<n>-<uuid>: open <path> failed",
    "Grüße an alle, 漢字, 🎉",
    "",
]


@pytest.mark.parametrize("line", ORDINARY)
def test_what_only_looks_like_a_secret_stays(line: str) -> None:
    assert REDACTOR.mask(line) == line


@settings(max_examples=300, deadline=None)
@given(
    st.text(string.ascii_letters + " .,:()[]", max_size=200).filter(
        lambda text: not any(w in text.lower() for w in WORDS)
    )
)
@example("GB")
def test_text_without_names_and_numbers_stays(text: str) -> None:
    if "eyJ" not in text and "eyI" not in text and not any(len(word) > 19 for word in text.replace(".", " ").split()):
        assert REDACTOR.mask(text) == text


@settings(max_examples=300, deadline=None)
@given(st.text())
def test_any_text_can_be_masked(text: str) -> None:
    REDACTOR.mask(text)


def test_a_password_without_any_ascii_is_one() -> None:
    assert REDACTOR.mask("пароль: password=пароль, 密码") == f"пароль: password={MASK}, 密码"
    assert Redactor(["密码", r"-{3}"]).mask("x 密码 ---") == f"x {MASK} {MASK}"


def test_an_address_is_no_secret() -> None:
    assert REDACTOR.mask("from bob@example.com") == "from bob@example.com"


def test_own_patterns_mask_too() -> None:
    made = Redactor([r"EMP-\d{6}", "(?i)kunde [a-zäöü]+"])
    assert made.mask("EMP-123456 spoke to Kunde Jürgen, EMP-1") == f"{MASK} spoke to {MASK}, EMP-1"


@pytest.mark.parametrize("pattern", ["(", r"(?=x)", r"\1", "", "x*", r"\b", "$", r"(?:a|)", "[z-a]"])
def test_a_bad_pattern_is_named(pattern: str) -> None:
    with pytest.raises(ConfigError, match=r"llm\.redact: ") as caught:
        Redactor([pattern])
    assert repr(pattern) in str(caught.value)


HOSTILE = {
    "quotes": 'password="',
    "escapes": "password='\\",
    "backslashes": "password=\\",
    "names": "token ",
    "keys": "-----BEGIN PRIVATE KEY-----",
    "groups": "4111 ",
    "urls": "://a:",
    "tokens": "eyJ",
    "commas": "password=a,",
    "digest": 'authorization: digest a="b", ',
    "accounts": "DE12 ",
    "users": "user identified ",
    "blanks": "token   ",
}


@pytest.mark.parametrize("kind", sorted(HOSTILE))
def test_time_is_linear(kind: str) -> None:
    """Half a megabyte of what is worst; if it were quadratic it would take minutes."""
    text = HOSTILE[kind] * ((1 << 19) // len(HOSTILE[kind]))
    start = time.monotonic()
    REDACTOR.mask(text)
    assert time.monotonic() - start < 20


def question(line: str) -> Question:
    (template,) = masking.mask([line.encode()])
    return REDACTOR.question(Question(masking.readable(template), line))


@pytest.mark.parametrize(
    ("line", "rest"),
    [
        ("key AKIAIOSFODNN7EXAMPLE used", "AMPLE"),
        ("user bob password=Hunter2isGood x", "isGood"),
        ("postgres://bob:pa=ss7word@db/shop down", "word"),
        ("token eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N x", "jgNry"),
        ("-----BEGIN RSA PRIVATE KEY----- MIIEpAIBAAKCAQEA", "MIIE"),
    ],
)
def test_a_template_keeps_nothing_of_the_secret_of_its_line(line: str, rest: str) -> None:
    """Masked templates have placeholders for the digits of a secret, and its letters in clear."""
    shown = question(line)
    assert rest in line
    assert rest not in shown.sample + shown.template
    assert MASK in shown.template


def test_a_question_without_secrets_stays() -> None:
    asked = Question("job <n> ok", "job 7 ok", "app", "Error")
    assert REDACTOR.question(asked) == asked


@pytest.mark.parametrize(
    "number", ["4111111111111111", "5555555555554444", "2223003122003222", "378282246310005", "6011111111111117"]
)
def test_cards_are_known_by_network_length_and_check_digit(number: str) -> None:
    assert is_card(number)
    assert not is_card(number[:-1] + str((int(number[-1]) + 1) % 10))
    assert not is_card(number + "0")


def test_accounts_are_known_by_country_length_and_check_digits() -> None:
    assert account_length("GB82WEST12345698765432") == 22
    assert account_length("GB82WEST12345698765432PAID") == 22
    assert account_length("GB83WEST12345698765432") == account_length("XX82WEST12345698765432") == 0
    assert account_length("GB82WEST") == account_length("") == 0
