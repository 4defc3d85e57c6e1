"""A model or report is put in place whole or not at all, and never in place of something else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from logclf.errors import ConfigError, OutputError
from logclf.model import MANIFEST, load_model
from logclf.training import publish
from logclf.training.publish import (
    CARD,
    REPORT,
    check_directory,
    check_file,
    next_version,
    replace_directory,
    replace_file,
)

from .test_store import write_model


def contents(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir()}


@pytest.fixture
def model(tmp_path: Path) -> Path:
    write_model(tmp_path / "m", version="7")
    (tmp_path / "m" / REPORT).write_text("old")
    (tmp_path / "m" / CARD).write_text("old")
    return tmp_path / "m"


def test_a_model_may_be_replaced_and_an_empty_directory_filled(model: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for directory in (model, tmp_path / "empty", tmp_path / "new"):
        check_directory(directory)


@pytest.mark.parametrize("beside", ["notes.txt", "corpus/", ".git/"])
def test_a_model_with_something_beside_it_is_not_replaced(beside: str, model: Path) -> None:
    (model / beside).mkdir() if beside.endswith("/") else (model / beside).write_text("")
    with pytest.raises(ConfigError, match="something else than a model here"):
        check_directory(model)


def test_what_is_no_model_is_not_replaced(tmp_path: Path) -> None:
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / MANIFEST).write_text('{"name": "an app"}')
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    for name in ("web", "file", "link"):
        with pytest.raises(ConfigError, match="something else than a model here"):
            check_directory(tmp_path / name)
    with pytest.raises(ConfigError, match="no such directory"):
        check_directory(tmp_path / "a" / "b")


def test_replacing_leaves_the_new_one_alone(model: Path, tmp_path: Path) -> None:
    replace_directory(model, lambda to: write_model(to, version="8"))
    assert load_model(model).version == "small@8"
    assert [path.name for path in tmp_path.iterdir()] == ["m"]
    assert REPORT not in contents(model)


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt, ValueError])
def test_a_failure_while_writing_leaves_the_old_one(kind: type[BaseException], model: Path, tmp_path: Path) -> None:
    def write(directory: Path) -> None:
        write_model(directory)
        raise kind(28, "No space left on device")

    before = contents(model)
    with pytest.raises(OutputError if kind is OSError else kind):
        replace_directory(model, write)
    assert contents(model) == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


@pytest.mark.parametrize("kind", [OSError, KeyboardInterrupt])
def test_a_failure_while_changing_places_leaves_the_old_one(
    kind: type[BaseException], model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def failing(self: Path, target: Path) -> Path:
        if self.name == "new":
            raise kind(5, "Input/output error")
        return rename(self, target)

    before = contents(model)
    monkeypatch.setattr(Path, "rename", failing)
    with pytest.raises(OutputError if kind is OSError else kind):
        replace_directory(model, lambda to: write_model(to, version="8"))
    assert contents(model) == before
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_model_that_does_not_verify_is_not_put_in_place(model: Path) -> None:
    def write(directory: Path) -> None:
        write_model(directory)
        (directory / publish.WEIGHTS).write_bytes(b"")

    before = contents(model)
    with pytest.raises(Exception, match="SHA-256"):
        replace_directory(model, write)
    assert contents(model) == before


def test_versions_count_on(model: Path, tmp_path: Path) -> None:
    assert next_version(model) == "8"
    assert next_version(tmp_path / "none") == "1"
    (model / MANIFEST).write_text('{"format": 1}')
    assert next_version(model) == "1"


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    path.write_text("old")

    def half(aside: Path) -> None:
        aside.write_text("ne")
        raise OSError(28, "No space left on device")

    with pytest.raises(OutputError, match=r"report\.html: it cannot be written: No space left"):
        replace_file(path, half)
    assert path.read_text() == "old"
    replace_file(path, lambda aside: aside.write_text("new"))
    assert path.read_text() == "new"
    assert [each.name for each in tmp_path.iterdir()] == ["report.html"]


def test_a_device_is_written_to_and_stays_one() -> None:
    replace_file(Path(os.devnull), lambda aside: aside.write_text("new"))
    assert Path(os.devnull).is_char_device()


def test_places_for_files_are_checked_before_the_work(tmp_path: Path) -> None:
    check_file(None)
    check_file(tmp_path / "x.html")
    with pytest.raises(OutputError, match="this is a directory"):
        check_file(tmp_path)
    with pytest.raises(OutputError, match=r"no such directory to write x\.html into"):
        check_file(tmp_path / "a" / "x.html")
