"""What is said at the end of a run."""

from __future__ import annotations

from typing import Any

from ..pretty import visible
from .run import Outcome

STAGES = {"rules": "rules", "people": "people", "model": "model", "llm": "llm", "none": "unclassified"}


def as_json(outcome: Outcome) -> dict[str, Any]:
    """The report for scripts."""
    counts = outcome.counts
    return {
        "rows": counts.rows,
        "resumed": outcome.resumed,
        "seconds": round(outcome.seconds, 3),
        "rows_per_s": rate(outcome),
        "stages": {stage: counts.stages.get(stage, 0) for stage in STAGES},
        "labels": _most_first(counts.labels),
        "severities": _most_first(counts.severities),
        "oddities": counts.oddities,
        "passes": outcome.passes,
        "outputs": outcome.outputs,
        "left_out": outcome.left_out,
    }


def rate(outcome: Outcome) -> int:
    """Rows that this run labelled in a second."""
    return round((outcome.counts.rows - outcome.resumed) / max(outcome.seconds, 1e-9))


def summary(outcome: Outcome) -> str:
    """The one line: rows, time, stages."""
    counts = outcome.counts
    stages = ", ".join(f"{name} {counts.stages[stage]:,}" for stage, name in STAGES.items() if stage in counts.stages)
    earlier = f" ({outcome.resumed:,} of them by an earlier run)" if outcome.resumed else ""
    return (
        f"{counts.rows:,} rows{earlier} in {outcome.seconds:,.1f} s, {rate(outcome):,} rows/s"
        + (f": {stages}" if stages else "")
        + "".join(f"; {count:,} {what}" for what, count in counts.oddities.items())
    )


def label_table(outcome: Outcome) -> str:
    """Rows by label, those of most rows first."""
    rows = _most_first(outcome.counts.labels)
    width = max(map(len, rows), default=0)
    whole = max(outcome.counts.rows, 1)
    return "\n".join(
        f"  {visible(label):{width}}  {count:>13,}  {100 * count / whole:5.1f} %" for label, count in rows.items()
    )


def _most_first(table: dict[str, int]) -> dict[str, int]:
    return dict(sorted(table.items(), key=lambda item: (-item[1], item[0])))
