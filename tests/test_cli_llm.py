"""Streams and archives with a language model's server beside them: healthy, dead, hanging, dying, appearing."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from logclf.cli.stream import CascadeOptions
from logclf.taxonomy import DEFAULT
from logclf.testing import Busy, DieMidAnswer, Fail, Hang, ScriptedOllama

from .helpers import objects
from .test_cli import SECONDS, next_event, one_line, running, wait_for
from .test_imports import imported

pytestmark = pytest.mark.usefixtures("warm")
# Of words that no rule and no model knows.
NOVEL = [f"{a} {b} the {c}" for a in ("zorble", "quuxly") for b in ("wibbled", "frobs") for c in ("snark", "grue")]


@pytest.fixture(scope="module")
def warm(cache_dir: Path) -> None:
    """What the very first question on a machine has to wait for: the examples for prompts, which are encoded once."""
    from logclf.llm.examples import ExampleFinder
    from logclf.topology import build_rules

    ExampleFinder(DEFAULT, build_rules().rules).find("any", 1)


@pytest.fixture
def server() -> Iterator[ScriptedOllama]:
    """One that knows zorble."""
    with ScriptedOllama(lambda messages: "Error" if "zorble" in messages[-1]["content"] else "unsure") as server:
        yield server


@pytest.fixture
def env(server: ScriptedOllama, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The environment of commands that find the server by themselves; the state directory."""
    monkeypatch.setenv("OLLAMA_HOST", server.host)
    monkeypatch.setenv("LOGCLF_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("LOGCLF_LLM")
    return tmp_path / "state"


def logclf(*arguments: object, data: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "logclf", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, timeout=SECONDS, check=False)


def text(lines: list[str]) -> bytes:
    return "".join(f"{line}\n" for line in lines).encode()


def config(path: Path, **llm: object) -> Path:
    path.write_text(json.dumps({"version": 1, "llm": llm}))
    return path


def test_filter_asks_once_per_template_in_order_and_never_again(env: Path, server: ScriptedOllama) -> None:
    lines = [line for line in NOVEL for _ in range(3)]
    done = logclf("filter", "--llm", "on", data=text(lines))
    assert done.returncode == 0, done.stderr
    events = objects(done.stdout)
    assert [event["message"] for event in events] == lines
    assert [event["logclf"]["stage"] for event in events] == ["llm" if "zorble" in line else "none" for line in lines]
    assert {event["logclf"].get("reason") for event in events} == {None, "llm_unsure"}
    assert len(server.asked) == len(NOVEL)
    assert b"llm calls 8" in done.stderr
    again = logclf("filter", "--llm", "on", data=text(lines))
    assert again.stdout == done.stdout
    assert len(server.asked) == len(NOVEL), "answers survive"


def test_auto_finds_a_server_and_off_does_not_look(env: Path, server: ScriptedOllama) -> None:
    assert objects(logclf("filter", data=b"zorble wibbled\n").stdout)[0]["logclf"]["stage"] == "llm"
    count = len(server.requests)
    assert objects(logclf("filter", "--llm", "off", data=b"zorble frobs it\n").stdout)[0]["logclf"]["stage"] == "none"
    assert len(server.requests) == count


def test_auto_without_a_server_says_so_once_and_goes_on(env: Path, server: ScriptedOllama) -> None:
    server.stop()
    done = logclf("filter", data=text(NOVEL))
    assert done.returncode == 0
    assert len(objects(done.stdout)) == len(NOVEL)
    assert done.stderr.count(b"stays open: no language model server at http://127.0.0.1:") == 1
    assert b'reason":"llm' not in done.stdout
    assert not env.exists(), "nothing was kept"


def test_on_without_server_or_model_is_an_error_that_says_what_to_type(env: Path, server: ScriptedOllama) -> None:
    done = logclf("filter", "--llm", "on", "--llm-model", "other:9b", data=b"x\n")
    assert done.returncode == 78
    assert "ollama pull other:9b" in one_line(done)
    server.stop()
    done = logclf("filter", "--llm", "on", data=b"x\n")
    assert done.returncode == 78
    assert re.search(r"no language model server at http://127\S+; .*logclf doctor", one_line(done))


@pytest.mark.parametrize("wrong", [Hang(), Fail(500), DieMidAnswer(), Busy()], ids=lambda each: type(each).__name__)
def test_a_server_in_trouble_costs_a_moment_and_no_line(
    env: Path, server: ScriptedOllama, tmp_path: Path, wrong: object
) -> None:
    server.always(wrong)  # type: ignore[arg-type]
    begun = time.monotonic()
    options = config(tmp_path / "c.yaml", max_wait="1s", timeout="20s")
    done = logclf("filter", "--llm", "on", "--config", options, data=text(NOVEL * 3))
    assert time.monotonic() - begun < 12
    assert done.returncode == 0
    events = objects(done.stdout)
    assert [event["message"] for event in events] == NOVEL * 3
    reasons = {event["logclf"]["reason"] for event in events}
    assert reasons <= {"llm_timeout", "llm_unavailable", "llm_failed"}
    assert all("guess" in event["logclf"] for event in events)


def test_a_server_that_dies_half_way(env: Path, server: ScriptedOllama) -> None:
    server.script(None, None)
    server.always(DieMidAnswer())
    events = objects(logclf("filter", "--llm", "on", data=text(NOVEL)).stdout)
    assert [event["message"] for event in events] == NOVEL
    assert sum(event["logclf"].get("reason") in (None, "llm_unsure") for event in events) == 2


def test_the_process_ends_at_once_while_a_call_hangs(env: Path, server: ScriptedOllama) -> None:
    server.always(Hang())
    for stop in ("end", signal.SIGTERM):
        with running("filter", "--llm", "on") as process:
            assert process.stdin is not None
            process.stdin.write(b"%r zorble wibbled here\n" % str(stop).encode())
            process.stdin.flush()
            assert next_event(process)["logclf"]["reason"] == "llm_timeout"
            begun = time.monotonic()
            process.stdin.close() if stop == "end" else process.send_signal(signal.SIGTERM)
            assert process.wait(SECONDS) == 0
            assert time.monotonic() - begun < 1


def test_sigterm_ends_a_wait(env: Path, server: ScriptedOllama, tmp_path: Path) -> None:
    server.always(Hang())
    options = config(tmp_path / "c.yaml", max_wait="50s")
    with running("filter", "--llm", "on", "--config", options) as process:
        assert process.stdin is not None
        process.stdin.write(b"zorble wibbled here\n")
        process.stdin.flush()
        wait_for(lambda: server.asked)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        assert next_event(process)["logclf"]["reason"] == "llm_timeout"
        assert process.wait(SECONDS) == 0
        assert time.monotonic() - begun < 2


def test_a_late_answer_counts_for_the_next_line(env: Path, server: ScriptedOllama, tmp_path: Path) -> None:
    options = config(tmp_path / "c.yaml", max_wait="200ms")
    server.seconds = 1.5
    with running("filter", "--llm", "on", "--config", options) as process:

        def said(line: bytes) -> dict:
            assert process.stdin is not None
            process.stdin.write(line + b"\n")
            process.stdin.flush()
            return next_event(process)["logclf"]

        assert said(b"zorble wibbled 1")["reason"] == "llm_timeout"
        wait_for(lambda: said(b"zorble wibbled 2")["stage"] == "llm")
        assert said(b"zorble wibbled 3")["cached"]
    assert len(server.asked) == 1


def test_a_server_that_appears_while_tail_runs(env: Path, server: ScriptedOllama, tmp_path: Path) -> None:
    server.stop()
    file = tmp_path / "a.log"
    file.write_text("zorble wibbled here\n")
    # The same program, but for the half minute between two looks for a server.
    program = "import logclf.cli, logclf.llm.stage as stage; stage.FIRST_LOOK = 0.2; logclf.cli.main()"
    command = [sys.executable, "-c", program, "tail", str(file)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        try:
            assert next_event(process)["logclf"]["stage"] == "none"
            server.start()
            verdicts = []

            def again() -> bool:
                with file.open("a") as log:
                    log.write("zorble wibbled here\n")
                verdicts.append(next_event(process)["logclf"]["stage"])
                time.sleep(0.1)
                return verdicts[-1] == "llm"

            wait_for(again)
        finally:
            process.kill()


def test_two_processes_share_answers(env: Path, server: ScriptedOllama) -> None:
    results: list[bytes] = []

    def one() -> None:
        results.append(logclf("filter", "--llm", "on", data=text(NOVEL)).stdout)

    threads = [threading.Thread(target=one) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results[0] == results[1]
    count = len(server.asked)
    assert len(NOVEL) <= count <= 2 * len(NOVEL)
    assert logclf("filter", "--llm", "on", data=text(NOVEL)).stdout == results[0]
    assert len(server.asked) == count


def test_tail_and_bench(env: Path, server: ScriptedOllama, tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_bytes(text(NOVEL))
    report = json.loads(logclf("bench", "--json", file).stdout)
    assert report["stages"]["llm"] == 0
    assert server.requests == [], "bench measures without"
    done = logclf("tail", "--no-follow", file)
    assert sum(event["logclf"]["stage"] == "llm" for event in objects(done.stdout)) == len(NOVEL) // 2
    assert json.loads(logclf("bench", "--json", "--llm", "on", file).stdout)["stages"]["llm"] == len(NOVEL) // 2


@pytest.mark.parametrize("jobs", [1, 2])
def test_archives_are_asked_by_one_process_which_waits(
    env: Path, server: ScriptedOllama, tmp_path: Path, jobs: int
) -> None:
    file, output = tmp_path / "a.log", tmp_path / "out.jsonl"
    lines = [f"{line} {number}" for number in range(200) for line in NOVEL]
    file.write_bytes(text(lines))
    server.seconds = 0.3
    options = config(tmp_path / "c.yaml", max_wait="10ms")
    done = logclf("classify", file, "-o", output, "-j", jobs, "--split-size", 0.01, "--config", options, "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["passes"] == 2
    assert report["stages"]["llm"] == len(lines) // 2
    assert len(server.asked) == len(NOVEL)
    assert [event["message"] for event in objects(output.read_bytes())] == lines


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_an_archive_could_not_be_told_says_why(
    env: Path, server: ScriptedOllama, tmp_path: Path, jobs: int
) -> None:
    file, output = tmp_path / "a.log", tmp_path / "out.jsonl"
    file.write_bytes(text([*NOVEL, NOVEL[3], NOVEL[3]] * 200))
    options = config(tmp_path / "c.yaml", budget="1/h")
    done = logclf("classify", file, "-o", output, "-j", jobs, "--split-size", 0.02, "--config", options)
    assert done.returncode == 0, done.stderr
    events = objects(output.read_bytes())
    assert {event["message"] for event in events if event["logclf"]["stage"] == "llm"} == {NOVEL[3]}, "most lines first"
    assert {event["logclf"].get("reason") for event in events} == {None, "budget"}
    assert len(server.asked) == 1


def test_an_archive_that_is_interrupted_while_it_waits(env: Path, server: ScriptedOllama, tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(text(NOVEL))
    server.always(Hang())
    with running("classify", tmp_path / "a.log", "-o", tmp_path / "out.jsonl", "--llm", "on") as process:
        wait_for(lambda: server.asked)
        begun = time.monotonic()
        process.send_signal(signal.SIGINT)
        assert process.wait(SECONDS) == 130
        assert time.monotonic() - begun < 2
    server.always(None)
    done = logclf("classify", tmp_path / "a.log", "-o", tmp_path / "out.jsonl", "--llm", "on", "--resume")
    assert done.returncode == 0, done.stderr
    assert len(objects((tmp_path / "out.jsonl").read_bytes())) == len(NOVEL)


def test_options_win_over_variables_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import click

    from logclf.cli.stream import cascade_options

    seen: list[CascadeOptions] = []

    @click.command()
    @cascade_options
    def command(chosen: CascadeOptions) -> None:
        seen.append(chosen)

    path = tmp_path / "c.yaml"
    path.write_text(
        "llm: {mode: on, model: a}\nmodel: {name: none}\nprofile: bank\nroutes: [{source: x, stages: [llm]}]\n"
    )

    def settings(*arguments: str) -> CascadeOptions:
        command.main(["--config", str(path), *arguments], standalone_mode=False)
        return seen[-1]

    monkeypatch.delenv("LOGCLF_LLM")
    plain = settings()
    assert (plain.llm_settings().mode, plain.llm_settings().model) == ("on", "a")
    assert plain.setup().taxonomy.name == "bank"
    assert plain.setup().model is None
    assert [route.source for route in plain._routes()] == ["x"]
    monkeypatch.setenv("LOGCLF_LLM", "auto")
    monkeypatch.setenv("LOGCLF_LLM_MODEL", "b")
    monkeypatch.setenv("LOGCLF_PROFILE", "default")
    assert (settings().llm_settings().mode, settings().llm_settings().model) == ("auto", "b")
    assert settings().setup().taxonomy.name == "default"
    flagged = settings("--llm", "off", "--llm-model", "c", "--route", "y=rules", "--profile", "bank")
    assert (flagged.llm_settings().mode, flagged.llm_settings().model) == ("off", "c")
    assert [route.source for route in flagged._routes()] == ["y"]
    assert flagged.setup().taxonomy.name == "bank"


def test_a_wrong_configuration_is_one_line_with_its_place(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text("llm:\n  max_wiat: 2s\n")
    done = logclf("filter", "--config", path, data=b"x\n")
    assert done.returncode == 78
    assert f"{path}:2: llm: unknown key 'max_wiat'; did you mean 'max_wait'?" in one_line(done)
    done = logclf("filter", "--llm", "maybe")
    assert done.returncode == 2


def test_nothing_of_a_client_is_loaded_where_there_is_no_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LOGCLF_LLM")
    monkeypatch.setenv("OLLAMA_HOST", "127.0.0.1:9")
    file = Path(__file__).parent / "data" / "sample.log"
    assert imported("tail", "--no-follow", str(file)) & {"ollama", "httpx", "sqlite3", "pydantic", "yaml"} <= {"yaml"}
