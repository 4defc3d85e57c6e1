"""`logclf bench`."""

from __future__ import annotations

import os
import resource
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from .stream import CascadeOptions, asking, cascade_options, share

if TYPE_CHECKING:
    from ..batch import Batch, Classified
    from ..cascade import Cascade

STEPS = ("read", "decode", "classify", "encode", "write")


@click.command("bench")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
@cascade_options
def bench_command(file: Path, as_json: bool, chosen: CascadeOptions) -> None:
    """Time the whole path on FILE: read, decode, classify, encode, write to /dev/null. Nothing is kept."""
    from ..sources.tail import open_regular  # 0.1 s with the engine, which --help need not pay

    os.close(open_regular(str(file)))  # complain before the rules are compiled
    cascade = chosen.without_llm().build()
    with asking(cascade):
        report = measure(file, cascade)
    if as_json:
        from msgspec import json

        click.echo(json.encode(report).decode())
    else:
        click.echo(text(report))


def measure(file: Path, cascade: Cascade) -> dict[str, Any]:
    """Run the path once, with a clock around each step; figures as `--json` shows them."""
    from ..decoding import Decoder
    from ..encoding import Encoder
    from ..pipeline import Tally
    from ..sources.tail import CHUNK, open_regular

    descriptor = open_regular(str(file))
    decoder, encoder = Decoder(file.name, str(file)), Encoder(cascade.table)
    seconds = dict.fromkeys(STEPS, 0.0)
    started = time.perf_counter()
    tally = Tally(started)
    sink = os.open(os.devnull, os.O_WRONLY)

    def label(batch: Batch | None) -> None:
        if batch is None:
            return
        before = time.perf_counter()
        classified: Classified = cascade.classify(batch)
        labelled = time.perf_counter()
        data = encoder.encode(batch, classified)
        encoded = time.perf_counter()
        os.write(sink, data)
        seconds["classify"] += labelled - before
        seconds["encode"] += encoded - labelled
        seconds["write"] += time.perf_counter() - encoded
        tally.add(classified)

    while True:
        before = time.perf_counter()
        chunk = os.read(descriptor, CHUNK)
        read = time.perf_counter()
        batch = decoder.decode(chunk) if chunk else decoder.flush()
        seconds["read"] += read - before
        seconds["decode"] += time.perf_counter() - read
        label(batch)
        if not chunk:
            break
    total = time.perf_counter() - started
    os.close(descriptor)
    os.close(sink)
    lines = max(tally.lines, 1)
    stages = tally.by("stage", cascade.table)
    return {
        "lines": tally.lines,
        "lines_per_s": round(tally.lines / total),
        "mb_per_s": round(decoder.counts.bytes / total / 1e6, 1),
        "us_per_line": round(total / lines * 1e6, 3),
        "steps": {step: round(spent / lines * 1e6, 3) for step, spent in seconds.items()},
        "stages": {stage: stages[stage] for stage in ("rules", "people", "model", "llm", "none")},
        "memory_hit_rate": round(tally.remembered(cascade.table) / max(tally.lines - stages["rules"], 1), 4),
        "templates": cascade.counts.templates,
        "peak_rss_mb": round(peak_memory() / 1e6, 1),
    }


def peak_memory() -> int:
    """Bytes that were resident at most. On Linux not by getrusage, which counts what the process was forked from."""
    status = Path("/proc/self/status")
    if status.exists():
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) << 10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << (0 if sys.platform == "darwin" else 10)


def text(report: dict[str, Any]) -> str:
    """The report for people."""
    lines = report["lines"]
    steps = ", ".join(f"{step} {spent:.2f}" for step, spent in report["steps"].items())
    stages = ", ".join(f"{stage} {share(count, lines)}" for stage, count in report["stages"].items() if count)
    return (
        f"{lines:,} lines, {report['lines_per_s']:,} lines/s, {report['mb_per_s']} MB/s\n"
        f"{report['us_per_line']:.2f} µs a line: {steps}\n"
        f"stages: {stages}\n"
        f"memory knew {100 * report['memory_hit_rate']:.2f} % of the lines that no rule knows; "
        f"{report['templates']:,} templates were new\n"
        f"peak resident memory: {report['peak_rss_mb']} MB"
    )
