"""`logclf validate`, `test` and `rules list|show|explain`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from .. import resources
from ..errors import ConfigError
from .stream import vocabulary_options

if TYPE_CHECKING:
    from ..rulefile import Rule
    from ..rules import RuleSet
    from ..topology import Setup

# The engine's modules (numpy, Hyperscan, YAML: 0.15 s) are imported inside the commands, so that `--help` stays quick.

RULE_PATHS = click.argument("paths", metavar="[RULES]...", nargs=-1, type=click.Path(path_type=Path))


def _setup(profile: str, taxonomy: Path | None, paths: tuple[Path, ...] = ()) -> Setup:
    """What a stream with these options would be made of, but for the model."""
    from ..topology import NO_MODEL, resolve

    return resolve(profile, taxonomy, paths, NO_MODEL)


def _files(setup: Setup) -> list[Path]:
    """The rule files to check: those that were named, else the profile's, else the shipped packs if they apply."""
    named = resources.rule_files(list(setup.rules)) or list(setup.profile_rules)
    return named or (resources.packs() if setup.packs else [])


def _report(problems: list[ConfigError], done: str) -> int:
    for problem in problems:
        click.echo(str(problem))
    count = len(problems)
    click.echo(f"{count} problem{'s' if count != 1 else ''}" if count else done, err=True)
    return 1 if count else 0


@click.command("validate")
@RULE_PATHS
@vocabulary_options
def validate_command(paths: tuple[Path, ...], profile: str, taxonomy: Path | None) -> int:
    """Check rule files and directories (the profile's, or the shipped packs, where none are named).

    Reports unknown keys and labels, repeated ids, patterns that an engine refuses or that match everything, rules that
    another one shadows, and examples that do not hold among these rules. Exit 1 with findings.
    """
    from ..rulecheck import check_files, failed_examples
    from ..rules import RuleSet

    setup = _setup(profile, taxonomy, paths)
    rules, problems = check_files(_files(setup), setup.taxonomy)
    if not problems:
        problems = list(failed_examples(RuleSet(rules)))
    return _report(problems, f"{len(rules)} rules are valid")


@click.command("test")
@RULE_PATHS
@vocabulary_options
def test_command(paths: tuple[Path, ...], profile: str, taxonomy: Path | None) -> int:
    """Run the examples of rules (the profile's, or the shipped packs, where none are named) through the whole ordered
    rule set, as a stream would have it.

    Each rule must win its `match` examples and must not win its `no_match` examples. Exit 1 with findings.
    """
    from ..rulecheck import check_files, failed_examples
    from ..rules import RuleSet

    setup = _setup(profile, taxonomy, paths)
    files = _files(setup)
    own, problems = check_files(files, setup.taxonomy)
    if not problems:
        ids = frozenset(rule.id for rule in own)
        problems = list(failed_examples(RuleSet(_as_in_a_stream(own, files, setup)), ids))
    examples = sum(len(rule.spec.examples.match) + len(rule.spec.examples.no_match) for rule in own)
    return _report(problems, f"{examples} examples of {len(own)} rules pass")


def _as_in_a_stream(own: list[Rule], files: list[Path], setup: Setup) -> list[Rule]:
    """The rules that are tested among all others; a pack that is tested itself stays in its place."""
    from ..rulecheck import check_files
    from ..topology import together

    packs = resources.packs() if setup.packs else []
    shipped, _ = check_files(packs, setup.taxonomy)
    if packs and {path.resolve() for path in files} <= set(packs):
        return shipped
    profile, _ = check_files(setup.profile_rules if setup.rules else (), setup.taxonomy)
    return together(own, together(profile, shipped))


@click.group("rules")
def rules_command() -> None:
    """List, show and explain rules."""


OWN_RULES = click.option(
    "--rules",
    "paths",
    multiple=True,
    type=click.Path(path_type=Path),
    help="Rule file or directory, before the profile's and the shipped packs.",
)


def _rule_set(paths: tuple[Path, ...], profile: str, taxonomy: Path | None) -> RuleSet:
    return _setup(profile, taxonomy, paths).rule_set()


@rules_command.command("list")
@OWN_RULES
@vocabulary_options
def list_command(paths: tuple[Path, ...], profile: str, taxonomy: Path | None) -> None:
    """All rules in the order in which they are tried: id, label, where they stand."""
    for rule in _rule_set(paths, profile, taxonomy).rules:
        click.echo(f"{rule.id:40} {rule.spec.label:20} {_short(rule.origin)}")


@rules_command.command("show")
@OWN_RULES
@vocabulary_options
@click.argument("rule_id", metavar="ID")
def show_command(paths: tuple[Path, ...], profile: str, taxonomy: Path | None, rule_id: str) -> None:
    """One rule, whole, as YAML."""
    import yaml  # 30 ms, and only this command writes YAML

    rules = _rule_set(paths, profile, taxonomy).rules
    rule = next((rule for rule in rules if rule.id == rule_id), None)
    if rule is None:
        raise click.UsageError(f"no rule has the id {rule_id!r}; see `logclf rules list`")
    click.echo(f"# {_short(rule.origin)}")
    click.echo(yaml.safe_dump(_plain(rule), sort_keys=False, allow_unicode=True, width=120), nl=False)


@rules_command.command("explain")
@OWN_RULES
@vocabulary_options
@click.option("--source", default="", help="Take the line to come from this source.")
@click.option("--path", "file", default=None, help="Take the line to come from this file.")
@click.argument("line")
def explain_command(
    paths: tuple[Path, ...], profile: str, taxonomy: Path | None, source: str, file: str | None, line: str
) -> int:
    """Which rules match LINE, which one wins, and what it captures. Exit 1 where none does."""
    from ..rulecheck import single_line
    from ..rules import NO_RULE
    from ..taxonomy import SEVERITIES

    ruleset = _rule_set(paths, profile, taxonomy)
    batch = single_line(line, source, file)
    scan = ruleset.scan(batch)
    position = int(scan.rule[0])
    winner = None if position == NO_RULE else ruleset.rules[position]
    if winner is None:
        click.echo("no rule wins this line: memory and model decide")
    else:
        click.echo(f"{winner.id} wins: {winner.spec.label}")
        click.echo(f"  {_short(winner.origin)}")
        for name, value in scan.fields.get(0, {}).items():
            click.echo(f"  {name} = {value}")
    if scan.level[0]:
        click.echo(f"the line states its severity: {SEVERITIES[int(scan.level[0]) - 1].name}")
    for rule, excluded in ruleset.matching(batch):
        if rule is not winner:
            why = "kept out by its `none` or `where`" if excluded else "comes later"
            click.echo(f"also matches: {rule.id} ({rule.spec.label}), {why}  {_short(rule.origin)}")
    return 0 if winner else 1


def _short(origin: str) -> str:
    return origin.removeprefix(f"{resources.DATA}/")


def _plain(rule: Rule) -> dict[str, object]:
    import msgspec  # already loaded with the rules

    members: dict[str, object] = msgspec.to_builtins(rule.spec)
    return {name: value for name, value in members.items() if value not in ((), [], {}, "", None, 0)}
