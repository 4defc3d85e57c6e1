"""Whole runs in this process: the streaming path's results, whatever the splits and passes, and what is kept."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import msgspec
import pytest

from logclf.archive import run as running
from logclf.archive import task
from logclf.archive.pool import InterruptedRunError, Interrupts
from logclf.archive.survey import MOST, Merged, Surveyor
from logclf.archive.work import WorkDirectory, shown_error
from logclf.cascade import Route
from logclf.classifier import Classifier
from logclf.decoding import EVENT_FORMS, Decoder
from logclf.encoding import Encoder
from logclf.errors import ConfigError, InputError, LogclfError

from .archives import SmallRecipe, WordStage, csv_bytes, messages, pack, plain, run
from .helpers import batch

TEXTS = [text.replace("\n", " ") for text in messages(2000)]
TEXT = "\n".join(TEXTS).encode() + b"\n"
EVENTS = b"".join(
    json.dumps({"n": n, "level": "error" if n % 7 == 0 else None, "message": text}).encode() + b"\n"
    for n, text in enumerate(TEXTS)
)


@pytest.fixture
def text(tmp_path: Path) -> Path:
    return pack(tmp_path / "app.log", TEXT)


def streamed(data: bytes, source: str) -> bytes:
    """What the streaming path writes, without `cached`."""
    cascade = SmallRecipe().build()
    decoder, encoder = Decoder(source, None, EVENT_FORMS), Encoder(cascade.table)
    batches = [decoder.decode(data[at : at + 5000]) for at in range(0, len(data), 5000)] + [decoder.flush()]
    encoded = b"".join(encoder.encode(each, cascade.classify(each)) for each in batches if each)
    return encoded.replace(b',"cached":true', b"")


@pytest.mark.parametrize(("name", "data"), [("x.log", TEXT), ("x.jsonl", EVENTS), ("x.log", EVENTS + TEXT)])
def test_lines_come_out_as_the_streaming_path_writes_them(tmp_path: Path, name: str, data: bytes) -> None:
    outcome = run(pack(tmp_path / name, data), tmp_path / "out.jsonl")
    assert (tmp_path / "out.jsonl").read_bytes() == streamed(data, name)
    assert outcome.counts.rows == data.count(b"\n")
    assert sum(outcome.counts.stages.values()) == sum(outcome.counts.labels.values()) == outcome.counts.rows


def test_labels_are_those_of_the_library(tmp_path: Path, text: Path) -> None:
    run(text, tmp_path / "out.jsonl")
    verdicts = Classifier(SmallRecipe().build()).classify(TEXTS, source="app.log")
    found = [json.loads(line)["logclf"]["label"] for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert found == [verdict.label for verdict in verdicts]


@pytest.mark.parametrize("suffix", ["", ".gz", ".zst"])
@pytest.mark.parametrize("passes", [1, 2])
@pytest.mark.parametrize("size", [700, 1 << 20])
def test_splits_passes_and_compression_change_nothing(tmp_path: Path, suffix: str, passes: int, size: int) -> None:
    source, output = pack(tmp_path / f"in.jsonl{suffix}", EVENTS), tmp_path / f"out.jsonl{suffix}"
    run(source, output, passes=passes, split_size=size)
    assert plain(output) == streamed(EVENTS, source.name)


def test_two_passes_ask_each_template_once(tmp_path: Path, text: Path) -> None:
    routes = (Route("never*", ("rules",)),)
    outcome = run(text, tmp_path / "out.jsonl", SmallRecipe(routes), passes=2, split_size=3000)
    (stage,) = task.hold(SmallRecipe(routes)).cascade.stages
    assert isinstance(stage, WordStage)
    assert len(stage.asked) == len(set(stage.asked)) == outcome.templates > 3
    assert outcome.passes == 2


def test_a_failing_stage_does_not_end_the_work(tmp_path: Path) -> None:
    source = pack(tmp_path / "a.log", b"login broken\nlogin of bob\n")
    outcomes = [run(source, tmp_path / f"{passes}.jsonl", passes=passes) for passes in (1, 2)]
    assert [outcome.counts.stages for outcome in outcomes] == [{"none": 2}] * 2
    assert (tmp_path / "1.jsonl").read_bytes() == (tmp_path / "2.jsonl").read_bytes()
    assert b'"reason":"model_failed"' in (tmp_path / "1.jsonl").read_bytes()


def test_one_pass_where_the_stages_are_quick(tmp_path: Path, text: Path) -> None:
    assert run(text, tmp_path / "out.jsonl", split_size=1000).passes == 1


def test_a_survey_is_bounded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: Path) -> None:
    assert MOST > 1000
    monkeypatch.setattr("logclf.archive.survey.MOST", 2)
    outcome = run(text, tmp_path / "out.jsonl", passes=2, split_size=3000)
    assert outcome.templates == 2
    assert (tmp_path / "out.jsonl").read_bytes() == streamed(TEXT, "app.log")


def test_templates_of_most_lines_are_asked_first() -> None:
    surveyor, merged = Surveyor(SmallRecipe().build()), Merged()
    for lines in (["login of bob", "job x"], ["job x", "job x"]):
        surveyor.add(surveyor.classify(batch(*map(str.encode, lines))))
        merged.add(surveyor.take())
    (found,) = merged.by_stages().values()
    assert [(each.novel.template, each.count) for each in found] == [("job x", 3), ("login of bob", 1)]


def test_several_inputs_go_to_a_directory_each_under_its_name(tmp_path: Path, text: Path) -> None:
    table = pack(tmp_path / "t.csv.gz", csv_bytes([["message"], ["login of bob"]]))
    outcome = run([text, table], tmp_path / "new" / "out")
    assert plain(tmp_path / "new" / "out" / "t.csv.gz") == b"message,target_label\nlogin of bob,User Action\n"
    first = json.loads((tmp_path / "new" / "out" / "app.log").read_text().split("\n")[0])
    assert first["file"] == str(text)
    assert outcome.counts.rows == 2001
    assert sorted(entry.name for entry in (tmp_path / "new").iterdir()) == ["out"]


def test_lines_of_one_input_name_no_file(tmp_path: Path, text: Path) -> None:
    run(text, tmp_path / "out.jsonl")
    assert b'"file"' not in (tmp_path / "out.jsonl").read_bytes()


def test_what_is_wrong_is_said_before_work_begins(tmp_path: Path, text: Path) -> None:
    (tmp_path / "d").mkdir()
    other = pack(tmp_path / "d" / "app.log", b"x\n")
    output = tmp_path / "out.jsonl"
    output.write_bytes(b"mine")
    with pytest.raises(ConfigError, match="would both be written to"):
        run([text, other], tmp_path / "many")
    with pytest.raises(ConfigError, match=r"out\.jsonl is there already; --overwrite"):
        run(text, output)
    with pytest.raises(ConfigError, match="is an input as well"):
        run(text, text, overwrite=True)
    with pytest.raises(ConfigError, match="is text, so jsonl comes out of it"):
        run(text, tmp_path / "out.csv")
    with pytest.raises(InputError, match="No such file"):
        run([text, tmp_path / "none.log"], tmp_path / "many")
    with pytest.raises(ConfigError, match="cannot make this directory"):
        run([text, pack(tmp_path / "b.log", b"")], output / "many")
    assert output.read_bytes() == b"mine"
    run(text, output, overwrite=True)
    assert output.read_bytes() == streamed(TEXT, "app.log")


def test_damaged_inputs_are_left_out_and_the_others_go_on(tmp_path: Path, text: Path) -> None:
    good = pack(tmp_path / "good.gz", TEXT)
    bad = tmp_path / "bad.gz"
    bad.write_bytes(good.read_bytes()[:-9])
    worse = pack(tmp_path / "worse.csv", b"message\n\xff\n")
    worst = tmp_path / "worst.csv.gz"
    worst.write_bytes(b"no gzip at all")
    old = tmp_path / "out" / "bad.gz"
    old.parent.mkdir()
    old.write_bytes(b"older result")
    outcome = run([bad, text, worse, worst, good], tmp_path / "out", overwrite=True)
    assert set(outcome.outputs) == {str(text), str(good)}
    assert "ends too early" in outcome.left_out[str(bad)]
    assert "rows before that were good" in outcome.left_out[str(bad)]
    assert "not UTF-8 at byte 8" in outcome.left_out[str(worse)]
    assert "damaged gz data after 0 good bytes" in outcome.left_out[str(worst)]
    assert outcome.counts.rows == 2 * len(TEXTS)
    assert old.read_bytes() == b"older result"
    assert sorted(entry.name for entry in old.parent.iterdir()) == ["app.log", "bad.gz", "good.gz"]


def test_an_error_that_is_no_inputs_own_ends_the_work(tmp_path: Path, text: Path) -> None:
    def broken(*_arguments: object) -> None:
        raise ConfigError("a rule file was broken in the meantime")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(task, "_checked", broken)
        with pytest.raises(ConfigError, match="in the meantime"):
            run([text, pack(tmp_path / "b.log", TEXT)], tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_an_input_that_vanishes_is_left_out(tmp_path: Path, text: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    other = pack(tmp_path / "other.log", TEXT)
    begin = WorkDirectory.begin

    def vanish(work: WorkDirectory, plan: object) -> None:
        begin(work, plan)  # type: ignore[arg-type]
        other.unlink()

    monkeypatch.setattr(WorkDirectory, "begin", vanish)
    outcome = run([text, other], tmp_path / "out")
    assert "No such file" in outcome.left_out[str(other)]
    assert [entry.name for entry in (tmp_path / "out").iterdir()] == ["app.log"]


class Stopping:
    """A bar at which a signal comes after so many units."""

    def __init__(self, after: int) -> None:
        self.left = after

    def begin(self, what: str, total: int) -> None:
        return None

    def advance(self, amount: int) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), 2)


@pytest.fixture
def interrupted(tmp_path: Path, text: Path) -> Path:
    """The output of a run that was interrupted halfway."""
    output = tmp_path / "out.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tests.archives.NoBar", lambda: Stopping(8))
        with pytest.raises(InterruptedRunError):
            run(text, output, split_size=5000)
    assert not output.exists()
    return output


def parts(output: Path) -> list[str]:
    return sorted(entry.name for entry in (output.parent / f".{output.name}.parts").iterdir())


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path, text: Path, interrupted: Path) -> None:
    done = [name for name in parts(interrupted) if name.endswith(".part")]
    assert 1 < len(done) < len(TEXT) // 5000
    times = [(interrupted.parent / ".out.jsonl.parts" / name).stat().st_mtime_ns for name in done]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(running.WorkDirectory, "remove", running.WorkDirectory.close)
        outcome = run(text, interrupted, split_size=5000, resume=True)
        assert times == [(interrupted.parent / ".out.jsonl.parts" / name).stat().st_mtime_ns for name in done]
    assert interrupted.read_bytes() == streamed(TEXT, "app.log")
    assert 0 < outcome.resumed < outcome.counts.rows == len(TEXTS)


def test_a_part_that_is_not_whole_is_done_again(text: Path, interrupted: Path) -> None:
    (part,) = (interrupted.parent / ".out.jsonl.parts").glob("00000-00000-*.part")
    part.write_bytes(b"\0" * part.stat().st_size)  # as after a power cut
    run(text, interrupted, split_size=5000, resume=True)
    assert interrupted.read_bytes() == streamed(TEXT, "app.log")


def test_without_resume_leftovers_are_said_and_done_again(
    text: Path, interrupted: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "logclf")
    outcome = run(text, interrupted, split_size=5000)
    assert outcome.resumed == 0
    assert "left by a run that did not end" in caplog.text
    assert not (interrupted.parent / ".out.jsonl.parts").exists()


def test_resuming_other_work_is_refused(text: Path, interrupted: Path) -> None:
    with pytest.raises(ConfigError, match=r"other options \(split_size\); begin again without --resume"):
        run(text, interrupted, split_size=6000, resume=True)
    with pytest.raises(ConfigError, match="rules, model, taxonomy or routes have changed"):
        run(text, interrupted, SmallRecipe(model=False), split_size=5000, resume=True)
    os.utime(text, (1, 1))
    with pytest.raises(ConfigError, match=r"app\.log has changed since"):
        run(text, interrupted, split_size=5000, resume=True)


def test_resuming_nothing_is_beginning(tmp_path: Path, text: Path) -> None:
    assert run(text, tmp_path / "out.jsonl", resume=True).counts.rows == len(TEXTS)


def test_outputs_that_are_in_their_place_are_not_made_again(tmp_path: Path, text: Path) -> None:
    files = [text, pack(tmp_path / "b.log", TEXT)]
    output = tmp_path / "out"

    def crash(*_arguments: object) -> None:
        raise LogclfError("power cut")

    with pytest.MonkeyPatch.context() as patch:
        place = WorkDirectory.place
        patch.setattr(WorkDirectory, "place", lambda self, n, *more: crash() if n else place(self, n, *more))
        with pytest.raises(LogclfError, match="power cut"):
            run(files, output)
    made = (output / "app.log").stat().st_mtime_ns
    outcome = run(files, output, resume=True)
    assert (output / "app.log").stat().st_mtime_ns == made
    assert (output / "b.log").exists()
    assert outcome.counts.rows == outcome.resumed == 2 * len(TEXTS)


def test_two_processes_cannot_write_one_output(tmp_path: Path, text: Path) -> None:
    work = WorkDirectory(tmp_path / ".out.jsonl.parts")
    work.open()
    with pytest.raises(ConfigError, match="another process is writing this output"):
        run(text, tmp_path / "out.jsonl", resume=True)
    work.close()


def test_a_full_disk_says_so_and_keeps_what_is_done(tmp_path: Path, text: Path) -> None:
    def full(self: object, data: bytes) -> None:
        with shown_error(tmp_path / "out.jsonl"):
            raise OSError(28, "No space left on device")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("logclf.archive.writing.PartWriter.write", full)
        with pytest.raises(LogclfError, match="No space left on device; what is done is kept, --resume goes on"):
            run(text, tmp_path / "out.jsonl")
    assert not any(name.endswith(".new") for name in parts(tmp_path / "out.jsonl"))


def test_the_plans_format_is_pinned(text: Path, interrupted: Path) -> None:
    plan = msgspec.json.decode((interrupted.parent / ".out.jsonl.parts" / "plan.json").read_bytes())
    assert list(plan) == ["version", "program", "engine", "settings", "inputs", "splits"]
    assert plan["version"] == 1
    assert plan["splits"][0] == {"input": 0, "number": 0, "start": 0, "end": plan["splits"][1]["start"]}


def test_signals_are_given_back() -> None:
    before = signal.getsignal(signal.SIGINT)
    with Interrupts():
        assert signal.getsignal(signal.SIGINT) != before
    assert signal.getsignal(signal.SIGINT) == before
