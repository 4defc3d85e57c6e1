"""Checking rules: what `validate` and `test` report.

A rule's examples are tests of the whole ordered rule set: the rule must win each of its `match` lines, and must not
win its `no_match` lines. A rule that loses its own examples to another one is shadowed by it.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator, Sequence
from fnmatch import fnmatchcase
from pathlib import Path

import numpy as np

from .batch import Batch
from .errors import ConfigError
from .rulefile import Rule, check_rules, repeated_ids
from .rules import NO_RULE, RuleSet
from .taxonomy import Taxonomy

GLOB_PART = re.compile(r"[*?]|\[!?.[^\]]*\]", re.DOTALL)
LETTERS = string.ascii_lowercase[::-1] + string.digits + string.ascii_uppercase + string.punctuation


def check_files(files: Sequence[Path], taxonomy: Taxonomy) -> tuple[list[Rule], list[ConfigError]]:
    """All good rules of some files, and everything that is wrong with them."""
    rules: list[Rule] = []
    problems: list[ConfigError] = []
    for path in files:
        try:
            data = path.read_bytes()
        except OSError as error:
            problems.append(ConfigError(f"cannot read this rule file: {error.strerror}", str(path)))
            continue
        found, wrong = check_rules(data, str(path), taxonomy)
        rules += found
        problems += wrong
    known = {str(problem) for problem in problems}
    problems += [problem for problem in repeated_ids(rules) if str(problem) not in known]
    return rules, problems


def failed_examples(ruleset: RuleSet, only: frozenset[str] | None = None) -> Iterator[ConfigError]:
    """Examples that do not turn out as they say; `only` limits it to some rules' ids."""
    for rule in ruleset.rules:
        if only is not None and rule.id not in only:
            continue
        for line in rule.spec.examples.match:
            winner = winning_rule(ruleset, line, rule)
            if winner is rule:
                continue
            if winner is not None:
                yield ConfigError(
                    f"rule {rule.id} is shadowed by {winner.id} ({winner.origin}) on {line!r}", rule.origin
                )
            else:
                yield ConfigError(f"rule {rule.id} does not match its example {line!r}", rule.origin)
        for line in rule.spec.examples.no_match:
            if winning_rule(ruleset, line, rule) is rule:
                yield ConfigError(f"rule {rule.id} matches {line!r}, which its examples say it must not", rule.origin)


def winning_rule(ruleset: RuleSet, line: str, scope_of: Rule | None = None) -> Rule | None:
    """The rule that wins a line, taken to come from where the rule in question applies."""
    where = scope_of.spec.where if scope_of else None
    source = _fitting(where.source[0]) if where and where.source else ""
    path = _fitting(where.path[0]) if where and where.path else None
    position = int(ruleset.scan(single_line(line, source, path)).rule[0])
    return None if position == NO_RULE else ruleset.rules[position]


def _fitting(glob: str) -> str:
    """A name that a shell glob matches."""
    return GLOB_PART.sub(lambda part: next((c for c in LETTERS if fnmatchcase(c, part[0])), "x"), glob)


def single_line(line: str, source: str = "", path: str | None = None) -> Batch:
    """A batch of one message."""
    text = line.replace("\n", " ").encode("utf-8", "surrogateescape")
    return Batch(text, np.zeros(1, np.int64), source, path)
