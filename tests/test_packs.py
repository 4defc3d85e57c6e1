"""The shipped rule packs are valid, and every example is won by its own rule among all of them."""

from __future__ import annotations

import pytest

from logclf import resources
from logclf.rulecheck import check_files, failed_examples
from logclf.rulefile import Rule
from logclf.rules import RuleSet
from logclf.taxonomy import DEFAULT

WANTED = (
    "sshd pam kernel systemd cron nginx apache haproxy postgresql mysql redis kubernetes docker jvm python hadoop "
    "spark zookeeper kafka openstack postfix generic"
).split()


@pytest.fixture(scope="module")
def rules() -> list[Rule]:
    found, problems = check_files(resources.packs(), DEFAULT)
    assert not problems, "\n".join(map(str, problems))
    return found


def test_every_promised_pack_is_there() -> None:
    assert set(WANTED) <= {path.stem for path in resources.packs()}
    assert resources.packs()[-1].stem == "generic"


@pytest.mark.parametrize("engine", ["hyperscan", "re2"])
def test_examples(rules: list[Rule], engine: str) -> None:
    problems = [str(problem) for problem in failed_examples(RuleSet(rules, engine=engine))]
    assert not problems, "\n".join(problems)


def test_most_patterns_have_words_to_look_for(rules: list[Rule]) -> None:
    """Without words a pattern is part of the automaton whole: few may, or starting takes long."""
    patterns = [pattern for rule in rules for pattern in rule.any]
    assert sum(not pattern.literals for pattern in patterns) < len(patterns) / 20
