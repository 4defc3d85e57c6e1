"""A running stream follows `logclf models use` and a language model that joins in: between two batches, without losing
or repeating a line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from .batch import PEOPLE
from .cascade import Cascade
from .errors import LogclfError
from .pretty import visible
from .store import Stamp, Store
from .topology import fitting_model

log = logging.getLogger(__name__)

INTERVAL = 1.0  # seconds between two looks


class Switch:
    """Called before each batch; looks at the store once a second and swaps the model when another was chosen.

    A model that does not verify or fit is refused with one message, and the old one stays.

    followed: the directory of what was chosen when the cascade was built.
    """

    def __init__(
        self,
        cascade: Cascade,
        followed: Path,
        store: Store | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cascade, self._followed = cascade, followed
        self._store, self._clock = store or Store(), clock
        self._due = clock() + INTERVAL
        self._stamp: Stamp | None = (-1, -1, -1)  # like no other: the first look reads what was chosen meanwhile

    def __call__(self) -> None:
        now = self._clock()
        if now < self._due:
            return
        self._due = now + INTERVAL
        stamp = self._store.stamp()
        if stamp != self._stamp:
            self._stamp = stamp
            self._follow()

    def _follow(self) -> None:
        try:
            directory = self._store.path(str(self._store.current()))
            if directory == self._followed:
                return
            model = fitting_model(directory, self._cascade.table.taxonomy)
        except (LogclfError, OSError, MemoryError, RuntimeError) as error:  # encoders raise what torch and its hub do
            log.error("the model stays as it is: %s", str(error) or type(error).__name__)
            return
        stages = [stage for stage in self._cascade.stages if stage.name != model.name]
        place = sum(stage.name == PEOPLE for stage in stages)  # behind people, before the LLM
        self._cascade.replace_stages([*stages[:place], model, *stages[place:]])
        self._followed = directory
        log.info("the model is now %s", visible(model.version))


class Joins(Protocol):
    """A stage that may find its server while it runs; `joined` counts how often what it knows has changed."""

    @property
    def joined(self) -> int: ...


class Joining:
    """Called before each batch; when a stage has joined in, what was remembered without it is asked again."""

    def __init__(self, cascade: Cascade, stage: Joins) -> None:
        self._cascade, self._stage, self._joined = cascade, stage, stage.joined

    def __call__(self) -> None:
        if self._stage.joined != self._joined:
            self._joined = self._stage.joined
            self._cascade.forget()
