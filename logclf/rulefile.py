"""YAML rule files → rules, with file:line for whatever is wrong.

version: 1
rules:
  - id: sshd.failed_password
    label: Security Alert
    match: {any: ['Failed \\S+ for (?P<user>\\S+) from']}
    examples: {match: ["Failed password for root from 10.0.0.9 port 50273 ssh2"]}
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import yaml

from .errors import ConfigError, PatternError
from .matching import engines_refuse
from .patterns import Pattern, parse
from .taxonomy import Taxonomy
from .yamlfile import at, child, compose, construct, convert, nearest, read_bytes

VERSION = 1
KIND = "rule file"
RULE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")

FieldType = Literal["str", "int", "float", "ip"]
SeverityName = Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
MAX_PRIORITY = 1_000_000
Priority = Annotated[int, msgspec.Meta(ge=-MAX_PRIORITY, le=MAX_PRIORITY)]


class Where(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The rule applies only to lines of these sources and paths (shell globs); both must hold where both are given."""

    source: tuple[str, ...] = ()
    path: tuple[str, ...] = ()


class Match(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A line matches when one of `any` is found in it and none of `none` is."""

    any: tuple[str, ...]
    none: tuple[str, ...] = ()


class Examples(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Lines that the rule must win, and lines that it must not."""

    match: tuple[str, ...]
    no_match: tuple[str, ...] = ()


class RuleSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One rule as written. Of all rules that match a line the highest priority wins, then the first."""

    id: str
    label: str
    match: Match
    examples: Examples
    severity: SeverityName | None = None
    priority: Priority = 0
    where: Where = Where()
    fields: dict[str, FieldType] = {}
    description: str = ""
    references: tuple[str, ...] = ()


class Rule(msgspec.Struct, frozen=True):
    """A rule that passed its checks: what was written, where (`file:line`), and its parsed patterns."""

    spec: RuleSpec
    origin: str
    priority: int
    any: tuple[Pattern, ...]
    none: tuple[Pattern, ...]

    @property
    def id(self) -> str:
        return self.spec.id

    @property
    def captures(self) -> bool:
        """Whether a line that it wins has fields to capture."""
        return bool([pattern for pattern in self.any if pattern.names])


class Header(msgspec.Struct, forbid_unknown_fields=True):
    """A rule file; `priority` is that of its rules that name none themselves."""

    version: int
    rules: list[Any]
    description: str = ""
    priority: Priority = 0


def load_file(path: Path, taxonomy: Taxonomy) -> tuple[Rule, ...]:
    """Read one rule file.

    Raises:
        ConfigError: the first thing that is wrong with it, with file:line.
    """
    return parse_rules(read_bytes(path, KIND), str(path), taxonomy)


def parse_rules(data: bytes, name: str, taxonomy: Taxonomy) -> tuple[Rule, ...]:
    """Parse a rule file's bytes; `name` is what messages call it."""
    found, problems = check_rules(data, name, taxonomy)
    if problems:
        raise problems[0]
    return found


def check_rules(data: bytes, name: str, taxonomy: Taxonomy) -> tuple[tuple[Rule, ...], list[ConfigError]]:
    """The good rules of a file and everything that is wrong with the others."""
    try:
        root = compose(data, name, KIND, "`version:` and `rules:`")
        content = construct(root, name)
        header = convert(content, Header, root, name)
        if header.version != VERSION:
            raise ConfigError(
                f"version {header.version} is not known here; this logclf reads {VERSION}", at(root, name)
            )
    except ConfigError as error:
        return (), [error]
    found: list[Rule] = []
    problems: list[ConfigError] = []
    found_rules = child(root, "rules")
    nodes = found_rules[1].value if found_rules else []
    for node, raw in zip(nodes, header.rules, strict=True):
        try:
            spec = convert(raw, RuleSpec, node, name)
            wrong = list(_problems(spec, node, name, taxonomy))
            problems += wrong
            if not wrong:
                priority = spec.priority if "priority" in raw else header.priority
                patterns = (tuple(map(parse, spec.match.any)), tuple(map(parse, spec.match.none)))
                found.append(Rule(spec, at(node, name), priority, *patterns))
        except ConfigError as error:
            problems.append(error)
    return tuple(found), problems + list(repeated_ids(found))


def repeated_ids(rules: Iterable[Rule]) -> Iterator[ConfigError]:
    """An error for each rule whose id an earlier one has."""
    first: dict[str, str] = {}
    for rule in rules:
        if rule.id in first:
            yield ConfigError(f"rule {rule.id} exists already, at {first[rule.id]}", rule.origin)
        first.setdefault(rule.id, rule.origin)


def _problems(rule: RuleSpec, node: yaml.Node, name: str, taxonomy: Taxonomy) -> Iterator[ConfigError]:
    """What is wrong with a rule whose shape is right."""
    if not RULE_ID.fullmatch(rule.id):
        yield ConfigError(f"a rule id is letters, digits, '.', '_' and '-', not {rule.id!r}", at(node, name, "id"))
    if rule.label not in taxonomy.names:
        yield ConfigError(f"unknown label {rule.label!r}{nearest(rule.label, taxonomy.names)}", at(node, name, "label"))
    if not rule.match.any:
        yield ConfigError("match.any needs a pattern", at(node, name, "match", "any"))
    if not rule.examples.match:
        yield ConfigError("examples.match needs a line that this rule matches", at(node, name, "examples", "match"))
    names: set[str] = set()
    for key, sources in (("any", rule.match.any), ("none", rule.match.none)):
        for number, source in enumerate(sources):
            try:
                pattern = parse(source)
                names.update(pattern.names)
                if why := engines_refuse(pattern):
                    raise PatternError(why)
            except PatternError as error:
                yield ConfigError(f"pattern {source!r} {error}", at(node, name, "match", key, number))
    for field in rule.fields:
        if field not in names:
            yield ConfigError(
                f"field {field!r} is captured by no pattern{nearest(field, names)}", at(node, name, "fields", field)
            )
