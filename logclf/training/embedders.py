"""The encoders that `train` offers, with what an artifact must carry of them."""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .. import resources
from ..cache import default_directory
from ..encoders import MINILM, Encoder, SentenceTransformerEncoder, StaticEncoder
from ..model import TOKENIZER, WEIGHTS, load_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

STATIC, MINILM_NAME = "static", "minilm"
BLOCK = 64  # texts between two words on progress: half a second of MiniLM


class Embedder(NamedTuple):
    """An encoder, and the weights and texts by which an artifact can have it again."""

    encoder: Encoder
    weights: dict[str, Any]
    texts: dict[str, str]


def embedder(name: str, progress: Callable[[str], None]) -> Embedder:
    """`static`, `minilm`, or the name or directory of a sentence-transformers model.

    Raises:
        ConfigError: sentence-transformers is not installed, or has no such model.
    """
    if name == STATIC:
        return shipped_static()
    progress("loading the encoder")
    chosen = SentenceTransformerEncoder(MINILM if name == MINILM_NAME else name)
    cached = CachedEncoder(chosen, default_directory() / "embeddings.sqlite", progress)
    return Embedder(cached, {}, {})


def shipped_static() -> Embedder:
    """The static encoder of the shipped model, the same for every model that is trained here."""
    directory = resources.MODELS / "default"
    load_model(directory)  # verifies
    from safetensors.numpy import load_file

    weights = load_file(directory / WEIGHTS)
    vectors, scales = weights["static"], weights["static_scales"]
    tokenizer = (directory / TOKENIZER).read_text("utf-8")
    return Embedder(
        StaticEncoder(vectors, scales, tokenizer),
        {"static": vectors, "static_scales": scales},
        {TOKENIZER: tokenizer},
    )


class CachedEncoder:
    """An encoder that remembers its vectors between runs, by text, in an SQLite file.

    A file that cannot be read or written costs time, not answers.
    """

    def __init__(self, encoder: Encoder, path: Path, progress: Callable[[str], None] = lambda _: None) -> None:
        self.name, self.dimensions = encoder.name, encoder.dimensions
        self._encoder, self._path, self._progress = encoder, path, progress

    def encode(self, texts: Sequence[str]) -> Floats:
        """As the encoder does; texts met before come from the file."""
        keys = [hashlib.sha256(f"{self.name}\0{text}".encode("utf-8", "replace")).digest() for text in texts]
        with closing(opened(self._path)) as file:
            known = self._known(file, set(keys))
            found = list({key: text for key, text in zip(keys, texts, strict=True) if key not in known}.items())
            for at in range(0, len(found), BLOCK):
                self._progress(f"encoding, {at:,} of {len(found):,} new texts")
                block = found[at : at + BLOCK]
                vectors = self._encoder.encode([text for _, text in block])
                rows = [(key, vector.tobytes()) for (key, _), vector in zip(block, vectors, strict=True)]
                with suppress(sqlite3.Error):  # locked by another run, a full disk
                    file.executemany("INSERT OR REPLACE INTO vectors VALUES (?, ?)", rows)
                    file.commit()
                known.update(rows)
        whole = np.frombuffer(b"".join(known[key] for key in keys), np.float32)
        return whole.reshape(len(texts), self.dimensions).copy()

    def _known(self, file: sqlite3.Connection, keys: set[bytes]) -> dict[bytes, bytes]:
        """What the file has of these, as far as it can be read."""
        found: dict[bytes, bytes] = {}
        with suppress(sqlite3.Error):
            for key in keys:
                row = file.execute("SELECT vector FROM vectors WHERE key = ?", (key,)).fetchone()
                if row and isinstance(row[0], bytes) and len(row[0]) == 4 * self.dimensions:
                    found[key] = row[0]
        return found


def opened(path: Path) -> sqlite3.Connection:
    """The cache's file; where that cannot be used, one in memory."""
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return _with_table(str(path))
    except (OSError, sqlite3.Error):
        return _with_table(":memory:")


def _with_table(place: str) -> sqlite3.Connection:
    file = sqlite3.connect(place)
    try:
        file.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB NOT NULL) WITHOUT ROWID")
    except sqlite3.Error:
        file.close()
        raise
    return file
