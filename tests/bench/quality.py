"""Quality on labelled real logs: `python tests/bench/quality.py DIRECTORY`.

DIRECTORY holds NAME.log, NAME.structured.csv (EventId by line), labels.csv (system, event_id, label, severity, count).
One line of each labelled template counts once. "Full coverage" takes the model's guess where it was not sure.
"""

from __future__ import annotations

import csv
import sys
from collections import Counter, defaultdict
from pathlib import Path
from typing import NamedTuple

from logclf import Classifier, Verdict


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


def macro_f1(pairs: list[tuple[str, str]]) -> float:
    """Mean F1 over the labels that occur; pairs of (truth, answer)."""
    right, given, true = (
        Counter(t for t, a in pairs if t == a),
        Counter(a for _, a in pairs),
        Counter(t for t, _ in pairs),
    )
    return sum(2 * right[label] / (given[label] + true[label]) for label in true) / len(true)


def report(labelled: list[Labelled], verdicts: list[Verdict]) -> None:
    pairs = [(item.label, verdict.guess or verdict.label) for item, verdict in zip(labelled, verdicts, strict=True)]
    right = [truth == answer for truth, answer in pairs]
    answered = [ok for ok, verdict in zip(right, verdicts, strict=True) if verdict.stage != "none"]
    weights = [item.count for item in labelled]
    stated = [(i.severity, v.severity) for i, v in zip(labelled, verdicts, strict=True) if i.severity]
    stages = Counter(verdict.stage for verdict in verdicts)
    by_stage = {s: [ok for ok, v in zip(right, verdicts, strict=True) if v.stage == s] for s in stages}
    print(f"| templates | {len(labelled)} |")
    print(f"| full coverage: accuracy / macro-F1 | {_mean(right):.3f} / {macro_f1(pairs):.3f} |")
    print(f"| at the threshold: answers / right of them | {len(answered) / len(right):.3f} / {_mean(answered):.3f} |")
    weighted = sum(w for w, ok in zip(weights, right, strict=True) if ok) / sum(weights)
    print(f"| full coverage, weighted by lines | {weighted:.3f} |")
    print(f"| severity agrees | {_mean([truth == answer for truth, answer in stated]):.3f} |")
    for stage, found in sorted(by_stage.items()):
        print(f"| {stage}: share / right | {len(found) / len(right):.3f} / {_mean(found):.3f} |")
    systems: dict[str, list[bool]] = defaultdict(list)
    for item, ok in zip(labelled, right, strict=True):
        systems[item.system].append(ok)
    print("| by system, full coverage | " + ", ".join(f"{s} {_mean(found):.2f}" for s, found in systems.items()) + " |")


def _mean(values: list[bool]) -> float:
    return sum(values) / len(values) if values else 0.0


def main() -> None:
    labelled = read(Path(sys.argv[1]))
    classifier = Classifier.default(model=sys.argv[2] if len(sys.argv) > 2 else "default")
    report(labelled, classifier.classify([item.line for item in labelled]))


if __name__ == "__main__":
    main()
