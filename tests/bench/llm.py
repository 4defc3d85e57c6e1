"""The LLM stage beside a stream: `python tests/bench/llm.py LOG [SCENARIO...]`.

LOG is a text log with some templates that were never seen before. A scripted server takes a second for each question
and two at a time. Every scenario is a process of its own with an empty memory, and a row of the table in README.md:
calls against the templates that rules and model leave open, lines in and out and in order, lines a second, and the
longest time that a batch was held.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from logclf.batch import Batch
from logclf.cascade import Answer, Cascade, Novel
from logclf.cli.stream import CascadeOptions, asking, llm_of
from logclf.decoding import Decoder
from logclf.encoding import Encoder
from logclf.pipeline import Tally
from logclf.testing import Hang, ScriptedOllama

SECONDS = 1.0  # a call takes
PIECE = 256 << 10  # bytes read at a time
SCENARIOS = ("off", "healthy", "again", "dead", "hanging", "dying", "archive")


class Recorder:
    """Instead of a language model: which templates it would be asked about."""

    name = "llm"
    version = "none"

    def __init__(self) -> None:
        self.templates: set[tuple[str, tuple[str, ...]]] = set()

    def answer(self, novel: Sequence[Novel]) -> list[Answer | None]:
        self.templates |= {(each.template, each.numbers) for each in novel}
        return [Answer("", 0.0, False, reason="") for _ in novel]

    def close(self) -> None:
        return None


def pieces(log: Path) -> Iterator[bytes]:
    with log.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


def batches(decoder: Decoder, log: Path) -> Iterator[Batch | None]:
    yield from map(decoder.decode, pieces(log))
    yield decoder.flush()


def label(log: Path, output: Path, cascade: Cascade, look: Callable[[], None], half: Callable[[], None]) -> dict:
    """Label a log as a stream would; the figures. `half` is called when half of it is done."""
    decoder, encoder, size = Decoder(log.name, str(log)), Encoder(cascade.table), log.stat().st_size
    longest, done, held, passed = 0.0, 0, 0, False
    tally = Tally(time.monotonic())
    with output.open("wb") as file:
        for batch in filter(None, batches(decoder, log)):
            look()
            begun = time.monotonic()
            classified = cascade.classify(batch)
            longest, held = max(longest, time.monotonic() - begun), held + (time.monotonic() - begun > 0.5)
            file.write(encoder.encode(batch, classified))
            tally.add(classified)
            done += len(batch.text)
            if done > size / 2 and not passed:
                passed = True
                half()
    seconds = time.monotonic() - tally.started
    return {
        "lines": tally.lines,
        "lines_per_s": round(tally.lines / seconds),
        "longest_hold": round(longest, 2),
        "held": held,
        "stages": dict(tally.by("stage", cascade.table)),
        "reasons": dict(tally.by("reason", cascade.table)),
    }


def in_order(log: Path, output: Path) -> bool:
    """Whether the output has the log's lines, all of them, in their order."""
    with log.open("rb") as lines, output.open("rb") as events:
        for line, event in zip(lines, events, strict=True):
            given = json.loads(event)
            message = given.get("message")
            if message is not None and message != line.rstrip(b"\r\n").decode("utf-8", "replace"):
                return False
    return True


def scenario(name: str, log: Path, directory: Path) -> dict:
    """One row; in a process of its own."""
    output = directory / "out.jsonl"
    with ScriptedOllama(lambda _: "Error", seconds=SECONDS, parallel=2) as server:
        os.environ["OLLAMA_HOST"] = server.host
        if name == "archive":
            return archive(log, output, server)
        if name == "hanging":
            server.always(Hang())
        if name == "dead":
            server.stop()
        mode = {"off": "off", "dead": "auto"}.get(name, "on")
        cascade, look = CascadeOptions(llm=mode).follow()
        if name == "off":
            recorder = Recorder()
            cascade.replace_stages([*cascade.stages, recorder])
        with asking(cascade):
            report = label(log, output, cascade, look, server.stop if name == "dying" else lambda: None)
            begun = time.monotonic()
        stage = llm_of(cascade)
        counts = getattr(stage, "counts", None)
        calls = counts.calls if counts else 0
        return report | {
            "calls": calls,
            "failed": dict(counts.failed) if counts else {},
            "close": round(time.monotonic() - begun, 3),
            "in_order": in_order(log, output),
            "open": len(recorder.templates) if name == "off" else None,
        }


def archive(log: Path, output: Path, server: ScriptedOllama) -> dict:
    """The same by `logclf classify`, which waits for every answer."""
    config = output.with_name("c.yaml")
    config.write_text("llm: {budget: 100000/h}\n")
    begun = time.monotonic()
    command = ["classify", str(log), "-o", str(output), "--llm", "on", "--json", "--config", str(config)]
    done = subprocess.run([sys.executable, "-m", "logclf", *command], capture_output=True, check=True)
    report = json.loads(done.stdout)
    seconds = time.monotonic() - begun
    return {
        "lines": report["rows"],
        "lines_per_s": round(report["rows"] / seconds),
        "stages": report["stages"],
        "calls": len(server.asked),
        "in_order": in_order(log, output),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("log", type=Path)
    parser.add_argument("scenarios", nargs="*", choices=SCENARIOS, default=SCENARIOS)
    parser.add_argument("--one", help=argparse.SUPPRESS)  # directory of the one scenario of this process
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(scenario(chosen.scenarios[0], chosen.log, Path(chosen.one))))
        return
    with tempfile.TemporaryDirectory() as state:
        for name in chosen.scenarios:
            with tempfile.TemporaryDirectory() as directory:
                kept = state if name in ("healthy", "again") else directory
                environment = {**os.environ, "LOGCLF_STATE_DIR": kept}
                command = [sys.executable, __file__, str(chosen.log), name, "--one", directory]
                done = subprocess.run(command, stdout=subprocess.PIPE, env=environment, check=True)
                print(f"| {name} | {done.stdout.decode().strip()} |", flush=True)


if __name__ == "__main__":
    main()
