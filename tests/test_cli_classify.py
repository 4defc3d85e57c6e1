"""`logclf classify` as people run it: processes, signals, exit codes, what goes where."""

from __future__ import annotations

import gzip
import json
import os
import pty
import signal
import time
from pathlib import Path

import pytest

from .archives import csv_bytes, table
from .helpers import ROOT
from .test_cli import logclf, running, wait_for
from .test_imports import HEAVY, LIGHT_ONLY, imported

pytestmark = pytest.mark.usefixtures("cache_dir")

SAMPLE = (ROOT / "tests" / "data" / "sample.log").read_bytes()
ROWS = [line.decode("utf-8", "replace") for line in SAMPLE.splitlines()]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A CSV of the classic kind."""
    path = tmp_path / "rows.csv"
    path.write_bytes(
        csv_bytes([["timestamp", "source", "log_message"], *([str(n), "x", t] for n, t in enumerate(ROWS))])
    )
    return path


@pytest.fixture
def big(tmp_path: Path) -> Path:
    """A text log that takes seconds."""
    path = tmp_path / "big.log"
    path.write_bytes(b"".join(SAMPLE.replace(b":", b":%d" % (n % 10)) for n in range(1200)))
    return path


def test_a_table_gains_its_column_and_the_report_goes_to_stderr(rows: Path, tmp_path: Path) -> None:
    done = logclf("classify", rows, "-o", tmp_path / "out.csv")
    assert (done.returncode, done.stdout) == (0, b"")
    found = table((tmp_path / "out.csv").read_bytes())
    assert [row[:3] for row in found] == table(rows.read_bytes())
    assert found[0][3:] == ["target_label"]
    assert {"Security Alert", "HTTP Status"} <= {row[3] for row in found}
    lines = done.stderr.decode().splitlines()
    assert lines[0].startswith(f"logclf: {len(ROWS)} rows in ")
    assert ": rules 2" in lines[0]
    assert any(line.split()[:2] == ["Security", "Alert"] for line in lines[1:])
    assert not list(tmp_path.glob(".*"))


def test_the_report_as_json(rows: Path, tmp_path: Path) -> None:
    done = logclf("classify", rows, "-o", tmp_path / "out.csv", "--json")
    report = json.loads(done.stdout)
    assert report["rows"] == sum(report["stages"].values()) == sum(report["labels"].values()) == len(ROWS)
    assert report["outputs"] == {str(rows): str(tmp_path / "out.csv")}
    assert set(report["stages"]) == {"rules", "people", "model", "llm", "none"}


def test_results_are_those_of_filter(tmp_path: Path) -> None:
    source = tmp_path / "events.jsonl"
    source.write_bytes(b"".join(json.dumps({"message": text, "n": 1}).encode() + b"\n" for text in ROWS))
    filtered = logclf("filter", data=source.read_bytes()).stdout.replace(b',"cached":true', b"")
    assert logclf("classify", source, "-o", "-").stdout == filtered


@pytest.mark.parametrize("name", ["big.log", "big.csv"])
def test_processes_and_passes_change_nothing(tmp_path: Path, name: str) -> None:
    texts = [text.replace("10:", f"{n % 24}:") for n in range(20) for text in ROWS]
    lines = ("\n".join(texts) + "\n").encode()
    source = tmp_path / name
    source.write_bytes(csv_bytes([["log"], *([text] for text in texts)]) if name.endswith("csv") else lines)
    results = set()
    for jobs, passes in ((1, "1"), (2, "1"), (2, "2"), (1, "2")):
        output = tmp_path / f"{jobs}{passes}{source.suffix.replace('.log', '.jsonl')}"
        options = ["-j", jobs, "--passes", passes, "--split-size", 0.1, "--json"]
        done = logclf("classify", source, "-o", output, *options)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["passes"] == int(passes)
        results.add(output.read_bytes())
    assert len(results) == 1


def some_parts(directory: Path) -> bool:
    return len(list(directory.glob("*.part"))) > 1


@pytest.mark.parametrize("jobs", [1, 2])
@pytest.mark.parametrize(("number", "code"), [(signal.SIGKILL, -9), (signal.SIGTERM, 130), (signal.SIGINT, 130)])
def test_a_run_that_was_ended_goes_on(tmp_path: Path, big: Path, number: int, code: int, jobs: int) -> None:
    output, work = tmp_path / "out.jsonl", tmp_path / ".out.jsonl.parts"
    options = ["-o", output, "--split-size", 1, "-j", jobs]
    with running("classify", big, *options, start_new_session=True) as process:
        wait_for(lambda: some_parts(work) or process.poll() is not None)
        if number == signal.SIGINT:
            os.killpg(process.pid, number)  # as a terminal does
        else:
            process.send_signal(number)
        assert process.wait(30) == code
        if number == signal.SIGKILL:
            time.sleep(0.5)  # its workers notice, and end
        assert process.stderr is not None
        if code == 130:
            said = process.stderr.read().decode()
            assert said == "logclf: interrupted; what is done is kept, --resume goes on from there\n"
    assert not output.exists()
    kept = {path.name: path.stat().st_mtime_ns for path in work.glob("*.part")}
    assert kept
    done = logclf("classify", big, *options, "--resume", "--json")
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["resumed"] > 0
    assert report["rows"] == big.read_bytes().count(b"\n")
    assert not work.exists()
    again = tmp_path / "again.jsonl"
    logclf("classify", big, "-o", again, "--split-size", 1)
    assert output.read_bytes() == again.read_bytes()


def test_a_process_that_dies_ends_the_run_and_what_is_done_is_kept(tmp_path: Path, big: Path) -> None:
    options = ["-o", tmp_path / "out.jsonl", "--split-size", 1, "-j", 2]
    with running("classify", big, *options) as process:
        wait_for(lambda: some_parts(tmp_path / ".out.jsonl.parts") or process.poll() is not None)
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        workers = [int(child) for child in children if b"popen_loky" in Path(f"/proc/{child}/cmdline").read_bytes()]
        os.kill(workers[0], signal.SIGKILL)
        assert process.wait(30) == 1
        assert process.stderr is not None
        assert process.stderr.read() == b"logclf: a process died, perhaps for want of memory; --resume goes on\n"
    assert logclf("classify", big, *options, "--resume").returncode == 0


def test_exit_codes(tmp_path: Path, rows: Path) -> None:
    output = tmp_path / "out"
    bad = tmp_path / "bad.log.gz"
    bad.write_bytes(gzip.compress(SAMPLE)[:-4])
    assert logclf("classify", tmp_path / "none.csv", "-o", output).returncode == 2
    assert logclf("classify", rows).returncode == 2
    assert logclf("classify", rows, "-o", output, "--encoding", "nonsense").returncode == 2
    assert logclf("classify", rows, rows, "-o", "-").returncode == 2
    assert logclf("classify", rows, "-o", output, "--route", "x").returncode == 2
    assert logclf("classify", rows, "-o", output, "--text-column", "x").returncode == 78
    assert not output.exists()
    left_out = logclf("classify", bad, "-o", output)
    assert left_out.returncode == 1
    assert b"left out" in left_out.stderr
    assert logclf("classify", rows, bad, "-o", output).returncode == 1
    assert [entry.name for entry in output.iterdir()] == ["rows.csv"]
    latin = tmp_path / "latin.csv"
    latin.write_bytes("message\nJörg\n".encode("latin-1"))
    wrong = logclf("classify", latin, "-o", tmp_path / "l.csv")
    assert wrong.returncode == 78
    assert b"latin.csv: not UTF-8 at byte 9; say what it is in with --encoding" in wrong.stderr


def test_routes_by_source_column_and_in_the_stream(rows: Path) -> None:
    done = logclf("classify", rows, "-o", "-", "--route", "x=model", "--explain")
    assert {row[4] for row in table(done.stdout)[1:]} <= {"model", "none"}
    streamed = logclf("filter", "--source", "x", "--route", "x=", data=SAMPLE).stdout
    assert {json.loads(line)["logclf"]["reason"] for line in streamed.splitlines()} == {"route"}


def test_a_reader_that_goes_away_ends_it_quietly(big: Path) -> None:
    with running("classify", big, "-o", "-", "--split-size", 1) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr.read() == b""


def test_a_progress_bar_on_a_terminal(rows: Path, tmp_path: Path) -> None:
    ours, theirs = pty.openpty()
    with running("classify", rows, "-o", tmp_path / "out.csv", stderr=theirs) as process:
        os.close(theirs)
        assert process.wait(60) == 0
    assert b"\x1b[" in os.read(ours, 1 << 16)
    os.close(ours)


def test_help_costs_nothing_and_a_run_no_more_than_it_needs(rows: Path, tmp_path: Path) -> None:
    assert imported("classify", "--help") & LIGHT_ONLY == set()
    assert imported("classify", str(rows), "-o", str(tmp_path / "out.csv")) & (HEAVY | {"pyarrow", "rich"}) == set()
