"""Noticing new, renamed and deleted files, by watchdog's events."""

from __future__ import annotations

import glob
import logging
import os
from collections.abc import Sequence
from typing import Any

log = logging.getLogger(__name__)


def is_glob(path: str) -> bool:
    """Whether it is a pattern; a file that is there by that very name is none."""
    return glob.has_magic(path) and not os.path.exists(path)


class Watch:
    """Whether anything was created, renamed or deleted in some directories; always False where events are missing."""

    def __init__(self, directories: Sequence[str]) -> None:
        from watchdog.events import FileCreatedEvent, FileDeletedEvent, FileMovedEvent, FileSystemEventHandler
        from watchdog.observers import Observer  # 40 ms, after the first lines are out

        self._seen = False
        watch = self

        class Handler(FileSystemEventHandler):
            def on_any_event(self, event: Any) -> None:
                watch._seen = True

        self._observer: Any = Observer()
        kinds = [FileCreatedEvent, FileDeletedEvent, FileMovedEvent]  # growth is polled: it would be an event a write
        for directory in sorted({_existing(directory) for directory in directories}):
            try:
                self._observer.schedule(Handler(), directory, event_filter=kinds)
            except OSError as error:  # out of inotify watches: the scan once a second finds the same
                log.info("no file events for %s (%s): looking once a second", directory, error.strerror)
        try:
            self._observer.start()
        except OSError as error:
            log.info("no file events (%s): looking once a second", error.strerror)
            self._observer = None

    def changed(self) -> bool:
        seen, self._seen = self._seen, False
        return seen

    def close(self) -> None:
        if self._observer:
            self._observer.stop()
            self._observer.join()


def _existing(directory: str) -> str:
    """The directory, or the nearest one above a glob in it that exists."""
    while is_glob(directory) or not os.path.isdir(directory):
        directory = os.path.dirname(directory)
    return directory
