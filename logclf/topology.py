"""What a person asked for → the objects that do it."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from . import resources
from .cache import DirectoryCache, default_directory
from .cascade import Cascade, Route, Stage
from .errors import ArtifactError, ConfigError
from .model import load_model
from .rulefile import MAX_PRIORITY, Rule, parse_rules, repeated_ids
from .rules import RuleSet
from .taxonomy import DEFAULT, Taxonomy
from .version import __version__

log = logging.getLogger(__name__)

PARSED_FORMAT = "rules-13"


def load_rules(paths: Sequence[Path], taxonomy: Taxonomy, cache: DirectoryCache | None) -> tuple[Rule, ...]:
    """Rules of some files, in order. What was parsed is kept by content: YAML takes longer than all else at start.

    Raises:
        ConfigError: the first thing that is wrong, with file:line.
    """
    contents: list[tuple[Path, bytes]] = []
    for path in paths:
        try:
            contents.append((path, path.read_bytes()))
        except OSError as error:
            raise ConfigError(f"cannot read this rule file: {error.strerror}", str(path)) from error
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


def build_rules(paths: Iterable[Path] = (), packs: bool = True, taxonomy: Taxonomy = DEFAULT) -> RuleSet:
    """A person's own rules, which come first, and the shipped packs."""
    cache = DirectoryCache(default_directory())
    own = load_rules(resources.rule_files(list(paths)), taxonomy, cache)
    shipped = load_rules(resources.packs(), taxonomy, cache) if packs else ()
    return RuleSet(together(own, shipped), cache)


def together(own: Sequence[Rule], shipped: Iterable[Rule]) -> list[Rule]:
    """A person's own rules and the shipped ones: their own come first whatever the priorities, and one of theirs
    replaces the shipped rule of the same id."""
    ids = {rule.id for rule in own}
    below = 2 * MAX_PRIORITY + 1
    behind = [msgspec.structs.replace(rule, priority=rule.priority - below) for rule in shipped if rule.id not in ids]
    return [*own, *behind]


def model_directory(name: str) -> Path:
    """Where a model lies: a shipped model by its name, else a directory by its path (`./default` for one so named).

    Raises:
        ArtifactError: neither.
    """
    path = Path(name)
    shipped = resources.MODELS / name
    if path.name == name and shipped.is_dir():
        return shipped
    if path.is_dir():
        return path
    known = ", ".join(sorted(found.name for found in resources.MODELS.iterdir() if found.is_dir()))
    raise ArtifactError(f"no model {name!r}: neither a directory nor a shipped model ({known})")


def build_cascade(
    rules: Iterable[Path] = (),
    model: str | None = "default",
    routes: Iterable[Route] = (),
    packs: bool = True,
    taxonomy: Taxonomy = DEFAULT,
) -> Cascade:
    """The cascade for a stream: rules, memory and, unless `model` is None, the model of that name or path."""
    stages: list[Stage] = []
    if model is not None:
        found = load_model(model_directory(model))
        strangers = set(found.labels) - set(taxonomy.names)
        if strangers:
            raise ArtifactError(f"model {found.version} gives labels that this taxonomy lacks: {sorted(strangers)}")
        stages.append(found)
    return Cascade(taxonomy, build_rules(rules, packs, taxonomy), stages, routes)
