"""The stages in order over a batch: rules, memory, then whatever answers for what neither knows.

    rules   one scan of the whole block; most lines are settled here
    memory  template → verdict for the rest, two levels (see masking.py)
    stages  model, LLM: once per novel template

A stage answers or abstains with None; failing is neither. What happens on a failure is decided here and nowhere
else: it is counted, the next stage is asked, and nothing about it is remembered, so the next such line tries again.
Nor is a later stage's answer then, since the one that failed may know better.

A stage may also give an answer that is not to be remembered, as one that has no answer yet: then only that stage and
those behind it are asked again.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING, NamedTuple, Protocol, cast

import msgspec
import numpy as np

from . import masking
from .batch import LLM, MODEL, PEOPLE, RULES, Batch, Classified, Verdict, VerdictTable
from .errors import StageError
from .memory import Memory
from .rules import NO_RULE, RuleSet, Scan
from .taxonomy import Severity, Taxonomy

if TYPE_CHECKING:
    from .batch import Codes

log = logging.getLogger(__name__)

TEMPLATE_BYTES = 2048  # of a line; no stage reads further


class Novel(msgspec.Struct, frozen=True):
    """A template that nothing remembers, with one line of it and where that came from.

    numbers: of the line, those that mean something, as a status or exit code does. guess: the former stage's.
    """

    template: str
    sample: bytes
    source: str
    numbers: tuple[str, ...] = ()
    guess: str | None = None


class Answer(msgspec.Struct, frozen=True):
    """What a stage thinks. When it is not `sure` it abstains, and the label is only a guess to hand on.

    label: empty for no opinion, which leaves the former stage's guess; an empty reason leaves its reason too.
    remember: whether later lines may rely on it; else the stage is asked again.
    model: who says so, where that isn't the stage's version.
    """

    label: str
    confidence: float
    sure: bool
    reason: str = "low_confidence"
    remember: bool = True
    model: str | None = None


class Stage(Protocol):
    """Model or LLM: one answer for each novel template, None where it has not even a guess.

    Raises:
        StageError: it failed; the message is the reason.
    """

    name: str

    @property
    def version(self) -> str: ...

    def answer(self, novel: Sequence[Novel]) -> list[Answer | None]: ...


class Route(msgspec.Struct, frozen=True):
    """Which stages the lines of a source (a shell glob) may meet."""

    source: str
    stages: tuple[str, ...]


@dataclass(slots=True)
class CascadeCounts:
    """What happened beside the verdicts themselves."""

    memory_hits: int = 0
    memory_misses: int = 0
    templates: int = 0
    failures: Counter[str] = field(default_factory=Counter)


ALL_STAGES = (RULES, MODEL, LLM)  # that routes name; people are always asked
MOST_OPEN = 20_000  # templates of which it is known which stage to ask again


class Cascade:
    """Rules, memory and stages put together. Not thread-safe: one per pipeline."""

    def __init__(
        self,
        taxonomy: Taxonomy,
        rules: RuleSet,
        stages: Sequence[Stage] = (),
        routes: Iterable[Route] = (),
        memory_budget: int | None = None,
    ) -> None:
        self.table = VerdictTable(taxonomy)
        self.rules = rules
        self.stages = tuple(stages)
        self.counts = CascadeCounts()
        self._routes = tuple(routes)
        self._budget = memory_budget
        # For routes past the rules: levels and numbers are found, and no rule hides its lines' numbers from the keys.
        past_rules = any(RULES not in route.stages for route in self._routes)
        self._no_rules = RuleSet([], engine=rules.engine) if past_rules else rules
        # Answers of different stages must not mix, so each set of stages that routes name has its own memory.
        self._memories: dict[tuple[str, ...], Memory] = {}
        self._learned: dict[tuple[str, ...], dict[bytes, int]] = {}
        self._open: dict[tuple[str, ...], dict[bytes, Opinion]] = {}  # templates with an answer not to be remembered
        # One more than there are rules, so that NO_RULE, which is -1, has an entry too.
        codes = [self.table.rule(rule.id, rule.spec.label, _severity(rule.spec.severity)) for rule in rules.rules]
        self._rule_codes = np.array([*codes, 0], np.int64)

    def classify(self, batch: Batch) -> Classified:
        """Give every line of a batch its verdict code."""
        allowed = self._route(batch.source)
        scan = (self.rules if RULES in allowed else self._no_rules).scan(batch)
        rule = scan.rule
        codes = self._rule_codes[rule]
        unsettled = np.flatnonzero(rule == NO_RULE)
        if len(unsettled):
            codes[unsettled] = self._remembered(batch, unsettled, scan, allowed)
        level = scan.level if batch.levels is None else np.where(batch.levels, batch.levels, scan.level)
        return Classified(codes + level, scan.fields if RULES in allowed else {})

    def replace_stages(self, stages: Sequence[Stage]) -> None:
        """Let other stages answer from the next batch on. What the old ones said is forgotten; codes stay valid."""
        self.stages = tuple(stages)
        self.forget()
        self._learned.clear()

    def forget(self) -> None:
        """Ask the stages anew about every template."""
        self._memories.clear()
        self._open.clear()

    def verdict(self, code: int) -> Verdict:
        return self.table.verdicts[code]

    @property
    def routes(self) -> tuple[Route, ...]:
        return self._routes

    @property
    def minds_source(self) -> bool:
        """Whether it matters where a line is from: there are routes, or rules that say `where`."""
        return bool(self._routes) or self.rules.scoped

    def treatment(self, source: str, path: str | None = None) -> tuple[tuple[str, ...], bytes]:
        """Equal for origins whose lines are treated alike: the stages they may meet, the rules that apply."""
        return self._route(source), self.rules.scope(source, path)

    def answers(self, novel: Mapping[bytes, Novel], allowed: tuple[str, ...]) -> dict[bytes, Verdict]:
        """Ask the stages about templates, by Memory's keys; those that a stage failed on are left out."""
        outcomes = zip(novel, self._ask(novel, allowed), strict=True)
        return {key: self.verdict(outcome.first) for key, outcome in outcomes if not outcome.failed}

    def learn(self, answers: Mapping[bytes, Verdict], allowed: tuple[str, ...]) -> None:
        """Take answers that were given before, elsewhere, to be remembered for good."""
        known = self._learned.setdefault(allowed, {})
        known.update((key, self.table.code(verdict)) for key, verdict in answers.items())

    def _route(self, source: str) -> tuple[str, ...]:
        for route in self._routes:
            if fnmatchcase(source, route.source):
                return route.stages
        return ALL_STAGES

    def _memory(self, allowed: tuple[str, ...]) -> Memory:
        if allowed not in self._memories:
            self._memories[allowed] = Memory(self._budget) if self._budget else Memory()
        return self._memories[allowed]

    def _remembered(self, batch: Batch, unsettled: Codes, scan: Scan, allowed: tuple[str, ...]) -> list[int]:
        """Codes of the lines that no rule settled: from memory, or from the stages where memory knows nothing."""
        memory = self._memory(allowed)
        kept = _kept_numbers(batch.text, scan.numbers)
        keys = _first_keys(batch, unsettled, kept)
        found = memory.find(keys)
        missed = [index for index, code in enumerate(found) if code is None] if None in found else []
        self.counts.memory_hits += len(found) - len(missed)
        self.counts.memory_misses += len(missed)
        if missed:
            places: dict[bytes, list[int]] = {}
            for index in missed:
                places.setdefault(keys[index], []).append(index)
            numbers = [int(unsettled[indexes[0]]) for indexes in places.values()]
            codes = self._second_level(
                [batch.line(n) for n in numbers], [kept.get(n, ()) for n in numbers], batch.source, memory, allowed
            )
            for (key, indexes), (first, later, remember, _) in zip(places.items(), codes, strict=True):
                for index in indexes:
                    found[index] = later
                found[indexes[0]] = first
                if remember:
                    memory.remember(key, later)
        return cast("list[int]", found)

    def _second_level(
        self,
        lines: Sequence[bytes],
        numbers: Sequence[Sequence[bytes]],
        source: str,
        memory: Memory,
        allowed: tuple[str, ...],
    ) -> list[Outcome]:
        """For lines with different first-level keys, the outcome of each: by their templates, which may coincide."""
        masked = masking.mask(lines)
        keys = [masking.key(text, kept) for text, kept in zip(masked, numbers, strict=True)]
        found = memory.find(keys)
        if learned := self._learned.get(allowed):
            found = [learned.get(key) if code is None else code for key, code in zip(keys, found, strict=True)]
        outcomes = {key: Outcome(code, code, True) for key, code in zip(keys, found, strict=True) if code is not None}
        novel: dict[bytes, Novel] = {}
        for key, text, line, kept in zip(keys, masked, lines, numbers, strict=True):
            if key not in outcomes and key not in novel:
                meaning = tuple(number.decode() for number in kept)
                novel[key] = Novel(masking.readable(text[:TEMPLATE_BYTES]), line[:TEMPLATE_BYTES], source, meaning)
        if novel:
            asked_before = self._open.get(allowed) or {}
            self.counts.templates += len(novel) - (sum(map(asked_before.__contains__, novel)) if asked_before else 0)
            fresh = dict(zip(novel, self._ask(novel, allowed), strict=True))
            for key, outcome in fresh.items():
                if outcome.remember:
                    memory.remember(key, outcome.later)
        result: list[Outcome] = []
        for key in keys:
            result.append(outcomes.get(key) or fresh[key])
            outcomes[key] = Outcome(result[-1].later, result[-1].later, result[-1].remember)
        return result

    def _ask(self, asked: Mapping[bytes, Novel], allowed: tuple[str, ...]) -> list[Outcome]:
        """Ask the stages in order, each for the templates that those before it left open."""
        waiting = self._open.setdefault(allowed, {})
        opinions = [waiting.pop(key, NO_OPINION) for key in asked]
        novel = list(asked.values())
        outcomes: list[Outcome | None] = [None] * len(novel)
        again: dict[int, Opinion] = {}
        for number, stage in enumerate(self.stages):
            unanswered = [n for n, outcome in enumerate(outcomes) if outcome is None and opinions[n].asked <= number]
            if stage.name not in allowed and stage.name != PEOPLE:
                for index in unanswered:
                    opinions[index] = opinions[index].routed_past()
                continue
            if not unanswered:
                continue
            try:
                answers = stage.answer([opinions[index].told(novel[index]) for index in unanswered])
            except StageError as error:
                self.counts.failures[stage.name] += len(unanswered)
                log.warning("the %s stage failed on %d templates: %s", stage.name, len(unanswered), error)
                for index in unanswered:
                    opinions[index] = replace(opinions[index], reason=f"{stage.name}_failed", failed=True)
                continue
            for index, answer in zip(unanswered, answers, strict=True):
                before = opinions[index]
                opinions[index] = before.after(answer, stage)
                if answer is not None and answer.sure:
                    outcomes[index] = self._answered(answer, stage, opinions[index])
                if not opinions[index].remember and before.remember and not before.failed:
                    again[index] = replace(before, asked=number)
        _keep_open(waiting, {key: again[index] for index, key in enumerate(asked) if index in again})
        return [outcome or self._unclassified(opinion) for outcome, opinion in zip(outcomes, opinions, strict=True)]

    def _answered(self, answer: Answer, stage: Stage, opinion: Opinion) -> Outcome:
        give = partial(self.table.answer, answer.label, answer.confidence, stage.name, answer.model or stage.version)
        return Outcome(give(cached=False), give(cached=True), opinion.remember and not opinion.failed, opinion.failed)

    def _unclassified(self, opinion: Opinion) -> Outcome:
        guess, confidence = (opinion.guess.label, opinion.guess.confidence) if opinion.guess else (None, 0.0)
        give = partial(self.table.unclassified, opinion.reason, guess, confidence, opinion.model)
        return Outcome(give(cached=False), give(cached=True), opinion.remember and not opinion.failed, opinion.failed)


class Outcome(NamedTuple):
    """A template's codes: for the line that raised it, for later lines, whether later lines may rely on it, and whether
    a stage failed."""

    first: int
    later: int
    remember: bool
    failed: bool = False


@dataclass(frozen=True)
class Opinion:
    """What is known of a template that no stage has answered yet. asked: the first stage that is still to be asked."""

    reason: str
    guess: Answer | None = None
    model: str | None = None
    remember: bool = True
    failed: bool = False
    asked: int = 0

    def routed_past(self) -> Opinion:
        return replace(self, reason="route") if self.reason == "no_stage" else self

    def told(self, novel: Novel) -> Novel:
        """The question for the next stage, with what the former ones guess."""
        return msgspec.structs.replace(novel, guess=self.guess.label) if self.guess else novel

    def after(self, answer: Answer | None, stage: Stage) -> Opinion:
        """What is known once a stage has answered."""
        if answer is None:
            return replace(self, reason="nothing_to_read")
        none_yet = f"{stage.name}_unavailable" if self.reason == "no_stage" else self.reason
        known = replace(self, reason=answer.reason or none_yet, remember=self.remember and answer.remember)
        return replace(known, guess=answer, model=answer.model or stage.version) if answer.label else known


NO_OPINION = Opinion("no_stage")


def _keep_open(waiting: dict[bytes, Opinion], more: dict[bytes, Opinion]) -> None:
    """Add to what is open, without what has been there longest where it is too much."""
    waiting.update(more)
    for key in list(waiting)[: max(len(waiting) - MOST_OPEN, 0)]:
        del waiting[key]


def _kept_numbers(text: bytes, numbers: Sequence[tuple[int, int]]) -> dict[int, list[bytes]]:
    """By line, the numbers in it that mean something."""
    kept: dict[int, list[bytes]] = {}
    for line, end in numbers:
        kept.setdefault(line, []).append(masking.number_before(text, end))
    return kept


def _first_keys(batch: Batch, chosen: Codes, kept: dict[int, list[bytes]]) -> list[bytes]:
    """First-level keys of the chosen lines."""
    if 4 * len(chosen) > batch.count:  # the whole block at once beats putting the chosen lines together
        everything = masking.first_keys(batch.text)
        keys = everything if len(chosen) == batch.count else [everything[line] for line in chosen.tolist()]
    else:
        keys = masking.first_keys(b"\n".join(map(batch.line, chosen.tolist())))
    if kept:
        for index, line in enumerate(chosen.tolist()):
            if line in kept:
                keys[index] = masking.key(keys[index], kept[line])
    if max(map(len, keys)) > masking.LONGEST_KEY:
        keys = [masking.key(key) for key in keys]
    return keys


def _severity(name: str | None) -> Severity | None:
    return Severity[name] if name else None
