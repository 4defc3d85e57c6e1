"""Whoever corrects an answer is not contradicted by model or LLM; what a rule says is corrected in the rule."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from logclf.llm.settings import LlmSettings
from logclf.topology import Setup, build, model_directory, resolve

SURE = "Oct  3 10:14:02 web1 frobd[811]: worker pool resized from 4 to 8 threads"  # the model has an opinion on it
RULED = "Oct  3 10:14:02 web1 sshd[811]: Failed password for root from 203.0.113.9 port 50273 ssh2"


def logclf(*arguments: str, lines: str = "") -> bytes:
    command = [sys.executable, "-m", "logclf", *arguments]
    return subprocess.run(command, input=lines.encode(), capture_output=True, check=True).stdout


def labelled(*arguments: str) -> list[dict[str, object]]:
    out = logclf("filter", *arguments, lines=f"{SURE}\n{RULED}\n{SURE.replace('8 thr', '16 thr')}\n")
    return [json.loads(line)["logclf"] for line in out.splitlines()]


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOGCLF_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_people_come_before_the_model_and_behind_the_rules() -> None:
    before = labelled()
    assert [each["stage"] == "people" for each in before] == [False] * 3
    logclf("memory", "correct", SURE, "Workflow Error")
    logclf("memory", "correct", RULED, "User Action")
    first, ruled, again = labelled()
    assert (first["label"], first["stage"], first["confidence"]) == ("Workflow Error", "people", 1.0)
    assert first["severity"] == "ERROR"
    assert (again["label"], again["stage"], again["cached"]) == ("Workflow Error", "people", True)
    assert ruled == before[1]


def test_routes_do_not_hide_what_people_said() -> None:
    logclf("memory", "correct", SURE, "Workflow Error")
    assert [each["label"] for each in labelled("--route", "*=rules")] == [
        "Workflow Error",
        "Security Alert",
        "Workflow Error",
    ]


def test_archives_hear_people_too(tmp_path: Path) -> None:
    logclf("memory", "correct", SURE, "Workflow Error")
    (tmp_path / "a.csv").write_text(f"message\n{SURE}\n{RULED}\n")
    table = logclf("classify", str(tmp_path / "a.csv"), "-o", "-", "--explain").decode().splitlines()
    assert table[1].endswith(",Workflow Error,people,1.0,ERROR,")


def test_without_corrections_there_is_no_such_stage() -> None:
    setup = resolve(model="none")
    assert not build(Setup(setup.taxonomy, packs=False, llm=LlmSettings(mode="off"))).stages
    assert model_directory("default").is_dir()
