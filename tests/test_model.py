"""An artifact is used only if every byte of it verifies, and gives the probabilities that were fitted."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from logclf.cascade import Answer, Novel
from logclf.encoders import NGrams, StaticEncoder
from logclf.errors import ArtifactError, StageError
from logclf.features import TOLD_LEVELS, Reading
from logclf.model import (
    FEW_EXAMPLES,
    FORMAT,
    MANIFEST,
    TOKENIZER,
    UNFAMILIAR,
    WEIGHTS,
    Heads,
    Manifest,
    Model,
    load_model,
    read_manifest,
    save_model,
    seal_of,
    with_levels,
)

from .test_encoders import SCALES, VECTORS, tokenizer

LABELS = ["Error", "Resource Usage", "User Action"]
WIDTH = 1 << 10


def manifest(**changes: Any) -> Manifest:
    made = Manifest(FORMAT, "small", "2.0", list(LABELS), "static", 1.5, 0.6, {})
    return msgspec.structs.replace(made, **changes)


def read(*texts: str) -> list[Reading]:
    """Texts as the model reads them, with no header and no level."""
    return [Reading("", text, "") for text in texts]


def weights() -> dict[str, Any]:
    chance = np.random.default_rng(1)
    return {
        "static": VECTORS,
        "static_scales": SCALES,
        "dense": chance.normal(size=(2 + len(TOLD_LEVELS), 3)).astype(np.float32),
        "dense_bias": chance.normal(size=3).astype(np.float32),
        "ngrams": chance.normal(size=(WIDTH, 3)).astype(np.float16),
        "ngrams_bias": chance.normal(size=3).astype(np.float32),
        "idf": np.linspace(1, 2, WIDTH, dtype=np.float32),
    }


@pytest.fixture
def artifact(tmp_path: Path) -> Path:
    save_model(tmp_path / "m", manifest(), weights(), {TOKENIZER: tokenizer()})
    return tmp_path / "m"


def rewrite(directory: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a manifest as somebody would who knows how it is sealed, where it still is one."""
    data = json.loads((directory / MANIFEST).read_bytes())
    change(data)
    with contextlib.suppress(msgspec.ValidationError):
        data["seal"] = seal_of(msgspec.convert(data, Manifest))
    (directory / MANIFEST).write_text(json.dumps(data))


def test_an_altered_manifest(artifact: Path) -> None:
    data = json.loads((artifact / MANIFEST).read_bytes())
    data["labels"].reverse()
    (artifact / MANIFEST).write_text(json.dumps(data))
    with pytest.raises(ArtifactError, match=r"manifest\.json: it is not what was written: altered or damaged"):
        load_model(artifact)


def test_save_and_load_round_trip(artifact: Path) -> None:
    model = load_model(artifact)
    assert (model.name, model.version, model.labels) == ("model", "small@2.0", tuple(LABELS))
    given = weights()
    heads = Heads(
        given["dense"], given["dense_bias"], given["ngrams"], given["ngrams_bias"], np.zeros((0, 0), np.float32)
    )
    direct = Model(manifest(), StaticEncoder(VECTORS, SCALES, tokenizer()), NGrams(given["idf"]), heads)
    texts = read("disk full", "", "on", "something else entirely")
    np.testing.assert_array_equal(model.probabilities(texts), direct.probabilities(texts))
    assert sorted(path.name for path in artifact.iterdir()) == sorted([MANIFEST, TOKENIZER, WEIGHTS])


def test_probabilities_sum_to_one_and_do_not_depend_on_the_batch(artifact: Path) -> None:
    model = load_model(artifact)
    texts = read("disk full", "", "é", "on disk", "disk full")
    table = model.probabilities(texts)
    np.testing.assert_allclose(table.sum(axis=1), 1, atol=1e-5)
    for row, text in zip(table, texts, strict=True):
        np.testing.assert_allclose(row, model.probabilities([text])[0], atol=1e-6)
    assert model.probabilities([]).shape == (0, 3)


def test_numpy_gives_scikit_learns_probabilities() -> None:
    linear = pytest.importorskip("sklearn.linear_model")
    sparse = pytest.importorskip("scipy.sparse")
    texts = [
        "disk full",
        "disk fullness",
        "full on disk",
        "on",
        "on on",
        "zz on",
        "alpha beta",
        "beta gamma",
        "alpha gamma",
    ]
    truth = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    encoder, ngrams = StaticEncoder(VECTORS, SCALES, tokenizer()), NGrams(np.ones(WIDTH, np.float32))
    rows, columns, values = ngrams.encode(texts)
    table = sparse.csr_matrix((values, (rows, columns)), shape=(len(texts), WIDTH))
    vectors = with_levels(encoder.encode(texts), read(*texts))
    dense = linear.LogisticRegression(C=10).fit(vectors, truth)
    grams = linear.LogisticRegression(C=10).fit(table, truth)
    heads = Heads(
        dense.coef_.T.astype(np.float32), dense.intercept_.astype(np.float32),
        grams.coef_.T.astype(np.float32), grams.intercept_.astype(np.float32), np.zeros((0, 0), np.float32),
    )  # fmt: skip
    mean = (dense.predict_log_proba(vectors) + grams.predict_log_proba(table)) / 2 / 1.5
    expected = np.exp(mean) / np.exp(mean).sum(axis=1, keepdims=True)
    found = Model(manifest(), encoder, ngrams, heads).probabilities(read(*texts))
    np.testing.assert_allclose(found, expected, atol=1e-4)
    assert found.argmax(axis=1).tolist() == truth


def test_answers_are_sure_from_the_threshold_on(artifact: Path) -> None:
    novel = [Novel(text, text.encode(), "") for text in ("disk full", "<n> <n>", "")]
    model = load_model(artifact)
    best = float(model.probabilities(read("disk full")).max())
    for threshold, sure in ((best - 0.01, True), (best + 0.01, False)):
        rewrite(artifact, lambda data, threshold=threshold: data.update(threshold=threshold))
        answer, *wordless = load_model(artifact).answer(novel)
        assert isinstance(answer, Answer)
        assert (answer.sure, answer.label in LABELS) == (sure, True)
        assert answer.confidence == pytest.approx(best)
        assert wordless == [None, None]


def test_a_label_with_few_examples_is_a_guess_only(artifact: Path) -> None:
    novel = [Novel("disk full", b"disk full", "")]
    rewrite(artifact, lambda data: data.update(threshold=0.0))
    answer = load_model(artifact).answer(novel)[0]
    assert answer
    assert answer.sure
    rewrite(artifact, lambda data: data.update(thin=[answer.label]))
    assert load_model(artifact).answer(novel) == [Answer(answer.label, answer.confidence, False, FEW_EXAMPLES)]


def test_what_the_background_claims_is_unfamiliar(tmp_path: Path) -> None:
    made = weights()
    for name in ("dense", "dense_bias", "ngrams", "ngrams_bias"):
        made[name] = np.concatenate((made[name], np.zeros_like(made[name][..., :1])), axis=-1)
    for bias, sure in ((-30.0, True), (30.0, False)):
        made["dense_bias"][-1] = bias
        directory = tmp_path / str(sure)
        save_model(directory, manifest(background=True, threshold=0.0), made, {TOKENIZER: tokenizer()})
        model = load_model(directory)
        answer = model.answer([Novel("disk full", b"disk full", "")])[0]
        assert answer
        assert answer.label in LABELS
        assert model.probabilities(read("disk full")).shape == (1, 3)
        if not sure:
            assert answer.reason == UNFAMILIAR
            assert answer.confidence < 0.5


def test_a_level_is_told_beside_the_text(artifact: Path) -> None:
    model = load_model(artifact)
    plain, warned, fatal = (
        model.probabilities([Reading("", "disk full", level)])[0] for level in ("", "warn", "fatal")
    )
    assert not np.allclose(plain, warned)
    np.testing.assert_array_equal(plain, fatal)
    assert Reading("sshd", "disk full", "warn").hinted == "sshd: disk full level=warn"


def test_a_failing_encoder_is_a_failed_stage() -> None:
    class Broken:
        name, dimensions = "broken", 2

        def encode(self, texts: Any) -> Any:
            raise RuntimeError("no memory left")

    given = weights()
    heads = Heads(
        given["dense"], given["dense_bias"], given["ngrams"], given["ngrams_bias"], np.zeros((0, 0), np.float32)
    )
    with pytest.raises(StageError, match="RuntimeError: no memory left"):
        Model(manifest(), Broken(), NGrams(given["idf"]), heads).answer([Novel("x", b"x", "")])


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER])
@pytest.mark.parametrize("at", [0, 100, -1])
def test_one_altered_byte(artifact: Path, name: str, at: int) -> None:
    data = bytearray((artifact / name).read_bytes())
    data[at] ^= 1
    (artifact / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=f"{name}: its SHA-256 is not the one in the manifest"):
        load_model(artifact)


@pytest.mark.parametrize("name", [WEIGHTS, TOKENIZER, MANIFEST])
def test_a_missing_file(artifact: Path, name: str) -> None:
    (artifact / name).unlink()
    with pytest.raises(ArtifactError, match=f"{name}: .*No such file"):
        load_model(artifact)


def test_a_directory_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no model here"):
        read_manifest(tmp_path)


@pytest.mark.parametrize("text", ["", "{", "[]", '"x"', "null", "\xff", "[" * 100_000, '{"format": 1}'])
def test_a_manifest_that_is_none(artifact: Path, text: str) -> None:
    (artifact / MANIFEST).write_bytes(text.encode("latin-1"))
    with pytest.raises(ArtifactError, match=MANIFEST):
        load_model(artifact)


@pytest.mark.parametrize("version", [0, 1, "2", None])
def test_another_format(artifact: Path, version: Any) -> None:
    rewrite(artifact, lambda data: data.update(format=version))
    with pytest.raises(ArtifactError, match=f"model format {version!r}; this logclf reads format 2"):
        load_model(artifact)


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": "pickle:x"},
        {"encoder": ""},
        {"labels": []},
        {"temperature": 0},
        {"mix": 1.1},
        {"background": True},
        {"labels": LABELS[:2]},
        {"surprise": 1},
    ],
)
def test_a_manifest_with_values_that_make_no_model(artifact: Path, changes: dict[str, Any]) -> None:
    rewrite(artifact, lambda data: data.update(changes))
    with pytest.raises(ArtifactError):
        load_model(artifact)


@pytest.mark.parametrize("name", ["../x", "/etc/hostname", "a/b", "..", ".", "", "./x", "x\0y", MANIFEST])
def test_names_that_lead_out_of_the_artifact(artifact: Path, name: str) -> None:
    (artifact.parent / "x").write_bytes(b"")
    rewrite(artifact, lambda data: data["files"].update({name: hashlib.sha256(b"").hexdigest()}))
    with pytest.raises(ArtifactError):
        load_model(artifact)


def test_weights_must_be_listed(artifact: Path) -> None:
    rewrite(artifact, lambda data: data["files"].pop(WEIGHTS))
    with pytest.raises(ArtifactError, match="names unexpected files"):
        load_model(artifact)


@pytest.mark.parametrize("name", ["dense", "dense_bias", "ngrams", "ngrams_bias", "idf", "static", "static_scales"])
def test_wrong_shapes_and_missing_weights(tmp_path: Path, name: str) -> None:
    for number, change in enumerate((lambda array: array[:-1], lambda array: array.reshape(-1, 1, 1), None)):
        made = weights()
        array = made.pop(name)
        if change:
            made[name] = change(array)
        save_model(tmp_path / str(number), manifest(), made, {TOKENIZER: tokenizer()})
        with pytest.raises(ArtifactError):
            load_model(tmp_path / str(number))


def test_weights_and_tokenizer_that_are_none(tmp_path: Path) -> None:
    save_model(tmp_path, manifest(), weights(), {TOKENIZER: "{}"})
    with pytest.raises(ArtifactError, match="tokenizer"):
        load_model(tmp_path)
    save_model(tmp_path, manifest(), weights(), {TOKENIZER: tokenizer()})
    (tmp_path / WEIGHTS).write_bytes(b"no safetensors")
    digest = hashlib.sha256(b"no safetensors").hexdigest()
    rewrite(tmp_path, lambda data: data["files"].update({WEIGHTS: digest}))
    with pytest.raises(ArtifactError, match="incomplete model"):
        load_model(tmp_path)


def test_a_save_that_fails_leaves_the_old_model(artifact: Path) -> None:
    if os.geteuid() == 0:
        (artifact / f".{WEIGHTS}.new").mkdir()  # root may write anywhere, yet not to a directory
    else:
        artifact.chmod(0o500)
    with pytest.raises(OSError, match=r"directory|denied"):
        save_model(artifact, manifest(version="3.0"), weights(), {TOKENIZER: tokenizer()})
    assert load_model(artifact).version == "small@2.0"
    artifact.chmod(0o700)


NOVEL_MEMORY = """
import random, sys
from pathlib import Path
from logclf import Classifier
peak = lambda: int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0]) / 1024
classifier = Classifier.default()
classifier.classify(["start"])
before, rng = peak(), random.Random(1)
words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=6)) for _ in range(30_000)]
classifier.classify([" ".join(rng.choices(words, k=9)) for _ in range(5_000)])
print(peak() - before)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peak memory is read from /proc")
def test_many_novel_lines_at_once_take_little_memory(cache_dir: Path) -> None:
    done = subprocess.run([sys.executable, "-c", NOVEL_MEMORY], capture_output=True, check=True)
    assert float(done.stdout) < 60  # MB
