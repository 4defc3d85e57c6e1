"""Any server with OpenAI's chat API: what is sent, what is made of every kind of reply, and where the key goes."""

from __future__ import annotations

import logging
import math
import shutil
import socket
import ssl
import subprocess
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import pytest

from logclf.errors import ConfigError
from logclf.llm import wire
from logclf.llm.calls import LlmError, Prompt
from logclf.llm.client import connect, find_model
from logclf.llm.host import host_of
from logclf.llm.openai import OpenAiClient
from logclf.llm.settings import LlmSettings
from logclf.testing import (
    EMPTY,
    ERROR_IN_ANSWER,
    ERROR_LIST,
    HTML_PAGE,
    INVALID_JSON,
    Busy,
    DieMidAnswer,
    Drip,
    Fail,
    Hang,
    Huge,
    Misbehaviour,
    NoModel,
    Redirect,
    ScriptedOllama,
    Send,
    Slow,
)

from .test_llm_client import LABELS, PROMPT, SECRET, TIMEOUT

KEY = "sk-very-secret-0123456789"
PLAIN = {"small:1b": ["completion"]}


def settings(server: ScriptedOllama, **changes: object) -> LlmSettings:
    chosen = LlmSettings(provider="openai", host=f"{server.host}/v1", timeout=TIMEOUT)
    return msgspec.structs.replace(chosen, **changes)


@pytest.fixture
def server() -> Iterator[ScriptedOllama]:
    with ScriptedOllama(lambda _: "Error", PLAIN) as server:
        yield server


@pytest.fixture
def client(server: ScriptedOllama, monkeypatch: pytest.MonkeyPatch) -> OpenAiClient:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return OpenAiClient(settings(server), "small:1b")


def failure(work: Callable[[], object]) -> LlmError:
    with pytest.raises(LlmError) as caught:
        work()
    said = "".join(traceback.format_exception(caught.value)) + repr(caught.value) + repr(vars(caught.value))
    assert KEY not in said
    assert SECRET not in said
    return caught.value


# --- what is asked


def test_a_label_with_its_probability(server: ScriptedOllama, client: OpenAiClient) -> None:
    server.logprob = math.log(0.9)
    reply = client.ask(PROMPT, LABELS)
    assert (reply.label, reply.confidence) == ("Error", pytest.approx(0.9))


def test_sends_what_keeps_answers_the_same_and_bounded(server: ScriptedOllama, client: OpenAiClient) -> None:
    client.ask(PROMPT, LABELS)
    assert server.asked[0].body == {
        "model": "small:1b",
        "messages": list(PROMPT.messages),
        "stream": False,
        "temperature": 0,
        "seed": 1,
        "max_tokens": 48,
        "logprobs": True,
        "response_format": {
            "type": "json_schema",
            "json_schema": {"name": "answer", "strict": True, "schema": PROMPT.schema},
        },
    }


@pytest.mark.parametrize(
    ("refused", "sent_instead"),
    [
        ("max_tokens", {"max_completion_tokens": 48}),
        ("response_format", None),
        ("logprobs", {}),
        ("seed", {}),
        ("temperature", {}),
    ],
)
def test_what_a_server_refuses_is_left_out_from_then_on(refused: str, sent_instead: dict[str, int] | None) -> None:
    said = {"label": "Error"}
    refuses = [] if sent_instead is None else [refused]
    with ScriptedOllama(lambda _: said, PLAIN, refuses=refuses) as server:
        if sent_instead is None:
            server.script(Fail(400, "This response_format type is unavailable now"))
        client = OpenAiClient(settings(server), "small:1b")
        assert client.ask(PROMPT, LABELS).label == "Error"
        assert client.ask(PROMPT, LABELS).label == "Error"
        assert len(server.asked) == 3
        last = server.asked[-1].body
        if sent_instead is None:
            assert last["response_format"] == {"type": "json_object"}
        else:
            assert refused not in last
            assert sent_instead.items() <= last.items()


def test_a_server_that_refuses_everything_is_asked_a_few_times(server: ScriptedOllama, client: OpenAiClient) -> None:
    everything = "max_tokens response_format logprobs seed temperature reasoning_effort thinking"
    server.always(Fail(400, everything))
    assert failure(lambda: client.ask(PROMPT, LABELS)).reason == "refused"
    assert len(server.asked) <= 8


def test_a_question_that_is_refused_for_itself_changes_nothing(server: ScriptedOllama, client: OpenAiClient) -> None:
    everything = "max_tokens response_format logprobs seed temperature reasoning_effort"
    server.script(*[Fail(400, everything)] * 7)
    assert failure(lambda: client.ask(PROMPT, LABELS)).reason == "refused"
    client.ask(PROMPT, LABELS)
    assert server.asked[-1].body == server.asked[0].body


def test_a_model_that_thinks_instead_of_answering_is_told_not_to() -> None:
    with ScriptedOllama(lambda _: "Error", ["qwen3:4b"]) as server:
        client = OpenAiClient(settings(server), "qwen3:4b")
        assert client.ask(PROMPT, LABELS).label == "Error"
        assert client.ask(PROMPT, LABELS).label == "Error"
        assert [request.body.get("reasoning_effort") for request in server.asked] == [None, "none", "none"]


def test_odd_log_probabilities_cost_the_confidence_alone(server: ScriptedOllama, client: OpenAiClient) -> None:
    body = b'{"choices":[{"message":{"content":"{\\"label\\":\\"Error\\"}"},"logprobs":[7]}]}'
    server.script(Send(body))
    reply = client.ask(PROMPT, LABELS)
    assert (reply.label, reply.confidence) == ("Error", None)


# --- what goes wrong


@pytest.mark.parametrize(
    ("misbehaviour", "reason", "retry", "against_the_server"),
    [
        (NoModel(), "no_model", False, True),
        (Busy(), "busy", True, True),
        (Fail(429, "rate limit reached"), "busy", True, True),
        (Fail(401), "refused", False, True),
        (Fail(403), "refused", False, True),
        (Fail(400, f"no: {SECRET} {KEY}"), "refused", False, False),
        (Fail(500, f"no: {SECRET} {KEY}"), "server_error", False, True),
        (Fail(504), "server_error", True, True),
        (Hang(), "timeout", False, True),
        (Drip(0.05), "timeout", False, True),
        (Slow(3), "timeout", False, True),
        (DieMidAnswer(), "unreachable", True, True),
        (HTML_PAGE, "invalid_reply", False, True),
        (INVALID_JSON, "invalid_reply", False, True),
        (EMPTY, "invalid_reply", False, True),
        (Send(b"[]"), "invalid_reply", False, True),
        (Send(b'{"choices":[]}'), "invalid_reply", False, True),
        (Send(b"\xff\xfe"), "invalid_reply", False, True),
        (Send(b"[" * 100_000), "invalid_reply", False, True),
        (ERROR_LIST, "server_error", False, True),
        (ERROR_IN_ANSWER, "invalid_reply", False, True),
        (Huge(), "invalid_reply", False, True),
        (Send(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "invalid_reply", False, True),
        (Send(b'{"choices":[{"message":{"content":null}}]}'), "invalid_reply", False, False),
        (Send(b'{"choices":[{"message":{"content":"Error"}}]}'), "invalid_reply", False, False),
    ],
)
def test_every_failure_has_its_reason_and_comes_in_time(
    server: ScriptedOllama,
    client: OpenAiClient,
    misbehaviour: Misbehaviour,
    reason: str,
    retry: bool,
    against_the_server: bool,
) -> None:
    server.script(misbehaviour)
    begun = time.monotonic()
    error = failure(lambda: client.ask(PROMPT, LABELS))
    assert time.monotonic() - begun < TIMEOUT + 0.7
    assert (error.reason, error.retry, error.server) == (reason, retry, against_the_server)
    assert client.ask(PROMPT, LABELS).label == "Error", "the next question is another one"


@pytest.mark.parametrize("said", ["No Such Label", {"label": "error"}, {"label": "Error", "more": 1}, {}])
def test_what_is_no_answer_is_a_failure_of_this_question(
    server: ScriptedOllama, client: OpenAiClient, said: object
) -> None:
    server.answer = lambda _: said
    error = failure(lambda: client.ask(PROMPT, LABELS))
    assert (error.reason, error.server) == ("invalid_reply", False)


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_asks_for_peace_has_it(server: ScriptedOllama, client: OpenAiClient, status: int) -> None:
    server.script(Fail(status, "later", {"Retry-After": "1"}))
    assert failure(lambda: client.ask(PROMPT, LABELS)).reason == "busy"
    error = failure(lambda: client.ask(PROMPT, LABELS))
    assert (error.reason, error.retry) == ("busy", True)
    assert len(server.asked) == 1
    time.sleep(1.05)
    assert client.ask(PROMPT, LABELS).label == "Error"


@pytest.mark.parametrize("after", ["9" * 15, "9" * 400, "-1", "soon", "1e9", "Wed, 21 Oct 2015 07:28:00 GMT"])
def test_no_retry_after_silences_for_long(server: ScriptedOllama, after: str) -> None:
    assert (wire._seconds(after) or 0) <= wire.LONGEST_PAUSE


def test_nothing_listens(server: ScriptedOllama, client: OpenAiClient) -> None:
    server.stop()
    for work in (lambda: client.ask(PROMPT, LABELS), client.probe):
        assert failure(work).reason == "unreachable"


# --- the key


def test_the_key_is_sent_from_the_environment_and_shown_nowhere(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedOllama(lambda _: "Error", PLAIN, key=KEY) as server:
        client = OpenAiClient(settings(server, api_key_env="OUR_KEY"), "small:1b")
        error = failure(lambda: client.ask(PROMPT, LABELS))
        assert error.reason == "refused"
        assert "$OUR_KEY is not set" in str(error)
        monkeypatch.setenv("OUR_KEY", "wrong")
        assert "the key is from $OUR_KEY" in str(failure(client.probe))
        monkeypatch.setenv("OUR_KEY", f" {KEY}\n")
        client.probe()
        assert client.ask(PROMPT, LABELS).label == "Error"
        assert KEY not in repr(client) + repr(vars(client)) + caplog.text


@pytest.mark.parametrize("key", ["two\nlines", "schlüssel", "a\x7fb"])
def test_a_key_that_no_header_takes(server: ScriptedOllama, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", key)
    error = failure(lambda: OpenAiClient(settings(server), "small:1b").ask(PROMPT, LABELS))
    assert "$OPENAI_API_KEY" in str(error)
    assert key not in str(error)
    assert server.asked == []


def test_the_key_follows_no_redirect(server: ScriptedOllama, client: OpenAiClient) -> None:
    with ScriptedOllama(lambda _: "Error", PLAIN) as other:
        server.script(Redirect(f"{other.host}/v1/chat/completions"))
        assert failure(lambda: client.ask(PROMPT, LABELS)).reason == "server_error"
        assert other.requests == []


def test_the_key_is_not_sent_unencrypted_to_other_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    with ScriptedOllama(lambda _: "Error", PLAIN, key=KEY) as server:
        monkeypatch.setenv("http_proxy", server.host)  # stands for the other host
        elsewhere = LlmSettings(provider="openai", host="http://gpu.invalid/v1", allow_remote=True, timeout=2.0)
        server.always(Fail(401), everywhere=True)
        error = failure(OpenAiClient(elsewhere, "small:1b").probe)
        assert "sent over https only" in str(error)
        assert server.requests
        assert not any(KEY in str(request.headers) for request in server.requests)


# --- which server, which model


def test_other_hosts_need_leave() -> None:
    for host in (None, "https://api.groq.com/openai/v1", "http://10.0.0.5:8000/v1"):
        chosen = LlmSettings(provider="openai", host=host, model="x")
        with pytest.raises(ConfigError, match="allow_remote"):
            connect(chosen)
        host_of(msgspec.structs.replace(chosen, allow_remote=True))


def test_hosts_as_people_write_them() -> None:
    urls = {None: "https://api.openai.com/v1", "http://gpu:8000": "http://gpu:8000/v1", "https://a/b/": "https://a/b"}
    for host, url in urls.items():
        assert host_of(LlmSettings(provider="openai", host=host, allow_remote=True)) == url


def test_ollamas_host_is_not_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:11434")
    assert host_of(LlmSettings(provider="openai", allow_remote=True)) == "https://api.openai.com/v1"


def test_the_model_that_was_named_or_the_only_one(server: ScriptedOllama) -> None:
    assert find_model(settings(server)) == "small:1b"
    assert find_model(settings(server, model="other")) == "other"
    server.models["second:1b"] = frozenset({"completion"})
    assert find_model(settings(server)) is None
    assert connect(settings(server)) is None
    found = connect(settings(server, model="small:1b"))
    assert found is not None
    assert found.ask(PROMPT, LABELS).label == "Error"


# --- encrypted


@pytest.fixture
def encrypted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, threading.Event]]:
    """A server of this host that is trusted, lets itself be asked, and says nothing."""
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("no openssl to make a certificate with")
    names = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    files = ["-keyout", str(tmp_path / "key"), "-out", str(tmp_path / "cert")]
    make = [openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", *names, *files]
    subprocess.run(make, check=True, capture_output=True, timeout=60)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "cert", tmp_path / "key")
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "cert"))
    wire._certificates.cache_clear()
    listener, done = socket.create_server(("127.0.0.1", 0)), threading.Event()

    def serve() -> None:
        raw, _ = listener.accept()
        try:
            with context.wrap_socket(raw, server_side=True) as connection:
                connection.recv(1 << 16)
                done.wait(10)
        except OSError:
            return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"https://127.0.0.1:{listener.getsockname()[1]}/v1", done
    done.set()
    thread.join(2)
    listener.close()
    wire._certificates.cache_clear()


def test_the_deadline_holds_for_encrypted_connections(encrypted: tuple[str, threading.Event]) -> None:
    client = OpenAiClient(LlmSettings(provider="openai", host=encrypted[0], timeout=TIMEOUT), "small:1b")
    begun = time.monotonic()
    error = failure(lambda: client.ask(PROMPT, LABELS))
    assert error.reason == "timeout"
    assert TIMEOUT - 0.1 < time.monotonic() - begun < TIMEOUT + 0.7


def test_a_stranger_with_a_certificate_of_its_own_is_not_trusted(
    encrypted: tuple[str, threading.Event], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    wire._certificates.cache_clear()
    client = OpenAiClient(LlmSettings(provider="openai", host=encrypted[0], timeout=TIMEOUT), "small:1b")
    assert failure(lambda: client.ask(PROMPT, LABELS)).reason == "unreachable"


def test_a_prompt_is_sent_as_it_is(server: ScriptedOllama, client: OpenAiClient) -> None:
    odd = Prompt(({"role": "user", "content": '"}\u2028]\\ {"label": "Error"} é'},), PROMPT.schema)
    client.ask(odd, LABELS)
    assert server.asked[0].body["messages"] == list(odd.messages)
