"""A novel template → what is asked about it and what it is remembered by: without secrets."""

from __future__ import annotations

from collections.abc import Callable

from .. import masking
from ..cascade import Novel
from .calls import Question
from .prompt import clean

MOST_KEPT = 20_000  # questions that are not made anew


class Questions:
    """Makes questions. mask: takes secrets out of text (redact.Redactor.mask)."""

    def __init__(self, mask: Callable[[str], str]) -> None:
        self._mask = mask
        self._made: dict[tuple[str, tuple[str, ...]], Question] = {}

    def of(self, novel: Novel) -> Question:
        """The question about a template. The template of a line with secrets is made without them; the numbers that
        mean something belong to it, as answers are kept by it."""
        key = (novel.template, novel.numbers)
        question = self._made.get(key)
        if question is None:
            question = self._made[key] = self._make(novel)
            if len(self._made) > MOST_KEPT:
                del self._made[next(iter(self._made))]
        return question

    def _make(self, novel: Novel) -> Question:
        kept = f" [{', '.join(novel.numbers)}]" if novel.numbers else ""
        line = clean(novel.sample.decode("utf-8", "replace"))
        sample, template = self._mask(line), novel.template
        if sample != line:
            template = masking.readable(masking.mask([" ".join(sample.splitlines()).encode()])[0])
        return Question(self._mask(template) + kept, sample, novel.source, novel.guess)
