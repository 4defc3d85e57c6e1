"""What people said of templates, as a stage before the model: whoever corrected an answer is not contradicted.

Only a rule comes before them: what a rule says is corrected in the rule.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..batch import PEOPLE
from ..cascade import Answer, Novel
from .questions import Questions

NOTHING = Answer("", 0.0, False, reason="")  # no opinion: as if this stage were not there


class People:
    """Labels by template, as `logclf memory` keeps them; read at the start."""

    name = PEOPLE
    version = ""

    def __init__(self, labels: Mapping[str, str], questions: Questions) -> None:
        self._labels, self._questions = labels, questions

    def answer(self, novel: Sequence[Novel]) -> list[Answer | None]:
        """The cascade's question."""
        return [self._said(self._questions.of(each).template) for each in novel]

    def _said(self, template: str) -> Answer:
        label = self._labels.get(template)
        return Answer(label, 1.0, True) if label else NOTHING
