"""What the README shows runs as it stands there."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from logclf.store import Store

from . import classic
from .helpers import ROOT
from .test_store import write_model

WORDS = "disk link node card pool queue".split()
README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [
    line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines() if line.startswith("logclf ")
]


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the files and models that the README's commands name."""
    monkeypatch.setenv("LOGCLF_STATE_DIR", str(tmp_path / "state-of-models"))
    shutil.copytree(ROOT / "rules" / "profiles" / "bank", tmp_path / "my-bank")
    write_model(tmp_path / "my-model")
    for _ in range(2):
        Store().add(tmp_path / "my-model", "ours")
    sample = ROOT / "tests" / "data" / "sample.log"
    (tmp_path / "app.log").write_bytes(sample.read_bytes())
    (tmp_path / "tickets.csv").write_text("timestamp,source,log_message\n1,shop,payment 4711 declined\n")
    classic.write(tmp_path / "history.csv")
    rows = [f"{label},{what} {n}\n" for label, what in (("Low", "started"), ("High", "lost")) for n in WORDS]
    (tmp_path / "incidents.csv").write_text("label,message\n" + "".join(rows))
    (tmp_path / "theirs.jsonl").write_text('{"template":"disk <n> is slow","label":"Error","provenance":"human"}\n')
    (tmp_path / "archive").mkdir()
    (tmp_path / "archive" / "app.log.gz").write_bytes(gzip.compress(sample.read_bytes()))
    (tmp_path / "my-rules").mkdir()
    (tmp_path / "logclf.yaml").write_text(next(b for b in blocks("yaml") if "llm:" in b))
    (tmp_path / "my-rules" / "shop.yaml").write_text(next(b for b in blocks("yaml") if "shop.payment" in b))
    return tmp_path


def finite(command: str) -> str:
    """The same command on files that are here, stopping at their end."""
    command = command.replace("/var/log/", "").replace("/var/lib/logclf", "state").replace("--model my-minilm", "")
    return f"{command} --no-follow" if command.startswith("logclf tail") and "--no-follow" not in command else command


@pytest.mark.parametrize("command", COMMANDS)
def test_commands(command: str, place: Path) -> None:
    shell = finite(command).replace("logclf ", f"{shlex.quote(sys.executable)} -m logclf ", 1)
    done = subprocess.run(shell, shell=True, cwd=place, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


def test_library_example() -> None:
    done = subprocess.run([sys.executable, "-c", blocks("python")[0]], capture_output=True, check=True)
    assert done.stdout.startswith(b"Security Alert WARN rules sshd.")
    routed = subprocess.run([sys.executable, "-c", blocks("python")[1]], capture_output=True, check=True)
    assert routed.stdout == b"route\n"


def test_examples_are_well_formed() -> None:
    assert all(json.loads(line) for block in blocks("json") for line in block.splitlines())
    assert all(yaml.safe_load(block) for block in blocks("yaml"))


def test_names_the_two_commands() -> None:
    assert "tests/data/sample.log" in blocks("sh")[0]
    assert blocks("sh")[1].strip() == "bash tests/check"
    assert "bash tests/check" in (ROOT / ".ci" / "run").read_text()
