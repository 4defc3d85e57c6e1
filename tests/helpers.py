"""What several tests need: rules and batches made in a line."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec

from logclf.batch import Batch, line_starts
from logclf.patterns import parse
from logclf.rulefile import Examples, Match, Rule, RuleSpec, Where

LOGHUB = Path(__file__).resolve().parents[2] / "shared" / "loghub"
ROOT = Path(__file__).resolve().parents[1]


def make_rule(
    id: str,  # noqa: A002  (the field's name)
    *patterns: str,
    none: tuple[str, ...] = (),
    label: str = "Error",
    severity: str | None = None,
    priority: int = 0,
    where: Where = Where(),  # noqa: B008  (frozen)
    fields: dict[str, str] | None = None,
) -> Rule:
    """A checked rule, as if read from a file."""
    spec = msgspec.convert(
        {
            "id": id,
            "label": label,
            "severity": severity,
            "priority": priority,
            "match": {"any": patterns, "none": none},
            "where": msgspec.to_builtins(where),
            "fields": fields or {},
            "examples": {"match": ["-"]},
        },
        RuleSpec,
    )
    return Rule(spec, f"test:{id}", priority, tuple(map(parse, patterns)), tuple(map(parse, none)))


def batch(*lines: bytes, source: str = "", path: str | None = None) -> Batch:
    text = b"\n".join(lines)
    return Batch(text, line_starts(text), source, path)


def objects(data: bytes) -> list[dict]:
    """JSON lines, parsed by the standard library."""
    return [json.loads(line) for line in data.decode().split("\n") if line]


__all__ = ["LOGHUB", "ROOT", "Examples", "Match", "Where", "batch", "make_rule", "objects"]
