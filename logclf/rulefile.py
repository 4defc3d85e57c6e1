"""YAML rule files → rules, with file:line for whatever is wrong.

version: 1
rules:
  - id: sshd.failed_password
    label: Security Alert
    match: {any: ['Failed \\S+ for (?P<user>\\S+) from']}
    examples: {match: ["Failed password for root from 10.0.0.9 port 50273 ssh2"]}
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar, get_args

import msgspec
import yaml

from .errors import ConfigError, PatternError
from .matching import engines_refuse
from .patterns import Pattern, parse
from .taxonomy import Taxonomy

VERSION = 1
MAX_FILE = 16 << 20
MAX_DEPTH = 32  # of nesting; rules need seven levels
RULE_ID = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")
T = TypeVar("T", bound=msgspec.Struct)
SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

FieldType = Literal["str", "int", "float", "ip"]
SeverityName = Literal["TRACE", "DEBUG", "INFO", "WARN", "ERROR", "FATAL"]
FIELD_TYPES, SEVERITY_NAMES = get_args(FieldType), get_args(SeverityName)
MAX_PRIORITY = 1_000_000
Priority = Annotated[int, msgspec.Meta(ge=-MAX_PRIORITY, le=MAX_PRIORITY)]
TEXT = "tag:yaml.org,2002:str"


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
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read this rule file: {error.strerror}", str(path)) from error
    return parse_rules(data, str(path), taxonomy)


def parse_rules(data: bytes, name: str, taxonomy: Taxonomy) -> tuple[Rule, ...]:
    """Parse a rule file's bytes; `name` is what messages call it."""
    found, problems = check_rules(data, name, taxonomy)
    if problems:
        raise problems[0]
    return found


def check_rules(data: bytes, name: str, taxonomy: Taxonomy) -> tuple[tuple[Rule, ...], list[ConfigError]]:
    """The good rules of a file and everything that is wrong with the others."""
    try:
        root = _compose(data, name)
        content = _construct(root, name)
        header = _convert(content, Header, root, name)
        if header.version != VERSION:
            raise ConfigError(
                f"version {header.version} is not known here; this logclf reads {VERSION}", _at(root, name)
            )
    except ConfigError as error:
        return (), [error]
    found: list[Rule] = []
    problems: list[ConfigError] = []
    found_rules = _child(root, "rules")
    nodes = found_rules[1].value if found_rules else []
    for node, raw in zip(nodes, header.rules, strict=True):
        try:
            spec = _convert(raw, RuleSpec, node, name)
            wrong = list(_problems(spec, node, name, taxonomy))
            problems += wrong
            if not wrong:
                priority = spec.priority if "priority" in raw else header.priority
                patterns = (tuple(map(parse, spec.match.any)), tuple(map(parse, spec.match.none)))
                found.append(Rule(spec, _at(node, name), priority, *patterns))
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
        yield ConfigError(f"a rule id is letters, digits, '.', '_' and '-', not {rule.id!r}", _at(node, name, "id"))
    if rule.label not in taxonomy.names:
        yield ConfigError(
            f"unknown label {rule.label!r}{_nearest(rule.label, taxonomy.names)}", _at(node, name, "label")
        )
    if not rule.match.any:
        yield ConfigError("match.any needs a pattern", _at(node, name, "match", "any"))
    if not rule.examples.match:
        yield ConfigError("examples.match needs a line that this rule matches", _at(node, name, "examples", "match"))
    names: set[str] = set()
    for key, sources in (("any", rule.match.any), ("none", rule.match.none)):
        for number, source in enumerate(sources):
            try:
                pattern = parse(source)
                names.update(pattern.names)
                if why := engines_refuse(pattern):
                    raise PatternError(why)
            except PatternError as error:
                yield ConfigError(f"pattern {source!r} {error}", _at(node, name, "match", key, number))
    for field in rule.fields:
        if field not in names:
            yield ConfigError(
                f"field {field!r} is captured by no pattern{_nearest(field, names)}", _at(node, name, "fields", field)
            )


def _compose(data: bytes, name: str) -> yaml.Node:
    if len(data) > MAX_FILE:
        raise ConfigError(f"a rule file of {len(data)} bytes; the limit is {MAX_FILE}", name)
    try:
        text = data.decode("utf-8")
        _refuse_odd_events(text, name)
        node = SafeLoader(text).get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError("expected `version:` and `rules:`", f"{name}:1")
        _refuse_odd_keys(node, name)
    except UnicodeDecodeError as error:
        raise ConfigError("not UTF-8", f"{name}:{_line_at(data, error.start)}") from error
    except yaml.reader.ReaderError as error:
        raise ConfigError(f"not YAML: {error.reason}", f"{name}:{_line_at(data, error.position)}") from error
    except yaml.YAMLError as error:
        raise _not_yaml(error, name) from error
    return node


def _line_at(data: bytes, offset: int) -> int:
    return data.count(b"\n", 0, offset) + 1


def _not_yaml(error: yaml.YAMLError, name: str) -> ConfigError:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return ConfigError(f"not YAML: {problem}", f"{name}:{mark.line + 1}" if mark else name)


def _refuse_odd_events(text: str, name: str) -> None:
    """Aliases, which could make a small file huge, and deep nesting, on which libyaml's recursion overflows its stack.

    Events come one at a time, so nothing is built of what is refused here.
    """
    depth = 0
    loader = SafeLoader(text)
    while not isinstance(event := loader.get_event(), (yaml.StreamEndEvent, type(None))):
        if isinstance(event, yaml.AliasEvent):
            raise ConfigError("YAML aliases (*name) are not supported here", _mark(event, name))
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise ConfigError(f"nested more than {MAX_DEPTH} levels deep", _mark(event, name))
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _mark(event: Any, name: str) -> str:
    return f"{name}:{event.start_mark.line + 1}"


def _refuse_odd_keys(root: yaml.Node, name: str) -> None:
    """Repeated keys, which YAML would silently merge, and keys that are not text."""
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, yaml.MappingNode):
            keys: set[str] = set()
            for key, value in node.value:
                if not isinstance(key, yaml.ScalarNode) or key.tag != TEXT:
                    raise ConfigError("a key must be text; quote it if it is meant as such", _at(key, name))
                if key.value in keys:
                    raise ConfigError(f"key {key.value!r} is given twice", _at(key, name))
                keys.add(key.value)
                pending.append(value)
        elif isinstance(node, yaml.SequenceNode):
            pending += node.value


class _Constructor(yaml.constructor.SafeConstructor):
    """YAML's own, which tells no place when a number or date is none."""

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except ValueError as error:
            raise yaml.constructor.ConstructorError(None, None, str(error), node.start_mark) from error


def _construct(node: yaml.Node, name: str) -> Any:
    """Plain values of a node tree; scalars are text but for what YAML itself calls a number or truth value."""
    try:
        return _Constructor().construct_document(node)
    except yaml.YAMLError as error:
        raise _not_yaml(error, name) from error


UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<key>.*)`", re.DOTALL)
INVALID_VALUE = re.compile(r"Invalid enum value '(?P<value>.*)'", re.DOTALL)
ERROR_PATH = re.compile(r" - at `\$?(?P<path>[^`]*)`$")


def _convert(value: Any, shape: type[T], node: yaml.Node, name: str) -> T:
    """Hold a value against a struct; errors point at the line of the key they are about."""
    try:
        return msgspec.convert(value, shape, strict=True)
    except msgspec.ValidationError as error:
        text = str(error)
        found = ERROR_PATH.search(text)
        path = [part for part in re.split(r"[.\[\]]+", found["path"] if found else "") if part]
        if path == ["fields"] and isinstance(value["fields"], dict):  # msgspec does not say which one
            path.append(next(field for field, kind in value["fields"].items() if kind not in FIELD_TYPES))
        message = ERROR_PATH.sub("", text)
        unknown, invalid = UNKNOWN_FIELD.fullmatch(message), INVALID_VALUE.fullmatch(message)
        where = ".".join(path)
        if unknown:
            message = f"unknown key {unknown['key']!r}{_nearest(unknown['key'], _known_keys(shape, path))}"
            path.append(unknown["key"])
        elif invalid:
            options = FIELD_TYPES if path[0] == "fields" else SEVERITY_NAMES
            message = f"{invalid['value']!r} is not known here{_nearest(invalid['value'], options)}"
        raise ConfigError(f"{where}: {message}" if where else message, _at(node, name, *path)) from error


def _known_keys(shape: type[msgspec.Struct], path: list[str]) -> list[str]:
    parts: dict[str, type[msgspec.Struct]] = {"match": Match, "where": Where, "examples": Examples}
    inner = parts.get(path[0], shape) if path else shape
    return list(inner.__struct_fields__)


def _nearest(word: str, known: Iterable[str]) -> str:
    options = sorted(known)
    near = difflib.get_close_matches(word, options, 1, 0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known are {', '.join(options)}" if options else ""


def _child(node: yaml.Node, key: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The node below a key or at an index, behind the one that marks its place: the key, or the item itself."""
    if isinstance(node, yaml.MappingNode):
        return next(((name, value) for name, value in node.value if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and str(key).isdecimal() and int(key) < len(node.value):
        item: yaml.Node = node.value[int(key)]
        return item, item
    return None


def _at(node: yaml.Node, name: str, *path: str | int) -> str:
    """`file:line` of what the path leads to, as far down as it exists."""
    place = node
    for key in path:
        child = _child(node, key)
        if child is None:
            break
        place, node = child
    return f"{name}:{place.start_mark.line + 1}"
