"""A running stream follows `models use`: every line comes out once and in order, and a bad choice changes nothing."""

from __future__ import annotations

import json
import logging
import signal
import subprocess
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from logclf.batch import Verdict
from logclf.cascade import Cascade, Route
from logclf.model import WEIGHTS, load_model
from logclf.pipeline import run
from logclf.rules import RuleSet
from logclf.store import Stamp, Store
from logclf.switch import INTERVAL, Switch
from logclf.taxonomy import DEFAULT

from .helpers import batch, make_rule
from .test_cli import logclf, running, wait_for
from .test_pipeline import Recorded
from .test_store import write_model

pytestmark = pytest.mark.usefixtures("cache_dir")
LINE = "quuxly wibbles the frob {} again"


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """Three versions that answer with labels of their own, the last of a label that is not the taxonomy's."""
    monkeypatch.setenv("LOGCLF_STATE_DIR", str(tmp_path / "state"))
    store = Store()
    for label in ("Error", "User Action", "Nonsense"):
        store.add(lambda directory, label=label: write_model(directory, label, ("HTTP Status",)), "own")
    store.use("own@1")
    return store


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Watched(Store):
    """A store that counts how often it is looked at."""

    looks: int = field(default=0, init=False)

    def __init__(self) -> None:
        super().__init__()
        self.looks = 0

    def stamp(self) -> Stamp | None:
        self.looks += 1
        return super().stamp()


def cascade(store: Store) -> Cascade:
    return Cascade(DEFAULT, RuleSet([make_rule("known", "known")]), [load_model(store.path(str(store.current())))])


def verdict(made: Cascade, line: bytes = b"quuxly wibbles") -> Verdict:
    return made.verdict(int(made.classify(batch(line)).codes[0]))


# --- the cascade's part


def test_new_stages_answer_afresh_and_old_codes_stay_what_they_were(store: Store) -> None:
    made = cascade(store)
    line = batch(b"quuxly wibbles", b"known")
    before = made.classify(line).codes.tolist()
    made.replace_stages([load_model(store.path("own@2"))])
    after = made.classify(line).codes.tolist()
    assert [made.verdict(code).label for code in (before[0], after[0])] == ["Error", "User Action"]
    assert [made.verdict(code).model for code in (before[0], after[0])] == ["own@1", "own@2"]
    assert before[1] == after[1], "rules stay"


def test_what_was_learned_of_the_old_stages_is_forgotten_on_every_route(store: Store) -> None:
    made = Cascade(
        DEFAULT, RuleSet([]), [load_model(store.path("own@1"))], [Route("a*", ("model",)), Route("b*", ("rules",))]
    )
    for source in ("app", "bpp", "cpp"):
        made.classify(batch(b"quuxly wibbles", source=source))
    made.replace_stages([load_model(store.path("own@2"))])
    labels = [made.verdict(int(made.classify(batch(b"quuxly wibbles", source=s)).codes[0])).label for s in "abc"]
    assert labels == ["User Action", "Unclassified", "User Action"]


# --- the switch


def test_the_store_is_looked_at_once_a_second_and_read_when_it_changed(store: Store) -> None:
    watched, clock, made = Watched(), Clock(), cascade(store)
    switch = Switch(made, store.path("own@1"), watched, clock)
    for _ in range(100):
        switch()
    assert watched.looks == 0
    store.use("own@2")
    switch()
    assert verdict(made).model == "own@1", "not yet"
    clock.now += INTERVAL
    for _ in range(100):
        switch()
    assert watched.looks == 1
    assert verdict(made).model == "own@2"


def test_a_choice_between_start_and_the_first_look_is_seen(store: Store) -> None:
    made, clock, followed = cascade(store), Clock(), store.path("own@1")
    store.use("own@2")
    switch = Switch(made, followed, store, clock)
    clock.now += INTERVAL
    switch()
    assert verdict(made).model == "own@2"


def test_the_same_choice_once_more_keeps_what_is_remembered(store: Store) -> None:
    made, clock = cascade(store), Clock()
    switch = Switch(made, store.path("own@1"), store, clock)
    verdict(made)
    store.use("own@1")
    clock.now += INTERVAL
    switch()
    assert verdict(made).cached


def damage(store: Store) -> None:
    store.use("own@2")
    (store.path("own@2") / WEIGHTS).write_bytes(b"damaged")


BAD = {
    "damaged": (damage, "SHA-256"),
    "other labels": (lambda store: store.use("own@3"), "gives labels that this taxonomy lacks: ['Nonsense']"),
    "no choice": (lambda store: store.pointer.write_bytes(b"{"), "not a choice of a model"),
    "not there": (lambda store: store.pointer.write_bytes(b'{"version":1,"model":"own@9"}'), "is not there"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_choice_is_told_once_and_the_old_model_stays(
    store: Store, case: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    made, clock = cascade(store), Clock()
    switch = Switch(made, store.path("own@1"), store, clock)
    choose, message = BAD[case]
    choose(store)
    for _ in range(3):
        clock.now += INTERVAL
        switch()
        assert verdict(made).model == "own@1"
    (record,) = caplog.records
    assert record.getMessage().startswith("the model stays as it is: ")
    assert message in record.getMessage()
    store.use("default")
    clock.now += INTERVAL
    switch()
    assert str(verdict(made).model).startswith("default@")
    assert caplog.records[-1].getMessage().startswith("the model is now default@")


def test_a_removed_choice_means_the_shipped_model(store: Store) -> None:
    made, clock = cascade(store), Clock()
    switch = Switch(made, store.path("own@1"), store, clock)
    store.pointer.unlink()
    clock.now += INTERVAL
    switch()
    assert str(verdict(made).model).startswith("default@")


def test_it_costs_next_to_nothing_when_not_due(store: Store) -> None:
    switch = Switch(cascade(store), store.path("own@1"), store)
    best = min(timed(switch) for _ in range(20))
    assert best < 1e-6


def timed(switch: Switch) -> float:
    begun = time.perf_counter()
    for _ in range(1000):
        switch()
    return (time.perf_counter() - begun) / 1000


def test_the_loop_calls_it_before_each_batch() -> None:
    record = Recorded()
    rules = Cascade(DEFAULT, RuleSet([]))
    run(record.deliver(batch(b"a"), batch(b"b")), rules, record, before_batch=lambda: record.events.append("look"))
    assert record.events == ["look", "write a", "acknowledge a", "look", "write b", "acknowledge b", "flush"]


# --- the whole, as people run it


class Fed:
    """A process whose input grows by a numbered line a millisecond, what came out of it and what it said so far."""

    def __init__(self, process: subprocess.Popen[bytes], target: IO[bytes]) -> None:
        self.process, self._target = process, target
        self.events: list[dict[str, Any]] = []
        self.said: list[str] = []
        self.sent, self._stop = 0, False
        self._threads = [threading.Thread(target=work) for work in (self._feed, self._collect, self._listen)]
        for thread in self._threads:
            thread.start()

    def _feed(self) -> None:
        while not self._stop:
            self._target.write((LINE.format(self.sent) + "\n").encode())
            self._target.flush()
            self.sent += 1
            time.sleep(0.001)
        self._target.close()

    def _collect(self) -> None:
        for line in self.process.stdout or ():
            self.events.append(json.loads(line))

    def _listen(self) -> None:
        for line in self.process.stderr or ():
            said = json.loads(line)["message"] if line.startswith(b"{") else line.decode().strip()
            self.said.append(said.removeprefix("logclf: "))

    def end(self, number: int | None = None) -> None:
        """Stop feeding and, by a signal where it follows a file, the process; then all that it did is there."""
        self._stop = True
        self._threads[0].join()
        if number:
            wait_for(lambda: len(self.events) >= self.sent)
            self.process.send_signal(number)
        for thread in self._threads[1:]:
            thread.join()
        self.process.wait()

    def labels(self) -> list[str]:
        """Labels in the order in which they came, each run of equal ones once."""
        found = [event["logclf"]["label"] for event in self.events]
        return [label for number, label in enumerate(found) if not number or found[number - 1] != label]


def choose_while_it_runs(fed: Fed, store: Store) -> None:
    """One good choice, back again, and one that does not fit."""
    wait_for(lambda: fed.labels() == ["Error"])
    assert logclf("models", "use", "own@2").returncode == 0
    wait_for(lambda: fed.labels() == ["Error", "User Action"])
    assert logclf("models", "use", "own@1").returncode == 0
    wait_for(lambda: fed.labels() == ["Error", "User Action", "Error"])
    store.use("own@3")
    wait_for(lambda: len(fed.said) == 3)
    before = len(fed.events)
    wait_for(lambda: len(fed.events) > before + 100)


def check(fed: Fed) -> None:
    assert fed.process.returncode == 0, fed.said
    assert [event["message"] for event in fed.events] == [LINE.format(number) for number in range(fed.sent)]
    assert fed.labels() == ["Error", "User Action", "Error"]
    assert fed.said[:2] == ["the model is now own@2", "the model is now own@1"]
    assert fed.said[2].startswith("the model stays as it is: model own@3 gives labels")
    assert len(fed.said) == 4, "and the summary"


def test_filter_loses_and_repeats_no_line_while_the_model_is_switched(store: Store) -> None:
    with running("filter") as process:
        assert process.stdin is not None
        fed = Fed(process, process.stdin)
        try:
            choose_while_it_runs(fed, store)
        finally:
            fed.end()
    check(fed)


def test_tail_loses_and_repeats_no_line_while_the_model_is_switched(store: Store, tmp_path: Path) -> None:
    with (tmp_path / "a.log").open("wb") as file, running("tail", tmp_path / "a.log") as process:
        fed = Fed(process, file)
        try:
            choose_while_it_runs(fed, store)
        finally:
            fed.end(signal.SIGTERM)
    check(fed)


def test_a_model_that_was_named_is_kept(store: Store) -> None:
    with running("filter", "--model", "own@1") as process:
        assert process.stdin is not None
        fed = Fed(process, process.stdin)
        try:
            wait_for(lambda: fed.events)
            store.use("own@2")
            time.sleep(1.5 * INTERVAL)
        finally:
            fed.end()
    assert fed.labels() == ["Error"]
