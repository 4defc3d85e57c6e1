"""Real logs of eight systems go through whole: one JSON line for each line, in order, most of them labelled.

They are not part of the project; where they are not beside it these tests are skipped.
"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from logclf import Classifier
from logclf.evaluation import evaluate
from logclf.taxonomy import DEFAULT

from .bench import quality
from .helpers import LOGHUB

pytestmark = pytest.mark.skipif(not LOGHUB.is_dir(), reason="the Loghub samples are not beside this checkout")

SYSTEMS = "Android Apache BGL HDFS Hadoop Linux OpenSSH OpenStack".split()


@pytest.mark.parametrize("system", SYSTEMS)
def test_tail_labels_every_line(system: str) -> None:
    path = LOGHUB / f"{system}.log"
    done = subprocess.run(
        [sys.executable, "-m", "logclf", "tail", "--no-follow", str(path)], capture_output=True, check=True
    )
    lines = path.read_bytes().replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    events = [json.loads(line) for line in done.stdout.splitlines()]
    assert [event["message"] for event in events] == [line.decode("utf-8", "replace") for line in lines]
    answered = sum(event["logclf"]["stage"] != "none" for event in events)
    assert answered / len(events) > 0.4  # of Blue Gene, which nothing was written for; the others are over 0.7


@pytest.mark.parametrize("system", SYSTEMS)
def test_filter_gives_the_same_verdicts_as_the_library(system: str) -> None:
    data = (LOGHUB / f"{system}.log").read_bytes()
    done = subprocess.run([sys.executable, "-m", "logclf", "filter"], input=data, capture_output=True, check=True)
    verdicts = [json.loads(line)["logclf"] for line in done.stdout.splitlines()]
    lines = data.replace(b"\r\n", b"\n").removesuffix(b"\n").split(b"\n")
    expected = Classifier.default().classify(lines, source="stdin")
    assert [(v["label"], v["severity"], v["stage"]) for v in verdicts] == [
        (v.label, v.severity, v.stage) for v in expected
    ]


def test_labelled_templates() -> None:
    """A floor under the quality on templates that two people labelled; the figures are in tests/bench/README.md."""
    _, found = evaluate(quality.as_table(quality.read(LOGHUB)), Classifier.default(), DEFAULT.names)
    assert found
    assert found.rows.accuracy > 0.93
    assert found.rows.macro_f1 > 0.85
    assert found.rows.answered > 0.85
    assert found.rows.right is not None
    assert found.rows.right > 0.975
    assert found.weighted
    assert found.weighted.accuracy > 0.97
    assert found.severity is not None
    assert found.severity > 0.88
