"""`logclf doctor`: what is there, what is missing, and what to type."""

from __future__ import annotations

import os
import platform
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .stream import CascadeOptions, cascade_options

if TYPE_CHECKING:
    from ..llm.calls import LlmClient
    from ..llm.prompt import PromptMaker
    from ..llm.settings import LlmSettings
    from ..topology import Setup

# The engine's modules are imported inside the checks, so that `--help` stays quick and a broken one is reported.

OK, MISSING, BROKEN = "ok", "missing", "broken"
TEMPLATE = "raid: array <path> lost disk <n>, rebuilding onto a spare"  # what the language model is tried with
LINE = "raid: array /dev/md0 lost disk 3, rebuilding onto a spare"
MOST_NAMES = 12  # models shown
WHAT_HELPS = {
    "timeout": "name a smaller model with --llm-model, or raise llm.timeout",
    "invalid_reply": "name another model with --llm-model: this one does not keep to the form it is given",
    "busy": "wait, or lower llm.concurrency where others use the server too",
}


@dataclass(frozen=True)
class Finding:
    """One row. state: ok, missing (logclf works without) or broken. fix: what to type or set."""

    check: str
    state: str
    detail: str
    fix: str = ""


@click.command("doctor")
@cascade_options
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for scripts.")
def doctor_command(chosen: CascadeOptions, as_json: bool) -> int:
    """Check engines, rules, model, directories and language model, and say what to type where one is missing.

    The language model is asked a question, as a stream would ask it. Exit 1 where something is broken, or was asked for
    and is missing.
    """
    findings: list[Finding] = []
    for finding in every_finding(chosen):
        findings.append(finding)
        if not as_json:
            click.echo(shown(finding))
    if as_json:
        from msgspec import json

        click.echo(json.encode([asdict(finding) for finding in findings]).decode())
    return 1 if any(finding.state == BROKEN for finding in findings) else 0


def shown(finding: Finding) -> str:
    """A row for people; what to type stands beneath."""
    from ..pretty import visible

    head = visible(f"{finding.state:8}{finding.check:12}{finding.detail}").rstrip()
    return head + (f"\n{'':20}→ {visible(finding.fix)}" if finding.fix else "")


def every_finding(chosen: CascadeOptions) -> Iterator[Finding]:
    """All checks, in order, as they are made."""
    yield from versions()
    settings, wrong = configured(chosen)
    if wrong:
        yield wrong
    setup, finding = (None, None) if wrong else labels(chosen)
    if finding:
        yield finding
    if setup:
        yield checked("rules", lambda: rules(setup))
        yield checked("model", lambda: model(setup))
    yield cache()
    yield state()
    if settings:
        yield from llm(settings, setup)


def configured(chosen: CascadeOptions) -> tuple[LlmSettings | None, Finding | None]:
    """What a configuration and options say of the language model, or what is wrong with them."""
    from ..errors import LogclfError

    try:
        return chosen.llm_settings(), None
    except LogclfError as error:
        return None, Finding("config", BROKEN, str(error))


def checked(check: str, work: Callable[[], str]) -> Finding:
    """A check that fails by an error of ours."""
    from ..errors import LogclfError

    try:
        return Finding(check, OK, work())
    except LogclfError as error:
        return Finding(check, BROKEN, str(error))


def versions() -> Iterator[Finding]:
    from ..matching import hyperscan
    from ..version import __version__

    yield Finding("logclf", OK, __version__)
    yield Finding("python", OK, f"{platform.python_version()}, {platform.system()} {platform.machine()}")
    if hyperscan is None:
        slower = "not installed: RE2 does its work, with the same labels, more slowly"
        yield Finding("hyperscan", MISSING, slower, "pip install hyperscan")
    else:
        yield Finding("hyperscan", OK, str(hyperscan.__version__))
    yield Finding("re2", OK, metadata.version("google-re2"))


def labels(chosen: CascadeOptions) -> tuple[Setup | None, Finding]:
    """Profile and taxonomy; None where they cannot be read."""
    from ..errors import LogclfError

    try:
        setup = chosen.setup()
    except LogclfError as error:
        return None, Finding("labels", BROKEN, str(error))
    named = f", of {chosen.taxonomy}" if chosen.taxonomy else ""
    return setup, Finding("labels", OK, f"{len(setup.taxonomy.names)} labels{named}")


def rules(setup: Setup) -> str:
    begun = time.monotonic()
    found = setup.rule_set()
    return f"{len(found.rules)} rules on {found.engine}, in {time.monotonic() - begun:.1f} s"


def model(setup: Setup) -> str:
    from ..topology import fitting_model

    if setup.model is None:
        return "none: rules alone"
    found = fitting_model(setup.model, setup.taxonomy)
    return f"{found.version}: {len(found.labels)} labels, files verified, in {setup.model}"


def cache() -> Finding:
    from ..cache import default_directory

    return directory("cache", default_directory(), "LOGCLF_CACHE_DIR", "rules are compiled anew at every start")


def state() -> Finding:
    from ..state import state_directory

    return directory("state", state_directory(), "LOGCLF_STATE_DIR", "no model and no answer can be kept")


def directory(check: str, path: Path, variable: str, without: str) -> Finding:
    """Whether a file can be written there. One that is not there yet stays so."""
    present = next((each for each in (path, *path.absolute().parents) if each.exists()), path)
    try:
        with tempfile.TemporaryFile(dir=present):
            pass
    except OSError as error:
        said = f"{path}: {error.strerror}; {without}"
        return Finding(check, BROKEN, said, f"make it writable for this user, or set {variable}")
    if present == path and path.stat().st_mode & 0o022:
        return Finding(check, BROKEN, f"{path}: others may write to it; {without}", f"chmod go-w {path}")
    return Finding(check, OK, str(path) + ("" if present == path else ", made when it is needed"))


def llm(settings: LlmSettings, setup: Setup | None) -> Iterator[Finding]:
    """Host, server, models, and a question that is timed. What is missing is broken only where it was asked for."""
    from ..errors import ConfigError
    from ..llm.calls import LlmError
    from ..llm.client import connect
    from ..llm.host import host_of

    if settings.mode == "off":
        yield Finding("llm", OK, "off")
        return
    absent = BROKEN if settings.mode == "on" else MISSING
    try:
        host = host_of(settings)
        yield Finding("llm host", OK, about_host(host, settings))
        yield from server(settings, host)
        client = connect(settings)
    except ConfigError as error:
        yield Finding("llm host", absent, str(error))
        return
    except LlmError as error:
        yield Finding("llm server", absent, str(error), how_to_serve(settings) if error.reason == "unreachable" else "")
        return
    if client is None:
        yield Finding("llm model", absent, "none that logclf would use", how_to_pull(settings))
        return
    yield Finding("llm model", OK, client.model)
    if setup:
        yield answer(client, settings, setup)


def about_host(host: str, settings: LlmSettings) -> str:
    """The address, where it is from, and whether there is a key; never the key."""
    if settings.host:
        origin = "configured"
    elif settings.provider == "ollama" and os.environ.get("OLLAMA_HOST"):
        origin = "from OLLAMA_HOST"
    else:
        origin = "the usual one"
    if settings.provider == "ollama":
        return f"{host} ({origin})"
    there = "is set" if os.environ.get(settings.api_key_env) else "is not set"
    return f"{host} ({origin}; ${settings.api_key_env} {there})"


def server(settings: LlmSettings, host: str) -> Iterator[Finding]:
    """An Ollama server's version and models; others have no version to tell."""
    if settings.provider != "ollama":
        return
    from ..llm.client import installed

    found = installed(settings)
    yield Finding("llm server", OK, f"Ollama {found.version}".rstrip())
    names = ", ".join(found.models[:MOST_NAMES]) + (", …" if len(found.models) > MOST_NAMES else "")
    yield Finding("llm models", OK, names or "none")


def how_to_serve(settings: LlmSettings) -> str:
    if settings.provider != "ollama":
        return "start the server, or name another one in llm.host"
    if shutil.which("ollama") is None:
        return "install Ollama (https://ollama.com/download), or set OLLAMA_HOST; then type: ollama serve"
    return "type: ollama serve   (elsewhere: set OLLAMA_HOST)"


def how_to_pull(settings: LlmSettings) -> str:
    from ..llm.settings import PREFERRED

    if settings.provider != "ollama":
        return "the server has several: name one with --llm-model"
    return f"type: ollama pull {settings.model or PREFERRED[0]}"


def answer(client: LlmClient, settings: LlmSettings, setup: Setup) -> Finding:
    """Ask as a stream would, twice: the first question loads the model."""
    from ..errors import ConfigError
    from ..llm.calls import LlmError, Question

    names = setup.taxonomy.names
    try:
        prompt = prompts(settings, setup).prompt(Question(TEMPLATE, LINE))
        first, second = client.ask(prompt, names), client.ask(prompt, names)
    except ConfigError as error:
        return Finding("llm answer", BROKEN, str(error))
    except LlmError as error:
        return Finding("llm answer", BROKEN, str(error), WHAT_HELPS.get(error.reason, "see the server's own log"))
    sure = "" if second.confidence is None else f", {100 * second.confidence:.0f} % sure"
    said = f"{second.label!r}{sure}, in {second.seconds:.2f} s (the first took {first.seconds:.2f} s)"
    late = f"slower than llm.max_wait ({settings.max_wait:g} s): lines with a new template go out before its answer"
    return Finding("llm answer", OK, said, late if second.seconds > settings.max_wait else "")


def prompts(settings: LlmSettings, setup: Setup) -> PromptMaker:
    """What makes a stream's prompts, with the examples of corpus and rules."""
    from ..llm.examples import ExampleFinder
    from ..llm.prompt import PromptMaker

    finder = ExampleFinder(setup.taxonomy, setup.rule_set().rules) if settings.examples else None
    return PromptMaker(setup.taxonomy, settings, finder)
