"""Models are stored whole or not at all, are never changed, and exactly one of them is in use."""

from __future__ import annotations

import multiprocessing
import stat
from pathlib import Path

import msgspec
import numpy as np
import pytest

from logclf import features, resources
from logclf.errors import ArtifactError
from logclf.model import FORMAT, MANIFEST, TOKENIZER, WEIGHTS, Manifest, load_model, read_manifest, save_model
from logclf.state import state_directory
from logclf.store import Reference, Store

from .test_encoders import SCALES, VECTORS, tokenizer

WIDTH = 1 << 4


def write_model(
    directory: Path, label: str = "Error", others: tuple[str, ...] = ("User Action",), **more: object
) -> None:
    """A model that answers every text with one label."""
    labels = [label, *others]
    sure = np.array([20.0] + [0.0] * len(others), np.float32)
    made = Manifest(FORMAT, "small", "2.0", labels, "static", 1.0, 0.6, {})
    weights = {
        "static": VECTORS,
        "static_scales": SCALES,
        "dense": np.zeros((2 + len(features.TOLD_LEVELS), len(labels)), np.float32),
        "dense_bias": sure,
        "ngrams": np.zeros((WIDTH, len(labels)), np.float16),
        "ngrams_bias": sure,
        "idf": np.ones(WIDTH, np.float32),
    }
    save_model(directory, msgspec.structs.replace(made, **more), weights, {TOKENIZER: tokenizer()})


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "state" / "models")


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    write_model(tmp_path / "m")
    return tmp_path / "m"


def test_versions_count_up(store: Store, artifact: Path) -> None:
    assert [str(store.add(artifact, "bank")) for _ in range(3)] == ["bank@1", "bank@2", "bank@3"]
    assert str(store.add(write_model, "shop")) == "shop@1"
    assert list(map(str, store.models())) == ["default", "bank@1", "bank@2", "bank@3", "shop@1"]


def test_a_stored_model_loads_under_the_name_that_the_store_gave_it(store: Store, artifact: Path) -> None:
    (artifact / "README.md").write_text("its card")
    (artifact / "corpus").mkdir()
    store.add(artifact, "bank")
    assert load_model(store.path("bank")).version == "bank@1"
    assert read_manifest(store.path("bank")).training == {"origin": "small@2.0"}
    assert (store.path("bank@1") / "README.md").read_text() == "its card"
    assert not (store.path("bank@1") / "corpus").exists()
    assert load_model(artifact).version == "small@2.0"


def test_a_model_that_does_not_verify_leaves_nothing(store: Store, artifact: Path) -> None:
    (artifact / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="SHA-256"):
        store.add(artifact, "bank")
    assert list((store.directory / "bank").iterdir()) == []
    assert store.find("bank") is None


def test_a_writer_that_fails_leaves_nothing(store: Store) -> None:
    def fails(directory: Path) -> None:
        write_model(directory)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.add(fails, "bank")
    assert list((store.directory / "bank").iterdir()) == []
    with pytest.raises(ArtifactError, match="no model here"):
        store.add(store.directory / "bank", "shop")


def add_some(directory: Path, count: int) -> None:
    for _ in range(count):
        Store(directory).add(write_model, "bank")


def test_writers_at_once_get_versions_of_their_own(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=add_some, args=(store.directory, 5)) for _ in range(2)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
        assert writer.exitcode == 0
    assert [reference.version for reference in store.stored()] == list(range(1, 11))
    assert {path.name for path in (store.directory / "bank").iterdir()} == {str(number) for number in range(1, 11)}


def test_a_file_in_a_versions_place_is_passed_by(store: Store, artifact: Path) -> None:
    store.add(artifact, "bank")
    (store.directory / "bank" / "2").write_text("in the way")
    assert str(store.add(artifact, "bank")) == "bank@3"


@pytest.mark.parametrize("name", ["", ".", "..", "../x", "a/b", "/a", "Bank", "a b", "-a", ".a", "ä", "a\n", "a" * 65])
def test_names_are_checked(store: Store, artifact: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="a model's name is"):
        store.add(artifact, name)
    assert store.find(name) is None
    assert not store.directory.exists()


@pytest.mark.parametrize("name", ["default", "current", "none"])
def test_words_that_mean_something_are_no_names(store: Store, artifact: Path, name: str) -> None:
    with pytest.raises(ArtifactError, match="is taken"):
        store.add(artifact, name)


def test_references(store: Store, artifact: Path) -> None:
    for _ in range(2):
        store.add(artifact, "bank")
    assert store.find("bank") == store.find("bank@2") == Reference("bank", 2)
    assert store.find("bank@1") == Reference("bank", 1)
    for text in ("bank@3", "bank@0", "bank@", "bank@01", "bank@../bank/1", "bank@1@2", "shop", "default@1"):
        assert store.find(text) is None, text
    with pytest.raises(ArtifactError, match=r"no model 'shop' in .*; there are default, bank@1, bank@2"):
        store.path("shop")


def test_the_shipped_model_is_in_use_until_another_is_chosen(store: Store, artifact: Path) -> None:
    assert store.current() == Reference("default")
    assert store.path("default") == resources.MODELS / "default"
    assert store.stamp() is None
    store.add(artifact, "bank")
    assert store.use("bank") == "default"
    assert store.current() == Reference("bank", 1)
    store.add(artifact, "bank")
    assert store.current() == Reference("bank", 1), "a newer version is used when somebody says so"
    assert store.use("bank") == "bank@1"
    assert store.use("bank@2") == "bank@1", "chosen once more"
    assert store.use("default") == "bank@2"
    assert store.current() == Reference("default")


def test_the_choice_is_private_versioned_and_whole(store: Store, artifact: Path) -> None:
    """The format of the file, which other versions of logclf will read."""
    store.add(artifact, "bank")
    store.use("bank")
    assert store.pointer.read_bytes() == b'{"version":1,"model":"bank@1","previous":"default"}\n'
    assert stat.S_IMODE(store.pointer.stat().st_mode) == 0o600
    assert sorted(path.name for path in store.directory.iterdir()) == ["bank", "current"]


def test_every_choice_changes_the_stamp(store: Store, artifact: Path) -> None:
    store.add(artifact, "bank")
    stamps = []
    for _ in range(5):
        store.use("bank")
        stamps.append(store.stamp())
    assert len(set(stamps)) == 5


def test_a_model_that_does_not_verify_is_not_chosen(store: Store, artifact: Path) -> None:
    for _ in range(2):
        store.add(artifact, "bank")
    store.use("bank@1")
    (store.path("bank@2") / WEIGHTS).write_bytes(b"damaged")
    with pytest.raises(ArtifactError, match="SHA-256"):
        store.use("bank@2")
    assert store.current() == Reference("bank", 1)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "not a choice of a model"),
        (b"\xff", "not a choice of a model"),
        (b"[]", "not a choice of a model"),
        (b'{"version":1}', "not a choice of a model"),
        (b'{"version":2,"of":"the future"}', r"written by another logclf \(format 2\)"),
        (b'{"version":1,"model":"../../etc"}', "the model in use, '../../etc', is not there"),
        (b'{"version":1,"model":"gone@1"}', "the model in use, 'gone@1', is not there"),
    ],
)
def test_a_damaged_choice_says_how_to_mend_it(store: Store, artifact: Path, data: bytes, message: str) -> None:
    store.add(artifact, "bank")
    store.pointer.write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"current: {message}.*`logclf models use NAME`"):
        store.current()
    store.use("bank")
    assert store.current() == Reference("bank", 1)


def test_a_store_that_cannot_be_written(tmp_path: Path, artifact: Path) -> None:
    (tmp_path / "file").write_text("")
    store = Store(tmp_path / "file" / "models")
    with pytest.raises(ArtifactError, match="cannot keep models here: Not a directory"):
        store.add(artifact, "bank")
    assert store.stored() == []


def test_the_manifest_is_for_people(store: Store, artifact: Path) -> None:
    store.add(artifact, "bank")
    assert b'\n  "name": "bank",\n  "version": "1",\n' in (store.path("bank") / MANIFEST).read_bytes()


def test_where_the_state_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("LOGCLF_STATE_DIR", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_directory() == tmp_path / ".local" / "state" / "logclf"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert state_directory() == tmp_path / ".local" / "state" / "logclf"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert state_directory() == tmp_path / "xdg" / "logclf"
    monkeypatch.setenv("LOGCLF_STATE_DIR", str(tmp_path / "own"))
    assert Store().directory == tmp_path / "own" / "models"


def test_an_account_that_may_not_look_uses_the_shipped_model(
    store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(_path: Path) -> bytes:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_bytes", refuse)
    assert store.current() == Reference("default")
    assert "may not read which model to use" in caplog.text
