"""The template that the stage would remember a line by, for people who correct an answer with the line before them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from ..cascade import Cascade
from ..rulecheck import single_line
from ..rules import RuleSet
from .calls import LlmError
from .settings import LlmSettings
from .stage import Known, LlmStage, NoShelf

if TYPE_CHECKING:
    from ..taxonomy import Taxonomy


class _Listener(NoShelf):
    """Hears which templates are looked for."""

    def __init__(self) -> None:
        self.templates: list[str] = []

    def find(self, templates: Sequence[str]) -> Mapping[str, Known]:
        self.templates += templates
        return {}


def template_of(line: str, taxonomy: Taxonomy, mask: Callable[[str], str]) -> str | None:
    """What the stage itself looks for when a stream meets this line; None for a line with nothing in it.

    mask: takes secrets out, as the stream's does.
    """
    heard = _Listener()
    stage = LlmStage(LlmSettings(max_wait=0), taxonomy.names, _no_server, heard, mask)
    Cascade(taxonomy, RuleSet([]), [stage]).classify(single_line(line))
    return next((template for template in heard.templates if template.strip()), None)


def _no_server() -> NoReturn:
    raise LlmError("unreachable", "no server is asked")
