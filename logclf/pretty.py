"""Labelled lines for people: aligned, coloured, and safe to look at.

Log lines are hostile input: control characters, terminal escapes and bidirectional overrides are shown, never sent.
"""

from __future__ import annotations

import json

from .batch import Batch, Classified, VerdictTable
from .sinks import write_all

# C0, DEL, C1, and the characters that reorder or hide text or break its line.
_UNSAFE = [
    *(*range(0x20), *range(0x7F, 0xA0), 0xAD, 0x61C, 0x180E, 0x200B, 0x200E, 0x200F, *range(0x2028, 0x202F)),
    *(*range(0x2060, 0x2070), 0xFEFF, *range(0xFFF9, 0xFFFC), *range(0xE0000, 0xE0080)),
]
_VISIBLE = {code: f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" for code in _UNSAFE} | {9: "    "}
# The same for JSON, where such characters stand in strings only.
_ESCAPED = {code: json.dumps(chr(code))[1:-1] if code != 0x7F else "\\u007f" for code in _UNSAFE}
COLOURS = {"TRACE": "2", "DEBUG": "2", "INFO": "32", "WARN": "33", "ERROR": "31", "FATAL": "1;97;41"}


def visible(text: str) -> str:
    """Text with nothing in it that a terminal would obey."""
    return text.translate(_VISIBLE)


def json_safe(encoded: str) -> str:
    """JSON in one line that says the same, with nothing in it that a terminal would obey."""
    return encoded.translate(_ESCAPED)


class PrettySink:
    """One line a line: severity, label, stage, message. `colour` adds ANSI colours, never the only sign."""

    def __init__(self, descriptor: int, table: VerdictTable, colour: bool) -> None:
        self._descriptor, self._table, self._colour = descriptor, table, colour

    def write(self, batch: Batch, classified: Classified) -> None:
        lines = batch.text.split(b"\n")
        shown = [self._line(code, line) for code, line in zip(classified.codes.tolist(), lines, strict=True)]
        write_all(self._descriptor, "".join(shown).encode(), "stdout")

    def flush(self) -> None:
        return None

    def _line(self, code: int, line: bytes) -> str:
        verdict = self._table.verdicts[code]
        label = verdict.label if verdict.guess is None else f"? {verdict.guess}"
        head = f"{verdict.severity:5}  {label:22}  {verdict.stage:5}"
        if self._colour:
            head = f"\x1b[{COLOURS[verdict.severity]}m{head}\x1b[0m"
        return f"{head}  {visible(line.decode('utf-8', 'replace'))}\n"
