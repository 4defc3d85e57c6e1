"""The stage put together from its parts: settings → store, redaction, client, prompts.

Nothing heavy is loaded here before a server is there: SQLite where answers are kept already, the client (0.3 s, httpx)
where something listens.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from ..errors import ConfigError
from ..rulefile import Rule
from ..state import state_directory
from ..taxonomy import Taxonomy
from .calls import UNSURE, LlmClient, LlmError, Question
from .people import People
from .questions import Questions
from .redact import Redactor
from .settings import PREFERRED, LlmSettings
from .stage import Connection, Known, LlmStage

if TYPE_CHECKING:
    from .store import AnswerStore, Stored

MEMORY = "memory.sqlite"  # store.FILE, which comes with SQLite


class StoreShelf:
    """The answers of all processes on this host, as the stage sees them. Opened when there is something to find."""

    def __init__(self, taxonomy: Taxonomy, settings: LlmSettings) -> None:
        self._taxonomy, self._settings = taxonomy, settings
        self._path = state_directory() / MEMORY
        self._store: AnswerStore | None = None
        self._lock = threading.Lock()

    def find(self, templates: Sequence[str]) -> Mapping[str, Known]:
        if self._store is None and not self._path.exists():
            return {}
        from .prompt import PROMPT_VERSION

        found = self._opened().get(templates, self._taxonomy, PROMPT_VERSION, time.time())
        return {template: self._known(stored) for template, stored in found.items()}

    def keep(self, question: Question, known: Known) -> None:
        from .prompt import PROMPT_VERSION
        from .store import Stored, fingerprint

        now = time.time()
        answer = Stored(
            template=question.template,
            label=known.label,
            confidence=known.confidence,
            provenance="llm",
            taxonomy=fingerprint(self._taxonomy),
            created=now,
            expires=now + self._settings.ttl,
            sample=question.sample,
            source=question.source,
            model=known.model,
            prompt_version=PROMPT_VERSION,
        )
        self._opened().put([answer])

    def people(self) -> list[tuple[str, str]]:
        """What people said, to be shown as examples."""
        return self._opened().human(self._taxonomy)

    def close(self) -> None:
        if self._store is not None:
            self._store.close()

    def _opened(self) -> AnswerStore:
        from .store import AnswerStore

        with self._lock:
            if self._store is None:
                self._store = AnswerStore(self._path)
            return self._store

    def _known(self, stored: Stored) -> Known:
        machine = stored.provenance == "llm"
        sure = not machine or (stored.label != UNSURE and stored.confidence >= self._settings.min_confidence)
        return Known(stored.label, stored.confidence, stored.model or stored.provenance, stored.stale, sure)


def llm_stage(
    settings: LlmSettings, taxonomy: Taxonomy, rules: Sequence[Rule] = (), patient: bool = False, asks: bool = True
) -> LlmStage | None:
    """The stage that settings ask for; None where they turn it off.

    In auto mode it looks for a server in the background. rules: whose examples are shown. patient: wait for every
    answer. asks: False for one that only knows what is kept already.

    Raises:
        ConfigError: mode `on`, and server or model are not there; a pattern of `redact` is wrong.
    """
    if settings.mode == "off":
        return None
    shelf = StoreShelf(taxonomy, settings)
    stage = LlmStage(
        settings,
        taxonomy.names,
        lambda: connection(settings, taxonomy, rules, shelf),
        shelf,
        Redactor(settings.redact).mask,
        patient=patient,
    )
    if asks and settings.mode == "on":
        stage.connect()
    elif asks:
        stage.look_around()
    return stage


def people_stage(taxonomy: Taxonomy, settings: LlmSettings) -> People | None:
    """What people said of templates, with labels of this taxonomy; None where nobody has said anything."""
    if not (state_directory() / MEMORY).exists():
        return None
    shelf = StoreShelf(taxonomy, settings)
    names = set(taxonomy.names)
    said = {template: label for template, label in reversed(shelf.people()) if label in names}
    shelf.close()
    return People(said, Questions(Redactor(settings.redact).mask)) if said else None


def connection(settings: LlmSettings, taxonomy: Taxonomy, rules: Sequence[Rule], shelf: StoreShelf) -> Connection:
    """A client and what makes its prompts; raises as `found_client`."""
    client = found_client(settings)
    from .examples import ExampleFinder
    from .prompt import PromptMaker

    finder = ExampleFinder(taxonomy, rules, shelf.people) if settings.examples else None
    if finder:
        finder.warm()  # 2 s the first time on a machine, for which no line should wait
    return Connection(client, PromptMaker(taxonomy, settings, finder))


def found_client(settings: LlmSettings) -> LlmClient:
    """A client of a server that has the model.

    Raises:
        LlmError: the server or the model is not there.
        ConfigError: the host is not allowed.
    """
    from .host import check_listening, host_of, is_loopback

    host = host_of(settings)
    if is_loopback(host):
        check_listening(host)  # a millisecond, before what takes 0.3 s to import
    from .client import connect

    client = connect(settings)
    if client is None:
        wanted = settings.model or PREFERRED[0]
        raise LlmError("no_model", f"{host} has no model that is wanted; `ollama pull {wanted}` gets one")
    return client


def for_archives(settings: LlmSettings) -> tuple[LlmSettings, str]:
    """What a run over archives uses from its beginning to its end: the settings with mode on and the model that is
    there, or mode off; and what is missing then.

    Raises:
        ConfigError: mode `on`, and server or model are not there.
    """
    if settings.mode == "off":
        return settings, ""
    try:
        model = found_client(settings).model
    except (LlmError, ConfigError) as error:
        if settings.mode == "on":
            raise ConfigError(str(error)) from error
        return msgspec.structs.replace(settings, mode="off"), str(error)
    return msgspec.structs.replace(settings, mode="on", model=model), ""
