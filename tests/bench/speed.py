"""Speed and memory of the whole program: `python tests/bench/speed.py LOG [MEASUREMENT...]`.

LOG is a text log of some hundred thousand lines. Every figure is the median of several runs, each in a process of its
own, printed as a row of the table in README.md.
"""

from __future__ import annotations

import argparse
import itertools
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

RUNS = 5
LOGCLF = [sys.executable, "-m", "logclf"]


def bench(log: Path, *options: str) -> dict:
    done = subprocess.run([*LOGCLF, "bench", str(log), "--json", *options], capture_output=True, check=True)
    return json.loads(done.stdout)


def median(runs: list[dict], key: str) -> float:
    return statistics.median(run[key] for run in runs)


def row(name: str, value: str) -> None:
    print(f"| {name} | {value} |", flush=True)


def default(log: Path) -> None:
    """Default rules and model, file to JSON lines."""
    runs = [bench(log) for _ in range(RUNS)]
    last = runs[-1]
    rates = sorted(run["lines_per_s"] for run in runs)
    row("lines/s, default rules and model", f"{rates[RUNS // 2]:,} ({rates[0]:,} to {rates[-1]:,})")
    row("µs a line", f"{median(runs, 'us_per_line'):.2f}: {last['steps']}")
    row("stages, templates", f"{last['stages']}, {last['templates']}")
    row("peak resident memory", f"{median(runs, 'peak_rss_mb'):.0f} MB")


def rules(log: Path) -> None:
    """20 to 1,000 generated rules on top of the shipped packs' cost: the same log, model off."""
    rng = random.Random(1)
    words = [w for w in {*log.read_text("utf-8", "replace")[:3_000_000].split()} if w.isalpha() and 4 < len(w) < 14]
    words.sort()
    with tempfile.TemporaryDirectory() as directory:
        paths: dict[int, Path] = {}
        for count in (20, 100, 1000):
            paths[count] = Path(directory, f"{count}.yaml")
            chosen = [f"{rng.choice(words)} {rng.choice(words)}" for _ in range(count)]
            body = "".join(
                f"  - {{id: b.r{n}, label: Error, match: {{any: ['{text} \\S+ (?:in|at|of) \\d+']}}, "
                f"examples: {{match: ['{text} x in 5']}}}}\n"
                for n, text in enumerate(chosen)
            )
            paths[count].write_text("version: 1\nrules:\n" + body)
        for count, path in paths.items():
            measured = [_bare(log, path) for _ in range(RUNS)]
            row(f"{count} generated rules alone", f"{statistics.median(measured):,.0f} lines/s")


BARE = """
import sys, time
from pathlib import Path
from logclf.cascade import Cascade
from logclf.cli.bench import measure
from logclf.rules import RuleSet
from logclf.rulefile import load_file
from logclf.taxonomy import DEFAULT
print(measure(Path(sys.argv[1]), Cascade(DEFAULT, RuleSet(load_file(Path(sys.argv[2]), DEFAULT))))["lines_per_s"])
"""


def _bare(log: Path, rule_file: Path) -> float:
    done = subprocess.run([sys.executable, "-c", BARE, str(log), str(rule_file)], capture_output=True, check=True)
    return float(done.stdout)


def growth(log: Path) -> None:
    """µs a line and memory from 50 thousand to 5 million lines (the log over and over, digits drawn anew)."""
    lines = log.read_bytes().splitlines(keepends=True)
    rng = random.Random(2)
    for count in (50_000, 512_000, 5_000_000):
        with tempfile.NamedTemporaryFile(suffix=".log") as file:
            tables = [bytes.maketrans(b"123456789", bytes(rng.sample(b"123456789", 9))) for _ in range(64)]
            for number, line in enumerate(itertools.islice(itertools.cycle(lines), count)):
                file.write(line.translate(tables[number // 1000 % 64]))
            file.flush()
            runs = [bench(Path(file.name)) for _ in range(3)]
            row(
                f"{count:,} lines", f"{median(runs, 'us_per_line'):.2f} µs a line, {median(runs, 'peak_rss_mb'):.0f} MB"
            )


def events(log: Path) -> None:
    """`logclf filter` on wide JSON events, as a shipper hands them over."""
    rng = random.Random(3)
    with tempfile.NamedTemporaryFile(suffix=".ndjson") as file:
        count = 0
        for line in itertools.islice(itertools.cycle(log.read_bytes().splitlines()[:300_000]), 1_000_000):
            event = {
                "timestamp": "2024-05-01T10:00:00.123456Z",
                "host": f"node-{rng.randrange(40)}.example.net",
                "source_type": "file",
                "file": "/var/log/app/current.log",
                "kubernetes": {
                    "pod": f"app-{rng.getrandbits(40):x}",
                    "namespace": "prod",
                    "labels": {"app": "shop", "tier": "web"},
                },
                "trace_id": f"{rng.getrandbits(128):032x}",
                "message": line.decode("utf-8", "replace"),
                "offset": rng.randrange(10**9),
            }
            file.write(json.dumps(event).encode() + b"\n")
            count += 1
        file.flush()
        size = Path(file.name).stat().st_size / count
        rates = []
        for _ in range(RUNS):
            with Path(file.name).open("rb") as stdin:
                begun = time.perf_counter()
                subprocess.run([*LOGCLF, "filter"], stdin=stdin, stdout=subprocess.DEVNULL, check=True)
                rates.append(count / (time.perf_counter() - begun))
        row(
            f"`filter`, JSON events of {size:.0f} bytes, start-up included", f"{statistics.median(rates):,.0f} events/s"
        )


def start(log: Path) -> None:
    """Start-up: help, and the first labelled line."""
    row("`--help`", f"{statistics.median(_timed([*LOGCLF, '--help']) for _ in range(9)):.3f} s")
    times = []
    for _ in range(9):
        begun = time.perf_counter()
        process = subprocess.Popen(
            [*LOGCLF, "tail", "--no-follow", str(log)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
        )
        assert process.stdout is not None
        process.stdout.readline()
        times.append(time.perf_counter() - begun)
        process.kill()
        process.wait()
        process.stdout.close()
    row("first labelled line (rules compiled before)", f"{statistics.median(times):.2f} s")
    with tempfile.TemporaryDirectory() as empty:
        env = os.environ | {"LOGCLF_CACHE_DIR": empty}
        begun = time.perf_counter()
        subprocess.run([*LOGCLF, "tail", "--no-follow", "-n", "1", str(log)], env=env, capture_output=True, check=True)
        row("the same, first start ever (rules compiled now)", f"{time.perf_counter() - begun:.1f} s")


def _timed(command: list[str]) -> float:
    begun = time.perf_counter()
    subprocess.run(command, capture_output=True, check=True)
    return time.perf_counter() - begun


def latency(_log: Path) -> None:
    """Follow mode at 10,000 lines/s: from writing a line to reading it labelled."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, "app.log")
        path.touch()
        process = subprocess.Popen([*LOGCLF, "tail", str(path)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        assert process.stdout is not None
        seconds, rate = 10, 10_000
        delays: list[float] = []

        def read() -> None:
            assert process.stdout is not None
            delays.extend(time.time() - float(json.loads(line)["message"].split()[0]) for line in process.stdout)

        reader = threading.Thread(target=read)
        reader.start()
        time.sleep(1.5)
        with path.open("ab", buffering=0) as file:
            begun = time.time()
            for tick in range(seconds * 100):  # a burst every 10 ms
                now = time.time()
                file.write(
                    b"".join(
                        b"%.6f INFO worker-%d handled request in %d ms\n" % (now, n, n) for n in range(rate // 100)
                    )
                )
                time.sleep(max(0.0, begun + (tick + 1) / 100 - time.time()))
        time.sleep(1)
        process.send_signal(signal.SIGINT)
        reader.join()
        process.wait()
    delays.sort()
    at = {share: delays[int(len(delays) * share)] * 1000 for share in (0.5, 0.99, 0.999)}
    row(
        f"follow at {rate:,} lines/s, {len(delays):,} lines",
        ", ".join(f"{share:.1%} within {ms:.0f} ms" for share, ms in at.items()),
    )


MEASUREMENTS: dict[str, Callable[[Path], None]] = {
    f.__name__: f for f in (default, rules, growth, events, start, latency)
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("log", type=Path)
    parser.add_argument("measurements", nargs="*", choices=[*MEASUREMENTS, []], default=[])
    args = parser.parse_args()
    for name in args.measurements or MEASUREMENTS:
        MEASUREMENTS[name](args.log)


if __name__ == "__main__":
    main()
