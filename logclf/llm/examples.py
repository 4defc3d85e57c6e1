"""Labelled templates that are like the one in question, to show a model what the labels mean.

They come from the shipped corpus, from the rules' own examples, and from people's corrections; like is what the static
encoder's cosine says. Reading and encoding the corpus takes two seconds, so that is done by the first question, in the
worker's thread, and kept in the cache directory.
"""

from __future__ import annotations

import hashlib
import logging
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec
import numpy as np

from .. import features, masking, resources
from ..cache import DirectoryCache, default_directory
from ..encoders import Encoder, normalized
from ..errors import LogclfError
from ..model import load_model, read_manifest
from ..rulefile import Rule
from ..store import SHIPPED
from ..taxonomy import DEFAULT, Taxonomy
from .calls import Example

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

log = logging.getLogger(__name__)

FORMAT = "examples-1"
SEED = 1  # the default model's recipe renders its corpus with it too
MOST_CORRECTIONS = 10_000
DECIMALS = 4  # of a cosine; what differs less is equally near

Pairs = Sequence[tuple[str, str]]  # template, label


class Bank(NamedTuple):
    """Templates, their labels, what identifies their text, and vectors of length 1, float32 (templates, dimensions)."""

    templates: list[str]
    labels: list[str]
    texts: list[str]
    vectors: Floats


class Kept(msgspec.Struct, frozen=True):
    """A bank in the cache; vectors: int8 (templates, dimensions) as safetensors."""

    templates: list[str]
    labels: list[str]
    texts: list[str]
    vectors: bytes


class ExampleFinder:
    """Finds the nearest labelled templates. Thread-safe; nothing is read before the first question.

    rules: whose examples are used. corrections: gives people's (template, label) pairs, asked at every question.
    corpus: a directory of the corpus' files, None for none. cache: where what was encoded is kept.
    """

    def __init__(
        self,
        taxonomy: Taxonomy,
        rules: Iterable[Rule] = (),
        corrections: Callable[[], Iterable[tuple[str, str]]] | None = None,
        corpus: Path | None = resources.MODELS / SHIPPED / "corpus",
        cache: DirectoryCache | None = None,
    ) -> None:
        self._names = frozenset(taxonomy.names)
        self._rules, self._corpus, self._corrections = tuple(rules), corpus, corrections
        self._cache = cache
        self._lock = threading.Lock()
        self._encoder: Encoder | None = None
        self._banks: list[Bank] | None = None  # None until the first question
        self._corrected: tuple[Pairs, Bank] | None = None

    def find(self, template: str, count: int) -> list[Example]:
        """At most `count` examples, the nearest first; no two of the same text, at most half of them of one label."""
        if count <= 0:
            return []
        banks = self._ready()
        if self._encoder is None:
            return []
        vector = self._encoder.encode([text_of(template)])[0]
        return chosen(nearest(banks, vector), count) if vector.any() else []

    def warm(self) -> None:
        """Read now what the first question would wait for: 2 s, or 0.06 s from the cache."""
        self._ready()

    def _ready(self) -> list[Bank]:
        """Corrections, rules' examples, corpus: the most trusted first. Without what cannot be read."""
        with self._lock:
            if self._banks is None:
                self._banks = []
                try:
                    self._banks = self._build()
                except (LogclfError, OSError, RuntimeError) as error:  # RuntimeError: no home directory
                    log.warning("the language model is asked without examples: %s", error)
            return [*self._people(), *self._banks]

    def _build(self) -> list[Bank]:
        directory = resources.MODELS / SHIPPED
        self._encoder = encoder = load_model(directory).encoder
        cache = self._cache or DirectoryCache(default_directory())
        seal = read_manifest(directory).seal
        banks = []
        spoken = [(line, rule.spec.label) for rule in self._rules for line in rule.spec.examples.match]
        key = _digest(seal, msgspec.json.encode(spoken))
        banks.append(_kept(cache, key, encoder, lambda: [(line, label) for line, label in spoken]))
        if self._corpus is not None and self._names & set(DEFAULT.names):
            contents = [path.read_bytes() for path in sorted(self._corpus.glob("*.tsv"))]
            banks.append(_kept(cache, _digest(seal, *contents), encoder, lambda: _corpus_lines(self._corpus)))
        return [_within(bank, self._names) for bank in banks]

    def _people(self) -> list[Bank]:
        """What people corrected; encoded again only when it has changed."""
        if self._corrections is None or self._encoder is None:
            return []
        try:
            pairs = [pair for pair in self._corrections() if pair[1] in self._names][:MOST_CORRECTIONS]
        except (LogclfError, OSError) as error:
            log.warning("people's corrections cannot be read: %s", error)
            return []
        if self._corrected is None or self._corrected[0] != pairs:
            self._corrected = (pairs, bank(pairs, self._encoder))
        return [self._corrected[1]]


def text_of(template: str) -> str:
    """What the encoder reads of a template, which somebody may have imported with half characters in it."""
    return features.read(template.encode("utf-8", "replace").decode()).text


def bank(pairs: Pairs, encoder: Encoder) -> Bank:
    """Templates and labels with their vectors."""
    templates = [template for template, _ in pairs]
    texts = [text_of(template) for template in templates]
    vectors = _widened(_narrowed(encoder.encode(texts)))
    return Bank(templates, [label for _, label in pairs], texts, vectors)


def nearest(banks: Sequence[Bank], vector: Floats) -> Iterator[tuple[Example, str]]:
    """All examples with their texts, the nearest first; equally near ones in the banks' order."""
    if not banks:
        return
    cosines = np.round(np.concatenate([each.vectors @ vector for each in banks]), DECIMALS)
    ends = np.cumsum([len(each.templates) for each in banks])
    for at in np.argsort(-cosines, kind="stable").tolist():
        place = int(np.searchsorted(ends, at, side="right"))
        found, row = banks[place], at - int(ends[place])  # counted from the bank's end
        yield Example(found.templates[row], found.labels[row], round(float(cosines[at]), DECIMALS)), found.texts[row]


def chosen(candidates: Iterable[tuple[Example, str]], count: int) -> list[Example]:
    """The first `count` with texts of their own, at most half of them with one label."""
    texts: set[str] = set()
    labels: Counter[str] = Counter()
    found: list[Example] = []
    for example, text in candidates:
        if len(found) == count:
            break
        if text not in texts:
            texts.add(text)  # also where its label is full: the same text must not come with another label then
            if labels[example.label] < max(count // 2, 1):
                labels[example.label] += 1
                found.append(example)
    return found


def _kept(cache: DirectoryCache, key: str, encoder: Encoder, lines: Callable[[], Pairs]) -> Bank:
    """The bank of labelled lines: from the cache, else made and kept there."""
    data = cache.load(key)
    if data is not None and (found := _loaded(data, encoder.dimensions)):
        return found
    pairs = lines()
    masked = masking.mask([line.replace("\n", " ").encode("utf-8", "replace") for line, _ in pairs])
    unique = dict.fromkeys((masking.readable(text), label) for text, (_, label) in zip(masked, pairs, strict=True))
    made = bank(list(unique), encoder)
    from safetensors.numpy import save  # 40 ms, in the worker's thread

    vectors = save({"vectors": _narrowed(made.vectors)})
    cache.store(key, msgspec.msgpack.encode(Kept(made.templates, made.labels, made.texts, vectors)))
    return made


def _loaded(data: bytes, dimensions: int) -> Bank | None:
    """A bank as it was kept; None where it is of another logclf."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        kept = msgspec.msgpack.decode(data, type=Kept)
        vectors = load(kept.vectors)["vectors"]
    except (msgspec.MsgspecError, SafetensorError, KeyError):
        return None
    if vectors.dtype != np.int8 or vectors.shape != (len(kept.templates), dimensions):
        return None
    if not len(kept.labels) == len(kept.texts) == len(kept.templates):
        return None
    return Bank(kept.templates, kept.labels, kept.texts, _widened(vectors))


def _corpus_lines(directory: Path | None) -> Pairs:
    """The corpus, each template rendered once, as the default model's recipe renders it."""
    from ..training.corpus import read_corpus, samples  # nothing of it is needed once the result is in the cache

    if directory is None:
        return []
    return [(line, each.label) for each, line in samples(read_corpus(directory, DEFAULT), 1, SEED)]


def _within(found: Bank, names: frozenset[str]) -> Bank:
    """Without the templates whose labels are others."""
    rows = [row for row, label in enumerate(found.labels) if label in names]
    templates, labels, texts = ([column[row] for row in rows] for column in found[:3])
    return Bank(templates, labels, texts, found.vectors[rows])


def _narrowed(vectors: Floats) -> NDArray[np.int8]:
    return np.rint(vectors * 127).astype(np.int8)


def _widened(vectors: NDArray[np.int8]) -> Floats:
    return normalized(vectors.astype(np.float32))


def _digest(seal: str, *contents: bytes) -> str:
    digest = hashlib.sha256(f"{FORMAT} {seal}".encode())
    for content in contents:
        digest.update(f" {len(content)} ".encode() + content)
    return "examples" + digest.hexdigest()
