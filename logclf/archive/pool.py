"""Tasks in this process or in several, and the signals that end them."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from types import FrameType
from typing import Any, Self, TypeVar

from ..errors import LogclfError
from .plan import Split
from .task import Progress, Recipe, Task

Result = TypeVar("Result")
Work = Callable[[Task, Recipe, Progress], Result]


class InterruptedRunError(LogclfError):
    """A signal ended the work; what is done is kept."""


class Interrupts:
    """SIGINT and SIGTERM while in a `with` block; a second one ends the process as if nothing had been installed.

    They are seen between two units of work, where nothing is half done; while waiting for other processes, at once.
    """

    def __init__(self) -> None:
        self.signal: int | None = None
        self.waiting = False
        self._before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM):
            self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_error: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        self.signal = number
        signal.signal(number, signal.SIG_DFL)
        if self.waiting:
            self.check()

    def check(self) -> None:
        """Raise InterruptedRunError if a signal came."""
        if self.signal is not None:
            raise InterruptedRunError("interrupted")


def results(
    work: Work[Result], tasks: Iterable[Task], recipe: Recipe, jobs: int, interrupts: Interrupts, progress: Progress
) -> Iterator[tuple[Split, Result]]:
    """What each task comes to, in order. `progress` is told bytes of input, all through from this process, split by
    split from others.

    Raises:
        InterruptedRunError: a signal came.
        LogclfError: a process died.
    """
    if jobs == 1:
        return _here(work, tasks, recipe, interrupts, progress)
    return _elsewhere(work, tasks, recipe, jobs, interrupts, progress)


def _here(
    work: Work[Result], tasks: Iterable[Task], recipe: Recipe, interrupts: Interrupts, progress: Progress
) -> Iterator[tuple[Split, Result]]:
    def checked(size: int) -> None:
        interrupts.check()
        progress(size)

    for task in tasks:
        interrupts.check()
        yield task.split, work(task, recipe, checked)


def _elsewhere(
    work: Work[Result], tasks: Iterable[Task], recipe: Recipe, jobs: int, interrupts: Interrupts, progress: Progress
) -> Iterator[tuple[Split, Result]]:
    from joblib import Parallel, delayed  # 0.1 s, for more than one process alone
    from joblib.externals.loky.process_executor import BrokenProcessPool

    with warnings.catch_warnings():
        # It warns of results that nobody takes; where work ends early that is meant.
        warnings.filterwarnings("ignore", category=UserWarning, module=r"joblib\..*")
        # One task ahead of each process: a split is long, and what is left out in the meantime need not begin.
        pool = Parallel(n_jobs=jobs, return_as="generator", batch_size=1, pre_dispatch="2*n_jobs")
        found: Generator[tuple[Task, Result]] = pool(delayed(_remote)(work, task, recipe) for task in tasks)
        try:
            while (next_one := _waited(found, interrupts)) is not None:
                task, result = next_one
                progress(task.split.end - task.split.start if task.split.end >= 0 else task.about.size)
                yield task.split, result
        except BrokenProcessPool as error:
            interrupts.check()  # a signal to the whole group has ended the others first
            raise LogclfError("a process died, perhaps for want of memory; --resume goes on") from error
        finally:
            found.close()


def _waited(found: Iterator[tuple[Task, Result]], interrupts: Interrupts) -> tuple[Task, Result] | None:
    """The next result of the other processes, None when there are no more."""
    interrupts.waiting = True
    try:
        interrupts.check()
        return next(found, None)
    finally:
        interrupts.waiting = False


def _remote(work: Work[Result], task: Task, recipe: Recipe) -> tuple[Task, Result]:
    """A task in another process, which leaves Ctrl-C to the one that started it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return task, work(task, recipe, _unseen)


def _unseen(_bytes: int) -> None:
    """Progress within a split is not shown from other processes."""
