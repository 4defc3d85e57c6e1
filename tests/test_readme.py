"""What the README shows runs as it stands there."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from .helpers import ROOT

README = (ROOT / "README.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


COMMANDS = [
    line.split("  #")[0].strip() for block in blocks("sh") for line in block.splitlines() if line.startswith("logclf ")
]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A directory with the files that the README's commands name."""
    sample = ROOT / "tests" / "data" / "sample.log"
    (tmp_path / "app.log").write_bytes(sample.read_bytes())
    (tmp_path / "my-rules").mkdir()
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
