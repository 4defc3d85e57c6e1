"""Labelled rows → templates with one label each, and what goes along with them: the background, and rehearsal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .. import resources
from ..errors import ConfigError
from ..taxonomy import DEFAULT
from .background import background_readings, read_lines
from .corpus import CorpusTemplate, read_corpus, samples
from .fit import Companion, Examples
from .labelled import Labelled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Integers = NDArray[np.int64]
    Floats = NDArray[np.float32]

LEAST_BACKGROUND = 300
REHEARSED = 50  # templates of each label
REHEARSAL_WEIGHT = 0.1
SEED = 0


@dataclass(frozen=True)
class Data:
    """Templates with one label each: the most frequent of their rows."""

    examples: Examples
    tally: Integers
    labelled: Labelled

    @property
    def weights(self) -> Integers:
        """Rows of each template."""
        found: Integers = self.tally.sum(axis=1)
        return found


def prepare(labelled: Labelled, rehearse: bool = True) -> Data:
    """One label for each template.

    rehearse: learn from templates of the shipped corpus too where its labels are these.

    Raises:
        ConfigError: there is not enough to learn from.
    """
    tally = labelled.tally()
    check_enough(labelled, tally)
    present = np.flatnonzero(tally.sum(axis=0))
    tally = tally[:, present]
    names = tuple(labelled.labels[number] for number in present.tolist())
    truth = tally.argmax(axis=1)
    company = [*background_sample(len(names), len(truth)), *(rehearsal(names) if rehearse else [])]
    return Data(Examples(labelled.readings, truth, names, company, row_weights(tally)), tally, labelled)


def check_enough(labelled: Labelled, tally: Integers) -> None:
    """Refuse what nothing can be learnt from; each template has the label of most of its rows.

    Raises:
        ConfigError: why, and how many rows were left out.
    """
    won = np.bincount(tally.argmax(axis=1), minlength=1) if len(tally) else np.zeros(1, np.int64)
    labels = np.flatnonzero(won)
    if len(labels) > 1 and won.max() > 1:
        return
    left = "".join(f"; {count:,} rows with {reason} were left out" for reason, count in labelled.dropped.items())
    if len(labels) > 1:
        raise ConfigError(f"training needs several templates of a label, and each label has only one{left}")
    only = f"only {labelled.labels[labels[0]]!r}" if len(labels) else "none"
    raise ConfigError(f"training needs templates with at least two different labels, and there is {only}{left}")


def row_weights(tally: Integers) -> Floats:
    """How much each template counts: a frequent one more, so that it is surely learnt, though not by its rows."""
    found: Floats = (1 + np.log(np.maximum(tally.sum(axis=1), 1))).astype(np.float32)
    return found


def background_sample(label: int, examples: int) -> list[Companion]:
    """As much text that is no log as goes well with so many examples."""
    everything = background_readings()
    size = min(len(everything), max(LEAST_BACKGROUND, examples // 2))
    chosen = np.random.default_rng(SEED).choice(len(everything), size, replace=False)
    return [Companion(everything[at], label) for at in sorted(chosen.tolist())]


def rehearsal(names: Sequence[str]) -> list[Companion]:
    """Templates of the shipped corpus with these labels, so that few examples of a label don't make it forgotten."""
    by_name: dict[str, list[CorpusTemplate]] = {}
    for template in read_corpus(resources.MODELS / "default" / "corpus", DEFAULT):
        by_name.setdefault(template.label, []).append(template)
    rng = np.random.default_rng(SEED)
    chosen = [
        by_name[name][at]
        for name in names
        if name in by_name
        for at in sorted(rng.choice(len(by_name[name]), min(REHEARSED, len(by_name[name])), replace=False).tolist())
    ]
    lines = [line for _, line in samples(chosen, 1, SEED)]
    return [
        Companion(reading._replace(level=""), names.index(template.label), REHEARSAL_WEIGHT)
        for template, reading in zip(chosen, read_lines(lines), strict=True)
    ]
