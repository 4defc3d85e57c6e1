"""The loop writes what it labelled, then acknowledges it, and counts it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import pytest

from logclf.batch import Batch, Classified
from logclf.cascade import Cascade
from logclf.errors import OutputError
from logclf.pipeline import Tally, run
from logclf.rules import RuleSet
from logclf.taxonomy import DEFAULT

from .helpers import batch, make_rule


@dataclass
class Recorded:
    """A source and a sink that write down what happens to them, in order."""

    events: list[str] = field(default_factory=list)
    fail_at: bytes | None = None

    def deliver(self, *batches: Batch) -> list[Delivered]:
        return [Delivered(one, self.events) for one in batches]

    def write(self, batch: Batch, classified: Classified) -> None:
        if batch.text == self.fail_at:
            raise OutputError("disk full")
        assert len(classified.codes) == batch.count
        self.events.append(f"write {batch.text.decode()}")

    def flush(self) -> None:
        self.events.append("flush")


@dataclass
class Delivered:
    batch: Batch
    events: list[str]

    def acknowledge(self) -> None:
        self.events.append(f"acknowledge {self.batch.text.decode()}")


def cascade() -> Cascade:
    return Cascade(
        DEFAULT, RuleSet([make_rule("net.timeout", "timed out"), make_rule("ssh", "refused", label="Security Alert")])
    )


def test_written_then_acknowledged_then_flushed_at_the_end() -> None:
    record = Recorded()
    run(record.deliver(batch(b"a"), batch(b"b")), cascade(), record)
    assert record.events == ["write a", "acknowledge a", "write b", "acknowledge b", "flush"]


def test_a_sink_that_fails_stops_before_acknowledging() -> None:
    record, tally = Recorded(fail_at=b"b"), Tally(0.0)
    with pytest.raises(OutputError, match="disk full"):
        run(record.deliver(batch(b"a"), batch(b"b"), batch(b"c")), cascade(), record, tally)
    assert record.events == ["write a", "acknowledge a"]
    assert tally.lines == 1


def test_nothing_in_nothing_out() -> None:
    record = Recorded()
    assert run([], cascade(), record).lines == 0
    assert record.events == ["flush"]


def test_the_tally_counts_lines_by_what_they_got() -> None:
    stages = cascade()
    record = Recorded()
    lines = [batch(b"request timed out", b"hello", b"hello"), batch(b"ERROR refused"), batch(b"hello")]
    tally = run(record.deliver(*lines), stages, record)
    assert tally.lines == 5
    assert tally.by("stage", stages.table) == Counter(rules=2, none=3)
    assert tally.by("label", stages.table) == Counter({"Error": 1, "Security Alert": 1, "Unclassified": 3})
    assert tally.by("severity", stages.table) == Counter(ERROR=2, INFO=3)
    assert tally.remembered(stages.table) == 2


def test_a_tally_goes_on_where_it_was() -> None:
    stages, record = cascade(), Recorded()
    tally = run(record.deliver(batch(b"timed out")), stages, record)
    assert run(record.deliver(batch(b"timed out", b"x")), stages, record, tally) is tally
    assert tally.lines == 3
    assert tally.by("rule", stages.table)["net.timeout"] == 2
