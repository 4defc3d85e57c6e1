"""`logclf classify`."""

from __future__ import annotations

import codecs
import logging
from pathlib import Path

import click

from .stream import CascadeOptions, cascade_options, keys, message_key_option

log = logging.getLogger(__name__)

MEGABYTE = 1 << 20


@click.command("classify")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILES...")
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="A file for one input ('-' for stdout), a directory for several. Ends in .gz or .zst: compressed.",
)
@click.option(
    "--format",
    "kind",
    type=click.Choice(["csv", "tsv", "parquet", "jsonl", "text"]),
    show_default="by each file's name, else text",
    help="What the files are.",
)
@click.option("--text-column", metavar="NAME", show_default="by usual names", help="The column that is classified.")
@click.option(
    "--source-column", metavar="NAME", show_default="by usual names", help="Where a row is from, for routes and rules."
)
@click.option(
    "--label-column", default="target_label", show_default=True, metavar="NAME", help="The column that is added."
)
@click.option("--overwrite-column", is_flag=True, help="Replace the label column's values where there is one already.")
@click.option("--explain", is_flag=True, help="Add stage, confidence, severity and rule as columns too.")
@click.option("--delimiter", metavar="CHAR", help="Of CSV, instead of the comma.")
@click.option("--no-quotes", is_flag=True, help="Quotes mean nothing in this CSV or TSV.")
@click.option("--encoding", metavar="NAME", help="What the files are in, if not UTF-8; UTF-8 comes out.")
@click.option("--source", metavar="NAME", help="All lines' source, instead of a column or the file's name.")
@click.option("--overwrite", is_flag=True, help="Replace outputs that are there already.")
@click.option("--resume", is_flag=True, help="Go on where an interrupted run with the same options stopped.")
@click.option("-j", "--jobs", type=click.IntRange(0), default=1, show_default=True, help="Processes; 0: one a core.")
@click.option(
    "--passes",
    type=click.Choice(["auto", "1", "2"]),
    default="auto",
    show_default=True,
    help="2: find new templates first, and ask model and LLM once for all processes.",
)
@click.option(
    "--split-size",
    type=click.FloatRange(0, min_open=True),
    default=16,
    show_default=True,
    metavar="MB",
    help="Big files are labelled in parts of this size.",
)
@click.option("--json", "as_json", is_flag=True, help="The closing report as one JSON object on stdout.")
@message_key_option
@cascade_options
def classify_command(
    files: tuple[Path, ...],
    output: Path,
    kind: str | None,
    text_column: str | None,
    source_column: str | None,
    label_column: str,
    overwrite_column: bool,
    explain: bool,
    delimiter: str | None,
    no_quotes: bool,
    encoding: str | None,
    source: str | None,
    overwrite: bool,
    resume: bool,
    jobs: int,
    passes: str,
    split_size: float,
    as_json: bool,
    message_keys: str,
    chosen: CascadeOptions,
) -> int:
    """Label archives: CSV, TSV, Parquet, JSON lines or text, each also as .gz or .zst.

    Tables gain a column, JSON events a member, lines of text become JSON events. An output appears whole or not at all.

    \b
    logclf classify tickets.csv -o labelled.csv --explain
    logclf classify archive/*.log.gz -o labelled/ -j 4
    """
    to_stdout = output == Path("-")
    if to_stdout and (len(files) > 1 or resume or as_json):
        raise click.UsageError("-o - writes one input's result to stdout, without --resume and --json")
    # The engine (numpy, Hyperscan) takes 0.1 s to import, which --help and usage errors need not pay.
    from ..archive.inputs import Request
    from ..archive.plan import Settings
    from ..archive.pool import InterruptedRunError
    from ..archive.progress import ProgressBar
    from ..archive.report import as_json as report_json
    from ..archive.report import label_table, summary
    from ..archive.run import classify

    settings = Settings(
        kind=kind,
        text_column=text_column,
        source_column=source_column,
        label_column=label_column,
        overwrite_column=overwrite_column,
        explain=explain,
        message_keys=tuple(keys(message_keys)),
        source=source,
        encoding=checked_encoding(encoding),
        delimiter=checked_delimiter(delimiter),
        quotes=not no_quotes,
        files=len(files) > 1,
        split_size=max(int(split_size * MEGABYTE), 1),
    )
    request = Request(
        files, output, settings, overwrite, resume, jobs or cores(), 0 if passes == "auto" else int(passes)
    )
    recipe = chosen.for_archives()
    try:
        with ProgressBar() as bar:
            outcome = classify(request, recipe, bar)
    except InterruptedRunError:
        log.info("interrupted%s", "" if to_stdout else "; what is done is kept, --resume goes on from there")
        return 130
    log.info("%s", summary(outcome))
    if as_json:
        import msgspec

        click.echo(msgspec.json.encode(report_json(outcome)).decode())
    elif outcome.counts.labels:
        click.echo(label_table(outcome), err=True)
    return 1 if outcome.left_out else 0


def checked_encoding(name: str | None) -> str | None:
    """A text encoding's name; None for UTF-8, which needs no conversion."""
    if name is None:
        return None
    try:
        found = codecs.lookup(name)
        "".encode(name)  # some codecs turn bytes into bytes
    except LookupError as error:
        raise click.BadParameter(f"{name!r} is no encoding that Python knows", param_hint="--encoding") from error
    return None if found.name == "utf-8" else found.name


def checked_delimiter(text: str | None) -> str | None:
    """One ASCII character that can stand between fields."""
    if text is None:
        return None
    character = text.encode().decode("unicode_escape") if text == "\\t" else text
    if len(character) != 1 or not character.isascii() or character in '"\r\n':
        raise click.BadParameter("expected one ASCII character other than a quote", param_hint="--delimiter")
    return character


def cores() -> int:
    """Processors that this process may use."""
    import os

    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
