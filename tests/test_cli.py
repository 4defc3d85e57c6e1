"""The commands as people and shippers run them: what goes to stdout, what to stderr, and the exit code."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from .helpers import ROOT, objects

SAMPLE = Path(__file__).parent / "data" / "sample.log"
COUNT = SAMPLE.read_bytes().count(b"\n")
JOINED = 1  # two lines of the sample are pieces of one
SECONDS = 60.0

pytestmark = pytest.mark.usefixtures("cache_dir")


def logclf(*arguments: object, data: bytes = b"", **options: Any) -> subprocess.CompletedProcess[bytes]:
    command = [sys.executable, "-m", "logclf", *map(str, arguments)]
    return subprocess.run(command, input=data, capture_output=True, timeout=SECONDS, check=False, **options)


@contextmanager
def running(*arguments: object, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "logclf", *map(str, arguments)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE} | options
    with subprocess.Popen(command, **pipes) as process:
        try:
            yield process
        finally:
            process.kill()


def next_event(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    assert process.stdout is not None
    event: dict[str, Any] = json.loads(process.stdout.readline())
    return event


def wait_for(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + SECONDS
    while not true():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.01)


def one_line(done: subprocess.CompletedProcess[bytes]) -> str:
    """The one line on stderr, and nothing on stdout."""
    assert done.stdout == b""
    text = done.stderr.decode()
    assert text.count("\n") == 1, text
    assert "Traceback" not in text
    return text


# --- tail


def test_tail_labels_the_sample() -> None:
    done = logclf("tail", "--no-follow", SAMPLE)
    assert done.returncode == 0, done.stderr
    events = objects(done.stdout)
    assert len(events) == COUNT - JOINED
    assert all(event["logclf"]["label"] and event["logclf"]["stage"] in ("rules", "model", "none") for event in events)
    text = [event for event in events if event.get("file")]
    assert {event["file"] for event in text} == {str(SAMPLE)}
    failed = next(event for event in events if "Failed password" in event.get("message", ""))
    assert failed["logclf"]["label"] == "Security Alert"
    assert failed["logclf"]["fields"]["src_ip"]
    assert [event["message"] for event in events if event.get("stream") == "stderr"] == ["a long line, and its end"]
    assert next(event for event in events if event.get("message") == "old verdict")["logclf"] != {"label": "Error"}

    assert f"{COUNT - JOINED:,} lines in " in one_line_of(done.stderr)
    assert "rules" in one_line_of(done.stderr)


def one_line_of(text: bytes) -> str:
    (line,) = text.decode().splitlines()
    return line


def test_tail_of_the_last_lines_and_from_the_end(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_text("one\ntwo\nthree\n")
    done = logclf("tail", "--no-follow", "--model", "none", "-n", 2, file)
    assert [event["message"] for event in objects(done.stdout)] == ["two", "three"]
    done = logclf("tail", "--no-follow", "--model", "none", "--from", "end", file)
    assert (done.returncode, done.stdout) == (0, b"")


def test_tail_of_several_files_and_a_glob(tmp_path: Path) -> None:
    for name in ("a.log", "b.log", "c.txt"):
        (tmp_path / name).write_text(f"from {name}\n")
    done = logclf("tail", "--no-follow", "--model", "none", tmp_path / "*.log", tmp_path / "c.txt")
    assert [(event["message"], event["file"]) for event in objects(done.stdout)] == [
        (f"from {name}", str(tmp_path / name)) for name in ("a.log", "b.log", "c.txt")
    ]


def test_tail_into_a_file_appends(tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    for _ in range(2):
        done = logclf("tail", "--no-follow", "--model", "none", SAMPLE, "-o", out)
        assert (done.returncode, done.stdout) == (0, b"")
    assert len(objects(out.read_bytes())) == 2 * (COUNT - JOINED)


def test_pretty_is_for_people(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_bytes(b"kernel: Out of memory: Killed process 7 (x)\n\x1b[31mred\n")
    done = logclf("tail", "--no-follow", "--pretty", file)
    first, second = done.stdout.decode().splitlines()
    assert first.endswith("kernel: Out of memory: Killed process 7 (x)")
    assert "Critical Error" in first
    assert second.endswith("\\x1b[31mred")
    assert b"\x1b" not in done.stdout, "no colours into a pipe"
    done = logclf("tail", "--pretty", file, "-o", tmp_path / "out")
    assert done.returncode == 2
    assert not (tmp_path / "out").exists()


def test_tail_with_other_message_keys(tmp_path: Path) -> None:
    file = tmp_path / "a.log"
    file.write_text('{"text":"Out of memory: Killed process 7 (x)","message":"ok"}\n')
    done = logclf("tail", "--no-follow", "--message-key", "text,message", "--model", "none", file)
    (event,) = objects(done.stdout)
    assert event["logclf"]["label"] == "Critical Error"


def test_tail_goes_on_from_its_checkpoint(tmp_path: Path) -> None:
    file, state = tmp_path / "a.log", tmp_path / "state"
    file.write_text("one\n")
    arguments = ("tail", "--no-follow", "--model", "none", "--checkpoint", state, file)
    assert len(objects(logclf(*arguments).stdout)) == 1
    with file.open("a") as log:
        log.write("two\n")
    assert [event["message"] for event in objects(logclf(*arguments).stdout)] == ["two"]
    assert logclf(*arguments).stdout == b""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0)])
def test_following_until_a_signal(tmp_path: Path, number: signal.Signals, code: int) -> None:
    file, state = tmp_path / "a.log", tmp_path / "state"
    file.write_text("one\n")
    with running("tail", "--model", "none", "--checkpoint", state, "--flush-ms", 5, file) as process:
        assert next_event(process)["message"] == "one"
        with file.open("a") as log:
            log.write("two\nthree, unfini")
            log.flush()
            assert next_event(process)["message"] == "two"
        second = logclf("tail", "--model", "none", "--checkpoint", state, file)
        assert second.returncode == 78
        assert f"process {process.pid} is using this checkpoint" in one_line(second)
        process.send_signal(number)
        out, err = process.communicate(timeout=SECONDS)
    assert (process.returncode, out) == (code, b"")
    assert "2 lines in" in one_line_of(err)
    (position,) = json.loads((state / "positions.json").read_bytes())["files"]
    assert position["offset"] == len("one\ntwo\n")


def test_tail_for_a_reader_that_goes_away() -> None:
    with running("tail", "--no-follow", SAMPLE, bufsize=0) as process:
        assert process.stdout is not None
        process.stdout.close()
        process.wait(SECONDS)
        assert process.stderr is not None
        assert b"Traceback" not in process.stderr.read()
    assert process.returncode == 0


# --- filter


def test_filter_keeps_order_and_members() -> None:
    data = b"plain\n"
    data += b'{"message":"sshd[1]: Failed password for root from 203.0.113.9 port 1 ssh2","n":1.50}\n{}\n{broken\nlast'
    done = logclf("filter", "--model", "none", data=data)
    assert done.returncode == 0, done.stderr
    events = objects(done.stdout)
    verdicts = [event.pop("logclf") for event in events]
    assert [event.get("message") for event in events] == [
        "plain",
        "sshd[1]: Failed password for root from 203.0.113.9 port 1 ssh2",
        None,
        "{broken",
        "last",
    ]
    assert verdicts[1]["label"] == "Security Alert"
    assert b'"n":1.50,' in done.stdout


def test_filter_of_the_sample_is_one_out_for_one_in() -> None:
    done = logclf("filter", data=SAMPLE.read_bytes())
    assert len(objects(done.stdout)) == COUNT


def test_filter_as_text_leaves_json_alone() -> None:
    done = logclf("filter", "--in", "text", "--model", "none", data=b'{"message":"x"}\n')
    assert [event["message"] for event in objects(done.stdout)] == ['{"message":"x"}']


def test_filter_answers_while_its_input_is_open_and_drains_at_sigterm() -> None:
    with running("filter", "--model", "none") as process:
        assert process.stdin is not None
        for text in (b"one", b"two"):
            process.stdin.write(text + b"\n")
            process.stdin.flush()
            assert next_event(process)["message"] == text.decode()
        process.send_signal(signal.SIGSTOP)  # so that what follows is surely in the pipe before the signal is seen
        process.stdin.write(b"three\nfour, no newline")
        process.stdin.flush()
        process.send_signal(signal.SIGTERM)
        process.send_signal(signal.SIGCONT)
        assert process.stdout is not None
        rest = process.stdout.read()
        assert process.wait(SECONDS) == 0
    assert [event["message"] for event in objects(rest)] == ["three", "four, no newline"]


def test_filter_for_a_reader_that_goes_away() -> None:
    with running("filter", "--model", "none") as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()
        process.stdin.write(b"x\n" * 10)
        process.stdin.close()
        assert process.wait(SECONDS) == 0
        assert b"Traceback" not in process.stderr.read()


def test_filter_of_nothing() -> None:
    done = logclf("filter", "--model", "none")
    assert (done.returncode, done.stdout) == (0, b"")


# --- bench


def test_bench_json_has_the_figures_that_scripts_read() -> None:
    done = logclf("bench", "--json", SAMPLE)
    assert done.returncode == 0, done.stderr
    (report,) = objects(done.stdout)
    assert list(report) == [
        *("lines", "lines_per_s", "mb_per_s", "us_per_line", "steps", "stages"),
        *("memory_hit_rate", "templates", "peak_rss_mb"),
    ]
    assert list(report["steps"]) == ["read", "decode", "classify", "encode", "write"]
    assert set(report["stages"]) == {"rules", "people", "model", "llm", "none"}
    assert report["lines"] == sum(report["stages"].values()) == COUNT - JOINED
    assert 0 <= report["memory_hit_rate"] <= 1
    assert report["templates"] > 0
    assert report["peak_rss_mb"] > 1


def test_bench_for_people(tmp_path: Path) -> None:
    done = logclf("bench", "--model", "none", SAMPLE)
    assert b"lines/s" in done.stdout
    (tmp_path / "empty").touch()
    assert logclf("bench", "--model", "none", tmp_path / "empty").returncode == 0


# --- what goes wrong


@pytest.mark.parametrize("kind", ["missing", "directory", "fifo"])
@pytest.mark.parametrize("command", [["tail"], ["tail", "--no-follow"], ["bench"]])
def test_input_that_cannot_be_read(tmp_path: Path, kind: str, command: list[str]) -> None:
    path = tmp_path / kind
    if kind == "directory":
        path.mkdir()
    if kind == "fifo":
        os.mkfifo(path)
    done = logclf(*command, "--model", "none", path)
    assert done.returncode == 2
    assert f"logclf: {path}: " in one_line(done)


def test_an_unreadable_file(tmp_path: Path, cache_dir: Path) -> None:
    file = tmp_path / "secret.log"
    file.write_text("x\n")
    file.chmod(0)
    # Root may read anything: with the modules loaded, the process becomes nobody before it opens the file.
    loaded = "cli.tail, logclf.checkpoint, logclf.pipeline, logclf.pretty, logclf.sources.tail, logclf.topology"
    program = f"import os, logclf.{loaded}; os.geteuid() or os.setuid(65534); logclf.cli.main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "tail", "--no-follow", "--model", "none", file],
        capture_output=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 2, done.stderr
    assert f"{file}: Permission denied" in one_line(done)


def test_usage_errors() -> None:
    for arguments in (
        ["tail"],
        ["tial"],
        ["tail", "-n", "0", SAMPLE],
        ["filter", "--message-key", ","],
        ["filter", "--in", "xml"],
    ):
        done = logclf(*arguments)
        assert (done.returncode, done.stdout) == (2, b""), arguments


def test_an_output_in_a_missing_directory(tmp_path: Path) -> None:
    done = logclf("tail", "--no-follow", "--model", "none", SAMPLE, "-o", tmp_path / "missing" / "out.jsonl")
    assert done.returncode != 0
    assert "missing/out.jsonl: cannot write here: No such file or directory" in one_line(done)


def test_a_full_disk() -> None:
    with Path("/dev/full").open("wb") as full, running("filter", "--model", "none", stdout=full) as process:
        _, err = process.communicate(b"x\n", timeout=SECONDS)
    assert process.returncode == 1
    assert b"stdout: No space left on device" in err
    assert b"Traceback" not in err


def test_an_altered_model(tmp_path: Path) -> None:
    model = tmp_path / "model"
    shutil.copytree(ROOT / "models" / "default", model, ignore=shutil.ignore_patterns("corpus"))
    weights = bytearray((model / "weights.safetensors").read_bytes())
    weights[-1] ^= 1
    (model / "weights.safetensors").write_bytes(weights)
    done = logclf("filter", "--model", model, data=b"x\n")
    assert done.returncode == 78
    assert "weights.safetensors" in one_line(done)
    assert logclf("filter", "--model", tmp_path / "none-such").returncode == 78


def test_a_checkpoint_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "positions.json").write_text("{}")
    done = logclf("tail", "--no-follow", "--model", "none", "--checkpoint", tmp_path, SAMPLE)
    assert done.returncode == 78
    assert f"{tmp_path}/positions.json: not a checkpoint" in one_line(done)


def test_tail_does_not_read_its_own_output(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"one\ntwo\n")
    done = logclf("tail", "--no-follow", "*.log", "-o", "out.log", cwd=tmp_path)
    assert done.returncode == 0
    again = logclf("tail", "--no-follow", "*.log", "-o", "out.log", cwd=tmp_path)
    assert b"labelled lines go to this very file" in again.stderr
    assert len((tmp_path / "out.log").read_bytes().splitlines()) == 4
    itself = logclf("tail", "--no-follow", "a.log", "-o", "a.log", cwd=tmp_path)
    assert itself.returncode == 2
    assert (tmp_path / "a.log").read_bytes() == b"one\ntwo\n"


def test_a_disk_that_fills_leaves_whole_lines(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"".join(b"line of %d\n" % number for number in range(20_000)))
    command = f"ulimit -f 1500; exec {sys.executable} -m logclf tail --no-follow a.log -o out.jsonl"
    done = subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, check=False)
    assert done.returncode == 1
    written = (tmp_path / "out.jsonl").read_bytes()
    assert written.endswith(b"\n")
    assert all(json.loads(line) for line in written.splitlines())


def test_closed_standard_descriptors() -> None:
    for closed in ("<&-", ">&-"):
        command = f"exec {sys.executable} -m logclf filter {closed}"
        done = subprocess.run(
            ["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, timeout=30, check=False
        )
        assert (done.returncode, done.stdout) == (0, b""), done.stderr


def test_a_full_device_is_one_line() -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "logclf", "rules", "list"], stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr.count(b"\n") == 1
    assert b"Traceback" not in done.stderr
