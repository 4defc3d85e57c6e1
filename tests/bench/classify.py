"""Speed and memory of `logclf classify`: `python tests/bench/classify.py LOG [MEASUREMENT...]`.

LOG is a text log of some hundred thousand lines. Every figure is the median of several runs, each in a process of its
own, printed as a row of the table in README.md. Loading rules and model is left out, starting other processes is not.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

RUNS = 3
LOGCLF = [sys.executable, "-m", "logclf"]
# The peak of this process alone: workers have their own, of the same size.
PEAK = """
import sys
from logclf.cli import main
from logclf.cli.bench import peak_memory
try:
    main()
finally:
    print(peak_memory(), file=sys.stderr)
"""


def classify(source: Path, *options: str, suffix: str = "") -> tuple[dict, float]:
    """The report of one run, and its peak memory in MB."""
    with tempfile.TemporaryDirectory() as directory:
        output = Path(directory, f"out{suffix}")
        command = [sys.executable, "-c", PEAK, "classify", str(source), "-o", str(output), "--json", *options]
        done = subprocess.run(command, capture_output=True, check=True, text=True)
        return json.loads(done.stdout), int(done.stderr.split()[-1]) / 1e6


def row(name: str, value: str) -> None:
    print(f"| {name} | {value} |", flush=True)


def rates(source: Path, *options: str) -> str:
    runs = [classify(source, *options) for _ in range(RUNS)]
    speeds = sorted(report["rows_per_s"] for report, _ in runs)
    memory = statistics.median(peak for _, peak in runs)
    return f"{speeds[RUNS // 2]:,} ({speeds[0]:,} to {speeds[-1]:,}), {memory:.0f} MB"


def lines_of(log: Path, count: int) -> itertools.islice[bytes]:
    """The log over and over, digits drawn anew."""
    rng = random.Random(2)
    lines = log.read_bytes().splitlines()
    tables = [bytes.maketrans(b"123456789", bytes(rng.sample(b"123456789", 9))) for _ in range(64)]
    endless = (line.translate(tables[n // 1000 % 64]) for n, line in enumerate(itertools.cycle(lines)))
    return itertools.islice(endless, count)


def write_csv(log: Path, path: Path, count: int) -> None:
    """timestamp, source, log_message and two more columns."""
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["timestamp", "source", "log_message", "host", "request_id"])
        for number, line in enumerate(lines_of(log, count)):
            text = line.decode("utf-8", "replace")
            writer.writerow([f"2024-05-01T10:{number // 60 % 60:02}:{number % 60:02}Z", "shop", text, "node-7", number])


def tables(log: Path) -> None:
    """CSV of two million rows."""
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "rows.csv")
        write_csv(log, source, 2_000_000)
        size = source.stat().st_size / 1e6
        for jobs in ("1", "2"):
            row(f"CSV, 2,000,000 rows ({size:.0f} MB), -j {jobs}", rates(source, "-j", jobs))
        row("the same with --explain", rates(source, "--explain"))


def text(log: Path) -> None:
    """Lines of text, beside the streaming path over the same file."""
    done = [
        subprocess.run([*LOGCLF, "bench", str(log), "--json"], capture_output=True, check=True) for _ in range(RUNS)
    ]
    speeds = sorted(json.loads(each.stdout)["lines_per_s"] for each in done)
    row("`logclf bench`, lines/s", f"{speeds[RUNS // 2]:,} ({speeds[0]:,} to {speeds[-1]:,})")
    for jobs in ("1", "2"):
        row(f"text, -j {jobs}", rates(log, "-j", jobs, "--split-size", "16"))


def passes(log: Path) -> None:
    """One pass and two."""
    for count in ("1", "2"):
        row(f"text, -j 2, --passes {count}", rates(log, "-j", "2", "--split-size", "16", "--passes", count))


def memory(log: Path) -> None:
    """Peak memory at half a million and five million rows."""
    with tempfile.TemporaryDirectory() as directory:
        for count in (500_000, 5_000_000):
            source = Path(directory, f"{count}.csv")
            write_csv(log, source, count)
            _, peak = classify(source)
            row(f"peak resident memory, CSV of {count:,} rows", f"{peak:.0f} MB")
            source.unlink()


MEASUREMENTS: dict[str, Callable[[Path], None]] = {f.__name__: f for f in (tables, text, passes, memory)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("measurements", nargs="*", choices=[*MEASUREMENTS, []], default=[])
    args = parser.parse_args()
    for name in args.measurements or MEASUREMENTS:
        MEASUREMENTS[name](args.log)


if __name__ == "__main__":
    main()
