"""Where the rule packs and models that come with logclf lie: inside an installed package, or beside a checkout's."""

from __future__ import annotations

from pathlib import Path

from .errors import ConfigError

_INSTALLED = Path(__file__).parent / "_data"
DATA = _INSTALLED if _INSTALLED.is_dir() else Path(__file__).parent.parent
RULES = DATA / "rules"
MODELS = DATA / "models"
PROFILES = RULES / "profiles"
LAST_PACK = "generic"  # its rules fit any system, so every other pack's come first


def packs() -> list[Path]:
    """The shipped rule files, in the order in which their rules are tried."""
    return sorted(RULES.resolve().glob("*.yaml"), key=lambda path: (path.stem == LAST_PACK, path.stem))


def rule_files(paths: list[Path]) -> list[Path]:
    """Rule files among files and directories, in order.

    Raises:
        ConfigError: something is not there, or a directory has no rule file in it.
    """
    found: list[Path] = []
    for path in paths:
        if path.is_dir():
            inside = sorted(p for pattern in ("*.yaml", "*.yml") for p in path.glob(pattern))
            if not inside:
                raise ConfigError("no *.yaml rule file in this directory", str(path))
            found += inside
        elif path.exists():
            found.append(path)
        else:
            raise ConfigError("no such rule file or directory", str(path))
    return list({path.resolve(): path for path in found}.values())  # a file that is named twice is read once
