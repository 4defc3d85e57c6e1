"""A trained model → an artifact in the store or in a directory, whole or not there at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from ..errors import ArtifactError, ConfigError, OutputError
from ..model import MANIFEST, TOKENIZER, VOCABULARY, WEIGHTS, load_model, read_manifest, save_model
from .embedders import Embedder
from .recipe import Trained, manifest_of, vocabulary_of
from .report import card, page

REPORT, CARD = "report.html", "README.md"
FILES = {MANIFEST, WEIGHTS, TOKENIZER, VOCABULARY, REPORT, CARD}


def writer(
    trained: Trained, embedding: Embedder, name: str, taxonomy: str, version: str = "1"
) -> Callable[[Path], None]:
    """What writes the artifact into a directory: manifest, weights, card and report."""

    def write(directory: Path) -> None:
        manifest = manifest_of(trained, name, version, embedding.encoder, taxonomy)
        texts = embedding.texts | {VOCABULARY: vocabulary_of(trained.readings), CARD: card(trained.report, manifest)}
        save_model(directory, manifest, embedding.weights | trained.fitted.weights(), texts)
        (directory / REPORT).write_text(page(trained.report, manifest), "utf-8")

    return write


def check_directory(directory: Path) -> None:
    """Refuse a directory that holds something other than a model, as it will be replaced whole.

    Raises:
        ConfigError: why.
    """
    if directory.is_dir():
        inside = {path.name for path in directory.iterdir()}
        if not inside or {MANIFEST, WEIGHTS} <= inside <= FILES:
            return
    if directory.exists() or directory.is_symlink():
        raise ConfigError("there is something else than a model here; name another directory", str(directory))
    if not directory.parent.is_dir():
        raise ConfigError("there is no such directory to write a model into", str(directory.parent))


def replace_directory(directory: Path, write: Callable[[Path], None]) -> None:
    """Put a model there, in place of one that is there; on a failure that one stays.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        aside = Path(tempfile.mkdtemp(dir=directory.parent, prefix=f".{directory.name}-"))
        try:
            write(aside / "new")
            load_model(aside / "new")
            try:
                if directory.exists():
                    directory.rename(aside / "old")
                (aside / "new").rename(directory)
            except BaseException:  # Ctrl-C too
                if (aside / "old").exists() and not directory.exists():
                    (aside / "old").rename(directory)
                raise
        finally:
            shutil.rmtree(aside, ignore_errors=True)
    except OSError as error:
        raise OutputError(f"{directory}: the model cannot be written: {error.strerror}") from error


def next_version(directory: Path) -> str:
    """One more than the version of the model that a directory holds; "1" where it holds none that can be read."""
    try:
        version = read_manifest(directory).version
    except ArtifactError:
        return "1"
    return str(int(version) + 1) if version.isdecimal() else "1"


def export_estimators(trained: Trained, path: Path) -> None:
    """The scikit-learn estimators of both heads, for other people's notebooks. logclf never reads it back.

    Raises:
        OutputError: it cannot be written.
    """
    import joblib

    dense, sparse = trained.fitted.estimators
    contents = {
        "dense": dense, "ngrams": sparse, "ngram_columns": sparse.columns_, "idf": trained.fitted.idf,
        "labels": trained.fitted.names, "mix": trained.fitted.calibration.mix,
        "temperature": trained.fitted.calibration.temperature,
    }  # fmt: skip
    replace_file(path, lambda aside: joblib.dump(contents, aside))


def copy_report(directory: Path, path: Path) -> None:
    """A model's report, elsewhere too.

    Raises:
        OutputError: it cannot be written.
    """
    replace_file(path, lambda aside: shutil.copyfile(directory / REPORT, aside))


def replace_file(path: Path, write: Callable[[Path], object]) -> None:
    """Put a file there, whole or not at all; what is there and no regular file (a device, a pipe) is written to.

    Raises:
        OutputError: it cannot be written.
    """
    special = path.exists() and not path.is_file()
    aside = path if special else path.with_name(f".{path.name}.new")
    try:
        write(aside)
        if not special:
            aside.replace(path)
    except OSError as error:
        raise OutputError(f"{path}: it cannot be written: {error.strerror or error}") from error
    finally:
        if not special:
            aside.unlink(missing_ok=True)


def check_file(path: Path | None) -> None:
    """Refuse a file that cannot be written for sure.

    Raises:
        OutputError: why.
    """
    if path and path.is_dir():
        raise OutputError(f"{path}: this is a directory; name a file in it")
    if path and not path.parent.is_dir():
        raise OutputError(f"{path.parent}: there is no such directory to write {path.name} into")
