"""What `tail`, `filter` and `bench` share: options, the cascade, the closing line."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click

if TYPE_CHECKING:
    from ..batch import DecodeCounts
    from ..cascade import Cascade, Route
    from ..config import Config
    from ..llm.settings import LlmSettings
    from ..llm.stage import LlmStage
    from ..pipeline import Tally
    from ..sources.stop import Stop
    from ..topology import Setup

log = logging.getLogger(__name__)

Command = TypeVar("Command", bound=Callable[..., Any])

DEFAULT_PROFILE = "default"
STAGES = frozenset(("rules", "model", "llm"))
DEFAULT_KEYS = "message,log,msg,body,MESSAGE"


@dataclass(frozen=True)
class CascadeOptions:
    """What `cascade_options` asked for. Plain values, so that it can be a key and travel to another process."""

    rules: tuple[Path, ...] = ()
    model: str | None = None
    taxonomy: Path | None = None
    profile: str | None = None
    routes: tuple[tuple[str, tuple[str, ...]], ...] = ()  # source globs with the stages that their lines may meet
    llm: str | None = None
    llm_model: str | None = None
    config: Path | None = None
    driver: int | None = None  # for archives: the one process that asks a language model, as long as it takes

    def setup(self) -> Setup:
        """What is to be built, looked up and read.

        Raises:
            ConfigError: the configuration, the profile, the taxonomy or a rule file is wrong.
            ArtifactError: there is no such model.
        """
        import msgspec

        from ..topology import resolve  # 0.1 s with the engine, which --help need not pay

        read = self._config()
        rules = self.rules or (tuple(map(Path, read.rules.paths)) if read else ())
        profile = self.profile or (read.profile if read else None) or DEFAULT_PROFILE
        model = self.model or (read.model.name if read else None)
        return msgspec.structs.replace(resolve(profile, self.taxonomy, rules, model), llm=self.llm_settings())

    def llm_settings(self) -> LlmSettings:
        """How a language model is asked.

        Raises:
            ConfigError: the configuration is wrong.
        """
        import msgspec

        from ..llm.settings import LlmSettings

        read = self._config()
        chosen = {"mode": self.llm, "model": self.llm_model}
        given = {name: value for name, value in chosen.items() if value is not None}
        return msgspec.structs.replace(read.llm if read else LlmSettings(), **given)

    def without_llm(self) -> CascadeOptions:
        """The same without a language model unless one was asked for on the command line: for measuring."""
        return self if self.llm else replace(self, llm="off")

    def for_archives(self) -> CascadeOptions:
        """The same with the language model that is there now, for all processes of a run and until its end; off where
        there is none.

        Raises:
            ConfigError: it must be there, and is not.
        """
        from ..llm.assembly import for_archives

        settings, missing = for_archives(self.llm_settings())
        if missing:
            log.info("what rules and model don't know stays open: %s", missing)
        return replace(self, llm=settings.mode, llm_model=settings.model, driver=os.getpid())

    def build(self) -> Cascade:
        """The cascade; raises as `setup` does, and ArtifactError for a model that does not verify."""
        from ..topology import build

        asks = self.driver in (None, os.getpid())
        return build(self.setup(), self._routes(), patient=self.driver is not None, asks=asks)

    def follow(self) -> tuple[Cascade, Callable[[], None]]:
        """The cascade for a stream, and what `pipeline.run` calls before each batch so that the stream follows
        `models use`, and asks a language model that joins in later."""
        from ..switch import Joining, Switch
        from ..topology import build

        setup = self.setup()
        cascade = build(setup, self._routes())
        looks: list[Callable[[], None]] = [Switch(cascade, setup.followed)] if setup.followed else []
        if stage := llm_of(cascade):
            looks.append(Joining(cascade, stage))

        def look() -> None:
            for each in looks:
                each()

        return cascade, look

    def _routes(self) -> list[Route]:
        from ..cascade import Route

        read = self._config()
        written = [(each.source, each.stages) for each in read.routes] if read and not self.routes else self.routes
        return [Route(source, tuple(stages)) for source, stages in written]

    def _config(self) -> Config | None:
        if self.config is None:
            return None
        from ..config import load_config

        return load_config(self.config)


def llm_of(cascade: Cascade) -> LlmStage | None:
    """The cascade's language model, if it has one."""
    return next((cast("LlmStage", stage) for stage in cascade.stages if stage.name == "llm"), None)


@contextmanager
def asking(cascade: Cascade, stop: Stop | None = None) -> Iterator[None]:
    """While a stream runs: its language model is not waited for once it is to stop, and asked nothing afterwards."""
    stage = llm_of(cascade)
    if stage and stop is not None:
        stage.stopped = lambda: bool(stop)
    try:
        yield
    finally:
        if stage:
            stage.close()


def cascade_options(command: Command) -> Command:
    """--rules, --model, --profile, --taxonomy, --route, --llm, --llm-model, --config: the command gets them as one
    CascadeOptions named `chosen`."""

    @wraps(command)
    def with_chosen(
        *args: Any,
        rules: tuple[Path, ...],
        model: str | None,
        taxonomy: Path | None,
        profile: str,
        routes: tuple[str, ...],
        llm: str | None,
        llm_model: str | None,
        config: Path | None,
        **rest: Any,
    ) -> Any:
        named = None if is_default("profile") else profile
        parsed = tuple(map(parsed_route, routes))
        chosen = CascadeOptions(rules, model, taxonomy, named, parsed, llm, llm_model, config)
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
    chosen = llm_options(with_chosen)
    return cast("Command", rules_option(model_option(vocabulary_options(route_option(chosen)))))


def is_default(name: str) -> bool:
    """Whether nobody gave an option of the running command, on the command line or by its variable."""
    source = click.get_current_context().get_parameter_source(name)
    return source in (None, click.core.ParameterSource.DEFAULT)


def llm_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--llm, --llm-model, --config."""
    mode = click.option(
        "--llm",
        type=click.Choice(["auto", "on", "off"]),
        envvar="LOGCLF_LLM",
        show_default="auto",
        help="A language model for what rules and model don't know; auto: as soon as one is there.",
    )
    name = click.option(
        "--llm-model",
        envvar="LOGCLF_LLM_MODEL",
        metavar="NAME",
        show_default="the first preferred one that the server has",
        help="Which one.",
    )
    config = click.option(
        "--config",
        type=click.Path(path_type=Path),
        envvar="LOGCLF_CONFIG",
        metavar="FILE",
        help="YAML with sections llm, routes, model, rules, profile; options and variables win over it.",
    )
    return mode(name(config(command)))


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
        default=DEFAULT_PROFILE,
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


def summary(tally: Tally, cascade: Cascade, counts: DecodeCounts) -> str:
    """The line that closes a run."""
    table = cascade.table
    seconds = max(time.monotonic() - tally.started, 1e-9)
    stages = tally.by("stage", table)
    names = {"rules": "rules", "people": "people", "model": "model", "llm": "llm", "none": "unclassified"}
    shares = ", ".join(f"{name} {share(stages[stage], tally.lines)}" for stage, name in names.items() if stages[stage])
    memory = share(tally.remembered(table), tally.lines)
    oddities = {"cut": counts.truncated, "not UTF-8": counts.invalid_utf8, "broken JSON": counts.broken_json}
    return (
        f"{tally.lines:,} lines in {seconds:,.1f} s, {tally.lines / seconds:,.0f} lines/s"
        + (f": {shares}; from memory {memory}" if tally.lines else "")
        + "".join(f"; {count:,} {what}" for what, count in oddities.items() if count)
        + llm_summary(cascade)
    )


def llm_summary(cascade: Cascade) -> str:
    """Calls and failures of a language model, where one was used."""
    stage = llm_of(cascade)
    counts = stage.counts if stage else None
    if counts is None or not (counts.calls or counts.refused):
        return ""
    failed = ", ".join(f"{count:,} {reason}" for reason, count in sorted(counts.failed.items()))
    return f"; llm calls {counts.calls:,}" + (f", failed: {failed}" if failed else "")


def share(part: int, whole: int) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "0 %"
