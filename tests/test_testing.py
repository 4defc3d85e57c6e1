"""The scripted server speaks as Ollama does, and its misbehaviours look to Ollama's client as real ones do."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import ollama
import pytest

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
    Slow,
)

from .conftest import REAL_SERVER

SCHEMA = {
    "type": "object",
    "properties": {"label": {"type": "string", "enum": ["Error", "unsure"]}},
    "required": ["label"],
    "additionalProperties": False,
}
MESSAGES = [{"role": "system", "content": "Label it."}, {"role": "user", "content": "disk failed"}]
ANSWER = '{"label": "Error"}'
QUESTION = {"model": "qwen3:4b", "messages": MESSAGES, "format": SCHEMA, "think": False, "stream": False}


def post(server: ScriptedOllama, path: str, body: Any, **headers: str) -> httpx.Response:
    return httpx.post(server.host + path, json=body, timeout=5, trust_env=False, headers=headers)


def get(server: ScriptedOllama, path: str) -> httpx.Response:
    return httpx.get(server.host + path, timeout=5, trust_env=False)


@pytest.fixture
def client(scripted: ScriptedOllama) -> Iterator[ollama.Client]:
    with ollama.Client(scripted.host, timeout=1, trust_env=False) as client:
        yield client


# --- as Ollama


def test_tells_version_models_and_what_they_can_do(client: ollama.Client, scripted: ScriptedOllama) -> None:
    assert get(scripted, "/api/version").json() == {"version": "0.13.5"}
    assert get(scripted, "/").text == "Ollama is running"
    assert [model.model for model in client.list().models] == ["qwen3:4b"]
    assert "thinking" in (client.show("qwen3:4b").capabilities or ())
    assert client.ps().models == []
    client.chat("qwen3:4b", MESSAGES)
    assert [model.model for model in client.ps().models] == ["qwen3:4b"]
    assert get(scripted, "/api/nothing").status_code == 404


def test_chat_answers_with_a_label_of_the_schema_and_its_figures(client: ollama.Client) -> None:
    reply = client.chat("qwen3:4b", MESSAGES, format=SCHEMA, think=False, logprobs=True, top_logprobs=2)
    assert (reply.message.content, reply.done, reply.done_reason) == (ANSWER, True, "stop")
    assert reply.message.thinking is None
    assert reply.prompt_eval_count
    assert reply.logprobs
    assert "".join(each.token for each in reply.logprobs) == ANSWER
    assert len(reply.logprobs[0].top_logprobs or ()) == 2


def test_chat_streams_the_same(client: ollama.Client) -> None:
    parts = list(client.chat("qwen3:4b", MESSAGES, format=SCHEMA, think=False, stream=True, logprobs=True))
    assert "".join(part.message.content or "" for part in parts) == ANSWER
    assert [part.done for part in parts] == [False] * (len(parts) - 1) + [True]
    assert "".join(each.token for part in parts for each in part.logprobs or ()) == ANSWER


def test_the_answer_sees_the_messages() -> None:
    with ScriptedOllama(lambda messages: messages[-1]["content"].upper()) as server:
        assert post(server, "/api/chat", QUESTION).json()["message"]["content"] == "DISK FAILED"
        assert server.asked[0].body == QUESTION


def test_thinks_aloud_unless_told_not_to_which_costs_tokens(client: ollama.Client) -> None:
    assert client.chat("qwen3:4b", MESSAGES, format=SCHEMA).message.thinking
    short = client.chat("qwen3:4b", MESSAGES, format=SCHEMA, options={"num_predict": 10})
    assert (short.message.content, short.done_reason) == ("", "length")


def test_generate_and_embed(client: ollama.Client) -> None:
    reply = client.generate("qwen3:4b", "disk failed", system="Label it.", format=SCHEMA, think=False)
    assert reply.response == ANSWER
    assert (
        "".join(part.response or "" for part in client.generate("qwen3:4b", "x", format=SCHEMA, stream=True)) == ANSWER
    )
    first, second, again = client.embed("qwen3:4b", ["a", "b", "a"]).embeddings
    assert first == again != second
    assert sum(value * value for value in first) == pytest.approx(1)


def test_a_prompt_too_long_for_the_context_is_cut_without_a_word(client: ollama.Client) -> None:
    long = [{"role": "user", "content": "word " * 5000}]
    assert client.chat("qwen3:4b", long, options={"num_ctx": 512}).prompt_eval_count == 512


def test_a_change_of_the_context_loads_the_model_again(client: ollama.Client, scripted: ScriptedOllama) -> None:
    for context in (1024, 1024, 2048):
        client.chat("qwen3:4b", MESSAGES, options={"num_ctx": context})
    assert scripted.loads == 2


def test_older_servers_know_neither_log_probabilities_nor_capabilities() -> None:
    with ScriptedOllama(lambda _: "Error", version="0.5.0") as server:
        assert "logprobs" not in post(server, "/api/chat", QUESTION | {"logprobs": True}).json()
        assert "capabilities" not in post(server, "/api/show", {"model": "qwen3:4b"}).json()


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"model": "llama9"}, 404, "model 'llama9' not found"),
        ({"model": "plain:1b", "think": True}, 400, '"plain:1b" does not support thinking'),
        ({"model": "embed:1b"}, 400, '"embed:1b" does not support chat'),
        ({"top_logprobs": 21}, 400, "top_logprobs must be between 0 and 20"),
        ({"keep_alive": "soon"}, 400, 'time: invalid duration "soon"'),
        ({"options": {"num_ctx": "big"}}, 500, 'option "num_ctx" must be of type integer'),
        ({"format": 7}, 500, 'invalid format: 7; expected "json" or a valid JSON Schema'),
    ],
)
def test_refuses_in_ollamas_words(change: dict[str, Any], status: int, message: str) -> None:
    models = {"qwen3:4b": ["completion", "thinking"], "plain:1b": ["completion"], "embed:1b": ["embedding"]}
    with ScriptedOllama(lambda _: "Error", models) as server:
        reply = post(server, "/api/chat", QUESTION | change)
        assert (reply.status_code, reply.json()) == (status, {"error": message})
        assert httpx.post(f"{server.host}/api/chat", trust_env=False).json() == {"error": "missing request body"}
        assert post(server, "/api/show", {"model": "llama9"}).status_code == 404


def test_one_call_at_a_time_and_a_queue_that_is_bounded() -> None:
    with ScriptedOllama(lambda _: "Error", seconds=0.5, parallel=1, queue=1) as server:
        statuses: list[int] = []

        def ask() -> None:
            statuses.append(post(server, "/api/chat", QUESTION).status_code)

        threads = [threading.Thread(target=ask) for _ in range(3)]
        begun = time.monotonic()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(5)
        assert sorted(statuses) == [200, 200, 503]
        assert time.monotonic() - begun >= 1.0


def test_a_client_that_hangs_up_makes_room_for_the_next() -> None:
    with ScriptedOllama(lambda _: "Error", seconds=30, parallel=1) as server:
        with pytest.raises(httpx.ReadTimeout):
            httpx.post(f"{server.host}/api/chat", json=QUESTION, timeout=0.2, trust_env=False)
        server.seconds = 0
        assert post(server, "/api/chat", QUESTION).status_code == 200


# --- as OpenAI


def test_speaks_openais_dialect_on_the_same_port() -> None:
    wanted = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": SCHEMA}}
    body = {"model": "small:1b", "messages": MESSAGES, "response_format": wanted, "logprobs": True, "top_logprobs": 1}
    with ScriptedOllama(lambda _: "Error", {"small:1b": ["completion"]}, key="sk-1") as server:
        reply = post(server, "/v1/chat/completions", body, authorization="Bearer sk-1").json()
        choice = reply["choices"][0]
        assert choice["message"] == {"role": "assistant", "content": ANSWER}
        assert choice["finish_reason"] == "stop"
        assert "".join(each["token"] for each in choice["logprobs"]["content"]) == ANSWER
        streamed = post(server, "/v1/chat/completions", body | {"stream": True}, authorization="Bearer sk-1").text
        events = [json.loads(line[6:]) for line in streamed.split("\n\n")[:-2]]
        assert "".join(event["choices"][0]["delta"]["content"] for event in events) == ANSWER
        assert streamed.endswith("data: [DONE]\n\n")
        assert post(server, "/v1/chat/completions", body).status_code == 401
        missing = post(server, "/v1/chat/completions", body | {"model": "x"}, authorization="Bearer sk-1")
        assert missing.status_code == 404
        assert missing.json()["error"]["type"] == "not_found_error"
        assert post(server, "/v1/chat/completions", {"model": "x"}, authorization="Bearer sk-1").status_code == 400
        models = httpx.get(f"{server.host}/v1/models", headers={"authorization": "Bearer sk-1"}, trust_env=False).json()
        assert [model["id"] for model in models["data"]] == ["small:1b"]


# --- misbehaving: what Ollama's own client makes of it


@pytest.mark.parametrize(
    ("misbehaviour", "error"),
    [
        (NoModel(), ollama.ResponseError),
        (Busy(), ollama.ResponseError),
        (Fail(500), ollama.ResponseError),
        (Hang(), httpx.ReadTimeout),
        (HTML_PAGE, json.JSONDecodeError),
        (INVALID_JSON, json.JSONDecodeError),
        (EMPTY, json.JSONDecodeError),
        (ERROR_LIST, AttributeError),
        (ERROR_IN_ANSWER, ValueError),
        (DieMidAnswer(), httpx.TransportError),
    ],
)
def test_looks_to_the_client_as_the_real_thing(
    client: ollama.Client, scripted: ScriptedOllama, misbehaviour: Misbehaviour, error: type[Exception]
) -> None:
    scripted.script(misbehaviour)
    with pytest.raises(error):
        client.chat("qwen3:4b", MESSAGES)
    assert client.chat("qwen3:4b", MESSAGES, format=SCHEMA).message.content == ANSWER


def test_statuses_and_headers(scripted: ScriptedOllama) -> None:
    scripted.script(NoModel(), Busy(7), Fail(500, "no"), Redirect("http://127.0.0.1:9/"), None)
    replies = [post(scripted, "/api/chat", QUESTION) for _ in range(5)]
    assert [reply.status_code for reply in replies] == [404, 503, 500, 307, 200]
    assert replies[1].headers["Retry-After"] == "7"
    assert replies[1].json() == {"error": "server busy, please try again.  maximum pending requests exceeded"}
    assert replies[3].headers["Location"] == "http://127.0.0.1:9/"


def test_slow_and_dripping_answers_are_whole(scripted: ScriptedOllama) -> None:
    scripted.script(Slow(0.3), Drip(0.001))
    for least in (0.3, 0.1):
        begun = time.monotonic()
        assert post(scripted, "/api/chat", QUESTION).json()["message"]["content"] == ANSWER
        assert time.monotonic() - begun > least


def test_ten_megabytes_are_sent(scripted: ScriptedOllama) -> None:
    scripted.script(Huge())
    assert len(post(scripted, "/api/chat", QUESTION).content) == 10_000_000


def test_always_until_it_heals_and_everywhere_if_told(scripted: ScriptedOllama) -> None:
    scripted.always(Fail(500))
    assert [post(scripted, "/api/chat", QUESTION).status_code for _ in range(2)] == [500, 500]
    assert get(scripted, "/api/tags").status_code == 200
    scripted.always(Fail(500), everywhere=True)
    assert get(scripted, "/api/tags").status_code == 500
    scripted.always(None)
    assert post(scripted, "/api/chat", QUESTION).status_code == 200


def test_dies_and_comes_back_on_the_same_port(scripted: ScriptedOllama) -> None:
    host = scripted.host
    scripted.stop()
    with pytest.raises(httpx.ConnectError):
        get(scripted, "/api/tags")
    scripted.start()
    assert scripted.host == host
    assert get(scripted, "/api/tags").status_code == 200


def test_stops_at_once_whatever_its_clients_do() -> None:
    with ScriptedOllama(lambda _: "Error") as server:
        server.always(Hang())
        idle = socket.create_connection(("127.0.0.1", int(server.host.rpartition(":")[2])))
        outcome: list[Exception] = []

        def ask() -> None:
            try:
                post(server, "/api/chat", QUESTION)
            except httpx.TransportError as error:
                outcome.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        while not server.asked:
            time.sleep(0.01)
        begun = time.monotonic()
        server.stop()
        assert time.monotonic() - begun < 1
        asking.join(2)
        assert outcome
        idle.close()


@pytest.mark.skipif(REAL_SERVER is None, reason="LOGCLF_OLLAMA names no server")
def test_a_real_server_has_what_the_scripted_one_has() -> None:
    """Members of a real server's answers are those that the scripted one gives."""
    with ollama.Client(REAL_SERVER, timeout=180) as real, ScriptedOllama(lambda _: "Error") as server:
        name = next(model.model for model in real.list().models if model.model)
        body = QUESTION | {"model": name, "options": {"num_predict": 20}}
        body.pop("think")
        theirs = httpx.post(f"{REAL_SERVER}/api/chat", json=body, timeout=180).json()
        ours = post(server, "/api/chat", QUESTION).json()
        assert set(ours) <= set(theirs) | {"load_duration"}
