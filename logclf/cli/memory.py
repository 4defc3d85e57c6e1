"""`logclf memory list|export|import|correct|accept|forget`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from .choosing import WHO, About, Chosen, about_options, filter_options, text_of

if TYPE_CHECKING:
    from ..llm.store import AnswerStore, Stored
    from ..taxonomy import Taxonomy

# The engine's modules (numpy: 0.1 s) are imported inside the commands, so that `--help` stays quick.

PATIENCE = 10.0  # seconds that a person waits for other writers
AT_A_TIME = 1000  # lines written to stdout
WIDEST = 100  # characters of a template in the list
UNITS = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))
HEAD = ("LABEL", "CONFIDENCE", "BY", "MODEL", "AGE", "", "TEMPLATE")


@click.group("memory")
def memory_command() -> None:
    """What the LLM answered and people corrected, by template. Each taxonomy has a memory of its own.

    \b
    logclf memory list --provenance llm
    logclf memory correct 'worker 17 gave up on job 4711' 'Workflow Error'
    logclf memory export -o answers.jsonl
    logclf memory forget --provenance llm --older-than 90d
    """


YES = click.option("--yes", is_flag=True, help="Don't ask.")


@memory_command.command("list")
@filter_options
@click.option("--json", "as_json", is_flag=True, help="JSON lines, for scripts.")
@about_options
def list_command(chosen: Chosen, as_json: bool, about: About) -> None:
    """What is remembered, the latest first."""
    from ..llm.exchange import as_line, json_lines
    from .models import table

    labels, store, now = about.labels(), opened(), time.time()
    answers = list(chosen.filter(remembered(store, labels), now))[::-1]
    if as_json:
        write_out(json_lines(map(as_line, answers)))
        return
    if answers:
        click.echo(table([HEAD, *(row(answer, labels, now) for answer in answers)]))
    click.echo(totals(answers), err=True)


def row(answer: Stored, labels: Taxonomy, now: float) -> tuple[str, ...]:
    """An answer in the list."""
    from .models import shortened

    return (
        answer.label,
        "" if answer.provenance == "human" else f"{answer.confidence:.2f}",
        answer.provenance,
        answer.model,
        age(now - answer.created),
        state(answer, labels, now),
        shortened(answer.template, WIDEST),
    )


def state(answer: Stored, labels: Taxonomy, now: float) -> str:
    """Why an answer isn't used, or not for long; empty where it simply holds."""
    from ..llm.prompt import PROMPT_VERSION
    from ..llm.store import fingerprint, holds, is_stale

    if answer.expires is not None and answer.expires <= now:
        return "expired"
    if not holds(answer, frozenset(labels.names), now):
        return "no such label"
    return "stale" if is_stale(answer, fingerprint(labels), PROMPT_VERSION, now) else ""


def age(seconds: float) -> str:
    """A span of time in its largest unit; 0s for what a wrong clock put into the future."""
    unit, length = next(((unit, length) for unit, length in UNITS if seconds >= 2 * length), UNITS[-1])
    return f"{max(int(seconds // length), 0)}{unit}"


def totals(answers: list[Stored]) -> str:
    count = Counter(answer.provenance for answer in answers)
    shares = ", ".join(f"{count[each]:,} {each}" for each in WHO if count[each])  # type: ignore[index]
    return counted(len(answers)) + (f": {shares}" if shares else "")


def counted(number: int) -> str:
    return f"{number:,} answer{'' if number == 1 else 's'}"


@memory_command.command("export")
@click.option("-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="A new file; .csv for CSV.")
@click.option("--overwrite", is_flag=True, help="Replace the file.")
@click.option("--for-training", is_flag=True, help="What people answered or accepted, as `logclf train` reads it.")
@filter_options
@about_options
def export_command(output: Path | None, overwrite: bool, for_training: bool, chosen: Chosen, about: About) -> None:
    """Write answers as JSON lines (stdout, or FILE) or CSV (FILE.csv). FILE appears whole, for this account alone.

    An LLM's answers are never for training, unless a person accepted them.
    """
    from ..llm.exchange import Example, Line, as_example, as_line, csv_rows, is_csv, json_lines

    labels, store, now = about.labels(), opened(), time.time()
    answers = list(chosen.filter(remembered(store, labels), now))
    if for_training:
        answers = [answer for answer in answers if answer.provenance == "human" and answer.label in labels.names]
    written: list[Line | Example] = [as_example(each) if for_training else as_line(each) for each in answers]
    kind = Example if for_training else Line
    if output is None:
        write_out(json_lines(written))
    else:
        write_private(output, csv_rows(written, kind) if is_csv(output) else json_lines(written), overwrite)
    click.echo(f"{totals(answers)} written", err=True)


@memory_command.command("import")
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--skip-unknown", is_flag=True, help="Leave out answers whose label the taxonomy lacks.")
@about_options
def import_command(file: Path, skip_unknown: bool, about: About) -> None:
    """Take in what `memory export` wrote, elsewhere or before: all of it or, where a line is wrong, nothing.

    A person's answer replaces a machine's, never the other way; between equals the younger one holds.
    """
    from ..llm.exchange import is_csv, read_answers

    labels, now = about.labels(), time.time()
    with readable(file) as source:
        found = read_answers(source, str(file), labels, now, is_csv(file), skip_unknown)
    kept = opened().merge(found.answers, now) if found.answers else 0
    others = {
        "met an answer that holds": len(found.answers) - kept,
        "have a label that the taxonomy lacks": found.unknown,
        "have expired": found.expired,
    }
    left = "".join(f"; {number:,} {why}" for why, number in others.items() if number)
    click.echo(f"{counted(kept)} taken in{left}")


@memory_command.command("correct")
@click.argument("template")
@click.argument("label")
@about_options
def correct_command(template: str, label: str, about: About) -> None:
    """Give a template the label that it should have. TEMPLATE may be a line of it.

    A person's answer holds for good; no machine's replaces it.
    """
    labels, store = about.labels(), opened()
    text = text_of(template)
    meant, before = named(text, about, labels, store)
    answer = store.correct(meant, label, labels, sample=about.mask()(text))
    was = f"; {before.provenance} had said {before.label}" if before and before.label != label else ""
    say(f"{answer.label}: {answer.template}{was}")


@memory_command.command("accept")
@click.argument("templates", metavar="TEMPLATE...", nargs=-1, required=True)
@about_options
def accept_command(templates: tuple[str, ...], about: About) -> int:
    """Make machines' answers people's: they hold for good, and may train. Exit 1 where there is no answer."""
    labels, store = about.labels(), opened()
    missing = 0
    for template in templates:
        meant, before = named(text_of(template), about, labels, store)
        answer = store.accept(meant, labels) if before else None
        missing += answer is None
        say(f"{answer.label}: {answer.template}" if answer else f"no answer about: {meant}", err=answer is None)
    return 1 if missing else 0


@memory_command.command("forget")
@click.argument("templates", metavar="[TEMPLATE]...", nargs=-1)
@click.option("--all", "everything", is_flag=True, help="All answers of this taxonomy, people's too.")
@YES
@filter_options
@about_options
def forget_command(templates: tuple[str, ...], everything: bool, yes: bool, chosen: Chosen, about: About) -> int:
    """Drop answers: of templates, all that the options choose, or --all. Exit 1 where a template has none.

    It asks on a terminal; elsewhere it needs --yes. What is dropped is overwritten in the file.
    """
    if bool(templates) + everything + (not chosen.everything) != 1:
        raise click.UsageError("name templates, or choose answers by options, or say --all")
    labels, store = about.labels(), opened()
    if templates:
        found = [named(text_of(each), about, labels, store) for each in templates]
        for meant in (meant for meant, answer in found if answer is None):
            say(f"no answer about: {meant}", err=True)
        answers = [answer for _, answer in found if answer]
    else:
        answers = list(chosen.filter(remembered(store, labels), time.time()))
    if answers:
        agree(f"Forget {totals(answers)}?", yes)
        click.echo(f"{counted(store.forget(answers))} forgotten")
    else:
        click.echo("0 answers forgotten")
    return 1 if len(answers) < len(templates) else 0


def opened() -> AnswerStore:
    from ..llm.store import AnswerStore

    return AnswerStore(busy=PATIENCE)


def remembered(store: AnswerStore, labels: Taxonomy) -> Iterator[Stored]:
    """All answers of a taxonomy. Where there is no file there are none, and looking makes no file."""
    return store.rows(labels) if store.path.exists() else iter(())


def named(text: str, about: About, labels: Taxonomy, store: AnswerStore) -> tuple[str, Stored | None]:
    """The template that a person means, and what is known about it: the text itself, else that of such a line."""
    from ..llm.naming import template_of

    known = store.path.exists()
    if known and (found := store.find(text, labels)):
        return text, found
    meant = template_of(text, labels, about.mask())
    if meant is None:
        raise click.UsageError("there is nothing in this line to remember it by")
    return meant, store.find(meant, labels) if known else None


def say(text: str, err: bool = False) -> None:
    """A line with log text in it."""
    from ..pretty import visible

    click.echo(visible(text), err=err)


def agree(question: str, yes: bool) -> None:
    """Ask, unless that was answered before."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Say --yes: there is no terminal to ask on")
    click.confirm(question, abort=True, err=True)


def readable(file: Path) -> BinaryIO:
    """A file to read, `-` for stdin.

    Raises:
        InputError: it cannot be read.
    """
    from ..errors import InputError

    if file == Path("-"):
        return sys.stdin.buffer
    try:
        return file.open("rb")
    except OSError as error:
        raise InputError(f"{file}: {error.strerror}") from error


def write_out(lines: Iterable[bytes]) -> None:
    from ..sinks import write_all

    rest = iter(lines)
    while block := b"".join(islice(rest, AT_A_TIME)):
        write_all(1, block, "stdout")


def write_private(path: Path, lines: Iterable[bytes], overwrite: bool) -> None:
    """A file for this account alone, whole or not at all.

    Raises:
        OutputError: it is there already, is no file, or the disk refuses.
    """
    import os
    import tempfile

    from ..errors import OutputError

    if path.exists() and not (overwrite and path.is_file()):
        what = "is there already; --overwrite replaces it" if path.is_file() else "is not a file"
        raise OutputError(f"{path}: {what}")
    try:
        descriptor, aside = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")  # made with mode 0600
        try:
            with os.fdopen(descriptor, "wb") as file:
                file.writelines(lines)
                file.flush()
                os.fsync(file.fileno())
            Path(aside).replace(path)
        except BaseException:
            Path(aside).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise OutputError(f"{path}: {error.strerror}") from error
