"""Parquet in, Parquet out: schema, metadata and row groups stay."""

from __future__ import annotations

import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logclf.cascade import Route
from logclf.classifier import Classifier
from logclf.errors import ConfigError

from .archives import SmallRecipe, messages, pack, plain, run

TEXTS = [*messages(300), None]


def write(path: Path, rows: int = 301, **columns: pa.Array) -> Path:
    table = pa.table(
        {
            "when": pa.array(range(rows), pa.timestamp("us")),
            "source": pa.array(["shop1", "db"] * rows, pa.string())[:rows].dictionary_encode(),
            "log_message": pa.array(TEXTS, pa.large_string()),
            "amount": pa.array([None, *range(rows - 1)], pa.decimal128(9, 2)),
        }
        | columns,
    ).replace_schema_metadata({"who": "a test"})
    pq.write_table(table, path, row_group_size=100, compression="zstd")
    return path


def test_rows_gain_columns_and_everything_else_stays(tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet")
    outcome = run(source, tmp_path / "out.parquet", explain=True)
    before, after = pq.ParquetFile(source), pq.ParquetFile(tmp_path / "out.parquet")
    table = after.read()
    assert table.select(before.schema_arrow.names).equals(before.read())
    assert table.schema.metadata == before.schema_arrow.metadata
    assert after.metadata.num_row_groups == before.metadata.num_row_groups == 4
    assert after.metadata.row_group(0).column(0).compression == "ZSTD"
    assert table.column_names[4:] == ["target_label", "stage", "confidence", "severity", "rule"]
    expected = []
    for text, name in zip(TEXTS, before.read().column("source").to_pylist(), strict=True):
        expected += Classifier(SmallRecipe().build()).classify([text or ""], source=name)
    assert table.column("target_label").to_pylist() == [verdict.label for verdict in expected]
    assert table.column("confidence").to_pylist() == [verdict.confidence for verdict in expected]
    assert table.column("rule").to_pylist() == [verdict.rule for verdict in expected]
    assert outcome.counts.rows == 301


def test_a_label_column_is_replaced_in_its_place(tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet", target_label=pa.array([1] * 301, pa.int64()), last=pa.array([1] * 301))
    with pytest.raises(ConfigError, match="already"):
        run(source, tmp_path / "out.parquet")
    run(source, tmp_path / "out.parquet", overwrite_column=True)
    table = pq.read_table(tmp_path / "out.parquet")
    assert table.column_names[-2:] == ["target_label", "last"]
    assert set(table.column("target_label").to_pylist()) > {"Resource Usage", "Unclassified"}


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_compressed_as_a_whole_too(tmp_path: Path, suffix: str) -> None:
    source = write(tmp_path / "in.parquet")
    packed = pack(tmp_path / f"in.parquet{suffix}", source.read_bytes())
    run(source, tmp_path / "out.parquet")
    run(packed, tmp_path / f"out.parquet{suffix}")
    assert plain(tmp_path / f"out.parquet{suffix}") == (tmp_path / "out.parquet").read_bytes()


def test_two_passes_and_routes(tmp_path: Path) -> None:
    source, recipe = write(tmp_path / "in.parquet"), SmallRecipe((Route("db", ("rules",)),))
    for passes in (1, 2):
        run(source, tmp_path / f"{passes}.parquet", recipe, passes=passes)
    assert (tmp_path / "1.parquet").read_bytes() == (tmp_path / "2.parquet").read_bytes()


def test_nothing_in_nothing_out(tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"message": pa.array([], pa.string())}), source)
    run(source, tmp_path / "out.parquet")
    assert pq.read_table(tmp_path / "out.parquet").column_names == ["message", "target_label"]


def test_what_is_no_text_or_no_parquet_is_said(tmp_path: Path) -> None:
    source = write(tmp_path / "in.parquet")
    with pytest.raises(ConfigError, match=r"in\.parquet: column 'amount' holds decimal128.*, not text"):
        run(source, tmp_path / "out.parquet", text_column="amount")
    source.write_bytes(source.read_bytes()[:2000])
    outcome = run(source, tmp_path / "out.parquet")
    assert "not a whole Parquet file" in outcome.left_out[str(source)]


def test_without_pyarrow_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write(tmp_path / "in.parquet")
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(ConfigError, match=r"pip install 'logclf\[parquet\]'"):
        run(source, tmp_path / "out.parquet")
