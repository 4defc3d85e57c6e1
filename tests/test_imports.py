"""Starting costs what the command needs and no more."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SAMPLE = Path(__file__).parent / "data" / "sample.log"
HEAVY = {"torch", "sklearn", "scipy", "pandas", "textual", "sentence_transformers", "transformers", "joblib"}
LIGHT_ONLY = HEAVY | {"numpy", "hyperscan", "re2", "msgspec", "yaml", "watchdog", "tokenizers"}

PROGRAM = """
import sys
if len(sys.argv) > 1:
    from logclf.cli import main
    try:
        main()
    except SystemExit as end:
        assert not end.code, end.code
else:
    import logclf
print("\\nMODULES", *{name.partition(".")[0] for name in sys.modules}, file=sys.stderr)
"""


def imported(*arguments: str) -> set[str]:
    """The top-level modules that are loaded when a command has run."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments], capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    words = done.stderr.rpartition("MODULES")[2].split()
    assert {"sys", "logclf"} <= set(words)
    return set(words)


@pytest.mark.parametrize(
    "arguments", [[], ["--help"], ["--version"], ["tail", "--help"], ["filter", "--help"], ["bench", "--help"]]
)
def test_help_and_import_load_no_engine(arguments: list[str]) -> None:
    assert imported(*arguments) & LIGHT_ONLY == set()


def test_import_alone_loads_not_even_click() -> None:
    assert imported() & {"click", "logging", "asyncio"} == set()


@pytest.mark.parametrize("arguments", [["rules", "--help"], ["validate", "--help"]])
def test_help_of_rule_commands_loads_no_numpy(arguments: list[str]) -> None:
    assert imported(*arguments) & (HEAVY | {"numpy", "hyperscan"}) == set()


def test_a_whole_run_loads_nothing_of_training(cache_dir: Path) -> None:
    modules = imported("tail", "--no-follow", str(SAMPLE))
    assert modules & HEAVY == set()
    assert {"numpy", "msgspec"} <= modules
