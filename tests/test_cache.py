"""Only what this user wrote, whole, is ever loaded; a cache that cannot be used costs time and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from logclf.cache import KEEP, DirectoryCache, default_directory

KEY = "0123abcd"


def stored(directory: Path) -> Path:
    """The one file that a store left."""
    (path,) = directory.iterdir()
    return path


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "new" / "cache"


@pytest.fixture
def cache(directory: Path) -> DirectoryCache:
    found = DirectoryCache(directory)
    found.store(KEY, b"payload")
    return found


def test_stored_and_loaded_by_key(cache: DirectoryCache) -> None:
    assert cache.load(KEY) == b"payload"
    assert cache.load("other") is None
    cache.store(KEY, b"")
    assert cache.load(KEY) == b""


def test_modes(cache: DirectoryCache, directory: Path) -> None:
    assert directory.stat().st_mode & 0o777 == 0o700
    assert stored(directory).stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("at", [0, 20, 50, -1])
def test_an_altered_byte_is_noticed(cache: DirectoryCache, directory: Path, at: int) -> None:
    data = bytearray(stored(directory).read_bytes())
    data[at] ^= 1
    stored(directory).write_bytes(data)
    assert cache.load(KEY) is None
    cache.store(KEY, b"again")
    assert cache.load(KEY) == b"again"


@pytest.mark.parametrize("length", [0, 5, 30, 47, 50])
def test_a_cut_file_is_noticed(cache: DirectoryCache, directory: Path, length: int) -> None:
    stored(directory).write_bytes(stored(directory).read_bytes()[:length])
    assert cache.load(KEY) is None


@pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
def test_a_file_that_others_may_write_is_ignored(cache: DirectoryCache, directory: Path, mode: int) -> None:
    stored(directory).chmod(mode)
    assert cache.load(KEY) is None


def test_a_foreign_file_is_ignored(cache: DirectoryCache, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if os.geteuid() == 0:
        os.chown(stored(directory), 65534, 65534)
    else:  # only root can give files away; seen from the other side it is the same
        monkeypatch.setattr("os.geteuid", lambda: os.getuid() + 1)
    assert cache.load(KEY) is None


def test_links_are_not_followed(cache: DirectoryCache, directory: Path, tmp_path: Path) -> None:
    path = stored(directory)
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    assert cache.load(KEY) is None
    cache.store(KEY, b"new")
    assert cache.load(KEY) == b"new"
    assert b"new" not in (tmp_path / "elsewhere").read_bytes()


def test_a_pipe_or_directory_in_the_files_place_is_ignored(cache: DirectoryCache, directory: Path) -> None:
    path = stored(directory)
    path.unlink()
    os.mkfifo(path)
    assert cache.load(KEY) is None
    path.unlink()
    path.mkdir()
    assert cache.load(KEY) is None
    cache.store(KEY, b"x")
    assert stored(directory) == path  # nothing half-written is left beside it


def test_a_directory_that_others_may_write_is_not_written(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    DirectoryCache(tmp_path).store(KEY, b"x")
    assert list(tmp_path.iterdir()) == []
    assert tmp_path.stat().st_mode & 0o777 == 0o777  # it is not ours to close


def test_a_linked_directory_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    DirectoryCache(tmp_path / "link").store(KEY, b"x")
    assert list((tmp_path / "real").iterdir()) == []


def test_unusable_directories_are_tolerated(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for directory in (tmp_path / "file", tmp_path / "file" / "below", Path("/proc/no-such-place")):
        cache = DirectoryCache(directory)
        cache.store(KEY, b"x")
        assert cache.load(KEY) is None


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_unwritable_directory_is_tolerated(directory: Path, cache: DirectoryCache) -> None:
    directory.chmod(0o500)
    cache.store("other", b"x")
    assert cache.load("other") is None
    assert cache.load(KEY) == b"payload"


def test_files_are_bounded_and_the_oldest_go(tmp_path: Path) -> None:
    cache = DirectoryCache(tmp_path)
    tmp_path.chmod(0o700)
    for number in range(KEEP + 5):
        cache.store(f"key{number}", b"x")
        for path in tmp_path.glob(f"*key{number}*"):
            os.utime(path, (number, number))
    assert len(list(tmp_path.iterdir())) == KEEP
    kept = [number for number in range(KEEP + 5) if cache.load(f"key{number}") is not None]
    assert kept == list(range(5, KEEP + 5))


def test_nobody_elses_files_are_dropped(tmp_path: Path) -> None:
    tmp_path.chmod(0o755)
    for number in range(KEEP + 5):
        (tmp_path / f"precious{number}").write_bytes(b"x")
        os.utime(tmp_path / f"precious{number}", (0, 0))
    DirectoryCache(tmp_path).store(KEY, b"x")
    assert len(list(tmp_path.glob("precious*"))) == KEEP + 5
    assert tmp_path.stat().st_mode & 0o777 == 0o755


def test_where_it_lies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.delenv("LOGCLF_CACHE_DIR", raising=False)
    assert default_directory() == Path("/x/logclf")
    monkeypatch.setenv("LOGCLF_CACHE_DIR", "/y")
    assert default_directory() == Path("/y")
    monkeypatch.delenv("LOGCLF_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "/h")
    assert default_directory() == Path("/h/.cache/logclf")
