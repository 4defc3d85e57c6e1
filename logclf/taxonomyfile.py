"""A taxonomy file → labels, with file:line for whatever is wrong.

version: 1
name: bank
labels:
  - name: High
    description: money did not move, or a control did not run
    severity: ERROR
    floor: WARN       # optional: what a line states is believed only from here
    ceiling: FATAL    # optional: up to here
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import yaml

from .errors import ConfigError
from .rulefile import SeverityName
from .taxonomy import UNCLASSIFIED, Label, Severity, Taxonomy
from .yamlfile import at, child, compose, construct, convert, read_bytes

VERSION = 1
KIND = "taxonomy"
LONGEST_NAME = 80  # characters; a label stands in every event


class LabelSpec(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One label as written."""

    name: str
    description: str
    severity: SeverityName
    floor: SeverityName = "TRACE"
    ceiling: SeverityName = "FATAL"


class Header(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    version: int
    name: str
    labels: list[Any]


def load_taxonomy(path: Path) -> Taxonomy:
    """Read a taxonomy file.

    Raises:
        ConfigError: the first thing that is wrong with it, with file:line.
    """
    return parse_taxonomy(read_bytes(path, KIND), str(path))


def parse_taxonomy(data: bytes, name: str) -> Taxonomy:
    """A taxonomy of a file's bytes; `name` is what messages call the file."""
    root = compose(data, name, KIND, "`version:`, `name:` and `labels:`")
    header = convert(construct(root, name), Header, root, name)
    if header.version != VERSION:
        raise ConfigError(
            f"version {header.version} is not known here; this logclf reads {VERSION}", at(root, name, "version")
        )
    found = child(root, "labels")
    nodes: list[yaml.Node] = found[1].value if found else []
    if not nodes:
        raise ConfigError("labels: a taxonomy needs at least one", at(root, name, "labels"))
    specs = [convert(raw, LabelSpec, node, name) for node, raw in zip(nodes, header.labels, strict=True)]
    for problem in _problems(header, specs, root, nodes, name):
        raise problem
    return Taxonomy(header.name, tuple(map(_label, specs)))


def _label(spec: LabelSpec) -> Label:
    levels = [Severity[level] for level in (spec.severity, spec.floor, spec.ceiling)]
    return Label(spec.name, spec.description, *levels)


def _problems(
    header: Header, specs: list[LabelSpec], root: yaml.Node, nodes: list[yaml.Node], name: str
) -> Iterator[ConfigError]:
    """What is wrong with a taxonomy whose shape is right."""
    if not _is_name(header.name):
        yield ConfigError(f"name: {NAME_RULE}, not {header.name!r}", at(root, name, "name"))
    first: dict[str, str] = {}
    for spec, node in zip(specs, nodes, strict=True):
        where = at(node, name, "name")
        if not _is_name(spec.name):
            yield ConfigError(f"a label's {NAME_RULE}, not {spec.name!r}", where)
        if spec.name == UNCLASSIFIED:
            yield ConfigError(f"{UNCLASSIFIED!r} is what a line without a label is called; choose another name", where)
        if spec.name in first:
            yield ConfigError(f"label {spec.name!r} exists already, at {first[spec.name]}", where)
        first.setdefault(spec.name, where)
        if not Severity[spec.floor] <= Severity[spec.severity] <= Severity[spec.ceiling]:
            message = f"severity {spec.severity} is not between floor {spec.floor} and ceiling {spec.ceiling}"
            yield ConfigError(message, at(node, name, "severity"))


NAME_RULE = f"name is 1 to {LONGEST_NAME} printable characters without blanks at its ends"


def _is_name(text: str) -> bool:
    return 0 < len(text) <= LONGEST_NAME and text.isprintable() and text == text.strip()
