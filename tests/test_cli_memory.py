"""`logclf memory`: what is remembered can be seen, moved, corrected and dropped, and nothing else happens to it."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import pty
import sqlite3
import stat
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logclf.cascade import Cascade
from logclf.cli.memory import memory_command
from logclf.errors import ConfigError
from logclf.llm import exchange
from logclf.llm.calls import UNSURE
from logclf.llm.naming import template_of
from logclf.llm.prompt import PROMPT_VERSION
from logclf.llm.redact import Redactor
from logclf.llm.store import PROVENANCES, AnswerStore, Replaced, Stored, fingerprint
from logclf.rulecheck import single_line
from logclf.rules import RuleSet
from logclf.taxonomy import DEFAULT
from logclf.taxonomyfile import load_taxonomy
from logclf.training.labelled import Columns, read_rows

from .helpers import ROOT
from .test_cli import logclf, one_line

pytestmark = pytest.mark.usefixtures("cache_dir")

DAY = 86_400.0
NOW = float(int(time.time()))
JOB, DISK, ODD = "worker <n> gave up on job <n>", "disk <n> is slow", "GET <path> status=<n> [404]"
BANK = load_taxonomy(ROOT / "rules" / "profiles" / "bank" / "taxonomy.yaml")


def answer(template: str, label: str = "Error", **more: object) -> Stored:
    made = Stored(
        *(template, label, 0.91, "llm", fingerprint(DEFAULT), NOW - DAY, NOW + DAY),
        sample=f"a line of {template}",
        source="app",
        model="qwen3:4b",
        prompt_version=PROMPT_VERSION,
    )
    return msgspec.structs.replace(made, **more)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AnswerStore:
    """Two answers of LLMs, one of a person; one in the bank's memory."""
    monkeypatch.setenv("LOGCLF_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.delenv("LOGCLF_CONFIG", raising=False)
    store = AnswerStore()
    store.put(
        [
            answer(JOB, "Workflow Error", created=NOW - 40 * DAY),
            answer(DISK, "Resource Usage", provenance="human", expires=None, model=""),
            answer(ODD, model="gemma3:1b", prompt_version="another"),
            answer("a bank's", "High", taxonomy=fingerprint(BANK)),
        ]
    )
    return store


captured: list[pytest.CaptureFixture[str]] = []


@pytest.fixture(autouse=True)
def _capturing(capfd: pytest.CaptureFixture[str]) -> None:
    captured[:] = [capfd]


def lines(*arguments: object, **more: object) -> list[str]:
    """What a command that succeeds says on stdout; in this process, which takes no time to start, where it may."""
    if more:
        done = logclf("memory", *arguments, **more)
        assert done.returncode == 0, done.stderr
        return done.stdout.decode().splitlines()
    captured[0].readouterr()
    assert not memory_command.main(list(map(str, arguments)), standalone_mode=False)
    return captured[0].readouterr().out.splitlines()


def labels(store: AnswerStore) -> dict[str, tuple[str, str]]:
    return {each.template: (each.provenance, each.label) for each in store.rows(DEFAULT)}


# --- list


def test_list_shows_the_latest_first_and_why_an_answer_is_odd(store: AnswerStore) -> None:
    store.put([answer("gone <n>", "Doom")])
    head, *rows = lines("list")
    assert head.split() == ["LABEL", "CONFIDENCE", "BY", "MODEL", "AGE", "TEMPLATE"]
    assert [row.split("  ")[-1].strip() for row in rows] == ["gone <n>", ODD, DISK, JOB]
    assert rows[0].split()[-5:-2] == ["no", "such", "label"]
    assert rows[1].split() == ["Error", "0.91", "llm", "gemma3:1b", "24h", "stale", *ODD.split()]
    assert rows[2].split() == ["Resource", "Usage", "human", "24h", *DISK.split()]
    assert rows[3].split() == ["Workflow", "Error", "0.91", "llm", "qwen3:4b", "40d", *JOB.split()]
    done = logclf("memory", "list")
    assert done.stderr == b"4 answers: 1 human, 3 llm\n"


@pytest.mark.parametrize(
    ("options", "found"),
    [
        (["--label", "Error"], [ODD]),
        (["--provenance", "human"], [DISK]),
        (["--provenance", "llm"], [ODD, JOB]),
        (["--model", "qwen3:4b"], [JOB]),
        (["--older-than", "30d"], [JOB]),
        (["--older-than", "12h", "--provenance", "llm"], [ODD, JOB]),
        (["--grep", "job|disk"], [DISK, JOB]),
        (["--grep", r"^a line of GET .*\[404\]$"], [ODD]),
        (["--profile", "bank"], ["a bank's"]),
        (["--label", "High"], []),
    ],
)
def test_list_filters(store: AnswerStore, options: list[str], found: list[str]) -> None:
    assert [json.loads(line)["template"] for line in lines("list", "--json", *options)] == found


@pytest.mark.parametrize("options", [["--older-than", "3 days"], ["--grep", "("], ["--provenance", "me"]])
def test_filters_that_make_no_sense_are_usage_errors(store: AnswerStore, options: list[str]) -> None:
    done = logclf("memory", "list", *options)
    assert done.returncode == 2
    assert b"Traceback" not in done.stderr
    assert done.stdout == b""


def test_what_was_logged_is_safe_to_look_at(store: AnswerStore) -> None:
    hostile = "a\x1b[31m\x9b2J\u202e\x7f\u2066\U000e0041 line"
    store.put([answer(hostile, sample=hostile, model="\x1b]0;x\x07", source="\x9d")])
    shown = [lines("list"), lines("list", "--json"), lines("export"), lines("accept", hostile)]
    for each in shown:
        assert not set("\x1b\x9b\x9d\u202e\x7f\x07\u2066\U000e0041") & set("\n".join(each))
    (event,) = [json.loads(line) for line in shown[1] if "line" in json.loads(line)["template"][-4:]]
    assert event["template"] == hostile, "and says the same"
    assert "a\\x1b[31m\\x9b2J\\u202e" in "".join(shown[0])


def test_looking_makes_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOGCLF_STATE_DIR", str(tmp_path / "state"))
    done = logclf("memory", "list")
    assert (done.stdout, done.stderr) == (b"", b"0 answers\n")
    assert lines("export") == []
    assert lines("forget", "--all") == ["0 answers forgotten"]
    assert logclf("memory", "accept", "something new").returncode == 1
    assert not (tmp_path / "state").exists()


def test_a_file_of_a_newer_logclf_is_said_and_left_alone(store: AnswerStore) -> None:
    raw = sqlite3.connect(store.path)
    raw.execute("PRAGMA user_version = 7")
    raw.close()
    for arguments in (["list"], ["correct", "a line", "Error"]):
        done = logclf("memory", *arguments)
        assert done.returncode == 78
        assert "written by a newer logclf (format 7" in one_line(done)


def test_a_damaged_file_is_set_aside_with_a_word(store: AnswerStore) -> None:
    store.close()
    store.path.write_bytes(b"no database at all" * 1000)
    done = logclf("memory", "list")
    assert done.returncode == 0
    assert b"damaged (file is not a database); kept as memory.sqlite.corrupt-" in done.stderr
    assert lines("correct", DISK, "Error") == [f"Error: {DISK}"]


# --- correct, accept


def test_correct_takes_a_template_or_a_line_of_it(store: AnswerStore) -> None:
    assert lines("correct", JOB, "Critical Error") == [f"Critical Error: {JOB}; llm had said Workflow Error"]
    assert lines("correct", "disk 17 is slow", "Error") == [f"Error: {DISK}; human had said Resource Usage"]
    assert lines("correct", "GET /a/b status=404", "HTTP Status") == [f"HTTP Status: {ODD}; llm had said Error"]
    assert lines("correct", "GET /a/b status=500", "HTTP Status") == ["HTTP Status: GET <path> status=<n> [500]"]
    assert labels(store) == {
        JOB: ("human", "Critical Error"),
        DISK: ("human", "Error"),
        ODD: ("human", "HTTP Status"),
        "GET <path> status=<n> [500]": ("human", "HTTP Status"),
    }


def test_correct_refuses_what_the_taxonomy_lacks(store: AnswerStore) -> None:
    done = logclf("memory", "correct", DISK, "High")
    assert done.returncode == 78
    assert "the taxonomy 'default' has no label 'High'" in one_line(done)
    assert lines("correct", "a bank's", "Critical", "--profile", "bank")[0].startswith("Critical: ")
    assert labels(store)[DISK] == ("human", "Resource Usage")
    assert logclf("memory", "correct", "  ", "Error").returncode == 2


def test_secrets_in_a_line_are_not_kept(store: AnswerStore, tmp_path: Path) -> None:
    config = tmp_path / "logclf.yaml"
    config.write_text("llm: {redact: ['tin-[a-z]+']}\n")
    lines("correct", "log-in with password=hunterx of tin-foil hat", "User Action", "--config", config)
    lines("correct", b"bad \xff byte".decode(errors="surrogateescape"), "Error")
    (found,) = [each for each in store.rows(DEFAULT) if each.template.startswith("log-in")]
    assert not {"hunterx", "foil"} & set(f"{found.template} {found.sample}".replace("=", " ").replace("-", " ").split())
    assert "bad \ufffd byte" in labels(store)


def test_a_line_means_the_template_that_a_stream_looks_for() -> None:
    """With the numbers that count, and without secrets."""
    asked: list[str] = []

    class Hears:
        name, version = "llm", "1"

        def answer(self, novel: list) -> list:
            asked.extend(each.template for each in novel)
            return [None] * len(novel)

    mask = Redactor().mask
    for line in ("disk 3 of 4 is slow", "job /a/b/c done in 3.5 s", "x 550e8400-e29b-41d4-a716-446655440000"):
        Cascade(DEFAULT, RuleSet([]), [Hears()]).classify(single_line(line))
        assert template_of(line, DEFAULT, mask) == asked[-1]
    assert template_of("exited with exit code 3", DEFAULT, mask) != template_of(
        "exited with exit code 4", DEFAULT, mask
    )
    assert template_of(" ", DEFAULT, mask) is None


def test_a_config_names_the_profile_unless_an_option_does(store: AnswerStore, tmp_path: Path) -> None:
    config = tmp_path / "logclf.yaml"
    config.write_text("profile: bank\n")
    environment = os.environ | {"LOGCLF_CONFIG": str(config)}
    assert len(lines("list", "--json", env=environment)) == 1
    assert len(lines("list", "--json", "--profile", "default", env=environment)) == 3


def test_accept_makes_answers_a_persons(store: AnswerStore) -> None:
    store.put([answer("odd", UNSURE)])
    done = logclf("memory", "accept", "worker 3 gave up on job 4", ODD, "never heard of")
    assert done.returncode == 1
    assert done.stdout.decode().splitlines() == [f"Workflow Error: {JOB}", f"Error: {ODD}"]
    assert done.stderr == b"no answer about: never heard of\n"
    assert {who for who, _ in (labels(store)[JOB], labels(store)[ODD])} == {"human"}
    assert "has no label 'unsure'" in one_line(logclf("memory", "accept", "odd"))


# --- forget


def test_forget_counts_what_it_dropped(store: AnswerStore) -> None:
    assert lines("forget", "worker 3 gave up on job 4", "--yes") == ["1 answer forgotten"]
    done = logclf("memory", "forget", "never heard of", "--yes")
    assert (done.returncode, done.stdout) == (1, b"0 answers forgotten\n")
    assert lines("forget", "--provenance", "llm", "--yes") == ["1 answer forgotten"]
    assert labels(store) == {DISK: ("human", "Resource Usage")}
    assert lines("forget", "--all", "--yes") == ["1 answer forgotten"]
    assert [each.template for each in store.rows(BANK)] == ["a bank's"], "each taxonomy has a memory of its own"


def test_forget_needs_a_choice_and_a_yes(store: AnswerStore) -> None:
    for arguments in ([], ["--all", "--label", "Error"], [JOB, "--all"], [JOB, "--label", "Error"]):
        assert logclf("memory", "forget", *arguments, "--yes").returncode == 2
    done = logclf("memory", "forget", "--all")
    assert done.returncode == 2
    assert b"Forget 3 answers: 1 human, 2 llm? Say --yes" in done.stderr
    assert len(labels(store)) == 3


@pytest.mark.parametrize(("said", "code", "left"), [(b"y\n", 0, 0), (b"n\n", 130, 3)])
def test_forget_asks_on_a_terminal(store: AnswerStore, said: bytes, code: int, left: int) -> None:
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "logclf", "memory", "forget", "--all"]
    with subprocess.Popen(command, stdin=theirs, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        os.close(theirs)
        os.write(ours, said)
        output, errors = process.communicate(timeout=60)
        assert process.returncode == code, errors
    os.close(ours)
    assert b"Forget 3 answers" in errors
    assert len(labels(store)) == left
    assert output == (b"3 answers forgotten\n" if not left else b"")


# --- export, import


def test_export_and_import_carry_everything_over(store: AnswerStore, tmp_path: Path) -> None:
    store.correct(JOB, "Critical Error", DEFAULT, NOW)
    before = list(store.rows(DEFAULT))
    for name in ("answers.jsonl", "answers.csv"):
        file = tmp_path / name
        done = logclf("memory", "export", "-o", file)
        assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"3 answers: 2 human, 1 llm written\n")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert lines("forget", "--all", "--yes") == ["3 answers forgotten"]
        assert lines("import", file) == ["3 answers taken in"]
        assert list(store.rows(DEFAULT)) == before
        assert lines("import", "-" if name.endswith("l") else file, data=file.read_bytes()) == ["3 answers taken in"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["answers.csv", "answers.jsonl", "state"]


def test_export_says_what_is_there_in_a_fixed_form(store: AnswerStore) -> None:
    found = [json.loads(line) for line in lines("export", "--label", "Error")]
    assert found == [
        {
            "template": ODD,
            "label": "Error",
            "provenance": "llm",
            "confidence": 0.91,
            "sample": f"a line of {ODD}",
            "source": "app",
            "model": "gemma3:1b",
            "prompt_version": "another",
            "taxonomy": fingerprint(DEFAULT),
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW - DAY)),
            "expires": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(NOW + DAY)),
        }
    ]


def test_only_peoples_answers_are_for_training(store: AnswerStore, tmp_path: Path) -> None:
    store.put([answer("without a sample", provenance="human", expires=None, sample="")])
    expected = [(f"a line of {DISK}", "Resource Usage"), ("without a sample", "Error")]
    rows = [json.loads(line) for line in lines("export", "--for-training")]
    assert [(row["text"], row["label"]) for row in rows] == expected
    assert lines("export", "--for-training", "--provenance", "llm") == []
    for name in ("t.csv", "t.jsonl"):
        lines("export", "--for-training", "-o", tmp_path / name)
        (read,) = read_rows(tmp_path / name, Columns())
        assert list(zip(read.text, read.label, strict=True)) == expected
        assert read.source == ["app", "app"]


def test_export_replaces_nothing_that_it_was_not_told_to(store: AnswerStore, tmp_path: Path) -> None:
    file = tmp_path / "answers.jsonl"
    file.write_text("mine")
    for arguments, why in (
        (["-o", file], "is there already; --overwrite replaces it"),
        (["-o", tmp_path, "--overwrite"], "is not a file"),
        (["-o", "/dev/null", "--overwrite"], "is not a file"),
        (["-o", tmp_path / "no" / "where"], "No such file or directory"),
    ):
        done = logclf("memory", "export", *arguments)
        assert done.returncode == 1
        assert why in one_line(done)
    assert file.read_text() == "mine"
    lines("export", "-o", file, "--overwrite")
    assert file.read_bytes().count(b"\n") == 3
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def imported(store: AnswerStore, tmp_path: Path, *rows: dict[str, object], options: tuple[str, ...] = ()) -> str:
    file = tmp_path / "in.jsonl"
    file.write_text("".join(f"{json.dumps(row)}\n" for row in rows))
    return lines("import", file, *options)[0]


def test_import_merges_by_who_said_it_and_then_by_age(store: AnswerStore, tmp_path: Path) -> None:
    human = {"label": "Error", "provenance": "human"}
    machine = {"label": "Error", "provenance": "llm", "created": "2001-01-01T00:00:00Z"}
    said = imported(
        store,
        tmp_path,
        {"template": JOB, **human, "created": "2000-01-01T00:00:00Z"},
        {"template": DISK, **machine, "expires": "2999-01-01T00:00:00Z"},
        {"template": DISK, **human, "created": "2000-01-01T00:00:00Z"},
        {"template": ODD, **machine, "label": "User Action", "expires": "2999-01-01T00:00:00+02:00"},
        {"template": "old", **machine},
        {"template": "new", **human, "expires": "2000-01-01T00:00:00Z", "created": "2999-01-01T00:00:00Z"},
    )
    assert said == "2 answers taken in; 3 met an answer that holds; 1 have expired"
    assert labels(store) == {
        JOB: ("human", "Error"),
        DISK: ("human", "Resource Usage"),
        ODD: ("llm", "Error"),
        "new": ("human", "Error"),
    }
    (new,) = [each for each in store.rows(DEFAULT) if each.template == "new"]
    assert new.expires is None
    assert new.created < time.time() + 1, "nothing is from the future"


def test_answers_about_other_labels_are_stale(store: AnswerStore, tmp_path: Path) -> None:
    row = {"label": "Error", "provenance": "llm", "prompt_version": PROMPT_VERSION}
    imported(
        store,
        tmp_path,
        {"template": "a", **row, "taxonomy": "bank@0123"},
        {"template": "b", **row, "taxonomy": fingerprint(DEFAULT)},
    )
    found = store.get(["a", "b"], DEFAULT, PROMPT_VERSION, time.time())
    assert {template: each.stale for template, each in found.items()} == {"a": True, "b": False}
    assert all(each.expires for each in found.values())


GOOD = {"template": "t", "label": "Error", "provenance": "human"}


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ({"label": "High"}, "has no label 'High'"),
        ({"label": UNSURE}, "has no label 'unsure'"),
        ({"provenance": "me"}, "not a remembered answer: Invalid enum value 'me'"),
        ({"confidence": 2}, "Expected `float` <= 1.0 - at `$.confidence`"),
        ({"template": ""}, "Expected `str` of length >= 1"),
        ({"template": "x" * 20_000}, "Expected `str` of length <= 16384"),
        ({"sample": "x" * 300_000}, "longer than 262144 bytes"),
        ({"sample": 7}, "Expected `str`, got `int`"),
        ({"created": "yesterday"}, "Invalid RFC3339 encoded datetime"),
        ({"created": "2000-01-01T00:00:00"}, "Expected `datetime` with a timezone component"),
        ({"seen": 1}, "Object contains unknown field `seen`"),
        ({"replaced": {"label": "Error"}}, "missing required field"),
    ],
)
def test_one_wrong_line_is_named(bad: dict[str, object], why: str) -> None:
    text = f"{json.dumps(GOOD)}\n\n{json.dumps(GOOD | bad)}\n{json.dumps(GOOD)}\n"
    with pytest.raises(ConfigError) as error:
        exchange.read_answers(io.BytesIO(text.encode()), "in.jsonl", DEFAULT, NOW)
    assert error.value.where == "in.jsonl:3"
    assert why in str(error.value)


def test_after_a_wrong_line_nothing_is_taken_in(store: AnswerStore, tmp_path: Path) -> None:
    before = labels(store)
    file = tmp_path / "in.jsonl"
    file.write_text(f"{json.dumps(GOOD)}\n{json.dumps(GOOD | {'label': chr(27) + '[31m'})}\n")
    done = logclf("memory", "import", file)
    assert done.returncode == 78
    assert one_line(done).startswith(f"logclf: {file}:2: the taxonomy 'default' has no label ")
    assert b"\x1b" not in done.stderr
    assert labels(store) == before
    table = tmp_path / "in.csv"
    table.write_text("template,label,provenance\nt,Error,human\nt,High,human\n")
    with pytest.raises(ConfigError, match=r"in\.csv:3: .* no label 'High'"):
        lines("import", table)
    assert labels(store) == before


def test_unknown_labels_can_be_left_out(store: AnswerStore, tmp_path: Path) -> None:
    said = imported(store, tmp_path, GOOD, GOOD | {"label": "High"}, options=("--skip-unknown",))
    assert said == "1 answer taken in; 1 have a label that the taxonomy lacks"


@pytest.mark.parametrize(
    ("data", "where", "why"),
    [
        (b"template,label\nx,Error\n", 1, "expected columns as `memory export` writes them"),
        (b"template,label,provenance,colour\n", 1, "see ['colour']"),
        (b'template,label,provenance\nx,Error,human\n\n"two\nlines",High,human\n', 4, "no label 'High'"),
        (b"template,label,provenance\nx,Error\n", 2, "2 fields where the header has 3"),
        (b'template,label,provenance\nx,"Error"!,human\n', 2, "not CSV"),
        (b"template,label,provenance\n\xff,Error,human\n", 1, "not UTF-8"),
        (b"template,label,provenance,confidence\nx,Error,human,much\n", 2, "not a remembered answer"),
        (b"template,label,provenance,replaced\nx,Error,human,{\n", 2, "not a remembered answer"),
    ],
)
def test_wrong_csv_is_named_too(data: bytes, where: int, why: str) -> None:
    with pytest.raises(ConfigError) as error:
        exchange.read_answers(io.BytesIO(data), "in.csv", DEFAULT, NOW, as_csv=True)
    assert error.value.where == f"in.csv:{where}"
    assert why in str(error.value)


def test_what_cannot_be_read(store: AnswerStore, tmp_path: Path) -> None:
    done = logclf("memory", "import", tmp_path / "none.jsonl")
    assert done.returncode == 2
    assert "No such file" in one_line(done)
    (tmp_path / "in.jsonl").write_bytes(b'{"template":"\xff"}\n')
    assert "in.jsonl:1: not a remembered answer" in one_line(logclf("memory", "import", tmp_path / "in.jsonl"))


TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
TIMES = st.integers(0, int(NOW)) | st.floats(0, NOW).map(lambda moment: round(moment, 3))


@st.composite
def stored(draw: st.DrawFn) -> Stored:
    who = draw(st.sampled_from(PROVENANCES))
    replaced = draw(st.none() | st.builds(Replaced, TEXT, st.just("llm"), st.floats(0, 1), TEXT))
    return Stored(
        draw(TEXT.filter(bool)),
        draw(st.sampled_from(DEFAULT.names)),
        draw(st.floats(0, 1)),
        who,
        fingerprint(DEFAULT),
        draw(TIMES),
        None if who == "human" else NOW + draw(st.integers(10, 10**9)),
        *(draw(TEXT) for _ in range(4)),
        replaced=replaced,
    )


@settings(deadline=None, max_examples=150)
@given(st.lists(stored(), max_size=4), st.booleans())
def test_what_is_written_is_read_again(answers: list[Stored], as_csv: bool) -> None:
    written = map(exchange.as_line, answers)
    data = b"".join(exchange.csv_rows(written, exchange.Line) if as_csv else exchange.json_lines(written))
    found = exchange.read_answers(io.BytesIO(data), "it", DEFAULT, NOW, as_csv)
    assert [msgspec.structs.replace(each, created=0) for each in found.answers] == [
        msgspec.structs.replace(each, created=0) for each in answers
    ]
    assert [each.created for each in found.answers] == pytest.approx([each.created for each in answers], abs=1e-5)
    if as_csv:
        assert len(list(csv.reader(io.StringIO(data.decode(), newline="")))) == len(answers) + 1


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=60) | TEXT.map(str.encode), st.booleans())
def test_whatever_is_read_is_an_answer_or_an_error(data: bytes, as_csv: bool) -> None:
    head = b"template,label,provenance\n" if as_csv else b""
    with contextlib.suppress(ConfigError):
        found = exchange.read_answers(io.BytesIO(head + data), "it", DEFAULT, NOW, as_csv)
        assert all(isinstance(each, Stored) and each.label in DEFAULT.names for each in found.answers)


def test_help_costs_no_engine(store: AnswerStore) -> None:
    done = logclf("memory", "--help", env=os.environ | {"PYTHONPROFILEIMPORTTIME": "1"})
    assert b" numpy" not in done.stderr
    assert b" sqlite3" not in done.stderr
    for name in (b"list", b"export", b"import", b"correct", b"accept", b"forget"):
        assert name in done.stdout
