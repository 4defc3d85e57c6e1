"""A running stream follows `logclf models use`: between two batches, without losing or repeating a line."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from pathlib import Path

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
        self._cascade.replace_stages([model])
        self._followed = directory
        log.info("the model is now %s", visible(model.version))
