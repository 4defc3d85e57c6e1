"""A configuration file → frozen values, with file:line for whatever is wrong.

version: 1
profile: my-bank
rules: {paths: [/etc/logclf/rules]}
model: {name: ours@2}
llm: {mode: auto, model: "qwen3:4b", max_wait: 2s, budget: 600/h}
routes:
  - {source: LegacyCRM, stages: [llm]}
  - {source: "payments*", stages: [rules, model]}

Every section is optional. An option on the command line wins, then its LOGCLF_* variable, then this, then the default.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

import msgspec
import yaml

from .errors import ConfigError
from .llm.settings import LlmSettings
from .yamlfile import at, child, compose, construct, convert, read_bytes

VERSION = 1
KIND = "configuration"

StageName = Literal["rules", "model", "llm"]
UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
DURATION = re.compile(r"(?P<number>[0-9]{1,9}(?:\.[0-9]{1,6})?)(?P<unit>ms|[smhd])")
BUDGET = re.compile(r"(?P<number>[0-9]{1,9})/h")
DURATIONS = ("timeout", "max_wait", "ttl")  # of the llm section
SWITCH = {True: "on", False: "off"}  # as YAML reads these words


class RouteSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which stages the lines of a source (a shell glob) may meet."""

    source: str
    stages: tuple[StageName, ...]


class ModelSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """name: as --model takes it."""

    name: str | None = None


class RulesSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """paths: files and directories, as --rules takes them; relative ones are beside the configuration."""

    paths: tuple[str, ...] = ()


class Config(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole file."""

    version: Literal[1] = 1
    profile: str | None = None
    rules: RulesSection = RulesSection()
    model: ModelSection = ModelSection()
    llm: LlmSettings = LlmSettings()
    routes: tuple[RouteSection, ...] = ()


def load_config(path: Path) -> Config:
    """Read a configuration.

    Raises:
        ConfigError: the first thing that is wrong with it, with file:line.
    """
    config = parse_config(read_bytes(path, KIND), str(path))
    beside = tuple(str(path.parent / each) for each in config.rules.paths)
    return msgspec.structs.replace(config, rules=RulesSection(beside))


def parse_config(data: bytes, name: str) -> Config:
    """A configuration of a file's bytes; `name` is what messages call the file."""
    if not data.strip():
        return Config()
    root = compose(data, name, KIND, "sections such as `llm:`, `routes:`, `rules:`")
    raw = construct(root, name)
    _refuse_other_versions(raw, root, name)
    if isinstance(raw.get("llm"), dict):
        raw["llm"] = _plain(raw["llm"], root, name)
    try:
        return convert(raw, Config, root, name)
    except ConfigError as error:
        if error.where is not None:
            raise
        key = re.match(r"llm\.(\w+)", error.message)  # of LlmSettings, which knows no file
        raise ConfigError(error.message, at(root, name, "llm", *(key.groups() if key else ()))) from error


def _refuse_other_versions(raw: dict[str, Any], root: yaml.Node, name: str) -> None:
    version = raw.get("version", VERSION)
    if version != VERSION or isinstance(version, bool):
        raise ConfigError(
            f"version {version} is not known here; this logclf reads {VERSION}", at(root, name, "version")
        )


def _plain(section: dict[str, Any], root: yaml.Node, name: str) -> dict[str, Any]:
    """The llm section with seconds and numbers in the place of what people write."""
    plain = dict(section)
    for key in DURATIONS:
        if key in plain:
            plain[key] = seconds(plain[key], f"llm.{key}", at(root, name, "llm", key))
    if "budget" in plain:
        plain["budget"] = calls_an_hour(plain["budget"], at(root, name, "llm", "budget"))
    if "keep_alive" in plain:  # a server reads it; written as the others are
        seconds(plain["keep_alive"], "llm.keep_alive", at(root, name, "llm", "keep_alive"))
    if isinstance(plain.get("mode"), bool) and child(root, "llm"):
        plain["mode"] = SWITCH[plain["mode"]]
    return plain


def seconds(written: object, key: str, where: str | None = None) -> float:
    """A duration such as `2s`, `500ms`, `30m`; 0 needs no unit.

    Raises:
        ConfigError: it is none.
    """
    if written == 0 and not isinstance(written, bool):
        return 0.0
    found = DURATION.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise ConfigError(f"{key}: expected a duration with its unit, as 500ms, 2s, 30m, 12h or 30d", where)
    return float(found["number"]) * UNITS[found["unit"]]


def calls_an_hour(written: object, where: str | None = None) -> int:
    """A budget such as `600/h`.

    Raises:
        ConfigError: it is none.
    """
    found = BUDGET.fullmatch(written) if isinstance(written, str) else None
    if found is None:
        raise ConfigError("llm.budget: expected a number of calls in an hour, as 600/h", where)
    return int(found["number"])
