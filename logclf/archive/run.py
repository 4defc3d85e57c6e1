"""The driver: plan, survey where it pays, label every split, put the outputs in their place."""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeVar, cast

import msgspec

from ..batch import LLM
from ..cascade import Cascade
from ..errors import ConfigError, InputError, LogclfError
from ..pretty import visible
from ..sinks import write_all
from .inputs import STDOUT, Request, find_inputs, make_plan, refuse_existing, same_work
from .plan import Plan, Split
from .pool import Interrupts, Work, results
from .reading import EncodingError
from .survey import Answers, Merged
from .task import ANSWERS, Recipe, Task, forget, hold, label, survey
from .work import Counts, WorkDirectory

if TYPE_CHECKING:
    from ..llm.stage import LlmStage

log = logging.getLogger(__name__)

Result = TypeVar("Result")

BLOCK = 256  # templates asked at a time
LLM_BLOCK = 16  # where each takes a second


class Bar(Protocol):
    """Shows how far it is. `begin` names what is done next and its size in bytes or templates."""

    def begin(self, what: str, total: int) -> None: ...

    def advance(self, amount: int) -> None: ...


class Outcome(msgspec.Struct, frozen=True):
    """What became of a run.

    counts: of all outputs. seconds: of this run. resumed: rows that an earlier run had labelled.
    outputs: by input. left_out: by input, why it could not be labelled. passes, templates: how the stages were asked.
    """

    counts: Counts
    seconds: float
    resumed: int
    outputs: dict[str, str]
    left_out: dict[str, str]
    passes: int
    templates: int


def classify(request: Request, recipe: Recipe, bar: Bar) -> Outcome:
    """Label files.

    Raises:
        InputError, ConfigError, ArtifactError: before any work begins; ConfigError also for the one input that is not
            in its encoding.
        OutputError: the disk refuses; what is done is kept.
        InterruptedRunError: a signal came; what is done is kept.
    """
    forget()
    inputs = find_inputs(request)
    held = hold(recipe)
    with Workplace(request) as work, Interrupts() as interrupts:
        saved = work.saved_plan() if request.resume else None
        if saved is not None:
            same_work(saved, inputs, request.settings, held.engine)
            work.follow(saved)
            plan, left_out = saved, dict.fromkeys(_without_splits(saved), "it was damaged when work on it began")
            refuse_existing([each for n, each in enumerate(inputs) if not work.placed(n)], request.overwrite)
        else:
            if request.output != STDOUT:
                refuse_existing(inputs, request.overwrite)
            plan, left_out = make_plan(inputs, request.settings, held.engine)
            work.begin(plan)
        run = Run(request, recipe, held.cascade, plan, work, interrupts, bar, left_out)
        return run.run()


def _without_splits(plan: Plan) -> list[int]:
    return sorted(set(range(len(plan.inputs))) - {split.input for split in plan.splits})


class Workplace:
    """The work directory for a run: beside the output, or a temporary one where the output is stdout."""

    def __init__(self, request: Request) -> None:
        self._request = request
        self._temporary: Path | None = None

    def __enter__(self) -> WorkDirectory:
        output = self._request.output
        if output == STDOUT:
            self._temporary = Path(tempfile.mkdtemp(prefix="logclf-"))
        elif self._request.to_directory:
            _make_directory(output)
        path = self._temporary or output.parent / f".{output.resolve().name}.parts"
        self._work = WorkDirectory(path)
        begun = (path / "plan.json").exists()
        self._work.open()
        if begun and not self._request.resume:
            log.info("%s: left by a run that did not end; doing it all again (--resume goes on instead)", path)
        return self._work

    def __exit__(self, *_error: object) -> None:
        self._work.close()
        if self._temporary:
            shutil.rmtree(self._temporary, ignore_errors=True)


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"{path}: cannot make this directory: {error.strerror}") from error


class Run:
    """One run of a plan."""

    def __init__(
        self,
        request: Request,
        recipe: Recipe,
        cascade: Cascade,
        plan: Plan,
        work: WorkDirectory,
        interrupts: Interrupts,
        bar: Bar,
        left_out: dict[int, str],
    ) -> None:
        self._request, self._recipe, self._cascade = request, recipe, cascade
        self._plan, self._work, self._interrupts, self._bar = plan, work, interrupts, bar
        self._left_out = left_out
        self._counts: dict[Split, Counts] = {}
        self._finished: dict[int, Counts] = {}  # by input, of outputs that an earlier run put in their place
        self._answers = ""
        self._llm = _llm_of(cascade)
        if self._llm:
            self._llm.stopped = self._stopped
        self._templates = 0

    def run(self) -> Outcome:
        """Do what is not done yet."""
        begun = time.monotonic()
        for number in sorted(self._left_out):
            self._say_left_out(number)
        self._find_done()
        resumed = sum(counts.rows for counts in (*self._counts.values(), *self._finished.values()))
        passes = self._survey_where_it_pays()
        self._label()
        self._place()
        good = [counts for split, counts in self._counts.items() if split.input not in self._left_out]
        inputs = self._plan.inputs
        self._work.remove()
        return Outcome(
            Counts.total([*good, *self._finished.values()]),
            time.monotonic() - begun,
            resumed,
            {each.path: each.output for number, each in enumerate(inputs) if number not in self._left_out},
            {inputs[number].path: reason for number, reason in sorted(self._left_out.items())},
            passes,
            self._templates,
        )

    def _stopped(self) -> bool:
        """For a wait: a signal ends it by an error."""
        self._interrupts.check()
        return False

    def _find_done(self) -> None:
        """What an earlier run has done: whole outputs, and parts of others."""
        for number, about in enumerate(self._plan.inputs):
            counts = self._work.finished(number)
            if counts is not None and Path(about.output).exists():
                self._finished[number] = counts
        for split in self._plan.splits:
            counts = None if split.input in self._finished else self._work.done(split)
            if counts is not None:
                self._counts[split] = counts

    def _missing(self) -> list[Split]:
        without = self._left_out.keys() | self._finished.keys()
        return [split for split in self._plan.splits if split not in self._counts and split.input not in without]

    def _task(self, split: Split) -> Task:
        about, settings = self._plan.inputs[split.input], self._plan.settings
        return Task(about, split, settings, self._plan.engine, str(self._work.path), self._work.tag, self._answers)

    def _tasks(self, splits: Sequence[Split]) -> Iterator[Task]:
        """Tasks, without those of inputs that had to be left out in the meantime."""
        return (self._task(split) for split in splits if split.input not in self._left_out)

    def _survey_where_it_pays(self) -> int:
        """Ask the stages once for all splits, if there is more than one process to save from asking by itself."""
        splits = self._missing()
        several = self._request.jobs > 1
        wanted = self._request.passes or (2 if several and len(splits) > 1 and slow(self._cascade) else 1)
        if self._llm and (several or not self._request.passes):
            wanted = 2  # other processes don't ask it, and its budget should go to the templates of most lines
        if wanted == 1 or not splits:
            return 1
        saved = self._work.path / ANSWERS
        if not (self._request.resume and saved.exists()):
            merged = Merged()
            self._bar.begin("looking for new templates", self._bytes(splits))
            for _split, found in self._results(survey, splits):
                merged.add(found)
            self._work.store(ANSWERS, msgspec.msgpack.encode(self._asked(merged)))
        self._answers = str(saved)
        return 2

    def _asked(self, merged: Merged) -> list[Answers]:
        """What the stages say of the templates of all splits."""
        self._templates = len(merged)
        self._bar.begin("asking about new templates", len(merged))
        answers: list[Answers] = []
        for allowed, found in merged.by_stages().items():
            size = LLM_BLOCK if self._llm else BLOCK
            for start in range(0, len(found), size):
                self._interrupts.check()
                block = found[start : start + size]
                verdicts = self._cascade.answers({each.key: each.novel for each in block}, allowed)
                answers.append(Answers(allowed, verdicts))
                self._bar.advance(len(block))
        return answers

    def _label(self) -> None:
        splits = self._missing()
        self._bar.begin("labelling", self._bytes(splits))
        for split, counts in self._results(label, splits):
            self._counts[split] = counts
            if self._request.output == STDOUT:
                _copy_to_stdout(self._work.part(split))
                self._work.drop(split)

    def _results(self, work: Work[Result | LogclfError], splits: Sequence[Split]) -> Iterator[tuple[Split, Result]]:
        """What each split comes to; an input that cannot be read to its end is left out, the others go on."""
        found = results(
            work, self._tasks(splits), self._recipe, self._request.jobs, self._interrupts, self._bar.advance
        )
        for split, result in found:
            if not isinstance(result, LogclfError):
                yield split, result
            elif self._is_the_inputs_own(result):
                if split.input not in self._left_out:
                    self._left_out[split.input] = str(result)
                    self._say_left_out(split.input)
            else:
                raise result

    def _is_the_inputs_own(self, error: LogclfError) -> bool:
        """Whether an error is about one input, so that others can go on."""
        if isinstance(error, EncodingError):  # of the only input: an option that is missing rather than an input
            return len(self._plan.inputs) > 1
        return isinstance(error, InputError)

    def _say_left_out(self, number: int) -> None:
        log.error("left out: %s", visible(self._left_out[number]))

    def _place(self) -> None:
        """Put every output in its place."""
        if self._request.output == STDOUT:
            return
        for number, about in enumerate(self._plan.inputs):
            if number not in self._left_out and number not in self._finished:
                splits = self._plan.splits_of(number)
                counts = Counts.total(self._counts[split] for split in splits)
                self._work.place(number, [self._work.part(split) for split in splits], Path(about.output), counts)

    def _bytes(self, splits: Sequence[Split]) -> int:
        return sum(self._size(split) for split in splits)

    def _size(self, split: Split) -> int:
        return self._plan.inputs[split.input].size if split.end < 0 else split.end - split.start


def _llm_of(cascade: Cascade) -> LlmStage | None:
    return next((cast("LlmStage", stage) for stage in cascade.stages if stage.name == LLM), None)


def slow(cascade: Cascade) -> bool:
    """Whether a stage takes so long for a template that asking for it in every process costs more than a second pass.

    The default model answers in a fraction of a millisecond, and a second pass takes nearly as long as the first.
    """
    encoders = [getattr(getattr(stage, "manifest", None), "encoder", "") for stage in cascade.stages]
    return any(stage.name == LLM for stage in cascade.stages) or any(name.startswith("sentence-") for name in encoders)


def _copy_to_stdout(part: Path) -> None:
    with part.open("rb") as file:
        while chunk := file.read(1 << 20):
            write_all(1, chunk, "stdout")
