"""A sentence-transformers model → static vectors for its word pieces.

Each piece is embedded on its own, the vectors are reduced by PCA and weighted by an assumed Zipf distribution over the
vocabulary's order (SIF; Arora et al. 2017). This is model2vec's method (Tulkens and van Dongen, 2024).
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ..encoders import MINILM, resolve_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

SIF = 1e-4
UNKNOWN = "[UNK]"


@dataclass(frozen=True)
class StaticVectors:
    """vectors: int8 (pieces, dimensions); scales: float32 (pieces,); tokenizer: JSON of the `tokenizers` library."""

    vectors: NDArray[np.int8]
    scales: NDArray[np.float32]
    tokenizer: str


def distill(model: str = MINILM, dimensions: int = 256) -> StaticVectors:
    """Distil a model with a WordPiece vocabulary. Pieces beyond ASCII are left out: they halve the size."""
    from sentence_transformers import SentenceTransformer
    from sklearn.decomposition import PCA

    teacher = SentenceTransformer(resolve_model(model), device="cpu")
    tokenizer = json.loads(teacher.tokenizer.backend_tokenizer.to_str())
    ordered = sorted(tokenizer["model"]["vocab"].items(), key=lambda item: item[1])
    kept = [piece for piece, _ in ordered if piece == UNKNOWN or (piece.isascii() and not piece.startswith("["))]
    texts = [piece.removeprefix("##") for piece in kept]
    embedded = teacher.encode(texts, batch_size=512, convert_to_numpy=True, show_progress_bar=False)
    reduced = PCA(dimensions, random_state=0).fit_transform(embedded.astype(np.float64))
    rank = np.arange(2, len(kept) + 2)
    frequency = (1 / rank) / np.sum(1 / rank)
    vectors = reduced * (SIF / (SIF + frequency))[:, None]
    vectors[kept.index(UNKNOWN)] = 0
    scales = np.maximum(np.abs(vectors).max(axis=1), 1e-9) / 127
    tokenizer["model"]["vocab"] = {piece: number for number, piece in enumerate(kept)}
    tokenizer["added_tokens"] = []
    tokenizer["post_processor"] = None
    tokenizer["truncation"] = tokenizer["padding"] = None
    rounded = np.round(vectors / scales[:, None]).astype(np.int8)
    return StaticVectors(rounded, scales.astype(np.float32), json.dumps(tokenizer, ensure_ascii=False))
