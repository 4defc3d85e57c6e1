"""What `tail`, `filter` and `bench` share: options, the cascade, the closing line."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

if TYPE_CHECKING:
    from ..batch import DecodeCounts, VerdictTable
    from ..pipeline import Tally

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_KEYS = "message,log,msg,body,MESSAGE"


def cascade_options(command: Command) -> Command:
    """--rules, --model."""
    rules = click.option(
        "--rules",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="PATH",
        envvar="LOGCLF_RULES",
        help="Rule file or directory; its rules come before the shipped packs. May be repeated.",
    )
    model = click.option(
        "--model",
        default="default",
        envvar="LOGCLF_MODEL",
        metavar="NAME|PATH",
        show_default=True,
        help="Model for lines that no rule knows; 'none' for rules alone.",
    )
    return rules(model(command))


def flush_option(command: Command) -> Command:
    return click.option(
        "--flush-ms",
        type=click.IntRange(1, 60_000),
        default=50,
        show_default=True,
        help="A line should wait no longer; reads get smaller where labelling takes longer.",
    )(command)


def message_key_option(command: Command) -> Command:
    return click.option(
        "--message-key",
        "message_keys",
        default=DEFAULT_KEYS,
        show_default=True,
        metavar="KEYS",
        help="Where a JSON event's message is looked for, in order.",
    )(command)


def keys(text: str) -> list[str]:
    """Comma-separated keys."""
    found = [key for key in text.split(",") if key]
    if not found:
        raise click.BadParameter("expected at least one key", param_hint="--message-key")
    return found


def model_name(text: str) -> str | None:
    return None if text == "none" else text


def summary(tally: Tally, table: VerdictTable, counts: DecodeCounts) -> str:
    """The line that closes a run."""
    seconds = max(time.monotonic() - tally.started, 1e-9)
    stages = tally.by("stage", table)
    names = {"rules": "rules", "model": "model", "llm": "llm", "none": "unclassified"}
    shares = ", ".join(f"{name} {share(stages[stage], tally.lines)}" for stage, name in names.items() if stages[stage])
    memory = share(tally.remembered(table), tally.lines)
    oddities = {"cut": counts.truncated, "not UTF-8": counts.invalid_utf8, "broken JSON": counts.broken_json}
    return (
        f"{tally.lines:,} lines in {seconds:,.1f} s, {tally.lines / seconds:,.0f} lines/s"
        + (f": {shares}; from memory {memory}" if tally.lines else "")
        + "".join(f"; {count:,} {what}" for what, count in oddities.items() if count)
    )


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"
