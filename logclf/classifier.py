"""The library's front door.

from logclf import Classifier
for verdict in Classifier.default().classify(["Failed password for root from 203.0.113.9 port 50273 ssh2"]):
    print(verdict.label, verdict.severity, verdict.stage)
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from .batch import Batch, Verdict, line_starts
from .cascade import Cascade, Route
from .taxonomy import DEFAULT, Taxonomy

SLICE = 4096  # lines at a time, so that memory does not grow with what is asked


class Classifier:
    """Labels lines. Remembers the templates it has seen, so keep one rather than making one per call.

    Not thread-safe: use one per thread.
    """

    def __init__(self, cascade: Cascade) -> None:
        self._cascade = cascade

    @classmethod
    def default(
        cls,
        rules: Iterable[str | Path] = (),
        model: str | Path | None = "default",
        routes: Iterable[Route] = (),
        taxonomy: Taxonomy = DEFAULT,
    ) -> Classifier:
        """The shipped rule packs and model; `rules` are files or directories of your own, which come first.

        Raises:
            ConfigError: a rule file is wrong; the message has file:line.
            ArtifactError: the model does not verify.
        """
        from .topology import build_cascade  # the one place that reads files; a Classifier made by hand needs none

        return cls(
            build_cascade(
                [Path(path) for path in rules], None if model is None else str(model), routes, taxonomy=taxonomy
            )
        )

    def classify(self, lines: Iterable[str | bytes], source: str = "", path: str | None = None) -> list[Verdict]:
        """One verdict a line, in order.

        lines: text or bytes, without their line ends; a line break within one counts as a blank.
        source, path: where the lines are from, for routes and for rules that say `where`.
        """
        if isinstance(lines, (str, bytes)):
            raise TypeError("classify takes a list of lines; for one line write classify([line])[0]")
        everything = list(lines)
        verdicts: list[Verdict] = []
        for start in range(0, len(everything), SLICE):
            batch = batch_of(everything[start : start + SLICE], source, path)
            if batch is not None:
                codes = self._cascade.classify(batch).codes.tolist()
                verdicts += map(self._cascade.table.verdicts.__getitem__, codes)
        return verdicts

    def fields(self, line: str | bytes, source: str = "", path: str | None = None) -> dict[str, object]:
        """What the rule that wins this line captures from it; {} where none does."""
        batch = batch_of([line], source, path)
        return self._cascade.classify(batch).fields.get(0, {}) if batch else {}


def batch_of(lines: Sequence[str | bytes], source: str = "", path: str | None = None) -> Batch | None:
    """A batch of lines; None of no lines."""
    if not lines:
        return None
    encoded = [_bytes_of(line) if isinstance(line, str) else line for line in lines]
    text = b"\n".join(encoded)
    if text.count(b"\n") != len(encoded) - 1:
        text = b"\n".join([line.replace(b"\n", b" ") for line in encoded])
    return Batch(text, line_starts(text), source, path)


def _bytes_of(line: str) -> bytes:
    """Text as UTF-8; what Python could not decode becomes the bytes it was, other lone surrogates a question mark."""
    try:
        return line.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return line.encode("utf-8", "replace")
