"""What a person asked for → the objects that do it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from . import resources
from .cache import DirectoryCache, default_directory
from .cascade import Cascade, Route, Stage
from .errors import ArtifactError
from .model import Model, load_model, read_manifest
from .pretty import visible
from .profile import DEFAULT_PROFILE, load_profile
from .rulefile import KIND, MAX_PRIORITY, Rule, parse_rules, repeated_ids
from .rules import RuleSet
from .store import SHIPPED, Store, shipped_names
from .taxonomy import DEFAULT, Taxonomy
from .taxonomyfile import load_taxonomy
from .version import __version__
from .yamlfile import read_bytes

if TYPE_CHECKING:
    from .llm.settings import LlmSettings

log = logging.getLogger(__name__)

PARSED_FORMAT = "rules-13"
CURRENT, NO_MODEL = "current", "none"  # words of --model


def load_rules(paths: Sequence[Path], taxonomy: Taxonomy, cache: DirectoryCache | None) -> tuple[Rule, ...]:
    """Rules of some files, in order. What was parsed is kept by content: YAML takes longer than all else at start.

    Raises:
        ConfigError: the first thing that is wrong, with file:line.
    """
    contents = [(path, read_bytes(path, KIND)) for path in paths]
    digest = hashlib.sha256(repr((__version__, PARSED_FORMAT, taxonomy.names)).encode())
    for path, data in contents:
        digest.update(repr((str(path), len(data))).encode() + data)
    key = "parsed" + digest.hexdigest()
    kept = cache.load(key) if cache else None
    if kept is not None:
        try:
            return msgspec.msgpack.decode(kept, type=tuple[Rule, ...])
        except msgspec.MsgspecError:
            log.info("the kept rules are of another logclf: reading them again")
    rules = tuple(rule for path, data in contents for rule in parse_rules(data, str(path), taxonomy))
    for problem in repeated_ids(rules):
        raise problem
    if cache:
        cache.store(key, msgspec.msgpack.encode(rules))
    return rules


def build_rules(
    paths: Iterable[Path] = (),
    packs: bool = True,
    taxonomy: Taxonomy = DEFAULT,
    profile_rules: Iterable[Path] = (),
) -> RuleSet:
    """A person's own rules, which come first, then their profile's, then the shipped packs where their labels fit."""
    cache = DirectoryCache(default_directory())
    own = load_rules(resources.rule_files(list(paths)), taxonomy, cache)
    profile = load_rules(list(profile_rules), taxonomy, cache)
    shipped = load_rules(resources.packs(), taxonomy, cache) if packs and packs_fit(taxonomy) else ()
    return RuleSet(together(own, together(profile, shipped)), cache)


def packs_fit(taxonomy: Taxonomy) -> bool:
    """Whether every label that the shipped packs give is one of the taxonomy's; they give all the default ones."""
    return set(DEFAULT.names) <= set(taxonomy.names)


def together(own: Sequence[Rule], others: Iterable[Rule]) -> list[Rule]:
    """A person's own rules and others (shipped ones, a profile's): their own come first whatever the priorities, and
    one of theirs replaces the other rule of the same id."""
    ids = {rule.id for rule in own}
    if not ids:
        return list(others)
    below = 2 * MAX_PRIORITY + 1
    behind = [msgspec.structs.replace(rule, priority=rule.priority - below) for rule in others if rule.id not in ids]
    return [*own, *behind]


def model_directory(name: str) -> Path:
    """Where a model lies: a shipped or stored one by its name (`default`, `bank`, `bank@2`; `current` is what
    `models use` chose), else a directory by its path (`./default` for one so named).

    Raises:
        ArtifactError: neither.
    """
    store = Store()
    if name == CURRENT:
        return store.path(str(store.current()))
    if store.find(name):
        return store.path(name)
    if Path(name).is_dir():
        return Path(name)
    shipped, stored = ", ".join(shipped_names()), ", ".join(map(str, store.stored()))
    kept = f", nor in {store.directory} ({stored})" if stored else ""
    raise ArtifactError(f"no model {name!r}: neither a directory nor a shipped model ({shipped}){kept}")


class Setup(msgspec.Struct, frozen=True):
    """Everything that a cascade is built from, looked up: nothing is left to be guessed.

    rules, profile_rules: a person's own rule files and directories and, behind them, the profile's files.
    packs: whether the shipped packs come behind both.
    model: the artifact's directory; None for rules alone.
    followed: what `models use` chose, where nobody named a model: a later choice may replace the model while it runs.
    llm: how a language model is asked what is left; None for not at all.
    """

    taxonomy: Taxonomy = DEFAULT
    rules: tuple[Path, ...] = ()
    profile_rules: tuple[Path, ...] = ()
    packs: bool = True
    model: Path | None = None
    followed: Path | None = None
    llm: LlmSettings | None = None

    def rule_set(self) -> RuleSet:
        """All its rules in the order in which they are tried."""
        return build_rules(self.rules, self.packs, self.taxonomy, self.profile_rules)


def resolve(
    profile: str = DEFAULT_PROFILE,
    taxonomy: Path | None = None,
    rules: Sequence[Path] = (),
    model: str | None = None,
) -> Setup:
    """What a person asked for → what is to be built. Their own taxonomy and model replace the profile's.

    model: a name or path, "none", or None where nothing was asked for.

    Raises:
        ConfigError: the profile or taxonomy is wrong, with file:line.
        ArtifactError: there is no such model.
    """
    found = load_profile(profile)
    labels = load_taxonomy(taxonomy) if taxonomy else found.taxonomy
    setup = Setup(labels, tuple(rules), found.rules, packs_fit(labels))
    if model == NO_MODEL:
        return setup
    if model is None and found.model:
        return msgspec.structs.replace(setup, model=found.model)
    if model not in (None, CURRENT):
        return msgspec.structs.replace(setup, model=model_directory(model))
    followed = model_directory(CURRENT)
    directory = followed if model else first_that_fits(labels, followed, model_directory(SHIPPED))
    return msgspec.structs.replace(setup, model=directory, followed=followed)


def first_that_fits(taxonomy: Taxonomy, chosen: Path, shipped: Path) -> Path | None:
    """Where nobody named a model: what `models use` chose, else the shipped one, else none, as the labels fit."""
    other = strangers(read_manifest(chosen).labels, taxonomy)
    if not other:
        return chosen
    if chosen == shipped:
        return None
    log.warning("the model in use, %s, gives labels that this taxonomy lacks: %s; not used", chosen, other)
    return None if strangers(read_manifest(shipped).labels, taxonomy) else shipped


def build(setup: Setup, routes: Iterable[Route] = (), patient: bool = False, asks: bool = True) -> Cascade:
    """The cascade of a setup: rules, memory and, unless it has none, its model and its language model.

    patient: the language model is waited for as long as it takes. asks: False where another process asks it.

    Raises:
        ConfigError: a rule file is wrong, with file:line; a language model that must be there is not.
        ArtifactError: the model does not verify, or gives labels that the taxonomy lacks.
    """
    stages: list[Stage] = [fitting_model(setup.model, setup.taxonomy)] if setup.model else []
    rules = setup.rule_set()
    if setup.llm:
        from .llm.assembly import llm_stage, people_stage  # with redaction, for those who use it

        if people := people_stage(setup.taxonomy, setup.llm):
            stages.insert(0, people)
        if stage := llm_stage(setup.llm, setup.taxonomy, rules.rules, patient, asks):
            stages.append(stage)
    return Cascade(setup.taxonomy, rules, stages, routes)


def fitting_model(directory: Path, taxonomy: Taxonomy) -> Model:
    """A model that verifies and gives none but the taxonomy's labels.

    Raises:
        ArtifactError: it does not.
    """
    model = load_model(directory)
    if other := strangers(model.labels, taxonomy):
        raise ArtifactError(
            f"model {visible(model.version)} gives labels that this taxonomy lacks: {other}; "
            "name the one that has them with --profile or --taxonomy"
        )
    return model


def strangers(labels: Iterable[str], taxonomy: Taxonomy) -> list[str]:
    """The labels that a taxonomy lacks."""
    return sorted(set(labels) - set(taxonomy.names))


def build_cascade(
    rules: Iterable[Path] = (),
    model: str | None = "default",
    routes: Iterable[Route] = (),
    packs: bool = True,
    taxonomy: Taxonomy = DEFAULT,
) -> Cascade:
    """The cascade of some rules and the model of that name or path, None for rules alone."""
    directory = None if model is None else model_directory(model)
    return build(Setup(taxonomy, tuple(rules), packs=packs, model=directory), routes)
