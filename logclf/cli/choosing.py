"""Options of `memory`: whose answers (--profile, --taxonomy, --config), and which of them (--label, --provenance,
--model, --older-than, --grep)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar, cast

import click
from click.core import ParameterSource

from .stream import vocabulary_options

if TYPE_CHECKING:
    from ..config import Config
    from ..llm.store import Stored
    from ..taxonomy import Taxonomy

Command = TypeVar("Command", bound=Callable[..., Any])

WHO = ("human", "rule", "model", "llm")


@dataclass(frozen=True)
class Chosen:
    """Which answers a command is about; what is None or empty chooses nothing out."""

    label: str | None = None
    provenance: str | None = None
    model: str | None = None
    older_than: float | None = None  # seconds
    grep: str | None = None

    @property
    def everything(self) -> bool:
        return self == Chosen()

    def filter(self, answers: Iterable[Stored], now: float) -> Iterator[Stored]:
        """The answers that fit."""
        searched = compiled(self.grep).search if self.grep else None
        for answer in answers:
            if (
                self.label in {None, answer.label}
                and self.provenance in {None, answer.provenance}
                and self.model in {None, answer.model}
                and (self.older_than is None or now - answer.created > self.older_than)
                and (searched is None or searched(answer.template) or searched(answer.sample))
            ):
                yield answer


def filter_options(command: Command) -> Command:
    """--label, --provenance, --model, --older-than, --grep: the command gets them as one Chosen named `chosen`."""

    @wraps(command)
    def with_chosen(
        *args: Any,
        label: str | None,
        provenance: str | None,
        model: str | None,
        older_than: float | None,
        grep: str | None,
        **rest: Any,
    ) -> Any:
        return command(*args, chosen=Chosen(label, provenance, model, older_than, grep), **rest)

    options = (
        click.option("--label", metavar="LABEL", help="Only answers with this label."),
        click.option("--provenance", type=click.Choice(WHO), help="Only answers that these gave."),
        click.option("--model", metavar="NAME", help="Only answers of this model."),
        click.option("--older-than", metavar="30d", callback=_duration, help="Only older answers: s, m, h, d."),
        click.option("--grep", metavar="RE", callback=_pattern, help="Only where template or sample has this (RE2)."),
    )
    decorated: Any = with_chosen
    for option in reversed(options):
        decorated = option(decorated)
    return cast("Command", decorated)


def _duration(context: click.Context, option: click.Parameter, text: str | None) -> float | None:
    from ..config import seconds  # with YAML (30 ms), which one option needs
    from ..errors import ConfigError

    if text is None:
        return None
    try:
        return seconds(text, "--older-than")
    except ConfigError as error:
        raise click.BadParameter(error.message) from error


def _pattern(context: click.Context, option: click.Parameter, text: str | None) -> str | None:
    import re2  # linear time on whatever was logged; one option needs it

    if text is not None:
        try:
            compiled(text)
        except re2.error as error:
            raise click.BadParameter(f"RE2 refuses it: {str(error.args[0], 'utf-8', 'replace')}") from error
    return text


def compiled(pattern: str) -> Any:
    """A pattern for RE2, which says nothing on stderr by itself."""
    import re2

    options = re2.Options()
    options.log_errors = False
    return re2.compile(text_of(pattern), options)


@dataclass(frozen=True)
class About:
    """Whose memory is meant."""

    profile: str
    taxonomy: Path | None
    config: Config | None

    def labels(self) -> Taxonomy:
        """The labels of the profile or taxonomy.

        Raises:
            ConfigError: there is none such, or it is wrong.
        """
        from ..topology import NO_MODEL, resolve

        return resolve(self.profile, self.taxonomy, (), NO_MODEL).taxonomy

    def mask(self) -> Callable[[str], str]:
        """What takes secrets out of lines and templates, as it does in a stream of this configuration."""
        from ..llm.redact import Redactor

        return Redactor(self.config.llm.redact if self.config else ()).mask


def about_options(command: Command) -> Command:
    """--profile, --taxonomy, --config: the command gets them as one About named `about`."""

    @wraps(command)
    def with_about(*args: Any, profile: str, taxonomy: Path | None, config: Path | None, **rest: Any) -> Any:
        loaded = _loaded(config) if config else None
        if loaded and loaded.profile and _is_default("profile"):
            profile = loaded.profile
        return command(*args, about=About(profile, taxonomy, loaded), **rest)

    config_option = click.option(
        "--config",
        type=click.Path(path_type=Path),
        envvar="LOGCLF_CONFIG",
        metavar="FILE",
        help="Take profile and `llm.redact` from here, as streams do.",
    )
    return cast("Command", vocabulary_options(config_option(with_about)))


def _loaded(path: Path) -> Config:
    from ..config import load_config

    return load_config(path)


def _is_default(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is ParameterSource.DEFAULT


def text_of(argument: str) -> str:
    """An argument as text, whatever bytes it had."""
    return argument.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
