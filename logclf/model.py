"""Encoder + logistic regression + calibration, and the artifact that carries them.

Two heads look at a text: one at its vector, one at its n-grams. Their log-probabilities are averaged and divided by a
temperature fitted on held-out templates; below the threshold the model abstains and hands its best guess on.

An artifact is a directory: `manifest.json` with the format's version, labels, encoder, training data's fingerprint,
metrics and the SHA-256 of every other file; `weights.safetensors`; `tokenizer.json`. Nothing in it is a pickle, and
nothing is used that does not verify.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from . import features
from .batch import MODEL
from .cascade import Answer, Novel
from .encoders import Encoder, NGrams, SentenceTransformerEncoder, StaticEncoder
from .errors import ArtifactError, StageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

FORMAT = 1
MANIFEST, WEIGHTS, TOKENIZER = "manifest.json", "weights.safetensors", "tokenizer.json"
MAX_FILE = 1 << 30


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What an artifact says about itself. `files` maps names to SHA-256; `training` and `metrics` are for people."""

    format: int
    name: str
    version: str
    labels: list[str]
    encoder: str
    temperature: float
    threshold: float
    files: dict[str, str]
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}


class Heads(msgspec.Struct, frozen=True):
    """The fitted weights; n labels, d dimensions, w n-gram columns.

    dense: float32 (d, n) with bias (n,). ngrams: float32 (w, n) with bias (n,).
    """

    dense: Any
    dense_bias: Any
    ngrams: Any
    ngrams_bias: Any


class Model:
    """A verified model; one of the cascade's stages."""

    name = MODEL

    def __init__(self, manifest: Manifest, encoder: Encoder, ngrams: NGrams, heads: Heads) -> None:
        self.manifest = manifest
        self.labels = tuple(manifest.labels)
        self.version = f"{manifest.name}@{manifest.version}"
        self._encoder, self._ngrams, self._heads = encoder, ngrams, heads

    def probabilities(self, texts: Sequence[str]) -> Floats:
        """Calibrated probabilities of shape (len(texts), len(labels)); each row sums to 1."""
        heads = self._heads
        dense = log_softmax(self._encoder.encode(texts) @ heads.dense + heads.dense_bias)
        rows, columns, values = self._ngrams.encode(texts)
        sums = np.zeros((len(texts), len(self.labels)), np.float32)
        if len(rows):
            # Rows ascend and every text has n-grams of its own, so groups are runs.
            starts = np.flatnonzero(np.diff(rows, prepend=-1))
            sums[rows[starts]] = np.add.reduceat(
                heads.ngrams[columns].astype(np.float32) * values[:, None], starts, axis=0
            )
        sparse = log_softmax(sums + heads.ngrams_bias)
        return np.exp(log_softmax((dense + sparse) / np.float32(2 * self.manifest.temperature)))

    def answer(self, novel: Sequence[Novel]) -> list[Answer | None]:
        """The cascade's question; None for templates with no words in them."""
        texts = [features.read(each.template).text for each in novel]
        try:
            table = self.probabilities(texts)
        except (ValueError, IndexError, MemoryError, RuntimeError) as error:
            raise StageError(f"{type(error).__name__}: {error}") from error
        best = table.argmax(axis=1)
        return [
            Answer(self.labels[label], float(row[label]), bool(row[label] >= self.manifest.threshold))
            if has_words(text)
            else None
            for text, row, label in zip(texts, table, best.tolist(), strict=True)
        ]


def has_words(text: str) -> bool:
    """Whether there is a letter outside placeholders: a line of numbers alone says nothing."""
    return any(char.isalpha() for char in text.replace("<n>", "").replace("<p>", ""))


def log_softmax(scores: Floats) -> Floats:
    """Log-probabilities by row."""
    shifted = scores - scores.max(axis=1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    return result


def load_model(directory: Path) -> Model:
    """Read and verify an artifact.

    Raises:
        ArtifactError: a file is missing or altered, or its format is not ours.
    """
    manifest = read_manifest(directory)
    contents = {name: _verified(directory, name, digest) for name, digest in manifest.files.items()}
    from safetensors import SafetensorError  # 40 ms, and only a line that rules don't know needs it
    from safetensors.numpy import load

    try:
        weights = load(contents[WEIGHTS])
        heads = Heads(
            weights["dense"].astype(np.float32),
            weights["dense_bias"].astype(np.float32),
            weights["ngrams"],
            weights["ngrams_bias"].astype(np.float32),
        )
        ngrams = NGrams(weights["idf"].astype(np.float32))
        encoder = _encoder(manifest, weights, contents)
    except (KeyError, ValueError, TypeError, SafetensorError) as error:
        raise ArtifactError(f"{directory}: incomplete model: {type(error).__name__} {error}") from error
    count = len(manifest.labels)
    shapes = {
        "dense": (encoder.dimensions, count),
        "dense_bias": (count,),
        "ngrams": (ngrams.width, count),
        "ngrams_bias": (count,),
    }
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ArtifactError(f"{directory}: {name} has shape {weights[name].shape}, expected {shape}")
    return Model(manifest, encoder, ngrams, heads)


def read_manifest(directory: Path) -> Manifest:
    """An artifact's manifest.

    Raises:
        ArtifactError: there is none, or it is of another format.
    """
    path = directory / MANIFEST
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ArtifactError(f"{path}: no model here: {error.strerror}") from error
    try:
        found = msgspec.json.decode(data)
        version = found.get("format") if isinstance(found, dict) else None
        if version != FORMAT:
            raise ArtifactError(f"{path}: model format {version!r}; this logclf reads format {FORMAT}")
        manifest = msgspec.convert(found, Manifest)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArtifactError(f"{path}: not a model manifest: {error}") from error
    strangers = [name for name in manifest.files if Path(name).name != name or name == MANIFEST]
    if strangers or WEIGHTS not in manifest.files:
        raise ArtifactError(f"{path}: names unexpected files: {sorted(manifest.files)}")
    if not manifest.labels or not manifest.temperature > 0:
        raise ArtifactError(f"{path}: a model needs labels and a temperature above 0")
    return manifest


def _verified(directory: Path, name: str, digest: str) -> bytes:
    path = directory / name
    try:
        if path.stat().st_size > MAX_FILE:
            raise ArtifactError(f"{path}: larger than {MAX_FILE} bytes")
        data = path.read_bytes()
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the name
        raise ArtifactError(
            f"{path}: {getattr(error, 'strerror', error)}; the model is incomplete, install it again"
        ) from error
    if hashlib.sha256(data).hexdigest() != digest:
        raise ArtifactError(
            f"{path}: its SHA-256 is not the one in the manifest: altered or damaged, install the model again"
        )
    return data


def _encoder(manifest: Manifest, weights: dict[str, Any], contents: dict[str, bytes]) -> Encoder:
    if manifest.encoder == StaticEncoder.name:
        return StaticEncoder(
            weights["static"], weights["static_scales"].astype(np.float32), contents[TOKENIZER].decode()
        )
    kind, _, model = manifest.encoder.partition(":")
    if kind == "sentence-transformers":
        return SentenceTransformerEncoder(model)
    raise ArtifactError(f"unknown encoder {manifest.encoder!r}; known are static and sentence-transformers:NAME")


def save_model(directory: Path, manifest: Manifest, weights: dict[str, Any], texts: dict[str, str]) -> None:
    """Write an artifact; `manifest.files` is filled in here. The manifest comes last: without it there is no model."""
    from safetensors.numpy import save  # training only

    directory.mkdir(parents=True, exist_ok=True)
    contents = {WEIGHTS: save({name: np.ascontiguousarray(array) for name, array in weights.items()})}
    contents |= {name: text.encode() for name, text in texts.items()}
    manifest.files = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}
    for name, data in contents.items():
        _write_whole(directory / name, data)
    _write_whole(directory / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def _write_whole(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}.new")
    aside.write_bytes(data)
    aside.replace(path)
