"""Whatever happens to log files, every line comes out once, in order."""

from __future__ import annotations

import itertools
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logclf.checkpoint import CheckpointStore
from logclf.decoding import Decoder
from logclf.errors import InputError
from logclf.sources import tail
from logclf.sources.stop import Stop
from logclf.sources.tail import Begin, TailSource, offset_of_last_lines

from .test_decoding import cri

Step = Callable[[], object]
FROM_START = Begin()


class Script(Stop):
    """A stop that acts whenever the source has read everything and waits: no test needs a clock for that."""

    def __init__(self, steps: list[Step]) -> None:
        super().__init__()
        self._steps = iter(steps)

    def wait(self, seconds: float) -> bool:
        step = next(self._steps, self.set)
        step()
        return bool(self)


@pytest.fixture(autouse=True)
def _scan_at_every_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "RESCAN_SECONDS", 0.0)


def read(
    paths: list[Path] | list[str],
    *steps: Step,
    follow: bool = True,
    begin: Begin = FROM_START,
    checkpoint: Path | None = None,
    most: int | None = None,
) -> list[tuple[str, bytes]]:
    """File name and line of all that comes, running the steps in turn; `most` batches of it, unacknowledged."""
    store = CheckpointStore(checkpoint) if checkpoint else None
    stop = Script(list(steps))
    source = TailSource(
        [str(path) for path in paths],
        lambda path: Decoder(path=path),
        stop,
        follow=follow,
        begin=begin,
        store=store,
        wait=0,
    )
    found: list[tuple[str, bytes]] = []
    try:
        source.check()
        deliveries = iter(source)
        for delivery in itertools.islice(deliveries, most):
            name = Path(delivery.batch.path or "").name
            found += [(name, line) for line in delivery.batch.text.split(b"\n")]
            if most is None:
                delivery.acknowledge()
        deliveries.close()  # type: ignore[attr-defined]
    finally:
        if store:
            store.close()
        os.close(stop.fd)
        os.close(stop._write)
    return found


def lines(*args: object, **options: object) -> list[bytes]:
    return [line for _, line in read(*args, **options)]  # type: ignore[arg-type]


def append(path: Path, data: bytes) -> Step:
    def step() -> None:
        with path.open("ab") as file:
            file.write(data)

    return step


def nothing() -> None:
    """A look at the files that finds nothing new."""


def letting_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail, "LINGER_SECONDS", -1.0)


# --- what is there already


def test_named_files_to_their_ends(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"a1\na2\n")
    (tmp_path / "b").write_bytes(b"b1\nb2, no newline")
    assert read([tmp_path / "a", tmp_path / "b"], follow=False) == [
        ("a", b"a1"),
        ("a", b"a2"),
        ("b", b"b1"),
        ("b", b"b2, no newline"),
    ]


def test_globs_and_names_of_the_same_file_read_it_once(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for name in ("b.log", "a.log", "c.txt", "sub/d.log"):
        (tmp_path / name).write_bytes(name.encode() + b"\n")
    (tmp_path / "link.log").symlink_to(tmp_path / "a.log")
    (tmp_path / "dir.log").mkdir()
    assert lines([tmp_path / "*.log", tmp_path / "a.log"], follow=False) == [b"a.log", b"b.log"]
    assert lines([tmp_path / "**" / "*.log"], follow=False) == [b"a.log", b"b.log", b"sub/d.log"]


def test_an_empty_file_has_no_lines(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    assert lines([tmp_path / "a"], follow=False) == []


@pytest.mark.parametrize("make", ["missing", "directory", "fifo"])
def test_what_cannot_be_tailed_is_refused_by_name(tmp_path: Path, make: str) -> None:
    path = tmp_path / make
    if make == "directory":
        path.mkdir()
    if make == "fifo":
        os.mkfifo(path)
    why = {"missing": "No such file", "directory": "a directory; name files", "fifo": "not a regular file; pipe it"}[
        make
    ]
    with pytest.raises(InputError, match=why) as caught:
        read([path])
    assert str(caught.value).startswith(f"{path}: ")


def test_nothing_to_read_and_nothing_to_wait_for(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file matches"):
        read([tmp_path / "*.log"], follow=False)
    assert read([tmp_path / "*.log"]) == []


def test_files_larger_than_a_chunk(tmp_path: Path) -> None:
    want = [b"line %d" % number for number in range(100_000)]
    (tmp_path / "a").write_bytes(b"\n".join(want))
    assert lines([tmp_path / "a"], follow=False) == want


def test_a_huge_line_is_cut_not_a_crash(tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    os.truncate(tmp_path / "a", 300 << 20)
    append(tmp_path / "a", b"\nnext\n")()
    found = lines([tmp_path / "a"], follow=False)
    assert (len(found[0]), found[1]) == (1 << 20, b"next")


@settings(max_examples=150, deadline=None)
@given(
    st.lists(st.sampled_from([b"", b"a", b"bc", b"ddd"]), max_size=12),
    st.booleans(),
    st.integers(1, 14),
    st.integers(1, 9),
)
def test_the_last_lines_are_the_last_lines(content: list[bytes], newline: bool, count: int, chunk: int) -> None:
    data = b"\n".join(content) + (b"\n" if newline and content else b"")
    model = data.split(b"\n")
    model = model if model[-1] else model[:-1]
    descriptor = os.memfd_create("lines")
    before, tail.CHUNK = tail.CHUNK, chunk
    try:
        os.write(descriptor, data)
        rest = data[offset_of_last_lines(descriptor, len(data), count) :]
    finally:
        tail.CHUNK = before
        os.close(descriptor)
    found = rest.split(b"\n")
    assert (found if found[-1] else found[:-1]) == model[-count:]


def test_from_the_end_and_the_last_lines(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1\n2\n3\n")
    assert lines([file], append(file, b"4\n"), begin=Begin(at_end=True)) == [b"4"]
    assert lines([file], append(file, b"5\n"), begin=Begin(last_lines=2)) == [b"3", b"4", b"5"]
    assert lines([file], follow=False, begin=Begin(last_lines=100)) == [b"1", b"2", b"3", b"4", b"5"]


def test_new_files_are_read_from_their_start_even_from_the_end(tmp_path: Path) -> None:
    (tmp_path / "a.log").write_bytes(b"old\n")
    found = lines([tmp_path / "*.log"], append(tmp_path / "b.log", b"new\n"), nothing, begin=Begin(at_end=True))
    assert found == [b"new"]


# --- while following


def test_lines_as_they_are_written(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1\nha")
    steps = [append(file, b"lf\n3"), nothing, append(file, b"\n"), append(file, b"no newline")]
    assert lines([file], *steps) == [b"1", b"half", b"3", b"no newline"]


def test_stopped_with_positions_the_rest_of_a_line_waits(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1\nhal")
    assert lines([file], checkpoint=tmp_path / "ck") == [b"1"]
    append(file, b"f\n")()
    assert lines([file], checkpoint=tmp_path / "ck") == [b"half"]


def test_no_follow_stops_where_the_file_ended_when_it_was_opened(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1\n2\n")
    source = TailSource([str(file)], lambda path: Decoder(path=path), Stop(), follow=False)
    found: list[bytes] = []
    for delivery in source:
        found += delivery.batch.text.split(b"\n")
        append(file, b"more\n" * 3)()
        assert len(found) < 100
    assert found == [b"1", b"2"]


def test_a_name_that_looks_like_a_glob(tmp_path: Path) -> None:
    (tmp_path / "b[1].log").write_bytes(b"x\n")
    assert lines([tmp_path / "b[1].log"], follow=False) == [b"x"]


def test_rename_and_create(tmp_path: Path) -> None:
    file, old = tmp_path / "a.log", tmp_path / "a.log.1"
    file.write_bytes(b"1\n")

    def rotate() -> None:
        append(file, b"2\n")()
        file.rename(old)
        append(old, b"3\n")()
        append(file, b"new 1\n")()

    assert lines([file], rotate, append(old, b"4\n"), append(file, b"new 2\n")) == [
        b"1",
        b"2",
        b"3",
        b"new 1",
        b"4",
        b"new 2",
    ]


def test_the_last_line_of_a_renamed_file_needs_no_newline(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letting_go(monkeypatch)
    file = tmp_path / "a.log"
    file.write_bytes(b"1\nlast")
    assert lines([file], lambda: file.rename(tmp_path / "b"), nothing, append(file, b"new\n"), nothing) == [
        b"1",
        b"last",
        b"new",
    ]


def test_a_renamed_file_is_let_go_once_quiet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    letting_go(monkeypatch)
    file = tmp_path / "a.log"
    file.write_bytes(b"1\n")
    open_files: list[int] = []

    def count() -> None:
        targets = [str(entry.readlink()) for entry in Path("/proc/self/fd").iterdir() if os.path.lexists(entry)]
        open_files.append(sum(target.startswith(str(tmp_path)) for target in targets))

    assert lines([file], count, lambda: file.rename(tmp_path / "b"), nothing, count) == [b"1"]
    assert open_files == [1, 0]
    count()
    assert open_files[-1] == 0


def test_delete_and_recreate(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1\n")

    def recreate() -> None:
        append(file, b"2\n")()
        file.unlink()
        append(file, b"new\n")()

    assert lines([file], recreate, nothing, file.unlink, append(file, b"newer\n"), nothing) == [
        b"1",
        b"2",
        b"new",
        b"newer",
    ]


def test_truncate_in_place(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1\n2\nhalf")
    found = lines(
        [file], lambda: os.truncate(file, 0), nothing, append(file, b"new\n"), lambda: file.write_bytes(b"x\n"), nothing
    )
    assert found == [b"1", b"2", b"half", b"new", b"x"]
    assert f"{file} was truncated: reading it from its start" in caplog.text


@pytest.mark.parametrize("grown", [1, 100, 10_000])
@pytest.mark.parametrize("slowly", [False, True])
def test_copytruncate_with_regrowth(tmp_path: Path, grown: int, slowly: bool) -> None:
    """Even if the file is longer than before when it is looked at again, and was last read a byte at a time."""
    file = tmp_path / "a"
    file.write_bytes(b"".join(b"old %d\n" % number for number in range(100)))
    new = [b"new %d" % number for number in range(grown)]

    def rotate() -> None:
        shutil.copy(file, tmp_path / "copy")
        file.write_bytes(b"\n".join(new) + b"\n")

    steps = [append(file, b"en"), append(file, b"d"), append(file, b"\n")] if slowly else []
    want = [b"old %d" % number for number in range(100)] + [b"end"] * slowly
    assert lines([file], *steps, rotate, nothing) == want + new


def test_a_newline_where_one_was_is_no_proof_of_the_same_file(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"abc")
    assert lines([file], append(file, b"\n"), lambda: file.write_bytes(b"xyz\nmore\n"), nothing) == [
        b"abc",
        b"xyz",
        b"more",
    ]


def test_a_rewrite_is_noticed_before_the_first_read(tmp_path: Path) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1\n2\n")
    assert lines([file], lambda: file.write_bytes(b"new 1\nnew 2\n"), nothing, begin=Begin(at_end=True)) == [
        b"new 1",
        b"new 2",
    ]


def test_directories_that_come_later(tmp_path: Path) -> None:
    def create() -> None:
        (tmp_path / "app" / "x").mkdir(parents=True)
        append(tmp_path / "app" / "x" / "a.log", b"1\n")()

    assert lines([tmp_path / "*" / "*" / "*.log"], create, nothing) == [b"1"]


def test_what_a_glob_cannot_open_is_skipped_and_said_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.log").write_bytes(b"1\n")
    (tmp_path / "b.log").write_bytes(b"2\n")
    real = tail.open_regular

    def refuse(path: str) -> int:
        if path.endswith("b.log"):
            raise InputError(f"{path}: Permission denied")
        return real(path)

    monkeypatch.setattr(tail, "open_regular", refuse)
    assert lines([tmp_path / "*.log"], nothing, nothing) == [b"1"]
    assert caplog.text.count("Permission denied") == 1


def test_many_files(tmp_path: Path) -> None:
    for number in range(tail.MANY_FILES + 10):
        (tmp_path / f"{number}.log").write_bytes(b"%d\n" % number)
    found = lines([tmp_path / "*.log"], append(tmp_path / "3.log", b"more\n"), nothing)
    assert sorted(found) == sorted([b"%d" % number for number in range(tail.MANY_FILES + 10)] + [b"more"])


def test_a_name_that_is_no_utf8(tmp_path: Path) -> None:
    name = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.log")
    append(Path(name), b"1\n")()
    for want in ([("caf\\xe9.log", b"1")], []):
        assert read([name], follow=False, checkpoint=tmp_path / "state") == want


# --- checkpoints


def test_a_restart_goes_on_where_it_was(tmp_path: Path) -> None:
    file, state = tmp_path / "a", tmp_path / "state"
    file.write_bytes(b"1\n2\nhalf")
    assert lines([file], checkpoint=state) == [b"1", b"2"]
    append(file, b" a line\n3\n")()
    assert lines([file], checkpoint=state) == [b"half a line", b"3"]
    assert lines([file], checkpoint=state) == []


def test_what_was_not_acknowledged_comes_again(tmp_path: Path) -> None:
    file, state = tmp_path / "a", tmp_path / "state"
    file.write_bytes(b"1\n2\n")
    assert lines([file], checkpoint=state, most=1) == [b"1", b"2"]
    assert lines([file], checkpoint=state) == [b"1", b"2"]


def test_a_file_read_from_its_end_goes_on_from_there(tmp_path: Path) -> None:
    file, state = tmp_path / "a", tmp_path / "state"
    file.write_bytes(b"old\n")
    assert lines([file], checkpoint=state, begin=Begin(at_end=True)) == []
    append(file, b"while stopped\n")()
    assert lines([file], checkpoint=state, begin=Begin(at_end=True)) == [b"while stopped"]


def test_rotated_while_stopped(tmp_path: Path) -> None:
    file, state = tmp_path / "a.log", tmp_path / "state"
    file.write_bytes(b"1\n")
    assert lines([file], checkpoint=state) == [b"1"]
    append(file, b"2\n")()
    file.rename(tmp_path / "a.log.1")
    append(file, b"new\n")()
    assert read([file], checkpoint=state) == [("a.log", b"2"), ("a.log", b"new")]
    assert lines([file], checkpoint=state) == []


def test_another_file_with_the_inode_of_a_deleted_one_is_left_alone(tmp_path: Path) -> None:
    file, state = tmp_path / "a.log", tmp_path / "state"
    file.write_bytes(b"1\n")
    lines([file], checkpoint=state)
    file.rename(tmp_path / "stranger")  # as if its inode had been given away
    (tmp_path / "stranger").write_bytes(b"private\nlines\n")
    append(file, b"new\n")()
    assert lines([file], checkpoint=state) == [b"new"]


@pytest.mark.parametrize("grown", [1, 10, 1000])
def test_truncated_while_stopped(tmp_path: Path, grown: int, caplog: pytest.LogCaptureFixture) -> None:
    file, state = tmp_path / "a.log", tmp_path / "state"
    file.write_bytes(b"old 1\nold 2\nold 3\n")
    lines([file], checkpoint=state)
    new = [b"new %d" % number for number in range(grown)]
    file.write_bytes(b"\n".join(new) + b"\n")
    assert lines([file], checkpoint=state) == new
    assert "is not the file that was read before" in caplog.text


def test_truncated_and_stopped_before_it_grew(tmp_path: Path) -> None:
    file, state = tmp_path / "a.log", tmp_path / "state"
    file.write_bytes(b"old\nhalf")
    assert lines([file], lambda: os.truncate(file, 0), nothing, checkpoint=state) == [b"old", b"half"]
    append(file, b"ne\n")()
    assert lines([file], checkpoint=state) == [b"ne"]


def test_a_half_joined_container_line_is_read_again(tmp_path: Path) -> None:
    file, state = tmp_path / "a.log", tmp_path / "state"
    file.write_bytes(cri(b"one").replace(b"\n", b"\r\n") + cri(b"be", b"P") + cri(b"gin ", b"P"))
    assert lines([file], checkpoint=state) == [b"one"]
    append(file, cri(b"end"))()
    assert lines([file], checkpoint=state) == [b"begin end"]


def test_a_last_line_given_out_at_letting_go_does_not_come_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    letting_go(monkeypatch)
    file, state = tmp_path / "a.log", tmp_path / "state"
    file.write_bytes(b"1\nlast")

    def rotate() -> None:
        file.rename(tmp_path / "a.log.1")
        append(file, b"")()

    assert lines([file], rotate, nothing, nothing, checkpoint=state) == [b"1", b"last"]
    assert lines([file], nothing, checkpoint=state) == []


def test_a_disk_that_refuses_positions_does_not_stop_reading(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "a"
    file.write_bytes(b"1\n")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        assert lines([file], append(file, b"2\n"), checkpoint=tmp_path / "state") == [b"1", b"2"]
    assert "cannot save positions: No space left" in caplog.text
    assert lines([file], checkpoint=tmp_path / "state") == [b"1", b"2"]


# --- everything at once

NAMES = ("a.log", "b.log", "c.log")
OPERATIONS = ("write", "write", "partial", "rotate", "late", "truncate", "delete", "restart", "look")


class World:
    """Some files, and by file incarnation (one life between creations and truncations) the bytes written to it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.written: dict[int, bytes] = {}
        self.ended: set[int] = set()  # these get no more bytes: a last line without newline is whole
        self.current: dict[str, int] = {}
        self.serial = itertools.count()
        self.touched: set[str] = set()  # replaced, since the source last looked
        self.unread: set[str] = set()

    def looked(self) -> None:
        self.touched.clear()
        self.unread.clear()

    def write(self, path: Path, life: int, text: bytes) -> None:
        already = self.written[life]
        data = text if already and not already.endswith(b"\n") else b"%d:" % life + text
        append(path, data)()
        self.written[life] = already + data

    def fresh(self, name: str) -> int:
        if name in self.current:
            self.ended.add(self.current[name])
        life = self.current[name] = next(self.serial)
        self.written[life] = b""
        return life

    def do(self, operation: str, name: str, running: bool) -> None:
        """What a program or logrotate does. Replacing a file twice unseen loses lines anywhere: it is once a look."""
        path = self.directory / name
        if name not in self.current:
            self.fresh(name)
            path.touch()
            self.touched.add(name)
        life = self.current[name]
        line = b"%d%s\n" % (next(self.serial), b"x" * (life % 70))
        replaced = name in self.touched
        if operation == "write" or replaced:
            self.write(path, life, line)
        elif operation == "partial":
            self.write(path, life, line[:-1])
        elif operation in ("rotate", "late"):
            old = self.directory / f"{name}.{next(self.serial)}"
            path.rename(old)
            if operation == "late":
                self.write(old, life, line)
            self.write(path, self.fresh(name), line)
        elif operation == "truncate":
            if not running or name in self.unread:  # an unread rest is lost to anyone
                return
            os.truncate(path, 0)
            self.fresh(name)
            for _ in range(3):
                self.write(path, self.current[name], line)
        elif operation == "delete" and running:
            path.unlink()
            self.fresh(name)
            path.touch()
        if operation in ("rotate", "late", "truncate", "delete"):
            self.touched.add(name)
        self.unread.add(name)

    def expected(self) -> list[tuple[int, list[bytes]]]:
        result = []
        for life, data in self.written.items():
            whole = data.split(b"\n")
            result.append((life, [line for line in (whole if life in self.ended else whole[:-1]) if line]))
        return result


TURNS = st.lists(
    st.lists(st.tuples(st.sampled_from(OPERATIONS), st.sampled_from(NAMES)), min_size=1, max_size=4), max_size=9
)


def runs(turns: list[list[tuple[str, str]]]) -> Iterator[tuple[list[tuple[str, str]], list[list[tuple[str, str]]]]]:
    """What happens while stopped, and then turn by turn while running; a turn that begins with "restart" parts them."""
    stopped: list[tuple[str, str]] = []
    running: list[list[tuple[str, str]]] = []
    for turn in turns:
        if turn[0][0] == "restart":
            yield stopped, running
            stopped, running = turn[1:], []
        else:
            running.append(turn)
    yield stopped, running


@settings(max_examples=60, deadline=None)
@given(turns=TURNS)
@example(turns=[[("partial", "a.log")], [("rotate", "a.log")], [("restart", "a.log"), ("write", "a.log")]])
@example(
    turns=[[("write", "a.log")], [("restart", "a.log"), ("write", "a.log"), ("late", "a.log")], [("truncate", "a.log")]]
)
@example(
    turns=[
        [("partial", "a.log")],
        [("write", "a.log")],
        [("truncate", "a.log")],
        [("delete", "a.log"), ("write", "a.log")],
    ]
)
def test_no_line_is_lost_or_invented(
    turns: list[list[tuple[str, str]]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    directory = tmp_path_factory.mktemp("world")
    world = World(directory / "logs")
    world.directory.mkdir()
    found: list[bytes] = []

    def step(turn: list[tuple[str, str]]) -> Step:
        def act() -> None:
            world.looked()
            for operation, name in turn:
                world.do(operation, name, running=True)

        return act

    with pytest.MonkeyPatch.context() as patched:
        letting_go(patched)
        for stopped, running in runs(turns):
            world.looked()
            for operation, name in stopped:
                world.do(operation, name, running=False)
            steps = [each for turn in running for each in (step(turn), nothing)]
            found += lines(
                [world.directory / "*.log"], nothing, *steps, nothing, nothing, checkpoint=directory / "state"
            )
    by_life = {life: [line for line in found if line.startswith(b"%d:" % life)] for life in world.written}
    assert by_life == dict(world.expected())
    assert sum(map(len, by_life.values())) == len([line for line in found if line])
