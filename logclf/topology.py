"""What a person asked for → the objects that do it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from . import resources
from .cache import DirectoryCache, default_directory
from .cascade import Cascade, Route, Stage
from .errors import ConfigError
from .rulefile import Rule, parse_rules, repeated_ids
from .rules import RuleSet
from .taxonomy import DEFAULT, Taxonomy

PARSED_FORMAT = "rules-1"


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
    digest = hashlib.sha256(repr((PARSED_FORMAT, taxonomy.names)).encode())
    for path, data in contents:
        digest.update(repr((str(path), len(data))).encode() + data)
    key = "parsed" + digest.hexdigest()
    kept = cache.load(key) if cache else None
    if kept is not None:
        return msgspec.msgpack.decode(kept, type=tuple[Rule, ...])
    rules = tuple(rule for path, data in contents for rule in parse_rules(data, str(path), taxonomy))
    for problem in repeated_ids(rules):
        raise problem
    if cache:
        cache.store(key, msgspec.msgpack.encode(rules))
    return rules


def build_rules(paths: Iterable[Path] = (), packs: bool = True, taxonomy: Taxonomy = DEFAULT) -> RuleSet:
    """A person's own rules, which come first, and the shipped packs."""
    cache = DirectoryCache(default_directory())
    files = resources.rule_files(list(paths)) + (resources.packs() if packs else [])
    return RuleSet(load_rules(files, taxonomy, cache), cache)


def build_cascade(
    rules: Iterable[Path] = (),
    model: str | None = "default",
    routes: Iterable[Route] = (),
    taxonomy: Taxonomy = DEFAULT,
) -> Cascade:
    """The cascade for a stream: rules, memory and, unless `model` is None, the model of that name or path."""
    stages: list[Stage] = []
    return Cascade(taxonomy, build_rules(rules, taxonomy=taxonomy), stages, routes)
