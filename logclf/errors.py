"""Every error logclf raises on purpose.

LogclfError
├── ConfigError          what a person wrote is wrong: a rule file, an option's value, a taxonomy (exit 78)
│   └── PatternError     a regular expression outside the dialect that both engines agree on
├── InputError           a file to read is missing, unreadable or a directory (exit 2)
├── OutputError          what was labelled could not be written
│   └── OutputClosedError   its reader has gone, which ends a run quietly
├── ArtifactError        a model that is incomplete, altered or of another format (exit 78)
├── CheckpointError      positions that cannot be read or are not ours (exit 78)
├── AnswerStoreError     remembered answers that cannot be read or kept (exit 78)
├── LlmError             a call to a language model failed, with the reason (llm/calls.py)
└── StageError           a stage of the cascade failed; never shown as a label

The command line alone turns these into messages and exit codes.
"""

from __future__ import annotations


class LogclfError(Exception):
    """Base of all; `str()` of it is one line that says what happened, where, and what to do."""


class ConfigError(LogclfError):
    """Something a person wrote is wrong; `where` is `file:line` when it came from a file."""

    def __init__(self, message: str, where: str | None = None) -> None:
        super().__init__(f"{where}: {message}" if where else message)
        self.message = message
        self.where = where


class PatternError(ConfigError):
    """A pattern cannot be used; `position` is the offending character's index in it."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message if position is None else f"{message} (at character {position + 1})")
        self.position = position


class InputError(LogclfError):
    """A file to read is missing, unreadable or not a file."""


class OutputError(LogclfError):
    """What was labelled could not be written."""


class OutputClosedError(OutputError):
    """The reader of the output has gone."""


class ArtifactError(LogclfError):
    """A model does not verify: missing, altered, or written in another format."""


class CheckpointError(LogclfError):
    """Saved positions cannot be used."""


class AnswerStoreError(LogclfError):
    """Remembered answers cannot be read or kept. A stream goes on without them."""


class StageError(LogclfError):
    """A stage failed on lines it should have answered."""
