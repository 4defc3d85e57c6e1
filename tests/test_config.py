"""A configuration file: what it says, and file:line of what is wrong with it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logclf.config import Config, calls_an_hour, load_config, parse_config, seconds
from logclf.errors import ConfigError, LogclfError
from logclf.llm.settings import LlmSettings

from .helpers import ROOT

WHOLE = b"""\
version: 1
profile: my-bank
rules: {paths: [mine, /etc/logclf/rules]}
model: {name: ours@2}
llm:
  mode: on
  provider: ollama
  model: "qwen3:4b"
  host: http://127.0.0.1:11434
  timeout: 20s
  max_wait: 500ms
  ttl: 30d
  keep_alive: 5m
  budget: 60/h
  concurrency: 1
  min_confidence: 0.6
  redact: ['ticket-[0-9]+']
routes:
  - {source: LegacyCRM, stages: [llm]}
  - {source: "payments*", stages: [rules, model]}
"""


def test_everything_that_can_be_said() -> None:
    found = parse_config(WHOLE, "c.yaml")
    assert found.llm == LlmSettings(
        mode="on",
        model="qwen3:4b",
        host="http://127.0.0.1:11434",
        timeout=20.0,
        max_wait=0.5,
        ttl=30 * 86_400.0,
        keep_alive="5m",
        budget=60,
        concurrency=1,
        min_confidence=0.6,
        redact=("ticket-[0-9]+",),
    )
    assert [(route.source, route.stages) for route in found.routes] == [
        ("LegacyCRM", ("llm",)),
        ("payments*", ("rules", "model")),
    ]
    assert (found.profile, found.model.name) == ("my-bank", "ours@2")


def test_paths_are_beside_the_file(tmp_path: Path) -> None:
    (tmp_path / "c.yaml").write_bytes(WHOLE)
    assert load_config(tmp_path / "c.yaml").rules.paths == (str(tmp_path / "mine"), "/etc/logclf/rules")


def test_nothing_said_is_the_default() -> None:
    assert parse_config(b"", "c.yaml") == parse_config(b"version: 1\n", "c.yaml") == Config()


@pytest.mark.parametrize("word", ["auto", "on", "off", "'on'", "'off'"])
def test_on_and_off_are_words_here(word: str) -> None:
    assert parse_config(f"llm: {{mode: {word}}}".encode(), "c.yaml").llm.mode == word.strip("'")


@pytest.mark.parametrize(
    ("text", "line", "said"),
    [
        ("lmm: {}", 1, "unknown key 'lmm'; did you mean 'llm'?"),
        ("version: 1\nllm:\n  max_wiat: 2s", 3, "unknown key 'max_wiat'; did you mean 'max_wait'?"),
        ("llm:\n  mode: atuo", 2, "'atuo' is not known here; did you mean 'auto'?"),
        ("llm:\n  timeout: 2", 2, "llm.timeout: expected a duration with its unit"),
        ("llm:\n  ttl: a while", 2, "llm.ttl: expected a duration"),
        ("llm:\n  keep_alive: 5 minutes", 2, "llm.keep_alive: expected a duration"),
        ("llm:\n  budget: 600", 2, "llm.budget: expected a number of calls in an hour, as 600/h"),
        ("llm:\n  mode: auto\n  concurrency: 0", 3, "llm.concurrency must be above 0, not 0"),
        ("llm:\n  timeout: 0s", 2, "llm.timeout must be above 0"),
        ("llm:\n  concurrency: many", 2, "llm.concurrency: Expected `int`"),
        ("llm: [1]", 1, "llm: Expected `object`"),
        ("routes:\n  - {source: a, stages: [lmm]}", 2, "'lmm' is not known here; did you mean 'llm'?"),
        ("routes:\n  - {source: a}", 2, "missing required field `stages`"),
        ("version: 2", 1, "version 2 is not known here"),
        ("version: true", 1, "version True is not known here"),
        ("- a", 1, "expected sections"),
        ("llm: {mode: auto\n", 2, "not YAML"),
        ("model:\n  nmae: x", 2, "unknown key 'nmae'; did you mean 'name'?"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(text: str, line: int, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_config(text.encode(), "c.yaml")
    assert str(caught.value).startswith(f"c.yaml:{line}: ")
    assert said in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot read this configuration"):
        load_config(tmp_path / "none.yaml")


@pytest.mark.parametrize(
    ("text", "value"), [("2s", 2), ("500ms", 0.5), ("1.5m", 90), ("12h", 43_200), ("30d", 2_592_000), (0, 0)]
)
def test_durations(text: object, value: float) -> None:
    assert seconds(text, "x") == value


@given(st.one_of(st.text(max_size=8), st.integers(), st.floats(), st.booleans(), st.none()))
def test_whatever_is_written_is_a_number_or_an_error_of_ours(written: object) -> None:
    for read in (lambda: seconds(written, "x"), lambda: calls_an_hour(written)):
        try:
            assert read() >= 0
        except ConfigError:
            continue


@given(st.binary(max_size=60))
def test_whatever_a_file_holds_is_a_configuration_or_an_error_of_ours(data: bytes) -> None:
    for text in (data, b"llm: " + data):
        try:
            parse_config(text, "c.yaml")
        except LogclfError:
            continue


def test_the_readme_shows_the_defaults() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    (block,) = [each for each in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "llm:" in each]
    assert parse_config(block.encode(), "README.md").llm == LlmSettings()
