"""Encoder + logistic regression + calibration, and the artifact that carries them.

Two heads look at a text: one at its vector, one at its n-grams, both at its level. Their log-probabilities are mixed
and divided by a temperature, both fitted on held-out templates; below the threshold the model abstains and hands its
best guess on.

It abstains on unfamiliar text too, however sure it feels: a classifier that never saw a poem calls it a System
Notification with great confidence. So there is one more class than there are labels, the *background*: source code,
prose and verse, which are never answered (outlier exposure; Hendrycks et al. 2019). Besides, familiar is only what has
a cosine of at least `familiarity` to a training text, and of whose words at least the share `known_words` was in the
training texts. And it abstains where the best label is one it has seen too few examples of (`thin`).

An artifact is a directory: `manifest.json` with the format's version, labels, encoder, training data's fingerprint,
metrics and the SHA-256 of every other file; `weights.safetensors`; `tokenizer.json`; `vocabulary.txt`. Nothing in it is
a pickle, and nothing is used that does not verify.
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

FORMAT = 2
MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"
TOKENIZER, VOCABULARY = "tokenizer.json", "vocabulary.txt"
MAX_FILE = 1 << 30
BLOCK = 256  # texts at a time: each is compared with all training texts
EDGE = 1e-5  # of a cosine: ten times what single precision can be off
LEVEL_WEIGHT = 0.5  # of a level beside a vector of length 1
LOW_CONFIDENCE, UNFAMILIAR, FEW_EXAMPLES = "low_confidence", "unfamiliar", "few_examples"


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What an artifact says about itself.

    mix: the n-gram head's share of the log-probabilities. background: whether the heads have a last class that is no
    label. thin: labels with too few examples to be answered. files: names to SHA-256. training, metrics: for people.
    """

    format: int
    name: str
    version: str
    labels: list[str]
    encoder: str
    temperature: float
    threshold: float
    files: dict[str, str]
    mix: float = 0.5
    background: bool = False
    familiarity: float = 0.0
    known_words: float = 0.0
    thin: list[str] = []
    training: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    seal: str = ""  # SHA-256 of the manifest without it


class Heads(msgspec.Struct, frozen=True):
    """The fitted weights; n classes (the labels and maybe the background), d dimensions, w n-gram columns.

    dense: float32 (d + levels, n) with bias (n,). ngrams: float16 (w, n) with bias (n,).
    anchors: float32 (d, texts), the training texts' vectors; (d, 0) where familiarity is not asked for.
    """

    dense: Any
    dense_bias: Any
    ngrams: Any
    ngrams_bias: Any
    anchors: Any


class Model:
    """A verified model; one of the cascade's stages."""

    name = MODEL

    def __init__(
        self,
        manifest: Manifest,
        encoder: Encoder,
        ngrams: NGrams,
        heads: Heads,
        vocabulary: frozenset[str] = frozenset(),
    ) -> None:
        self.manifest = manifest
        self.labels = tuple(manifest.labels)
        self.version = f"{manifest.name}@{manifest.version}"
        self._encoder, self._ngrams, self.heads, self._vocabulary = encoder, ngrams, heads, vocabulary
        self._thin = frozenset(manifest.thin)

    @property
    def encoder(self) -> Encoder:
        """What makes its vectors, for others who look for texts that are alike."""
        return self._encoder

    def probabilities(self, readings: Sequence[features.Reading]) -> Floats:
        """Calibrated probabilities of shape (len(readings), len(labels)).

        A row sums to 1 less the probability of the background.
        """
        return self._probabilities(self._encoder.encode([each.text for each in readings]), readings)

    def _probabilities(self, vectors: Floats, readings: Sequence[features.Reading]) -> Floats:
        heads, mix = self.heads, self.manifest.mix
        # In double precision, as products in single depend on how many texts are asked about at once.
        wide = with_levels(vectors, readings).astype(np.float64)
        dense = log_softmax((wide @ heads.dense.astype(np.float64) + heads.dense_bias).astype(np.float32))
        rows, columns, values = self._ngrams.encode([each.hinted for each in readings])
        sums = np.zeros(dense.shape, np.float32)
        if len(rows):
            # Rows ascend, so the n-grams of a text are a run.
            starts = np.flatnonzero(np.diff(rows, prepend=-1))
            weighted = heads.ngrams[columns].astype(np.float32) * values[:, None]
            sums[rows[starts]] = np.add.reduceat(weighted, starts, axis=0)
        sparse = log_softmax(sums + heads.ngrams_bias)
        scores = ((dense * (1 - mix) + sparse * mix) / self.manifest.temperature).astype(np.float32, copy=False)
        return np.exp(log_softmax(scores))[:, : len(self.labels)]

    def _familiar(self, vectors: Floats, texts: Sequence[str]) -> NDArray[np.bool_]:
        """Which texts are of known words and near a training text."""
        known = np.array([self._known_words(text) >= self.manifest.known_words for text in texts], np.bool_)
        anchors = self.heads.anchors
        if not anchors.shape[1]:
            return known
        nearest = (vectors @ anchors).max(axis=1)
        edge = np.flatnonzero(np.abs(nearest - self.manifest.familiarity) < EDGE)
        if len(edge):  # there, double precision decides, for the same reason
            nearest[edge] = (vectors[edge].astype(np.float64) @ anchors.astype(np.float64)).max(axis=1)
        near: NDArray[np.bool_] = nearest >= self.manifest.familiarity
        return known & near

    def _known_words(self, text: str) -> float:
        """The share of a text's words that were in the training texts; 0 of no words."""
        found = features.words(text)
        return sum(word in self._vocabulary for word in found) / len(found) if found else 0.0

    def answer(self, novel: Sequence[Novel]) -> list[Answer | None]:
        """The cascade's question; None for templates with no words in them. In blocks, so that memory stays bounded."""
        return [answer for at in range(0, len(novel), BLOCK) for answer in self._answers(novel[at : at + BLOCK])]

    def _answers(self, novel: Sequence[Novel]) -> list[Answer | None]:
        readings = [features.read(each.template) for each in novel]
        texts = [each.text for each in readings]
        try:
            vectors = self._encoder.encode(texts)
            table, familiar = self._probabilities(vectors, readings), self._familiar(vectors, texts)
        except (ValueError, IndexError, MemoryError, RuntimeError) as error:
            raise StageError(f"{type(error).__name__}: {error}") from error
        return [
            self._answer(row, known) if has_words(text) else None
            for text, row, known in zip(texts, table, familiar.tolist(), strict=True)
        ]

    def _answer(self, row: Floats, familiar: bool) -> Answer:
        label = int(row.argmax())
        confidence = float(row[label])
        name = self.labels[label]
        reason = UNFAMILIAR if not familiar or 1 - row.sum() > confidence else LOW_CONFIDENCE
        if name in self._thin and reason == LOW_CONFIDENCE:
            reason = FEW_EXAMPLES
        sure = familiar and name not in self._thin and confidence >= self.manifest.threshold
        return Answer(name, confidence, sure, reason)


def with_levels(vectors: Floats, readings: Sequence[features.Reading]) -> Floats:
    """Vectors (texts, d) with what their levels say beside them: (texts, d + levels)."""
    told = np.zeros((len(readings), len(features.TOLD_LEVELS)), np.float32)
    for row, reading in enumerate(readings):
        if reading.level in features.TOLD_LEVELS:
            told[row, features.TOLD_LEVELS.index(reading.level)] = LEVEL_WEIGHT
    return np.hstack((vectors, told))


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
            _anchors(weights, manifest.familiarity),
        )
        ngrams = NGrams(weights["idf"].astype(np.float32))
        encoder = _encoder(manifest, weights, contents)
    except (KeyError, ValueError, TypeError, SafetensorError) as error:
        raise ArtifactError(f"{directory}: incomplete model: {type(error).__name__} {error}") from error
    count = len(manifest.labels) + manifest.background
    shapes = {
        "dense": (encoder.dimensions + len(features.TOLD_LEVELS), count),
        "dense_bias": (count,),
        "ngrams": (ngrams.width, count),
        "ngrams_bias": (count,),
    }
    if heads.anchors.shape[0] != encoder.dimensions and manifest.familiarity > 0:
        raise ArtifactError(f"{directory}: anchors have {heads.anchors.shape[0]} dimensions, not {encoder.dimensions}")
    if not all(np.isfinite(weights[name]).all() for name in shapes):
        raise ArtifactError(f"{directory}: weights that are no numbers")
    for name, shape in shapes.items():
        if weights[name].shape != shape:
            raise ArtifactError(f"{directory}: {name} has shape {weights[name].shape}, expected {shape}")
    vocabulary = frozenset(contents.get(VOCABULARY, b"").decode("utf-8", "replace").split())
    return Model(manifest, encoder, ngrams, heads, vocabulary)


def _anchors(weights: dict[str, Any], familiarity: float) -> Floats:
    """The training texts' vectors, stored as int8 (texts, dimensions), as columns."""
    if familiarity <= 0:
        return np.zeros((0, 0), np.float32)
    found: Floats = np.ascontiguousarray(weights["anchors"].T.astype(np.float32) / 127)
    return found


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
    if not 0 <= manifest.threshold <= 1 or len(set(manifest.labels)) < len(manifest.labels):
        raise ArtifactError(f"{path}: threshold {manifest.threshold} or labels {manifest.labels} make no sense")
    strangers = [name for name in manifest.files if Path(name).name != name or name == MANIFEST]
    if strangers or WEIGHTS not in manifest.files:
        raise ArtifactError(f"{path}: names unexpected files: {sorted(manifest.files)}")
    if not manifest.labels or not manifest.temperature > 0 or not 0 <= manifest.mix <= 1:
        raise ArtifactError(f"{path}: a model needs labels, a temperature above 0 and a mix of 0 to 1")
    if manifest.seal != seal_of(manifest):
        raise ArtifactError(f"{path}: it is not what was written: altered or damaged, install the model again")
    return manifest


def seal_of(manifest: Manifest) -> str:
    """The SHA-256 of all that a manifest says but its seal."""
    bare = msgspec.structs.replace(manifest, seal="")
    return hashlib.sha256(msgspec.json.encode(bare, order="sorted")).hexdigest()


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
    """Write an artifact; its manifest's files and seal are filled in here.

    The manifest comes last: without it there is no model.
    """
    from safetensors.numpy import save  # training only

    directory.mkdir(parents=True, exist_ok=True)
    contents = {WEIGHTS: save({name: np.ascontiguousarray(array) for name, array in weights.items()})}
    contents |= {name: text.encode() for name, text in texts.items()}
    manifest.files = {name: hashlib.sha256(data).hexdigest() for name, data in sorted(contents.items())}
    manifest.seal = seal_of(manifest)
    for name, data in contents.items():
        _write_whole(directory / name, data)
    _write_whole(directory / MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n")


def _write_whole(path: Path, data: bytes) -> None:
    aside = path.with_name(f".{path.name}.new")
    aside.write_bytes(data)
    aside.replace(path)
