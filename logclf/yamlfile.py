"""YAML that people write → structs, with file:line for whatever is wrong. Rules and taxonomies are read by it.

A file is hostile until it is read: no aliases, no deep nesting, no tags that construct anything but plain values.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml
from msgspec import inspect

from .errors import ConfigError

MAX_FILE = 16 << 20
MAX_DEPTH = 32  # of nesting; rules need seven levels
T = TypeVar("T", bound=msgspec.Struct)
SafeLoader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TEXT = "tag:yaml.org,2002:str"


def read_bytes(path: Path, kind: str) -> bytes:
    """A file's content; `kind` is what messages call such a file.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(f"cannot read this {kind}: {error.strerror}", str(path)) from error


def compose(data: bytes, name: str, kind: str, expected: str) -> yaml.Node:
    """The node tree of a file that is one mapping; `kind` and `expected` say what it should have been.

    Raises:
        ConfigError: it is not, with file:line.
    """
    if len(data) > MAX_FILE:
        raise ConfigError(f"a {kind} of {len(data)} bytes; the limit is {MAX_FILE}", name)
    try:
        text = data.decode("utf-8")
        _refuse_odd_events(text, name)
        node = SafeLoader(text).get_single_node()
        if not isinstance(node, yaml.MappingNode):
            raise ConfigError(f"expected {expected}", f"{name}:1")
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
                    raise ConfigError("a key must be text; quote it if it is meant as such", at(key, name))
                if key.value in keys:
                    raise ConfigError(f"key {key.value!r} is given twice", at(key, name))
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


def construct(node: yaml.Node, name: str) -> Any:
    """Plain values of a node tree; scalars are text but for what YAML itself calls a number or truth value."""
    try:
        return _Constructor().construct_document(node)
    except yaml.YAMLError as error:
        raise _not_yaml(error, name) from error


UNKNOWN_FIELD = re.compile(r"Object contains unknown field `(?P<key>.*)`", re.DOTALL)
INVALID_VALUE = re.compile(r"Invalid enum value '(?P<value>.*)'", re.DOTALL)
ERROR_PATH = re.compile(r" - at `\$?(?P<path>[^`]*)`$")


def convert(value: Any, shape: type[T], node: yaml.Node, name: str) -> T:
    """Hold a value against a struct.

    Raises:
        ConfigError: it does not fit, with the line of the key that this is about and the nearest name that would.
    """
    try:
        return msgspec.convert(value, shape, strict=True)
    except msgspec.ValidationError as error:
        text = str(error)
        found = ERROR_PATH.search(text)
        path = [part for part in re.split(r"[.\[\]]+", found["path"] if found else "") if part]
        message = ERROR_PATH.sub("", text)
        unknown, invalid = UNKNOWN_FIELD.fullmatch(message), INVALID_VALUE.fullmatch(message)
        kind = _kind_at(shape, path)
        if isinstance(kind, inspect.DictType):  # msgspec does not say which of its values it is
            kind = kind.value_type
            path += _misfit(value, path, kind)
        where = ".".join(path)
        if unknown:
            message = f"unknown key {unknown['key']!r}{nearest(unknown['key'], _keys(kind))}"
            path.append(unknown["key"])
        elif invalid:
            message = f"{invalid['value']!r} is not known here{nearest(invalid['value'], _options(kind))}"
        raise ConfigError(f"{where}: {message}" if where else message, at(node, name, *path)) from error


def _kind_at(shape: type[msgspec.Struct], path: list[str]) -> inspect.Type | None:
    """The type that a struct declares for what a path leads to; unions with None count as the other one."""
    kind: inspect.Type | None = inspect.type_info(shape)
    for key in path:
        if isinstance(kind, inspect.StructType):
            kind = next((field.type for field in kind.fields if field.encode_name == key), None)
        elif isinstance(kind, inspect.VarTupleType | inspect.ListType):
            kind = kind.item_type
        if isinstance(kind, inspect.UnionType):
            kind = next(one for one in kind.types if not isinstance(one, inspect.NoneType))
    return kind


def _misfit(value: Any, path: list[str], kind: inspect.Type) -> list[str]:
    """The key of a mapping's first value that is none of the options."""
    for key in path:
        value = value[int(key)] if isinstance(value, list) else value[key]
    options = _options(kind)
    return [key for key, found in value.items() if found not in options][:1] if isinstance(value, dict) else []


def _keys(kind: inspect.Type | None) -> list[str]:
    return [field.encode_name for field in kind.fields] if isinstance(kind, inspect.StructType) else []


def _options(kind: inspect.Type | None) -> list[str]:
    return [str(value) for value in kind.values] if isinstance(kind, inspect.LiteralType) else []


def nearest(word: str, known: Iterable[str]) -> str:
    """How a message goes on after an unknown word: the known one that is most like it, else all of them."""
    options = sorted(known)
    near = difflib.get_close_matches(word, options, 1, 0.5)
    if near:
        return f"; did you mean {near[0]!r}?"
    return f"; known are {', '.join(options)}" if options else ""


def child(node: yaml.Node, key: str | int) -> tuple[yaml.Node, yaml.Node] | None:
    """The node below a key or at an index, behind the one that marks its place: the key, or the item itself."""
    if isinstance(node, yaml.MappingNode):
        return next(((name, value) for name, value in node.value if name.value == key), None)
    if isinstance(node, yaml.SequenceNode) and str(key).isdecimal() and int(key) < len(node.value):
        item: yaml.Node = node.value[int(key)]
        return item, item
    return None


def at(node: yaml.Node, name: str, *path: str | int) -> str:
    """`file:line` of what the path leads to, as far down as it exists."""
    place = node
    for key in path:
        found = child(node, key)
        if found is None:
            break
        place, node = found
    return f"{name}:{place.start_mark.line + 1}"
