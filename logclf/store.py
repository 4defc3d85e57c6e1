"""The model store: what was trained or fetched on this machine, by name and version, and which one is in use.

<state>/models/
├── current               the choice: versioned JSON, fsynced and replaced atomically
└── bank/
    ├── 1/                an artifact (see model.py), whole or not there at all; never changed
    └── 2/

A reference is `NAME`, a shipped model or the newest version of a stored one, or `NAME@VERSION`. A shipped model's name
always means the shipped one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec

from . import resources
from .errors import ArtifactError
from .model import MANIFEST, Manifest, load_model, read_manifest, seal_of
from .state import state_directory

log = logging.getLogger(__name__)

POINTER_VERSION = 1
SHIPPED = "default"  # what is current until something else is chosen
RESERVED = frozenset({"current", "none"})  # words of --model
NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
NUMBER = re.compile(r"[1-9][0-9]{0,8}")
MOST_WRITERS = 100  # that may be faster than this one
MEND = "choose again with `logclf models use NAME`"
Writer = Callable[[Path], object]
Stamp = tuple[int, int, int]


class Reference(msgspec.Struct, frozen=True):
    """A model by name; `version` None for a shipped one."""

    name: str
    version: int | None = None

    def __str__(self) -> str:
        return self.name if self.version is None else f"{self.name}@{self.version}"


class Pointer(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The file that says which model is in use, and which was before."""

    version: int
    model: str
    previous: str | None = None


class _Version(msgspec.Struct):
    version: int


class Store:
    """Models below one directory, `<state>/models` where none is named.

    Raises (all methods):
        ArtifactError: there is no such model, it does not verify, or the store cannot be read or written.
    """

    def __init__(self, directory: Path | None = None) -> None:
        self.directory = directory or state_directory() / "models"
        self.pointer = self.directory / "current"

    def add(self, source: Path | Writer, name: str) -> Reference:
        """Store an artifact under its name's next version.

        source: its directory, or what writes it into the directory that it is given.
        """
        check_name(name)
        try:
            (self.directory / name).mkdir(mode=0o700, parents=True, exist_ok=True)
            with _aside(self.directory / name) as aside:
                if isinstance(source, Path):
                    _copy_files(source, aside)
                else:
                    source(aside)
                return self._publish(aside, name, isinstance(source, Path))
        except OSError as error:
            raise ArtifactError(f"{self.directory}: cannot keep models here: {error.strerror}") from error

    def _publish(self, aside: Path, name: str, foreign: bool) -> Reference:
        """Give an artifact the next version that is free: a rename fails where another writer was faster."""
        for _ in range(MOST_WRITERS):
            reference = Reference(name, max(self._versions(name), default=0) + 1)
            _name_in_manifest(aside, reference, foreign)
            load_model(aside)
            _sync_all(aside)
            try:
                aside.rename(self._place(reference))
            except OSError:
                if not self._place(reference).exists():
                    raise
                continue
            _sync(self.directory / name)
            return reference
        raise ArtifactError(f"{self.directory / name}: no free version here; move what is in the way")

    def models(self) -> list[Reference]:
        """Every model: the shipped ones, then the stored ones."""
        return [Reference(name) for name in shipped_names()] + self.stored()

    def stored(self) -> list[Reference]:
        """What is in the store, by name and version."""
        names = sorted(path.name for path in _directories(self.directory) if NAME.fullmatch(path.name))
        return [Reference(name, version) for name in names for version in sorted(self._versions(name))]

    def find(self, text: str) -> Reference | None:
        """The model that a reference means, None where there is none."""
        if text in shipped_names():
            return Reference(text)
        name, at, number = text.partition("@")
        if not NAME.fullmatch(name) or (at and not NUMBER.fullmatch(number)):
            return None
        versions = self._versions(name)
        wanted = int(number) if at else max(versions, default=0)
        return Reference(name, wanted) if wanted in versions else None

    def path(self, text: str) -> Path:
        """The directory of the model that a reference means."""
        return self._place(self._found(text))

    def current(self) -> Reference:
        """The model in use."""
        pointer = self._read_pointer()
        if pointer is None:
            return Reference(SHIPPED)
        found = self.find(pointer.model)
        if found is None:
            raise ArtifactError(f"{self.pointer}: the model in use, {pointer.model!r}, is not there; {MEND}")
        return found

    def use(self, text: str, verify: Callable[[Path], object] = load_model) -> str:
        """Choose a model that verifies; returns the reference of the one that was chosen before."""
        chosen = self._found(text)
        verify(self._place(chosen))
        try:
            before = self._read_pointer()
        except ArtifactError:
            before = None  # a damaged choice is mended by choosing again
        previous = before.model if before else SHIPPED
        if before and previous == str(chosen):
            previous = before.previous or SHIPPED  # chosen once more: what came before is still what came before
        self._write_pointer(Pointer(POINTER_VERSION, str(chosen), previous))
        return previous

    def stamp(self) -> Stamp | None:
        """What changes whenever a model is chosen; one look at the file system (2 µs)."""
        try:
            about = os.stat(self.pointer)  # noqa: PTH116  (half of pathlib's time)
        except OSError:
            return None
        return about.st_ino, about.st_mtime_ns, about.st_size

    def _found(self, text: str) -> Reference:
        found = self.find(text)
        if found is None:
            known = ", ".join(map(str, self.models()))
            raise ArtifactError(f"no model {text!r} in {self.directory}; there are {known}")
        return found

    def _place(self, reference: Reference) -> Path:
        if reference.version is None:
            return resources.MODELS / reference.name
        return self.directory / reference.name / str(reference.version)

    def _versions(self, name: str) -> list[int]:
        return [int(path.name) for path in _inside(self.directory / name) if NUMBER.fullmatch(path.name)]

    def _read_pointer(self) -> Pointer | None:
        try:
            data = self.pointer.read_bytes()
        except FileNotFoundError:
            return None
        except PermissionError:  # a service without a home of its own must start all the same
            log.warning("%s: this account may not read which model to use: it is the shipped one", self.pointer)
            return None
        except OSError as error:
            raise ArtifactError(f"{self.pointer}: cannot read which model to use: {error.strerror}") from error
        try:
            version = msgspec.json.decode(data, type=_Version).version
            if version != POINTER_VERSION:
                raise ArtifactError(f"{self.pointer}: written by another logclf (format {version}); {MEND}")
            return msgspec.json.decode(data, type=Pointer)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ArtifactError(f"{self.pointer}: not a choice of a model; {MEND}") from error

    def _write_pointer(self, pointer: Pointer) -> None:
        """Aside, fsynced, renamed: a crash leaves the old choice or the new one."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor, aside = tempfile.mkstemp(dir=self.directory, prefix=".current-")  # made with mode 0600
            try:
                with os.fdopen(descriptor, "wb") as file:
                    file.write(msgspec.json.encode(pointer) + b"\n")
                    file.flush()
                    os.fsync(file.fileno())
                Path(aside).replace(self.pointer)
            except OSError:
                Path(aside).unlink(missing_ok=True)
                raise
            _sync(self.directory)
        except OSError as error:
            raise ArtifactError(f"{self.pointer}: cannot write which model to use: {error.strerror}") from error


def check_name(name: str) -> None:
    """Refuse what is no name for a model of one's own.

    Raises:
        ArtifactError: why.
    """
    if not NAME.fullmatch(name):
        raise ArtifactError(f"a model's name is up to 64 of a-z, 0-9, '.', '_' and '-', not {name!r}")
    if name in RESERVED or name in shipped_names():
        raise ArtifactError(f"the name {name!r} is taken: it means something else after --model")


def shipped_names() -> list[str]:
    """The models that come with logclf."""
    return sorted(path.name for path in _directories(resources.MODELS))


def _directories(path: Path) -> list[Path]:
    return [inside for inside in _inside(path) if inside.is_dir()]


def _inside(path: Path) -> list[Path]:
    """What is in a directory; nothing where it is not there, or is no business of this account's."""
    try:
        return list(path.iterdir())
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    except OSError as error:
        raise ArtifactError(f"{path}: cannot read the models here: {error.strerror}") from error


@contextlib.contextmanager
def _aside(parent: Path) -> Iterator[Path]:
    """A directory to write into, gone afterwards unless it was renamed."""
    path = Path(tempfile.mkdtemp(dir=parent, prefix=".new-"))
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def _copy_files(source: Path, target: Path) -> None:
    """The artifact's files and what lies beside them (card, report); what it was trained from stays where it is."""
    read_manifest(source)  # say what is missing before anything is copied
    for path in sorted(source.iterdir()):
        if path.is_file():
            shutil.copyfile(path, target / path.name)


def _name_in_manifest(directory: Path, reference: Reference, foreign: bool) -> None:
    """Make the manifest say the name and version that the store gives, so that verdicts name what `models` lists."""
    manifest = read_manifest(directory)
    if foreign:
        manifest.training.setdefault("origin", f"{manifest.name}@{manifest.version}")
    manifest.name, manifest.version = reference.name, str(reference.version)
    manifest.seal = seal_of(manifest)
    _write_manifest(directory, manifest)


def _write_manifest(directory: Path, manifest: Manifest) -> None:
    """A manifest as people can read it."""
    (directory / MANIFEST).write_bytes(msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def _sync_all(directory: Path) -> None:
    for path in (*directory.iterdir(), directory):
        _sync(path)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
