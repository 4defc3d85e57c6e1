"""Remembered answers survive restarts, crashes, damage and many writers; a lower word never replaces a higher one."""

from __future__ import annotations

import fcntl
import logging
import os
import resource
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from logclf.errors import AnswerStoreError, ConfigError
from logclf.llm import database
from logclf.llm.calls import UNSURE
from logclf.llm.store import (
    FROM_THE_FUTURE,
    LONGEST_SAMPLE,
    PROVENANCES,
    AnswerStore,
    Replaced,
    Stored,
    fingerprint,
    key_of,
)
from logclf.taxonomy import DEFAULT, Label, Severity, Taxonomy

NOW = 1_790_000_000.0
DAY = 86_400.0
FIXTURE = Path(__file__).parent / "data" / "memory-1.sql"
BANK = Taxonomy("bank", (Label("High", "act now", Severity.ERROR), Label("Error", "as elsewhere", Severity.ERROR)))


def answer(template: str = "disk <n> failed", label: str = "Error", **more: object) -> Stored:
    """An LLM's answer of now that holds for a day."""
    made = Stored(
        *(template, label, 0.9, "llm", fingerprint(DEFAULT), NOW, NOW + DAY),
        sample="disk 3 failed",
        source="app",
        model="qwen3:4b",
        prompt_version="1",
    )
    return msgspec.structs.replace(made, **more)


def human(template: str = "disk <n> failed", label: str = "Critical Error", **more: object) -> Stored:
    return answer(template, label, provenance="human", expires=None, model="", prompt_version="", **more)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "memory.sqlite"


@pytest.fixture
def store(path: Path) -> Iterator[AnswerStore]:
    store = AnswerStore(path)
    yield store
    store.close()


def known(store: AnswerStore, *templates: str, now: float = NOW, taxonomy: Taxonomy = DEFAULT) -> dict[str, Stored]:
    return store.get(templates or ["disk <n> failed"], taxonomy, "1", now)


def labels(store: AnswerStore, *templates: str, **more: object) -> dict[str, str]:
    return {template: found.label for template, found in known(store, *templates, **more).items()}


def damage(path: Path) -> None:
    """Overwrite all but the header; what is still in the -wal would mend it."""
    Path(f"{path}-wal").unlink(missing_ok=True)
    data = path.read_bytes()
    path.write_bytes(data[:100] + b"\x5a" * (len(data) - 100))


def set_aside(path: Path) -> list[Path]:
    return [each for each in path.parent.glob("*.corrupt-*") if not each.name.endswith(("-wal", "-shm"))]


# --- what comes back


def test_an_answer_comes_back_whole_after_a_restart(path: Path) -> None:
    first = AnswerStore(path)
    assert first.put([answer(), answer("other")]) == 2
    first.close()
    assert known(AnswerStore(path)) == {"disk <n> failed": answer()}


def test_thousands_of_templates_come_back_whatever_the_number(store: AnswerStore) -> None:
    templates = [f"template {number}" for number in range(1203)]
    store.put([answer(template) for template in templates])
    assert set(known(store, *templates, "unheard of")) == set(templates)
    assert known(store) == {}
    assert store.get([], DEFAULT, "1", NOW) == {}
    assert store.put([]) == 0


def test_hostile_text_comes_back_as_it_was(store: AnswerStore) -> None:
    template = "'; DROP TABLE answers; -- \x00 \x1b[31m \u202e \U0001f4a5"
    store.put([answer(template, sample=template)])
    assert known(store, template)[template].sample == template
    store.put([answer("lone \ud800", sample="\ud800")])
    assert known(store, "lone \ud800")["lone \ud800"].sample == "?"


def test_samples_are_cut(store: AnswerStore) -> None:
    store.put([answer(sample="x" * (LONGEST_SAMPLE + 9))])
    assert len(known(store)["disk <n> failed"].sample) == LONGEST_SAMPLE


def test_what_is_no_answer_is_refused() -> None:
    for wrong in ({"confidence": float("nan")}, {"confidence": 1.1}, {"provenance": "rumour"}):
        with pytest.raises(ValueError, match="not an answer"):
            answer(**wrong)


# --- how long, and whether it holds


def test_an_expired_answer_is_not_returned_and_goes_with_the_next_put(store: AnswerStore) -> None:
    store.put([answer(expires=NOW + 10), human("kept")])
    assert labels(store, now=NOW + 9.9) == {"disk <n> failed": "Error"}
    assert labels(store, now=NOW + 10) == {}
    assert labels(store, "kept", now=NOW + 1e9) == {"kept": "Critical Error"}
    store.put([answer("other", created=NOW + 11, expires=NOW + DAY)])
    assert store.find("disk <n> failed", DEFAULT) is None
    assert store.prune(NOW + 2 * DAY) == 1
    assert [each.template for each in store.rows(DEFAULT)] == ["kept"]


def test_answers_to_another_prompt_or_other_descriptions_are_stale(store: AnswerStore) -> None:
    store.put([answer("old prompt", prompt_version="0"), answer("new"), answer("old labels", taxonomy="default@0")])
    store.put([human("a person's", taxonomy="default@0")])
    found = known(store, "old prompt", "new", "old labels", "a person's")
    assert {template for template, each in found.items() if each.stale} == {"old prompt", "old labels"}
    assert len(found) == 4


def test_a_label_that_the_taxonomy_lacks_is_never_returned(store: AnswerStore) -> None:
    store.put([answer("a", "Doom"), human("b", "Doom"), answer("c", UNSURE), human("d", UNSURE)])
    assert labels(store, *"abcd") == {"c": UNSURE}


def test_taxonomies_do_not_mix(store: AnswerStore) -> None:
    store.put([human(), human(label="High", taxonomy=fingerprint(BANK))])
    assert labels(store) == {"disk <n> failed": "Critical Error"}
    assert labels(store, taxonomy=BANK) == {"disk <n> failed": "High"}
    assert sorted(store.human()) == [("disk <n> failed", "Critical Error"), ("disk <n> failed", "High")]
    assert store.human(BANK) == [("disk <n> failed", "High")]


def test_a_fingerprint_minds_names_and_descriptions_alone() -> None:
    first, second = BANK.labels
    same = Taxonomy("bank", (msgspec.structs.replace(second, severity=Severity.WARN), first))
    assert fingerprint(same) == fingerprint(BANK)
    for other in (
        Taxonomy("bank", (first,)),
        Taxonomy("bank", (msgspec.structs.replace(first, description="now!"), second)),
        Taxonomy("bank2", BANK.labels),
    ):
        assert fingerprint(other) != fingerprint(BANK)


def test_a_clock_that_goes_backwards_loses_nothing_and_freezes_nothing(path: Path) -> None:
    store = AnswerStore(path, max_rows=3)
    store.put([answer(created=NOW + DAY, expires=NOW + 30 * DAY)])
    found = known(store)["disk <n> failed"]
    assert (found.label, found.stale) == ("Error", True), "written by a wrong clock: good until asked again"
    store.put([answer("soon", created=NOW + FROM_THE_FUTURE - 1, expires=NOW + DAY)])
    assert not known(store, "soon")["soon"].stale
    assert store.put([answer(label="User Action")]) == 1
    assert known(store)["disk <n> failed"] == answer(label="User Action")
    store.put([answer(name) for name in "ab"])
    store.put([answer("newest", created=NOW - DAY, expires=NOW + 1)])
    assert set(known(store, "soon", "disk <n> failed", "a", "b", "newest")) == {"a", "b", "newest"}


# --- who said it


def test_a_lower_word_never_replaces_a_higher_one(store: AnswerStore) -> None:
    order = ["model", "llm", "rule", "model", "human", "rule", "llm"]
    kept = [store.put([answer(provenance=each, label="Error", model=each)]) for each in order]
    assert kept == [1, 0, 1, 0, 1, 0, 0]
    assert store.put([human(label="User Action")]) == 1
    assert labels(store) == {"disk <n> failed": "User Action"}


def test_an_expired_word_gives_way_to_any(store: AnswerStore) -> None:
    store.put([answer(provenance="model", expires=NOW + 1)])
    assert store.merge([answer(label="User Action")], NOW + 2) == 1
    assert labels(store) == {"disk <n> failed": "User Action"}


WORDS = st.tuples(st.sampled_from("abc"), st.sampled_from(PROVENANCES), st.sampled_from(DEFAULT.names))


@settings(deadline=None, max_examples=60)
@given(st.lists(st.lists(WORDS, max_size=5), max_size=8), st.booleans())
def test_the_highest_and_of_those_the_last_word_holds(batches: list[list[tuple[str, str, str]]], merge: bool) -> None:
    """However words are split into batches, by `put` and by `merge`."""
    holds: dict[str, tuple[int, str]] = {}
    with tempfile.TemporaryDirectory() as directory:
        store = AnswerStore(Path(directory) / "memory.sqlite")
        for number, batch in enumerate(batches):
            new = [
                answer(template, label, provenance=who, created=NOW + number, expires=None)
                for template, who, label in batch
            ]
            kept = store.merge(new, NOW) if merge else store.put(new)
            expected = 0
            for template, who, label in batch:
                rank = PROVENANCES.index(who)  # type: ignore[arg-type]
                if rank >= holds.get(template, (0, ""))[0]:
                    holds[template] = (rank, label)
                    expected += 1
            assert kept == expected
        found = {each.template: (PROVENANCES.index(each.provenance), each.label) for each in store.rows(DEFAULT)}
        store.close()
    assert found == holds


def test_of_equals_from_elsewhere_the_younger_holds_in_whatever_order(store: AnswerStore) -> None:
    old, young = human(label="Error", created=NOW), human(label="User Action", created=NOW + 5)
    assert store.merge([young, old], NOW + 9) == 1
    assert labels(store) == {"disk <n> failed": "User Action"}
    assert store.merge([young], NOW + 9) == 1, "the same once more changes nothing"
    assert [each.label for each in store.rows(DEFAULT)] == ["User Action"]


def test_a_correction_remembers_what_a_machine_had_said(store: AnswerStore) -> None:
    store.put([answer()])
    first = store.correct("disk <n> failed", "Critical Error", DEFAULT, NOW)
    assert first.replaced == Replaced("Error", "llm", 0.9, "qwen3:4b")
    assert (first.provenance, first.confidence, first.expires, first.sample) == ("human", 1.0, None, "disk 3 failed")
    second = store.correct("disk <n> failed", "Error", DEFAULT, NOW + 1)
    assert second.replaced == first.replaced
    assert store.put([answer(label="User Action")]) == 0
    assert known(store) == {"disk <n> failed": second}
    assert store.correct("new", "Error", DEFAULT, NOW, sample="new 1").sample == "new 1"
    assert store.human() == [("new", "Error"), ("disk <n> failed", "Error")]
    with pytest.raises(ConfigError, match="has no label 'Doom'"):
        store.correct("new", "Doom", DEFAULT)


def test_accepting_makes_an_answer_a_persons(store: AnswerStore) -> None:
    store.put([answer(), answer("odd", UNSURE)])
    accepted = store.accept("disk <n> failed", DEFAULT, NOW)
    assert accepted
    assert (accepted.label, accepted.provenance) == ("Error", "human")
    assert accepted.replaced == Replaced("Error", "llm", 0.9, "qwen3:4b")
    assert store.human() == [("disk <n> failed", "Error")]
    assert store.accept("unheard of", DEFAULT) is None
    with pytest.raises(ConfigError, match="has no label 'unsure'"):
        store.accept("odd", DEFAULT)


def test_forgetting_drops_what_was_seen_and_leaves_no_trace(path: Path) -> None:
    store = AnswerStore(path)
    store.put([answer(f"template {number} marmalade", sample="marmalade" * 40) for number in range(200)])
    seen = list(store.rows(DEFAULT))
    store.put([answer("template 7 marmalade", "User Action", sample="", created=NOW + 1)])
    assert store.forget(seen) == 199, "one has changed since it was looked at"
    assert labels(store, "template 7 marmalade") == {"template 7 marmalade": "User Action"}
    assert store.forget(store.rows(DEFAULT)) == 1
    assert store.forget([]) == 0
    for file in path.parent.iterdir():
        assert b"marmalade" not in file.read_bytes(), file


# --- growth


def test_growth_is_bounded_and_peoples_answers_stay(path: Path) -> None:
    store = AnswerStore(path, max_rows=5)
    store.put([human("h1"), answer("m1", provenance="model")])
    store.put([answer(f"l{number}") for number in range(4)])
    assert [each.template for each in store.rows(DEFAULT)] == ["h1", "m1", "l1", "l2", "l3"]
    store.put([answer("l1"), answer("l4")])
    assert [each.template for each in store.rows(DEFAULT)] == ["h1", "m1", "l3", "l1", "l4"], "the oldest went"
    store.put([human(f"h{number}") for number in range(2, 9)])
    assert [each.template for each in store.rows(DEFAULT)] == [f"h{number}" for number in range(1, 9)]


# --- the file


def test_only_this_account_may_read_it(store: AnswerStore, path: Path) -> None:
    store.put([answer()])
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert modes == {f"memory.sqlite{suffix}": 0o600 for suffix in ("", "-wal", "-shm", ".lock")}
    store.close()
    path.chmod(0o644)
    AnswerStore(path).check()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_it_is_not_made_before_its_first_use_and_is_in_wal_mode(path: Path) -> None:
    store = AnswerStore(path)
    assert not path.parent.exists()
    store.put([answer()])
    with sqlite3.connect(path) as raw:
        assert raw.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert raw.execute("PRAGMA user_version").fetchone() == (1,)
    raw.close()


def dumped(path: Path) -> str:
    """All that is in the file, and its two marks."""
    raw = sqlite3.connect(path)
    marks = [f"PRAGMA {name} = {raw.execute(f'PRAGMA {name}').fetchone()[0]};" for name in MARKS]
    text = "\n".join([*raw.iterdump(), *marks, ""])
    raw.close()
    return text


MARKS = ("application_id", "user_version")
SAVED = [
    answer(),
    human(sample="", replaced=Replaced("Error", "llm", 0.75, "qwen3:4b"), template="job <n> of <path> \u00fc"),
    answer("from a rule", provenance="rule", expires=None, confidence=1.0, model="", prompt_version=""),
    answer("bank's", "High", taxonomy="bank@0123456789abcdef", created=NOW + 0.25),
]


def test_the_format_is_what_it_was(path: Path) -> None:
    """A file of this format opens with all that is in it, and a new file has the same format."""
    store = AnswerStore(path)
    for each in SAVED:
        store.put([msgspec.structs.replace(each, taxonomy=each.taxonomy.replace(fingerprint(DEFAULT), "default@1"))])
    store.close()
    assert dumped(path) == FIXTURE.read_text("utf-8")
    older = path.with_name("older.sqlite")
    raw = sqlite3.connect(older)
    raw.executescript(FIXTURE.read_text("utf-8"))
    raw.close()
    found = [each for taxonomy in (DEFAULT, BANK) for each in AnswerStore(older).rows(taxonomy)]
    assert [msgspec.structs.replace(each, taxonomy="") for each in found] == [
        msgspec.structs.replace(each, taxonomy="") for each in SAVED
    ]


def test_an_older_format_is_brought_up_to_date(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = AnswerStore(path)
    first.put([answer()])
    first.close()
    step = ("ALTER TABLE answers ADD COLUMN seen INTEGER NOT NULL DEFAULT 0", "CREATE INDEX by_seen ON answers (seen)")
    monkeypatch.setattr(database, "MIGRATIONS", (*database.MIGRATIONS, step, ("nonsense",)))
    before = dumped(path)
    broken = AnswerStore(path)
    with pytest.raises(AnswerStoreError, match="syntax error"):
        broken.check()
    assert dumped(path) == before, "all steps or none"
    monkeypatch.setattr(database, "MIGRATIONS", database.MIGRATIONS[:-1])
    assert labels(AnswerStore(path)) == {"disk <n> failed": "Error"}
    assert "PRAGMA user_version = 2;" in dumped(path)
    assert "by_seen" in dumped(path)


def test_a_newer_format_is_left_alone(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = AnswerStore(path)
    first.put([answer()])
    first.close()
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA user_version = 7")
    raw.close()
    before = dumped(path)
    store = AnswerStore(path)
    with pytest.raises(
        AnswerStoreError, match=r"memory\.sqlite: written by a newer logclf \(format 7; this one knows 1"
    ):
        store.check()
    with caplog.at_level(logging.WARNING):
        assert labels(store) == labels(store) == {}
        assert store.put([answer("other")]) == store.put([answer("other")]) == 0
    assert [record.getMessage().count("newer logclf") for record in caplog.records] == [1]
    assert store.lost == 2
    assert "newer logclf" in str(store.problem)
    assert dumped(path) == before


def test_somebody_elses_database_is_left_alone(path: Path) -> None:
    path.parent.mkdir()
    raw = sqlite3.connect(path)
    raw.execute("CREATE TABLE bookmarks (url TEXT)")
    raw.commit()
    raw.close()
    with pytest.raises(AnswerStoreError, match="not of logclf"):
        AnswerStore(path).check()
    assert "bookmarks" in dumped(path)
    assert set_aside(path) == []


def test_what_is_no_file_is_refused_at_once(path: Path) -> None:
    path.parent.mkdir()
    os.mkfifo(path)
    with pytest.raises(AnswerStoreError, match="not a regular file"):
        AnswerStore(path).check()


def test_odd_rows_are_passed_over(store: AnswerStore, path: Path) -> None:
    store.put([answer(name) for name in "abcde"])
    raw = sqlite3.connect(path)
    raw.execute("UPDATE answers SET confidence = 'much' WHERE template = 'a'")
    raw.execute("UPDATE answers SET replaced = '{' WHERE template = 'b'")
    raw.execute("UPDATE answers SET confidence = 9e9 WHERE template = 'c'")
    raw.execute("UPDATE answers SET sample = CAST(x'ff41' AS TEXT) WHERE template = 'd'")
    raw.commit()
    raw.close()
    assert {name: each.sample for name, each in known(store, *"abcde").items()} == {
        "d": "\ufffdA",
        "e": "disk 3 failed",
    }
    assert len(list(store.rows(DEFAULT))) == 2


# --- damage


@pytest.mark.parametrize("how", ["noise", "zeros", "pages"])
def test_a_damaged_file_is_set_aside(path: Path, caplog: pytest.LogCaptureFixture, how: str) -> None:
    first = AnswerStore(path)
    first.put([answer(f"template {number}") for number in range(300)])
    first.close()
    if how == "pages":
        damage(path)
    else:
        path.write_bytes((b"not a database " if how == "noise" else b"\0" * 15) * 1000)
    found = path.read_bytes()
    store = AnswerStore(path)
    with caplog.at_level(logging.WARNING):
        assert labels(store, "template 7") == {}
        assert store.put([answer("after")]) == 1
    assert labels(store, "after") == {"after": "Error"}
    assert store.problem is None
    (kept,) = set_aside(path)
    assert kept.read_bytes() == found
    (record,) = caplog.records
    assert f"damaged ({'file is not a database' if how != 'pages' else ''}" in record.getMessage()
    assert record.getMessage().endswith(f"kept as {kept.name}, going on with an empty memory")


def test_damage_under_open_connections_costs_one_file(path: Path) -> None:
    """Whoever comes second finds the new file and leaves it alone, in this process and in others."""
    stores = [AnswerStore(path) for _ in range(4)]
    stores[0].put([answer(f"template {number}") for number in range(3000)])
    raw = sqlite3.connect(path)
    raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    raw.close()
    for each in stores:
        assert labels(each, "template 1")
    damage(path)
    start = threading.Barrier(len(stores))

    def work(store: AnswerStore, number: int) -> None:
        start.wait()
        for turn in range(20):
            store.get([f"template {n}" for n in range(3000)], DEFAULT, "1", NOW)
            store.put([answer(f"after {number} {turn}")])

    threads = [threading.Thread(target=work, args=(each, number)) for number, each in enumerate(stores)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set_aside(path)) == 1
    assert [each.lost for each in stores] == [0] * 4
    wanted = {f"after {number} {turn}" for number in range(4) for turn in range(20)}
    assert set(known(AnswerStore(path), *wanted)) == wanted


def test_a_file_that_was_deleted_is_made_anew(store: AnswerStore, path: Path) -> None:
    store.put([answer("before")])
    for file in path.parent.iterdir():
        file.unlink()
    assert store.put([answer("after")]) == 1
    assert set(known(AnswerStore(path), "before", "after")) == {"after"}


# --- others at work


WRITER = """
import sys
from pathlib import Path
from logclf.llm.store import AnswerStore
from tests.test_llm_store import answer
store, name = AnswerStore(Path(sys.argv[1])), sys.argv[2]
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[3])):
    store.put([answer(f"{name} {number} {part}") for part in range(3)] + [answer("shared", model=name)])
    print(number, flush=True)
assert not store.lost, store.problem
"""


def writer(path: Path, name: str, count: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), name, str(count)]
    root = Path(__file__).resolve().parents[1]
    started = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=root)
    assert started.stdout
    assert started.stdout.readline() == "ready\n"
    return started


def test_processes_write_at_once_and_nothing_is_lost(path: Path) -> None:
    names, count = ("one", "two"), 150
    writers = [writer(path, name, count) for name in names]
    for each in writers:
        assert each.stdin
        each.stdin.write("go\n")
        each.stdin.flush()
    assert [each.communicate(timeout=60) and each.returncode for each in writers] == [0, 0]
    found = {each.template for each in AnswerStore(path).rows(DEFAULT)}
    assert found == {"shared"} | {f"{name} {n} {part}" for name in names for n in range(count) for part in range(3)}


def test_threads_share_a_store(store: AnswerStore) -> None:
    def work(name: str) -> None:
        for number in range(50):
            store.put([answer(f"{name} {number}")])
            assert known(store, f"{name} {number}")

    threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (store.lost, store.problem) == (0, None)
    assert len(list(store.rows(DEFAULT))) == 200


@pytest.mark.parametrize("after", [1, 7, 40])
def test_a_killed_writer_leaves_whole_batches(path: Path, after: int) -> None:
    doomed = writer(path, "doomed", 100_000)
    assert doomed.stdin
    assert doomed.stdout
    doomed.stdin.write("go\n")
    doomed.stdin.flush()
    while doomed.stdout.readline() != f"{after}\n":
        pass
    os.kill(doomed.pid, signal.SIGKILL)
    said = [after, *map(int, doomed.stdout.read().split())][-1]
    doomed.communicate()
    store = AnswerStore(path)
    found = {each.template for each in store.rows(DEFAULT)} - {"shared"}
    batches = len(found) // 3
    assert batches in {said + 1, said + 2}, "all that was said to be kept, and nothing else but the batch under way"
    assert found == {f"doomed {number} {part}" for number in range(batches) for part in range(3)}
    assert store.put([answer("after")]) == 1
    assert set_aside(path) == []
    raw = sqlite3.connect(path)
    assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    raw.close()


def test_a_writer_that_never_ends_costs_answers_not_the_stream(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    AnswerStore(path).put([answer()])
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    store = AnswerStore(path, busy=0.05)
    with caplog.at_level(logging.WARNING):
        assert [store.put([answer("late")]) for _ in range(3)] == [0, 0, 0]
        assert labels(store) == {"disk <n> failed": "Error"}, "readers don't wait for writers"
    (record,) = caplog.records
    assert "database is locked; going on without" in record.getMessage()
    assert store.lost == 3
    other.execute("ROLLBACK")
    other.close()
    assert store.put([answer("late")]) == 1
    assert store.problem is None


def test_a_stopped_process_that_is_opening_the_file_does_not_stop_others(path: Path) -> None:
    AnswerStore(path).check()
    with Path(f"{path}.lock").open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        before = time.monotonic()
        with pytest.raises(AnswerStoreError, match="another process keeps it locked"):
            AnswerStore(path, busy=0.05).check()
        assert time.monotonic() - before < 10


def test_closing_ends_all_threads_connections_quietly(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = AnswerStore(path)
    used, ended = threading.Event(), threading.Event()

    def work() -> None:
        store.put([answer()])
        used.set()
        assert ended.wait(30)
        store.put([answer("too late")])

    thread = threading.Thread(target=work)
    thread.start()
    assert used.wait(30)
    store.get(["x"], DEFAULT, "1", NOW)
    store.close()
    assert {file.name for file in path.parent.iterdir()} == {"memory.sqlite", "memory.sqlite.lock"}, "the -wal is gone"
    with caplog.at_level(logging.WARNING):
        ended.set()
        thread.join()
        assert labels(store) == {}
    assert caplog.records == []
    store.close()
    with pytest.raises(AnswerStoreError, match="closed"):
        store.check()


def test_a_forked_child_opens_its_own(store: AnswerStore) -> None:
    store.put([answer()])
    child = os.fork()
    if not child:
        ok = labels(store) == {"disk <n> failed": "Error"} and store.put([answer("child")]) == 1
        os._exit(0 if ok else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert set(known(store, "disk <n> failed", "child")) == {"disk <n> failed", "child"}


# --- where it cannot be kept


@pytest.fixture
def unwritable(path: Path) -> Iterator[Path]:
    """A state directory in which an ordinary account may not write; as such an account."""
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o755)
        directory = Path(base) / "state"
        directory.mkdir()
        account = os.geteuid()
        directory.chmod(0o555)
        try:
            if account == 0:
                os.seteuid(65534)
            yield directory
        finally:
            os.seteuid(account)
            directory.chmod(0o755)


def test_a_directory_that_cannot_be_written_costs_the_memory_not_the_stream(
    unwritable: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The caller gets nothing and keeps nothing; `problem` says why, and the log says it once."""
    store = AnswerStore(unwritable / "memory.sqlite")
    with caplog.at_level(logging.WARNING):
        assert [labels(store) for _ in range(3)] == [{}] * 3
        assert [store.put([answer()]) for _ in range(3)] == [0] * 3
        assert store.human() == []
    assert [record.getMessage() for record in caplog.records] == [f"{store.problem}; going on without"]
    why = f"Permission denied ({store.path}.lock)"
    assert store.problem == f"{store.path}: cannot use the remembered answers: {why}"
    assert store.lost == 3
    with pytest.raises(AnswerStoreError, match="Permission denied"):
        store.check()


def test_a_full_disk_costs_answers_not_the_file(store: AnswerStore, path: Path) -> None:
    store.put([answer()])
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        kept = [store.put([answer(f"{turn} {number}") for number in range(50)]) for turn in range(20)]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert 0 in kept
    assert store.lost == 50 * kept.count(0)
    assert "cannot use the remembered answers" in str(store.problem)
    assert store.put([answer("after")]) == 1
    assert store.problem is None
    assert len(list(store.rows(DEFAULT))) == 2 + sum(kept)
    assert set_aside(path) == []


def test_a_path_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    store = AnswerStore(tmp_path / "file" / "memory.sqlite")
    assert labels(store) == {}
    assert str(store.problem).endswith(f"cannot use the remembered answers: File exists ({tmp_path / 'file'})")


def test_another_accounts_file_is_refused(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can make another account's file")
    with tempfile.TemporaryDirectory() as base:
        Path(base).chmod(0o777)
        path = Path(base) / "memory.sqlite"
        AnswerStore(path).put([answer()])
        path.chmod(0o666)
        Path(f"{path}.lock").chmod(0o666)
        os.seteuid(65534)
        try:
            with pytest.raises(AnswerStoreError, match="belongs to another account"):
                AnswerStore(path).check()
        finally:
            os.seteuid(0)


def test_what_root_makes_in_a_services_directory_is_the_services(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give files away")
    os.chown(tmp_path, 65534, 65534)
    store = AnswerStore(tmp_path / "memory.sqlite")
    store.put([answer()])
    assert {file.stat().st_uid for file in tmp_path.iterdir()} == {65534}
    store.close()


def test_reading_is_tried_again_after_a_while(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path.parent.write_text("in the way")
    store = AnswerStore(path)
    assert labels(store) == {}
    path.parent.unlink()
    AnswerStore(path).put([answer()])
    assert labels(store) == {}, "not with every batch"
    monkeypatch.setattr("logclf.llm.store.RETRY", 0.0)
    path.parent.rename(path.parent.with_name("away"))
    path.parent.write_text("in the way")
    store = AnswerStore(path)
    assert labels(store) == {}
    path.parent.unlink()
    path.parent.with_name("away").rename(path.parent)
    assert labels(store) == {"disk <n> failed": "Error"}
    assert store.problem is None


def test_keys_tell_templates_apart() -> None:
    assert key_of("a") == bytes.fromhex("27c35e6e9373877f29e562464e46497e")
    assert key_of("a") != key_of("b")
