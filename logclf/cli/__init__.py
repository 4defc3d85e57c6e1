"""The command line. Commands are imported when they are called, so that `--help` costs click alone (40 ms)."""

from __future__ import annotations

import importlib
import json
import logging
import os
import sys
from typing import Any

import click

from ..errors import (
    AnswerStoreError,
    ArtifactError,
    CheckpointError,
    ConfigError,
    InputError,
    LogclfError,
    OutputClosedError,
)
from ..version import __version__

# name → (module, one-line help); shown by `logclf --help` without importing the modules
COMMANDS = {
    "tail": ("tail", "Follow log files and write every line, labelled, as JSON lines."),
    "filter": ("filter", "Label stdin to stdout: one event out for one line in, in order."),
    "classify": ("classify", "Label archives: CSV, Parquet, JSON lines, text, compressed or not."),
    "train": ("train", "Train a model on your own labelled lines."),
    "eval": ("eval", "Measure rules and model on a labelled table."),
    "bench": ("bench", "Time the whole path on a file."),
    "validate": ("rules", "Check rule files: file:line of everything that is wrong."),
    "test": ("rules", "Run the examples of rules through the whole rule set."),
    "rules": ("rules", "List, show and explain rules."),
    "models": ("models", "List, show, choose, store and compare models."),
    "memory": ("memory", "List, correct, export, import and forget what the LLM answered."),
    "doctor": ("doctor", "Check engines, rules, model, directories, language model; say what to type."),
}
log = logging.getLogger("logclf")

EXIT_USAGE, EXIT_CONFIG, EXIT_INTERRUPTED = 2, 78, 130


class LazyGroup(click.Group):
    """Knows its commands by name and help; imports one when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f".{COMMANDS[cmd_name][0]}", __name__)
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in COMMANDS.items()])


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="logclf")
def cli() -> None:
    """Label every log line as it flows: rules, then a model, then what you teach it.

    \b
    logclf tail /var/log/app.log          follow a file, write JSON lines
    logclf filter < app.log               inside a pipe or a log shipper
    logclf rules explain 'some line'      why a line gets its label
    """


def main() -> None:
    """Run the command line; errors become one line on stderr and an exit code."""
    open_standard_descriptors()
    report_to_stderr("filter" in sys.argv[1:2])
    try:
        result: Any = cli.main(standalone_mode=False)
        code = result if isinstance(result, int) else 0
    except click.exceptions.Abort:
        code = EXIT_INTERRUPTED
    except click.ClickException as error:
        error.show()
        code = error.exit_code
    except OutputClosedError:
        code = 0  # the reader has what it wanted
    except OSError as error:  # of click's own output; what we read and write has errors of its own
        log.error("stdout: %s", error.strerror or error)
        code = 1
    except LogclfError as error:
        from ..pretty import visible  # with numpy, which only a failing command need load

        log.error("%s", visible(str(error)))  # names of files and labels are in it
        code = exit_code(error)
    close_stdout()
    sys.exit(code)


class JsonLines(logging.Formatter):
    """One JSON object a line, for those who collect what a shipper's child says."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps({"level": record.levelname.lower(), "logger": record.name, "message": record.getMessage()})


def report_to_stderr(inside_shipper: bool) -> None:
    """Diagnostics for people on a terminal and by default; JSON lines where a shipper reads them."""
    handler = logging.StreamHandler(sys.stderr)
    as_json = inside_shipper and not sys.stderr.isatty()
    handler.setFormatter(JsonLines() if as_json else logging.Formatter("logclf: %(message)s"))
    root = logging.getLogger("logclf")
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    root.propagate = False


def exit_code(error: LogclfError) -> int:
    """The exit code that an error stands for."""
    if isinstance(error, (ConfigError, ArtifactError, CheckpointError, AnswerStoreError)):
        return EXIT_CONFIG
    return EXIT_USAGE if isinstance(error, InputError) else 1


def open_standard_descriptors() -> None:
    """Where a parent left 0, 1 or 2 closed, put /dev/null: the next file opened would become stdin or stdout."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def close_stdout() -> None:
    """Flush what is left; where the reader is gone, keep Python from complaining about it at exit."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except (OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
