"""What a file's name says about what is in it."""

from __future__ import annotations

from pathlib import Path

CSV, TSV, PARQUET, JSONL, TEXT = KINDS = ("csv", "tsv", "parquet", "jsonl", "text")
GZIP, ZSTD, PLAIN = "gz", "zst", ""

_KINDS = {
    **dict.fromkeys((".csv",), CSV),
    **dict.fromkeys((".tsv", ".tab"), TSV),
    **dict.fromkeys((".parquet", ".pq"), PARQUET),
    **dict.fromkeys((".jsonl", ".ndjson", ".json"), JSONL),
}
_COMPRESSIONS = {".gz": GZIP, ".gzip": GZIP, ".zst": ZSTD, ".zstd": ZSTD}


def compression(path: Path) -> str:
    """GZIP, ZSTD or PLAIN, by the last suffix."""
    return _COMPRESSIONS.get(path.suffix.lower(), PLAIN)


def kind(path: Path) -> str | None:
    """One of KINDS by the suffix before the compression's, None where it says nothing."""
    bare = path.with_suffix("") if compression(path) else path
    return _KINDS.get(bare.suffix.lower())


def kind_out(kind_in: str) -> str:
    """What comes out: lines of text become events, everything else stays what it is."""
    return JSONL if kind_in == TEXT else kind_in
