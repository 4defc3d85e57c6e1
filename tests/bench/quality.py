"""Quality on labelled real logs and on text that is no log: `python tests/bench/quality.py DIRECTORY [MODEL]`.

DIRECTORY holds NAME.log, NAME.structured.csv (EventId by line), labels.csv (system, event_id, label, severity, count).
One line of each labelled template counts once; the figures are those of `logclf eval`. *Not near* leaves out templates
that the corpus has nearly the same words for: 70 % of their word pairs stand in one corpus template.
"""

from __future__ import annotations

import csv
import random
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from logclf import Classifier, Verdict, features, masking, resources
from logclf.evaluation import evaluate, tables
from logclf.taxonomy import DEFAULT
from logclf.training.corpus import read_corpus
from logclf.training.default import training_readings
from logclf.training.labelled import Rows

FAR = Path(__file__).parent / "far"
NEAR = 0.7
SAMPLE = 1000


class Labelled(NamedTuple):
    system: str
    line: bytes
    label: str
    severity: str
    count: int


def read(directory: Path) -> list[Labelled]:
    labels = {(row["system"], row["event_id"]): row for row in _rows(directory / "labels.csv")}
    found: list[Labelled] = []
    for system in sorted({system for system, _ in labels}):
        lines = [line for line in (directory / f"{system}.log").read_bytes().split(b"\n") if line]
        seen: set[str] = set()
        for row, line in zip(_rows(directory / f"{system}.structured.csv"), lines, strict=True):
            known = labels.get((system, row["EventId"]))
            if known and row["EventId"] not in seen:
                seen.add(row["EventId"])
                found.append(Labelled(system, line, known["label"], known["severity"], int(known["count"])))
    return found


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def as_table(labelled: Iterable[Labelled]) -> Iterator[Rows]:
    """What `logclf eval` reads of a table."""
    for item in labelled:
        text = item.line.decode("utf-8", "replace")
        yield Rows([text], [item.label], [item.system], [item.severity], [item.count])


def far_texts() -> dict[str, list[str]]:
    """Lines that are no log lines, by kind."""
    rng = random.Random(1)
    library = Path(sysconfig.get_paths()["stdlib"])
    syllables = "ba be bi bo bu da de ka ke ki lo lu ma me no ra re so ta te ti".split()
    words = [
        " ".join("".join(rng.choices(syllables, k=rng.randint(2, 4))) for _ in range(rng.randint(3, 8)))
        for _ in range(SAMPLE)
    ]
    return {
        "poems": (FAR / "poems.txt").read_text("utf-8").splitlines(),
        "prose": (FAR / "prose.txt").read_text("utf-8").splitlines(),
        "Python source": _sample(rng, sorted([*library.glob("*.py"), *library.glob("email/*.py")])),
        "C headers": _sample(rng, sorted([*Path("/usr/include").glob("*.h"), *Path("/usr/include/linux").glob("*.h")])),
        "random words": words,
    }


def _sample(rng: random.Random, paths: Iterable[Path]) -> list[str]:
    lines = [line for path in paths for line in path.read_text("utf-8", "replace").splitlines() if len(line) > 11]
    return rng.sample(lines, min(SAMPLE, len(lines)))


def corpus_pairs() -> dict[tuple[str, str], set[int]]:
    """In which corpus texts each pair of words stands."""
    readings, _ = training_readings(read_corpus(resources.MODELS / "default" / "corpus", DEFAULT), 1)
    where: dict[tuple[str, str], set[int]] = defaultdict(set)
    for number, reading in enumerate(readings):
        for pair in pairs(reading.text):
            where[pair].add(number)
    return where


def pairs(text: str) -> set[tuple[str, str]]:
    words = features.words(text)
    return set(pairwise(words))


def is_near(item: Labelled, where: dict[tuple[str, str], set[int]]) -> bool:
    """Whether one corpus text has nearly the same words."""
    mine = pairs(features.read(masking.readable(masking.mask([item.line])[0])).text)
    shared: dict[int, int] = defaultdict(int)
    for pair in mine:
        for number in where.get(pair, ()):
            shared[number] += 1
    return bool(mine) and max(shared.values(), default=0) >= NEAR * len(mine)


def answered(verdicts: Iterable[Verdict]) -> str:
    found = [verdict.stage != "none" for verdict in verdicts]
    return f"{sum(found) / len(found):.1%} of {len(found):,}" if found else "none there"


def main() -> None:
    labelled = read(Path(sys.argv[1]))
    classifier = Classifier.default(model=sys.argv[2] if len(sys.argv) > 2 else "default")
    tested, result = evaluate(as_table(labelled), classifier, DEFAULT.names)
    assert result
    print(tables(result, tested.dropped))
    where = corpus_pairs()
    new = [item for item in labelled if not is_near(item, where)]
    _, rest = evaluate(as_table(new), classifier, DEFAULT.names)
    assert rest
    print(f"\nnot near: {rest.rows}")
    print("\nanswered of what is no log line")
    for kind, lines in far_texts().items():
        print(f"{kind:22}{answered(classifier.classify(lines))}")


if __name__ == "__main__":
    main()
