"""`logclf eval` as people run it."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from .test_cli import logclf, one_line
from .test_cli_train import TAXONOMY, table

pytestmark = pytest.mark.usefixtures("cache_dir")

HEAD = ("source", "log_message", "target_label", "severity", "count")
ROWS = [
    ("sshd", "Failed password for root from 203.0.113.9 port 50273 ssh2", "Security Alert", "WARN", "900"),
    ("sshd", "Failed password for root from 203.0.113.10 port 502 ssh2", "Security Alert", "WARN", "50"),
    ("shop", "glorp the frobnicator with a zarquon", "User Action", "INFO", "1"),
]


@pytest.fixture
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return table(Path("rows.csv"), ROWS, HEAD)


def refused(*arguments: object, code: int = 78) -> str:
    done = logclf("eval", *arguments)
    assert done.returncode == code
    return one_line(done)


def test_tables_for_people(data: Path) -> None:
    done = logclf("eval", data)
    assert (done.returncode, done.stderr) == (0, b"")
    shown = done.stdout.decode()
    for words in ("rows   ", "each template once", "by count", "severity agrees", "calibration error", "stage   ",
                  "source  ", "sshd  ", "label   ", "Security Alert  "):  # fmt: skip
        assert words in shown, words


def test_json_for_scripts(data: Path) -> None:
    found = json.loads(logclf("eval", data, "--json").stdout)
    assert found["rows"]["examples"] == 3
    assert found["templates"]["examples"] == 2
    assert found["weighted"]["examples"] == 951
    assert {each["name"] for each in found["sources"]} == {"sshd", "shop"}
    assert found["severity"] >= 2 / 3 - 0.001


def test_rules_or_model_alone(data: Path) -> None:
    rules = json.loads(logclf("eval", data, "--json", "--model", "none").stdout)
    model = json.loads(logclf("eval", data, "--json", "--route", "*=model").stdout)
    assert {each["name"] for each in rules["stages"]} == {"rules", "none"}
    assert "rules" not in {each["name"] for each in model["stages"]}


def test_packed_tables_and_other_formats(data: Path) -> None:
    Path("rows.csv.gz").write_bytes(gzip.compress(data.read_bytes()))
    lines = "".join(json.dumps(dict(zip(HEAD, row, strict=True))) + "\n" for row in ROWS)
    Path("rows.jsonl").write_text(lines)
    Path("rows").write_text(lines)
    found = {logclf("eval", *arguments, "--json").stdout for arguments in
             ([data], ["rows.csv.gz"], ["rows.jsonl"], ["rows", "--format", "jsonl"])}  # fmt: skip
    assert len(found) == 1


def test_unknown_labels_are_refused_or_counted(data: Path) -> None:
    table(data, [*ROWS, ("x", "a b c", "\x1b[31mEror", "", ""), ("x", "", "Error", "", "")], HEAD)
    said = refused(data)
    assert "labels that the taxonomy lacks: '" in said
    assert "\x1b" not in said
    shown = logclf("eval", data, "--skip-unknown").stdout.decode()
    assert "left out: 1 rows with labels that the taxonomy lacks" in shown
    assert "left out: 1 rows with no text" in shown


def test_labels_of_ones_own(data: Path) -> None:
    Path("mine.yaml").write_text(TAXONOMY)
    table(data, [("worker failed", "Bad"), ("worker done", "Good")])
    found = json.loads(logclf("eval", data, "--taxonomy", "mine.yaml", "--model", "none", "--json").stdout)
    assert [each["name"] for each in found["labels"]] == ["Bad", "Good"]


@pytest.mark.parametrize(
    ("content", "said", "code"),
    [
        (b"", "it is empty", 78),
        (b"msg,label\n", "no row to measure has both a text and a label", 78),
        (b"msg,label\n,Error\n", "no row to measure has both a text and a label; 1 rows have no text", 78),
        (b"msg,x\na,b\n", "no column looks like the label", 78),
        (b"msg,label\n\xff,Error\n", "not utf-8 at byte 10", 78),
        (None, "No such file", 2),
    ],
)
def test_bad_data_is_refused_in_a_line(content: bytes | None, said: str, code: int, data: Path) -> None:
    data.unlink()
    if content is not None:
        data.write_bytes(content)
    assert said in refused(data, code=code)


def test_hostile_lines_do_not_reach_the_terminal(data: Path) -> None:
    evil = "\x1b]0;owned\x07 \u202e glorp zarquon\rx"
    table(data, [*ROWS[:2], ("\x1b[31m", evil, "User Action", "", "")], HEAD)
    shown = logclf("eval", data).stdout.decode()
    assert "\\x1b]0;owned" in shown
    assert not set(shown) & {"\x1b", "\x07", "\r", "\u202e"}
