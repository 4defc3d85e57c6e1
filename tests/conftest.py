"""What all tests share: one cache of compiled rules, warm after its first use; a language model's server."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from logclf.llm.settings import LlmSettings
from logclf.testing import ScriptedOllama

REAL_SERVER = os.environ.get("LOGCLF_OLLAMA")  # a base URL: what needs no misbehaviour is tested against it


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
        for name in (
            "LOGCLF_PROFILE",
            "LOGCLF_TAXONOMY",
            "LOGCLF_MODEL",
            "LOGCLF_RULES",
            "LOGCLF_CONFIG",
            "LOGCLF_LLM_MODEL",
            "OLLAMA_HOST",
            "OPENAI_API_KEY",
        ):
            patch.delenv(name, raising=False)
        patch.setenv("LOGCLF_LLM", "off")  # whatever runs on this machine
        yield directory


@pytest.fixture
def scripted() -> Iterator[ScriptedOllama]:
    """A server that does what the test says, which a real one cannot."""
    if REAL_SERVER:
        pytest.skip("a real server does not misbehave on request")
    with ScriptedOllama(lambda _: "Error") as server:
        yield server


@pytest.fixture
def llm_settings() -> Iterator[LlmSettings]:
    """How to reach a server that answers: a scripted one, or with LOGCLF_OLLAMA set that one."""
    if REAL_SERVER:
        yield LlmSettings(host=REAL_SERVER, allow_remote=True, timeout=180.0, num_predict=64)
        return
    with ScriptedOllama(lambda _: "Error") as server:
        yield LlmSettings(host=server.host, timeout=5.0)
