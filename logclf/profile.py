"""A profile: a team's own labels, rules and model in one directory.

my-bank/
├── taxonomy.yaml    optional; without it the default labels, and with them the shipped packs and model
├── rules/*.yaml     optional
└── model/           optional; an artifact as `logclf train` writes it
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from . import resources
from .errors import ConfigError
from .taxonomy import DEFAULT, Taxonomy
from .taxonomyfile import load_taxonomy

DEFAULT_PROFILE = "default"
TAXONOMY, RULES, MODEL = "taxonomy.yaml", "rules", "model"


class Profile(msgspec.Struct, frozen=True):
    """What a profile brings.

    directory: where it lies; None for the default one, which brings nothing of its own.
    rules: its rule files, in order.
    model: its artifact's directory, None where it has none; whether that verifies is for whoever loads it to find out.
    """

    name: str
    directory: Path | None = None
    taxonomy: Taxonomy = DEFAULT
    rules: tuple[Path, ...] = ()
    model: Path | None = None


def load_profile(name: str) -> Profile:
    """A profile by its name or directory (`./bank` for a directory with a shipped profile's name).

    Raises:
        ConfigError: there is none, or its taxonomy is wrong, with file:line.
    """
    if name == DEFAULT_PROFILE:
        return Profile(name)
    directory = profile_directory(name)
    if not any((directory / part).exists() for part in (TAXONOMY, RULES, MODEL)):
        raise ConfigError(f"no profile here: expected {TAXONOMY}, {RULES}/ or {MODEL}/", str(directory))
    own = directory / TAXONOMY
    if not own.exists() and own.with_suffix(".yml").exists():  # else its labels would silently be the default ones
        raise ConfigError(f"call this file {TAXONOMY}", str(own.with_suffix(".yml")))
    rules, model = directory / RULES, directory / MODEL
    return Profile(
        name,
        directory,
        load_taxonomy(own) if own.exists() else DEFAULT,
        _rule_files(rules),
        model if model.exists() else None,
    )


def _rule_files(rules: Path) -> tuple[Path, ...]:
    empty = not rules.exists() or (rules.is_dir() and not any(rules.iterdir()))
    return () if empty else tuple(resources.rule_files([rules]))


def profile_directory(name: str) -> Path:
    """Where a profile lies.

    Raises:
        ConfigError: nowhere.
    """
    shipped = {path.name: path for path in resources.PROFILES.glob("*/")}
    if name in shipped:
        return shipped[name]
    if name and Path(name).is_dir():
        return Path(name)
    known = ", ".join([DEFAULT_PROFILE, *sorted(shipped)])
    raise ConfigError(f"no profile {name!r}: neither a directory nor a shipped profile ({known})")
