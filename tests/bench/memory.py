"""Speed of remembered answers: `python tests/bench/memory.py`. Medians, in a directory of its own."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from logclf.llm.store import AnswerStore, Stored, fingerprint
from logclf.taxonomy import DEFAULT

ROWS, ASKED, NOW = 100_000, 10_000, 1.7e9


def answer(number: int) -> Stored:
    """A template of 85 characters with a line of 150."""
    template = f"template number {number:06d} of <n> things in <path> that has some more words like real ones"
    made = Stored(template, "Error", 0.9, "llm", fingerprint(DEFAULT), NOW, NOW + 1e6)
    return Stored(*(getattr(made, name) for name in made.__struct_fields__[:7]), "x" * 150, "app", "qwen3:4b", "1")


def median_ms(runs: int, work: Callable[[int], object]) -> float:
    times = []
    for turn in range(runs):
        before = time.perf_counter()
        work(turn)
        times.append(1000 * (time.perf_counter() - before))
    return statistics.median(times)


def main() -> None:
    with tempfile.TemporaryDirectory() as directory:
        store = AnswerStore(Path(directory) / "memory.sqlite")
        store.put(answer(number) for number in range(ROWS))
        random.seed(1)
        asked = [answer(number).template for number in random.sample(range(ROWS), ASKED)]
        assert len(store.get(asked, DEFAULT, "1", NOW)) == ASKED
        known = median_ms(9, lambda _: store.get(asked, DEFAULT, "1", NOW))
        unknown = median_ms(9, lambda turn: store.get([f"{each} {turn}" for each in asked], DEFAULT, "1", NOW))
        one = median_ms(1000, lambda turn: store.get([asked[turn]], DEFAULT, "1", NOW))
        put = median_ms(1000, lambda turn: store.put([answer(ROWS + turn)]))
        size = store.path.stat().st_size / 1e6
        store.close()
    print(f"| get {ASKED:,} templates from {ROWS:,}, all known / none known | {known:.0f} ms / {unknown:.0f} ms |")
    print(f"| get one / put one | {1000 * one:.0f} µs / {1000 * put:.0f} µs |")
    print(f"| the file | {size:.0f} MB |")


if __name__ == "__main__":
    main()
