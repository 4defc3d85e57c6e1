"""What all tests share: one cache of compiled rules, warm after its first use."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def cache_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The cache directory of this session and of the processes that it starts."""
    directory = tmp_path_factory.mktemp("cache") / "logclf"
    before = os.environ.get("LOGCLF_CACHE_DIR")
    os.environ["LOGCLF_CACHE_DIR"] = str(directory)
    yield directory
    if before is None:
        del os.environ["LOGCLF_CACHE_DIR"]
    else:
        os.environ["LOGCLF_CACHE_DIR"] = before


@pytest.fixture(scope="session", autouse=True)
def state_dir(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """No model that somebody chose on this machine is used by a test."""
    directory = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LOGCLF_STATE_DIR", str(directory))
        for name in ("LOGCLF_PROFILE", "LOGCLF_TAXONOMY", "LOGCLF_MODEL", "LOGCLF_RULES"):
            patch.delenv(name, raising=False)
        yield directory
