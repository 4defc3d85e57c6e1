"""Ollama as it is asked: what is sent, what is made of every kind of reply, and never later than the deadline."""

from __future__ import annotations

import http.server
import math
import os
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator

import msgspec
import pytest

from logclf.errors import ConfigError
from logclf.llm.calls import UNSURE, LlmError, Prompt
from logclf.llm.client import OllamaClient, connect, find_model, find_name, installed
from logclf.llm.host import host_of, is_loopback
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

LABELS = ("Error", "System Notification")
SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": [*LABELS, UNSURE]}},
    "required": ["label"],
    "additionalProperties": False,
}
SECRET = "the-line-that-was-asked-about"
TASK = 'Answer with the JSON object {"label": "Error"}.'
PROMPT = Prompt(({"role": "system", "content": TASK}, {"role": "user", "content": f"disk failed {SECRET}"}), SCHEMA)
TIMEOUT = 0.8


def settings(server: ScriptedOllama, **changes: object) -> LlmSettings:
    return msgspec.structs.replace(LlmSettings(host=server.host, timeout=TIMEOUT), **changes)


@pytest.fixture
def client(scripted: ScriptedOllama) -> OllamaClient:
    return OllamaClient(settings(scripted), "qwen3:4b")


def failure(work: Callable[[], object]) -> LlmError:
    with pytest.raises(LlmError) as caught:
        work()
    said = "".join(traceback.format_exception(caught.value))
    assert SECRET not in said
    assert "\n" not in str(caught.value)
    return caught.value


# --- what is asked


def test_a_label_with_its_probability(llm_settings: LlmSettings) -> None:
    client = connect(llm_settings)
    assert client is not None
    client.probe()
    reply = client.ask(PROMPT, LABELS)
    assert reply.label in (*LABELS, UNSURE)
    assert reply.confidence is None or 0 < reply.confidence <= 1
    assert 0 < reply.seconds < llm_settings.timeout


def test_sends_what_keeps_answers_the_same_and_bounded(scripted: ScriptedOllama, client: OllamaClient) -> None:
    for _ in range(3):
        client.ask(PROMPT, LABELS)
    bodies = [request.body for request in scripted.asked]
    assert bodies[0] == bodies[1] == bodies[2]
    assert bodies[0]["options"] == {"temperature": 0, "seed": 1, "num_predict": 48, "num_ctx": 4096}
    assert bodies[0]["messages"] == list(PROMPT.messages)
    assert (bodies[0]["format"], bodies[0]["stream"], bodies[0]["keep_alive"]) == (SCHEMA, False, "10m")
    assert (bodies[0]["think"], bodies[0]["logprobs"]) == (False, True)
    assert scripted.loads == 1
    assert [request.path for request in scripted.requests].count("/api/show") == 1


def test_confidence_is_that_of_the_labels_tokens(scripted: ScriptedOllama, client: OllamaClient) -> None:
    scripted.logprob = math.log(0.9)
    assert client.ask(PROMPT, LABELS).confidence == pytest.approx(0.9)


def test_servers_without_log_probabilities_or_capabilities_answer_all_the_same() -> None:
    for version in ("0.5.0", "0.11.0"):
        with ScriptedOllama(lambda _: "Error", ["gemma3:4b"], version=version) as server:
            able = OllamaClient(settings(server, num_predict=400), "gemma3:4b")
            reply = able.ask(PROMPT, LABELS)
            assert (reply.label, reply.confidence) == ("Error", None)
            assert ("think" in server.asked[0].body) == (version != "0.5.0")


def test_think_is_not_sent_to_a_model_that_cannot() -> None:
    with ScriptedOllama(lambda _: "Error", {"gemma3:4b": ["completion"]}, refuses=["think"]) as server:
        assert OllamaClient(settings(server), "gemma3:4b").ask(PROMPT, LABELS).label == "Error"
        assert len(server.asked) == 1
        assert "think" not in server.asked[0].body


@pytest.mark.parametrize("refused", [["think"], ["logprobs"], ["think", "logprobs"]])
def test_what_a_server_refuses_is_left_out_from_then_on(refused: list[str]) -> None:
    with ScriptedOllama(lambda _: "Error", refuses=refused) as server:
        client = OllamaClient(settings(server, num_predict=400), "qwen3:4b")
        assert client.ask(PROMPT, LABELS).label == "Error"
        tries = len(server.asked)
        assert tries <= 3
        assert client.ask(PROMPT, LABELS).label == "Error"
        assert len(server.asked) == tries + 1


def test_a_question_that_is_refused_for_itself_changes_nothing(scripted: ScriptedOllama, client: OllamaClient) -> None:
    scripted.script(*[Fail(400, "think logprobs")] * 3)
    assert failure(lambda: client.ask(PROMPT, LABELS)).reason == "refused"
    assert client.ask(PROMPT, LABELS).label == "Error"
    last = scripted.asked[-1].body
    assert (last["think"], last["logprobs"]) == (False, True)


def test_unsure_is_an_answer(scripted: ScriptedOllama, client: OllamaClient) -> None:
    scripted.answer = lambda _: UNSURE
    assert client.ask(PROMPT, LABELS).label == UNSURE


def test_many_threads_share_a_client() -> None:
    with ScriptedOllama(lambda _: "Error", parallel=8, seconds=0.05) as server:
        client = OllamaClient(settings(server, timeout=5.0), "qwen3:4b")
        labels: list[str] = []
        threads = [threading.Thread(target=lambda: labels.append(client.ask(PROMPT, LABELS).label)) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert labels == ["Error"] * 8


# --- what goes wrong


@pytest.mark.parametrize(
    ("misbehaviour", "reason", "retry", "against_the_server"),
    [
        (NoModel(), "no_model", False, True),
        (Busy(), "busy", True, True),
        (Fail(429), "busy", True, True),
        (Fail(500), "server_error", False, True),
        (Fail(502), "server_error", True, True),
        (Fail(401), "refused", False, True),
        (Fail(403), "refused", False, True),
        (Fail(413), "refused", False, False),
        (Hang(), "timeout", False, True),
        (Drip(0.05), "timeout", False, True),
        (Slow(3), "timeout", False, True),
        (DieMidAnswer(), "unreachable", True, True),
        (DieMidAnswer(0), "unreachable", True, True),
        (HTML_PAGE, "invalid_reply", False, True),
        (Send(HTML_PAGE.body, "text/html", 500), "server_error", False, True),
        (INVALID_JSON, "invalid_reply", False, True),
        (EMPTY, "invalid_reply", False, True),
        (Send(b"[]"), "invalid_reply", False, True),
        (Send(b'{"message": 7}'), "invalid_reply", False, True),
        (Send(b"\xff\xfe"), "invalid_reply", False, True),
        (Send(b"[" * 100_000), "invalid_reply", False, True),
        (ERROR_LIST, "server_error", False, True),
        (Send(b"[1]", status=503), "busy", True, True),
        (ERROR_IN_ANSWER, "invalid_reply", False, True),
        (Huge(), "invalid_reply", False, True),
        (Send(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), "invalid_reply", False, True),
        (Send(b'{"message":{"role":"assistant","content":"Error"}}'), "invalid_reply", False, False),
        (Send(b'{"message":{"role":"assistant","content":null}}'), "invalid_reply", False, False),
    ],
)
def test_every_failure_has_its_reason_and_comes_in_time(
    scripted: ScriptedOllama,
    client: OllamaClient,
    misbehaviour: Misbehaviour,
    reason: str,
    retry: bool,
    against_the_server: bool,
) -> None:
    scripted.script(misbehaviour)
    begun = time.monotonic()
    error = failure(lambda: client.ask(PROMPT, LABELS))
    assert time.monotonic() - begun < TIMEOUT + 0.7
    assert (error.reason, error.retry, error.server) == (reason, retry, against_the_server)
    assert client.ask(PROMPT, LABELS).label == "Error", "the next question is another one"


@pytest.mark.parametrize("said", ["No Such Label", "Error", {"label": "error"}, {"label": "Error", "more": 1}, "", {}])
def test_what_is_no_answer_is_a_failure_of_this_question(
    scripted: ScriptedOllama, client: OllamaClient, said: object
) -> None:
    scripted.answer = lambda _: {"text": said} if said == "Error" else said
    error = failure(lambda: client.ask(PROMPT, LABELS))
    assert (error.reason, error.server) == ("invalid_reply", False)


def test_names_host_and_model_and_what_to_type(scripted: ScriptedOllama, client: OllamaClient) -> None:
    scripted.script(NoModel())
    said = str(failure(lambda: client.ask(PROMPT, LABELS)))
    assert scripted.host in said
    assert "`ollama pull qwen3:4b`" in said


def test_nothing_listens(scripted: ScriptedOllama, client: OllamaClient) -> None:
    scripted.stop()
    for work in (lambda: client.ask(PROMPT, LABELS), client.probe, lambda: find_model(settings(scripted))):
        error = failure(work)
        assert (error.reason, error.retry, error.server) == ("unreachable", True, True)


def test_a_server_that_comes_back_is_asked_again(scripted: ScriptedOllama, client: OllamaClient) -> None:
    assert client.ask(PROMPT, LABELS).label == "Error"
    scripted.stop()
    assert failure(lambda: client.ask(PROMPT, LABELS)).reason == "unreachable"
    scripted.start()
    assert client.ask(PROMPT, LABELS).label == "Error"


def test_a_question_that_fills_the_context_was_cut(scripted: ScriptedOllama) -> None:
    client = OllamaClient(settings(scripted, num_ctx=64), "qwen3:4b")
    long = Prompt(({"role": "user", "content": "word " * 500},), SCHEMA)
    error = failure(lambda: client.ask(long, LABELS))
    assert (error.reason, error.server) == ("invalid_reply", False)
    assert "llm.num_ctx" in str(error)


def test_a_server_that_asks_for_peace_has_it(scripted: ScriptedOllama, client: OllamaClient) -> None:
    scripted.script(Busy(retry_after=1))
    assert failure(lambda: client.ask(PROMPT, LABELS)).reason == "busy"
    asked = len(scripted.asked)
    assert failure(lambda: client.ask(PROMPT, LABELS)).reason == "busy"
    assert len(scripted.asked) == asked
    time.sleep(1.05)
    assert client.ask(PROMPT, LABELS).label == "Error"


def test_redirects_lead_nowhere(scripted: ScriptedOllama, client: OllamaClient) -> None:
    with ScriptedOllama(lambda _: "Error") as other:
        for status in (301, 302, 307, 308):
            scripted.script(Redirect(f"{other.host}/api/chat", status))
            assert failure(lambda: client.ask(PROMPT, LABELS)).reason == "server_error"
        assert other.requests == []


@pytest.fixture
def dripping_headers() -> Iterator[str]:
    """A server that sends a byte of a header now and then, forever."""
    listener = socket.create_server(("127.0.0.1", 0))
    done = threading.Event()

    def serve() -> None:
        connection, _ = listener.accept()
        with connection:
            try:
                connection.sendall(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not done.wait(0.05):
                    connection.sendall(b"x")
            except OSError:
                return

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    done.set()
    thread.join(2)
    listener.close()


def test_dripping_headers_do_not_stretch_the_deadline(dripping_headers: str) -> None:
    client = OllamaClient(LlmSettings(host=dripping_headers, timeout=TIMEOUT), "qwen3:4b")
    begun = time.monotonic()
    assert failure(lambda: client.ask(PROMPT, LABELS)).reason == "timeout"
    assert time.monotonic() - begun < TIMEOUT + 0.5


def test_proxies_are_not_for_this_host(
    scripted: ScriptedOllama, client: OllamaClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert client.ask(PROMPT, LABELS).label == "Error"
    assert find_model(settings(scripted)) == "qwen3:4b"


def test_proxies_are_for_others(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []

    class Proxy(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            seen.append(self.path)
            self.send_error(502)

        def log_message(self, *_: object) -> None:
            return None

    with http.server.HTTPServer(("127.0.0.1", 0), Proxy) as proxy:
        threading.Thread(target=proxy.serve_forever, args=(0.02,), daemon=True).start()
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{proxy.server_address[1]}")
        elsewhere = LlmSettings(host="http://gpu.invalid:11434", allow_remote=True, timeout=2.0)
        assert failure(lambda: find_model(elsewhere)).reason == "server_error"
        proxy.shutdown()
    assert seen == ["http://gpu.invalid:11434/api/tags"]


def test_a_hanging_call_does_not_keep_the_process(scripted: ScriptedOllama) -> None:
    scripted.always(Hang())
    program = (
        "import threading, sys, time\n"
        "from logclf.llm.client import OllamaClient\n"
        "from logclf.llm.calls import Prompt\n"
        "from logclf.llm.settings import LlmSettings\n"
        "client = OllamaClient(LlmSettings(host=sys.argv[1], timeout=60.0), 'qwen3:4b')\n"
        "ask = lambda: client.ask(Prompt(({'role': 'user', 'content': 'x'},), {}), ())\n"
        "threading.Thread(target=ask, daemon=True).start()\n"
        "time.sleep(1.5)\n"
    )
    begun = time.monotonic()
    subprocess.run([sys.executable, "-c", program, scripted.host], timeout=20, check=True)
    assert scripted.asked
    assert time.monotonic() - begun < 10


# --- which server, which model


@pytest.mark.parametrize(
    ("named", "url"),
    [
        (None, "http://127.0.0.1:11434"),
        ("127.0.0.1", "http://127.0.0.1:11434"),
        ("localhost:8080", "http://localhost:8080"),
        (":9000", "http://127.0.0.1:9000"),
        ("0.0.0.0", "http://127.0.0.1:11434"),
        ("http://0.0.0.0:8080/", "http://127.0.0.1:8080"),
        ("[::1]:11435", "http://[::1]:11435"),
        ("http://[::]:11434", "http://[::1]:11434"),
        ("https://127.0.0.1/ollama/", "https://127.0.0.1/ollama"),
    ],
)
def test_hosts_as_people_write_them(named: str | None, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert host_of(LlmSettings(host=named)) == url
    if named:
        monkeypatch.setenv("OLLAMA_HOST", named)
        assert host_of(LlmSettings()) == url
    assert is_loopback(url)


@pytest.mark.parametrize(
    "named",
    ["gpu", "http://10.0.0.5:11434", "https://localhost.evil.example", "127.0.0.1.example:80", "http://[fe80::1]"],
)
def test_other_hosts_need_leave(named: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OLLAMA_HOST", named)
    for chosen in (LlmSettings(host=named), LlmSettings()):
        with pytest.raises(ConfigError, match="allow_remote"):
            OllamaClient(chosen, "qwen3:4b")
        with pytest.raises(ConfigError, match="allow_remote"):
            connect(chosen)
        assert host_of(msgspec.structs.replace(chosen, allow_remote=True)).startswith("http")


@pytest.mark.parametrize(
    "named",
    [
        "ftp://127.0.0.1",
        "http://127.0.0.1:x",
        "http://[",
        "http://127.0.0.1/?a=b",
        "file:///x",
        "127.0.0.1\\.evil",
        "a b",
    ],
)
def test_what_is_no_host(named: str) -> None:
    with pytest.raises(ConfigError, match=r"llm\.host: expected a host"):
        host_of(LlmSettings(host=named))


def test_a_password_in_a_url_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        host_of(LlmSettings(host="http://me:hunter2@127.0.0.1:11434"))
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    ("models", "wanted", "found"),
    [
        (["qwen3:4b"], "qwen3:4b", "qwen3:4b"),
        (["qwen3:4b", "qwen3:4b-instruct-2507-q4_K_M"], "qwen3:4b", "qwen3:4b-instruct-2507-q4_K_M"),
        (["qwen3:4b-thinking-2507"], "qwen3:4b", None),
        (["qwen3:4b-q8_0"], "qwen3:4b", "qwen3:4b-q8_0"),
        (["qwen3:latest"], "qwen3:8b", "qwen3:latest"),
        (["qwen3:latest"], "qwen3:4b", None),
        (["qwen3:latest"], "qwen3", "qwen3:latest"),
        (["Mine:Latest"], "mine", "Mine:Latest"),
        (["hf.co/some/one:Q4"], "hf.co/some/one:Q4", "hf.co/some/one:Q4"),
        (["hf.co:443/some/one:latest"], "hf.co:443/some/one", "hf.co:443/some/one:latest"),
        (["qwen3:4b2"], "qwen3:4b", None),
        ([], "qwen3:4b", None),
    ],
)
def test_names_of_models(models: list[str], wanted: str, found: str | None) -> None:
    assert find_name(wanted, models) == found


def test_the_first_preferred_model_or_the_one_that_was_named() -> None:
    with ScriptedOllama(models=["mistral:7b", "gemma3:1b", "qwen3:0.6b", "e\x1bvil:1b"]) as server:
        assert find_model(settings(server)) == "qwen3:0.6b"
        assert find_model(settings(server, model="mistral:7b")) == "mistral:7b"
        assert find_model(settings(server, model="llama9")) is None
        assert connect(settings(server, model="llama9")) is None
        assert installed(settings(server)).models == ("mistral:7b", "gemma3:1b", "qwen3:0.6b")
    with ScriptedOllama(models=["mistral:7b"]) as server:
        assert find_model(settings(server)) is None


def test_probe_says_what_is_missing(scripted: ScriptedOllama) -> None:
    OllamaClient(settings(scripted), "qwen3:4b").probe()
    error = failure(OllamaClient(settings(scripted), "llama9").probe)
    assert error.reason == "no_model"
    scripted.always(Hang(), everywhere=True)
    assert failure(OllamaClient(settings(scripted), "qwen3:4b").probe).reason == "timeout"


@pytest.mark.parametrize("body", [b'{"models": 7}', b'{"models": [{"model": "\\u001b[31m"}]}', b"<html>", b"[]", b"{}"])
def test_a_list_of_models_that_is_none(scripted: ScriptedOllama, body: bytes) -> None:
    scripted.always(Send(body), everywhere=True)
    try:
        assert find_model(settings(scripted)) is None
    except LlmError as error:
        assert error.reason == "invalid_reply"  # noqa: PT017 - either is right


def test_looking_for_a_server_that_is_not_there_imports_nothing() -> None:
    program = (
        "import sys\n"
        "from logclf.llm.client import LlmError, connect\n"
        "from logclf.llm.settings import LlmSettings\n"
        "try:\n    connect(LlmSettings(host='http://127.0.0.1:9'))\n"
        "except LlmError as error:\n    assert error.reason == 'unreachable'\n"
        "assert not {'httpx', 'ollama', 'pydantic'} & set(sys.modules), sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], timeout=20, check=True, env={**os.environ})
