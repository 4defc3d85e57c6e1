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
