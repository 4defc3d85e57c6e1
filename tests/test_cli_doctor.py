"""`logclf doctor`: what is there, what is missing, what to type; never a key."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from logclf.cli.doctor import Finding, directory, shown
from logclf.testing import HTML_PAGE, Busy, Fail, Misbehaviour, Redirect, ScriptedOllama, Send

from .test_imports import HEAVY, LIGHT_ONLY, imported

pytestmark = pytest.mark.usefixtures("cache_dir")

KEY = "sk-very-secret-0123456789"
NOBODY = "http://127.0.0.1:9"
Findings = dict[str, dict[str, str]]


def doctor(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "logclf", "doctor", *arguments]
    base = {name: value for name, value in os.environ.items() if name != "LOGCLF_LLM"}  # off in other tests
    return subprocess.run(command, capture_output=True, timeout=60, check=False, env={**base, **environment})


def findings(*arguments: str, code: int = 0, **environment: str) -> Findings:
    done = doctor(*arguments, "--json", **environment)
    assert done.returncode == code, done.stderr.decode() + done.stdout.decode()
    assert done.stderr == b""
    return {each["check"]: each for each in json.loads(done.stdout)}


def states(found: Mapping[str, dict[str, str]]) -> set[str]:
    return {each["state"] for each in found.values()}


def test_all_is_well_where_a_server_and_a_model_are() -> None:
    with ScriptedOllama(lambda _: "Critical Error") as server:
        found = findings(OLLAMA_HOST=server.host)
        assert states(found) == {"ok"}
        assert list(found) == (
            "logclf python hyperscan re2 labels rules model cache state".split()
            + ["llm host", "llm server", "llm models", "llm model", "llm answer"]
        )
        assert found["llm server"]["detail"] == "Ollama 0.13.5"
        assert found["llm answer"]["detail"].startswith("'Critical Error', ")
        assert len(server.asked) == 2
        assert "rebuilding onto a spare" in server.asked[0].body["messages"][-1]["content"]


def test_a_table_for_people() -> None:
    done = doctor(OLLAMA_HOST=NOBODY)
    lines = done.stdout.decode().splitlines()
    assert lines[0].split() == ["ok", "logclf", lines[0].split()[2]]
    at = next(number for number, line in enumerate(lines) if line.startswith("missing"))
    assert "→" in lines[at + 1]
    assert "ollama serve" in lines[at + 1]


def test_no_server_is_missing_and_no_fault() -> None:
    found = findings(OLLAMA_HOST=NOBODY)
    assert found["llm server"]["state"] == "missing"
    assert NOBODY in found["llm server"]["detail"]
    assert "ollama serve" in found["llm server"]["fix"]


def test_no_model_says_what_to_pull() -> None:
    with ScriptedOllama(models=["mistral:7b"]) as server:
        found = findings(OLLAMA_HOST=server.host)
    assert found["llm models"]["detail"] == "mistral:7b"
    assert found["llm model"]["state"] == "missing"
    assert found["llm model"]["fix"] == "type: ollama pull qwen3:4b"


@pytest.mark.parametrize(
    ("misbehaviour", "said"),
    [
        (Fail(500), "failed (status 500)"),
        (Busy(), "is busy"),
        (HTML_PAGE, "no answer"),
        (Redirect(NOBODY), "not followed"),
    ],
)
def test_a_server_that_fails_is_broken(misbehaviour: Misbehaviour, said: str) -> None:
    with ScriptedOllama() as server:
        server.always(misbehaviour)
        found = findings(code=1, OLLAMA_HOST=server.host)
        assert found["llm answer"]["state"] == "broken"
        assert said in found["llm answer"]["detail"]
        server.always(misbehaviour, everywhere=True)
        assert states(findings(OLLAMA_HOST=server.host)) == {"ok", "missing"}


def test_what_a_server_says_is_safe_to_look_at() -> None:
    hostile = b'{"version":"\\u001b[31m9","models":[{"model":"\\u001b]0;x:1b"},{"model":"qwen3:4b"}]}'
    with ScriptedOllama() as server:
        server.always(Send(hostile), everywhere=True)
        done = doctor(OLLAMA_HOST=server.host)
    assert b"\x1b" not in done.stdout + done.stderr


def test_another_host_needs_leave() -> None:
    found = findings(OLLAMA_HOST="http://10.255.255.1:11434")
    assert found["llm host"]["state"] == "missing"
    assert "allow_remote: true" in found["llm host"]["detail"]


def test_rules_model_and_profile_that_are_broken(tmp_path: Path) -> None:
    (tmp_path / "rules.yaml").write_text("version: 1\nrules: [{id: x}]\n")
    (tmp_path / "model").mkdir()
    found = findings(
        "--rules", str(tmp_path / "rules.yaml"), "--model", str(tmp_path / "model"), code=1, OLLAMA_HOST=NOBODY
    )
    assert found["rules"]["state"] == "broken"
    assert "rules.yaml:2" in found["rules"]["detail"]
    assert found["model"]["state"] == "broken"
    assert found["cache"]["state"] == "ok"
    found = findings("--profile", "nowhere", code=1, OLLAMA_HOST=NOBODY)
    assert found["labels"]["state"] == "broken"
    assert "rules" not in found


def test_options_and_configuration_say_what_is_asked_for(tmp_path: Path) -> None:
    found = findings("--llm", "on", code=1, OLLAMA_HOST=NOBODY)
    assert found["llm server"]["state"] == "broken"
    assert findings("--llm", "off", OLLAMA_HOST=NOBODY)["llm"]["detail"] == "off"
    config = tmp_path / "logclf.yaml"
    with ScriptedOllama(lambda _: "Error", ["small:1b", "other:1b"], seconds=0.1) as server:
        config.write_text(f"llm: {{host: '{server.host}', model: small, max_wait: 50ms}}\n")
        found = findings("--config", str(config), "--llm-model", "small:1b", OLLAMA_HOST=NOBODY)
        assert found["llm host"]["detail"] == f"{server.host} (configured)"
        assert found["llm model"]["detail"] == "small:1b"
        assert found["llm answer"]["fix"].startswith("slower than llm.max_wait (0.05 s)")
        assert findings("--config", str(config))["llm model"]["fix"] == "type: ollama pull small"
        config.write_text(
            f"llm: {{provider: openai, host: '{server.host}/v1', model: small:1b, api_key_env: OUR_KEY}}\n"
        )
        found = findings("--config", str(config), OUR_KEY=KEY)
        assert found["llm host"]["detail"] == f"{server.host}/v1 (configured; $OUR_KEY is set)"
        assert found["llm answer"]["state"] == "ok"
        assert server.asked[-1].headers["Authorization"] == f"Bearer {KEY}"
    config.write_text("llm: {modl: x}\n")
    found = findings("--config", str(config), code=1)
    assert "logclf.yaml:1" in found["config"]["detail"]
    assert found["state"]["state"] == "ok"


def test_directories(tmp_path: Path) -> None:
    later = directory("state", tmp_path / "a" / "b", "LOGCLF_STATE_DIR", "nothing is kept")
    assert (later.state, (tmp_path / "a").exists()) == ("ok", False)
    (tmp_path / "file").write_text("")
    broken = directory("state", tmp_path / "file" / "x", "LOGCLF_STATE_DIR", "nothing is kept")
    assert broken.state == "broken"
    assert "LOGCLF_STATE_DIR" in broken.fix
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o777)
    assert directory("cache", tmp_path / "open", "LOGCLF_CACHE_DIR", "slow").state == "broken"


def test_no_key_is_ever_shown() -> None:
    with ScriptedOllama(lambda _: "Error") as server:
        for arguments in ([], ["--json"]):
            done = doctor(*arguments, OLLAMA_HOST=server.host, OPENAI_API_KEY=KEY, OLLAMA_API_KEY=KEY)
            assert KEY.encode() not in done.stdout + done.stderr


def test_a_finding_is_one_line_and_what_helps_another() -> None:
    assert shown(Finding("cache", "broken", "a\x1b[31m\nb", "type: x")).split("\n") == [
        r"broken  cache       a\x1b[31m\x0ab",
        " " * 20 + "→ type: x",
    ]


def test_help_is_quick() -> None:
    assert imported("doctor", "--help") & LIGHT_ONLY == set()
    assert HEAVY
