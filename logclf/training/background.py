"""Text that is no log: what a model must not answer, and is trained on as one more class (see model.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .. import features, masking, resources
from ..features import Reading

BACKGROUND = resources.MODELS / "default" / "background.txt"


def background_readings(path: Path = BACKGROUND) -> list[Reading]:
    """What the model reads of it, each text once."""
    found = read_lines([line for line in path.read_text("utf-8").splitlines() if line.strip()])
    return list(dict.fromkeys(reading._replace(level="") for reading in found if reading.text))


def read_lines(lines: Sequence[str]) -> list[Reading]:
    """What the model reads of lines."""
    return [features.read(masking.readable(text)) for text in masking.mask([line.encode() for line in lines])]
