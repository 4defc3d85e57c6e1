"""What `tail`, `filter` and `bench` share: options, the cascade, the closing line."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from ..batch import DecodeCounts, VerdictTable
    from ..cascade import Cascade, Route
    from ..pipeline import Tally
    from ..topology import Setup

Command = TypeVar("Command", bound=Callable[..., Any])

STAGES = frozenset(("rules", "model", "llm"))
DEFAULT_KEYS = "message,log,msg,body,MESSAGE"


@dataclass(frozen=True)
class CascadeOptions:
    """What `cascade_options` asked for. Plain values, so that it can be a key and travel to another process."""

    rules: tuple[Path, ...] = ()
    model: str | None = None
    taxonomy: Path | None = None
    profile: str = "default"
    routes: tuple[tuple[str, tuple[str, ...]], ...] = ()  # source globs with the stages that their lines may meet

    def setup(self) -> Setup:
        """What is to be built, looked up and read.

        Raises:
            ConfigError: the profile, the taxonomy or a rule file is wrong.
            ArtifactError: there is no such model.
        """
        from ..topology import resolve  # 0.1 s with the engine, which --help need not pay

        return resolve(self.profile, self.taxonomy, self.rules, self.model)

    def build(self) -> Cascade:
        """The cascade for a stream; raises as `setup` does, and ArtifactError for a model that does not verify."""
        from ..topology import build

        return build(self.setup(), self._routes())

    def follow(self) -> tuple[Cascade, Callable[[], None] | None]:
        """The same, and what `pipeline.run` calls before each batch so that the stream follows `models use`."""
        from ..switch import Switch
        from ..topology import build

        setup = self.setup()
        cascade = build(setup, self._routes())
        return cascade, Switch(cascade, setup.followed) if setup.followed else None

    def _routes(self) -> list[Route]:
        from ..cascade import Route

        return [Route(source, stages) for source, stages in self.routes]


def cascade_options(command: Command) -> Command:
    """--rules, --model, --profile, --taxonomy, --route: the command gets them as one CascadeOptions named `chosen`."""

    @wraps(command)
    def with_chosen(
        *args: Any,
        rules: tuple[Path, ...],
        model: str | None,
        taxonomy: Path | None,
        profile: str,
        routes: tuple[str, ...],
        **rest: Any,
    ) -> Any:
        chosen = CascadeOptions(rules, model, taxonomy, profile, tuple(map(parsed_route, routes)))
        return command(*args, chosen=chosen, **rest)

    rules_option = click.option(
        "--rules",
        multiple=True,
        type=click.Path(path_type=Path),
        metavar="PATH",
        envvar="LOGCLF_RULES",
        help="Rule file or directory; its rules come before the profile's and the shipped packs. May be repeated.",
    )
    model_option = click.option(
        "--model",
        envvar="LOGCLF_MODEL",
        metavar="NAME[@VERSION]|PATH",
        show_default="the profile's, else current",
        help="Model for lines that no rule knows; 'none' for rules alone.",
    )
    route_option = click.option(
        "--route",
        "routes",
        multiple=True,
        metavar="GLOB=STAGE,...",
        help="Stages that the lines of a source may meet (rules, model, llm); the first fit holds. May be repeated.",
    )
    return cast("Command", rules_option(model_option(vocabulary_options(route_option(with_chosen)))))


def parsed_route(text: str) -> tuple[str, tuple[str, ...]]:
    """`payments*=rules,model` → the glob and its stages; none are allowed to be."""
    glob, equals, named = text.rpartition("=")
    stages = tuple(stage.strip() for stage in named.split(",") if stage.strip())
    if not equals or not glob or not set(stages) <= STAGES:
        raise click.BadParameter(
            f"{text!r}: expected a source glob, an equals sign and some of rules, model, llm", param_hint="--route"
        )
    return glob, stages


def vocabulary_options(command: Command) -> Command:
    """--profile, --taxonomy."""
    profile = click.option(
        "--profile",
        default="default",
        envvar="LOGCLF_PROFILE",
        metavar="NAME|DIR",
        show_default=True,
        help="Labels, rules and model of one's own, in one directory.",
    )
    taxonomy = click.option(
        "--taxonomy",
        type=click.Path(path_type=Path),
        envvar="LOGCLF_TAXONOMY",
        metavar="FILE",
        help="Labels of one's own (YAML), instead of the profile's.",
    )
    return profile(taxonomy(command))


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
