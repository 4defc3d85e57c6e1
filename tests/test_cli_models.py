"""`logclf models`: what there is, which one is in use, how to change that and back, and how two differ."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from logclf.comparing import MOST_EXAMPLES, label_changes, read_texts
from logclf.errors import ConfigError, InputError
from logclf.model import WEIGHTS, load_model
from logclf.store import Store

from .helpers import objects
from .test_cli import logclf, one_line
from .test_store import write_model

pytestmark = pytest.mark.usefixtures("cache_dir")

FIGURES = {"accuracy": 0.9, "macro_f1": 0.8, "coverage": 0.7, "precision": 0.98, "f1": {"Error": 0.75}}
BETTER = FIGURES | {"accuracy": 0.95, "f1": {"Error": 0.8, "HTTP Status": 0.5}}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """own@1 says Error to everything, own@2 User Action; bank@1 has labels that are not the default taxonomy's."""
    monkeypatch.setenv("LOGCLF_STATE_DIR", str(tmp_path / "state"))
    store = Store()
    trained = {"trained": "2026-01-02T03:04:05Z", "templates": 1234, "sha256": "ab" * 32}
    store.add(lambda to: write_model(to, "Error", metrics=FIGURES, training=trained), "own")
    store.add(lambda to: write_model(to, "User Action", ("Error", "HTTP Status"), metrics=BETTER, threshold=0.5), "own")
    store.add(lambda to: write_model(to, "Low", ("High",)), "bank")
    return store


def lines(*arguments: object) -> list[str]:
    done = logclf("models", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().splitlines()


# --- list, show


def test_list_marks_the_one_in_use(store: Store) -> None:
    store.use("own@1")
    head, *rows = lines("list")
    assert head.split()[:5] == ["MODEL", "LABELS", "ENCODER", "TRAINED", "TEMPLATES"]
    assert [row[3:].split()[0] for row in rows] == ["default", "bank@1", "own@1", "own@2"]
    (current,) = [row for row in rows if row.startswith("*")]
    assert current.split()[1:] == [
        *("own@1", "2", "static", "2026-01-02T03:04:05Z", "1,234", "0.900", "0.800", "0.700", "0.980"),
    ]


def test_list_for_scripts(store: Store) -> None:
    found = {each["model"]: each for each in json.loads("".join(lines("list", "--json")))}
    assert [name for name, each in found.items() if each["current"]] == ["default"]
    assert found["own@1"] == {
        "model": "own@1",
        "name": "own",
        "version": 1,
        "current": False,
        "labels": 2,
        "encoder": "static",
        "trained": "2026-01-02T03:04:05Z",
        "templates": 1234,
        "accuracy": 0.9,
        "macro_f1": 0.8,
        "coverage": 0.7,
        "precision": 0.98,
    }


def test_list_goes_on_past_what_is_damaged(store: Store) -> None:
    (store.path("own@1") / "manifest.json").write_text("\x1b[31m{")
    store.pointer.write_text("{")
    done = logclf("models", "list")
    assert done.returncode == 0
    assert b"own@1    damaged: " in done.stdout
    assert b"\x1b" not in done.stdout
    assert b"choose again with `logclf models use NAME`" in done.stderr


def test_show_tells_what_a_model_says_of_itself_and_whether_it_verifies(store: Store) -> None:
    for reference in ("own@1", store.path("own@1")):
        shown = dict(line.strip().split("  ", 1) for line in lines("show", reference) if "  " in line.strip())
        shown = {name: value.strip() for name, value in shown.items()}
        assert shown["model"] == "own@1"
        assert shown["files verified"] == "yes"
        assert shown["sha256"] == "ab" * 32
        assert (shown["Error"], shown["User Action"]) == ("0.750", "-")
    (store.path("own@1") / WEIGHTS).write_bytes(b"damaged")
    done = logclf("models", "show", "own@1")
    assert done.returncode == 1
    assert b"no: " in done.stdout
    assert b"SHA-256" in done.stdout
    assert "no model 'nope'" in one_line(logclf("models", "show", "nope"))


def test_what_a_manifest_says_is_safe_to_look_at(store: Store) -> None:
    store.add(lambda to: write_model(to, "E\x1b[31mrror\u202e", training={"\x1b]0;x\x07": "\x9b2J"}), "odd")
    for arguments in (["show", "odd"], ["diff", "odd", "own"], ["list"]):
        assert not set("\x1b\x07\x9b\u202e") & set("\n".join(lines(*arguments)))


# --- use


def test_use_says_what_was_before_and_how_to_go_back(store: Store) -> None:
    assert lines("use", "own@1") == [
        "own@1 is in use; before it was default",
        "go back: logclf models use default",
    ]
    assert lines("use", "own") == ["own@2 is in use; before it was own@1", "go back: logclf models use own@1"]
    assert lines("use", "default")[0] == "default is in use; before it was own@2"
    assert str(store.current()) == "default"


def test_what_is_in_use_is_used(store: Store) -> None:
    def label(*arguments: object) -> str:
        (event,) = objects(logclf("filter", *arguments, data=b"quuxly wibbles the frob\n").stdout)
        found: str = event["logclf"]["label"]
        return found

    store.use("own@2")
    assert label() == label("--model", "current") == label("--model", "own") == "User Action"
    assert label("--model", "own@1") == label("--model", store.path("own@1")) == "Error"
    assert label("--model", "none") == "Unclassified"
    assert "User Action" not in label("--model", "default"), "default is the shipped one"


def test_a_model_must_fit_the_profiles_labels_to_be_used(store: Store, tmp_path: Path) -> None:
    done = logclf("models", "use", "bank")
    assert done.returncode == 78
    assert "model bank@1 gives labels that this taxonomy lacks: ['High', 'Low']" in one_line(done)
    assert str(store.current()) == "default"
    assert lines("use", "bank", "--profile", "bank")[0] == "bank@1 is in use; before it was default"


def test_a_damaged_or_unknown_model_is_not_used(store: Store) -> None:
    (store.path("own@2") / WEIGHTS).write_bytes(b"damaged")
    for reference, message in (("own@2", "SHA-256"), ("own@7", "no model 'own@7'"), ("../own", "no model '../own'")):
        done = logclf("models", "use", reference)
        assert done.returncode == 78
        assert message in one_line(done)
    assert str(store.current()) == "default"


# --- add


def test_add_stores_a_directory_under_the_next_version(store: Store, tmp_path: Path) -> None:
    write_model(tmp_path / "m", "HTTP Status")
    assert lines("add", "own", tmp_path / "m") == ["own@3 is stored; use it: logclf models use own@3"]
    assert load_model(store.path("own@3")).labels[0] == "HTTP Status"
    done = logclf("models", "add", "own", tmp_path)
    assert done.returncode == 78
    assert "no model here" in one_line(done)


# --- diff


def test_diff_sets_figures_side_by_side(store: Store) -> None:
    rows = {tuple(line.split()) for line in lines("diff", "own@1", "own@2")}
    assert ("own@1", "own@2") in rows
    assert ("accuracy", "0.900", "0.950", "+0.050") in rows
    assert ("threshold", "0.600", "0.500", "-0.100") in rows
    assert ("Error", "0.750", "0.800", "+0.050") in rows
    assert ("HTTP", "Status", "no", "such", "label", "0.500") in rows
    assert ("User", "Action", "-", "-") in rows


def test_diff_on_data_counts_other_labels_and_shows_texts(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "app.log"
    file.write_bytes(b"one thing\n\ntwo \x1b[31mthings\r\n7 8 9\nbad \xff bytes\n")
    shown = lines("diff", "own@1", "own@2", "--data", file)
    assert "3 of 4 texts get another label (75.0 %)" in shown
    assert "3  Error → User Action" in shown
    assert "  Error → User Action: two \\x1b[31mthings" in shown
    table = tmp_path / "data.csv"
    table.write_text('id,Message,label\n1,"one\nthing, here",x\n2,,x\n3,two things,x\n', "utf-8-sig")
    assert "2 of 2 texts get another label (100.0 %)" in lines("diff", "own@1", "own@2", "--data", table)
    assert "0 of 2 texts get another label (0.0 %)" in lines(
        *("diff", "own", "own@2", "--data", table, "--text-column", "Message")
    )


def test_examples_are_few_and_of_every_kind(store: Store) -> None:
    texts = [f"thing {'abcdefghij'[number % 10] * (number % 7)}" for number in range(500)]
    changes = label_changes(texts, load_model(store.path("own@1")), load_model(store.path("own@2")))
    assert (changes.texts, changes.changed, len(changes.examples)) == (500, 500, MOST_EXAMPLES)


def test_data_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="No such file"):
        list(read_texts(tmp_path / "none.txt", None))
    table = tmp_path / "data.csv"
    table.write_text("a,b\n1,2\n")
    with pytest.raises(ConfigError, match="--text-column"):
        list(read_texts(table, None))
    with pytest.raises(ConfigError, match="--text-column"):
        list(read_texts(table, "c"))
    table.write_text("text\n" + "x" * (2 << 20) + "\n")
    with pytest.raises(InputError, match="not a table"):
        list(read_texts(table, None))


def test_help_costs_no_engine(store: Store) -> None:
    done = logclf("models", "--help", env=os.environ | {"PYTHONPROFILEIMPORTTIME": "1"})
    assert b" numpy" not in done.stderr
    for name in (b"list", b"show", b"use", b"diff"):
        assert name in done.stdout
