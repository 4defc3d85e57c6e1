"""`logclf train`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import click

from .stream import vocabulary_options

if TYPE_CHECKING:
    from ..profile import Profile
    from ..taxonomy import Taxonomy
    from ..training.embedders import Embedder
    from ..training.measure import Report
    from ..training.recipe import Trained

DEFAULT_NAME = "custom"


def table_options(command: Callable[..., None]) -> Callable[..., None]:
    """How to read a labelled table: --text-column, --label-column, --source-column, --format, --encoding."""
    for name, what in (("source", "where a line is from"), ("label", "the label"), ("text", "the line")):
        command = click.option(f"--{name}-column", metavar="NAME", help=f"Column with {what}; else by usual names.")(
            command
        )
    form = click.option(
        "--format", "form", type=click.Choice(["csv", "tsv", "parquet", "jsonl"]), help="Of DATA; else by its name."
    )
    encoding = click.option("--encoding", default="utf-8", show_default=True, help="Of DATA, where it is text.")
    return form(encoding(command))


@click.command("train")
@click.argument("data", type=click.Path(path_type=Path))
@table_options
@vocabulary_options
@click.option("--name", default=DEFAULT_NAME, show_default=True, metavar="NAME", help="Of the model in the store.")
@click.option("--out", type=click.Path(path_type=Path), metavar="DIR", help="Write the model here, not into the store.")
@click.option("--use", is_flag=True, help="Make it the model in use, as `logclf models use` does.")
@click.option(
    "--encoder",
    default="static",
    show_default=True,
    metavar="static|minilm|NAME|DIR",
    help="static needs no torch to run; others are sentence-transformers models.",
)
@click.option(
    "--corpus/--no-corpus",
    default=True,
    show_default=True,
    help="Learn from the shipped corpus too, where its labels are yours; few examples of a label go further then.",
)
@click.option(
    "--target-precision",
    type=click.FloatRange(0.5, 0.9999),
    default=0.98,
    show_default=True,
    help="How often an answer must be right: sets the threshold below which the model abstains.",
)
@click.option("--skip-unknown", is_flag=True, help="Leave out rows with labels that the taxonomy lacks.")
@click.option("--report", type=click.Path(path_type=Path), help="Write the HTML report here too.")
@click.option(
    "--export-joblib", type=click.Path(path_type=Path), metavar="FILE", help="The fitted estimators, for notebooks."
)
@click.option("--json", "as_json", is_flag=True, help="Print the report as one JSON object.")
def train_command(
    data: Path,
    text_column: str | None,
    label_column: str | None,
    source_column: str | None,
    form: str | None,
    encoding: str,
    taxonomy: Path | None,
    profile: str,
    name: str,
    out: Path | None,
    use: bool,
    encoder: str,
    corpus: bool,
    target_precision: float,
    skip_unknown: bool,
    report: Path | None,
    export_joblib: Path | None,
    as_json: bool,
) -> None:
    """Train a model on DATA: a table of lines and their labels (CSV, TSV, Parquet, JSON lines).

    Templates, not lines, are what is learnt and what is split; the report says what to expect of new ones. The model
    goes into the store as the next version of --name, or into the profile's directory, or into --out.
    """
    started = time.monotonic()
    check_extra()
    from ..profile import load_profile
    from ..taxonomyfile import load_taxonomy
    from ..training.embedders import embedder
    from ..training.labelled import Columns, collect, read_rows, unknown_labels
    from ..training.prepared import prepare
    from ..training.publish import check_file, copy_report, export_estimators
    from ..training.recipe import train

    chosen = load_profile(profile)
    labels = load_taxonomy(taxonomy) if taxonomy else chosen.taxonomy
    place = Place(name, out or profile_model(chosen), use)
    place.check()
    for target in (report, export_joblib):
        check_file(target)
    with progress_bar() as progress:
        progress(f"reading {data.name}")
        columns = Columns(text_column, label_column, source_column)
        labelled = collect(read_rows(data, columns, form, encoding), labels.names)
        if labelled.unknown and not skip_unknown:
            raise unknown_labels(labelled.unknown, labels.names)
        if labelled.unknown:
            labelled.dropped["labels that the taxonomy lacks"] = labelled.unknown.total()
        prepared = prepare(labelled, corpus)
        embedding = embedder(encoder, progress)
        trained = train(prepared, embedding.encoder, target_precision, progress)
        progress("writing")
        directory, said = place.publish(trained, embedding, labels)
    if as_json:
        from msgspec import json

        click.echo(json.encode(trained.report))
    else:
        click.echo(summary(trained.report, time.monotonic() - started))
    click.echo(said, err=as_json)
    if report:
        copy_report(directory, report)
    if export_joblib:
        export_estimators(trained, export_joblib)


def profile_model(profile: Profile) -> Path | None:
    """Where a profile's own model belongs; None for the default profile.

    Raises:
        ConfigError: it is a shipped one, which the next installation replaces.
    """
    from .. import resources
    from ..errors import ConfigError
    from ..profile import MODEL

    if profile.directory is None:
        return None
    if profile.directory.resolve().parent == resources.PROFILES.resolve():
        raise ConfigError(
            "this profile comes with logclf and stays as it is; copy it and name the copy's directory, or use --out",
            str(profile.directory),
        )
    return profile.directory / MODEL


def check_extra() -> None:
    """Say what to install before anything is read.

    Raises:
        ConfigError: the packages that training takes are not there.
    """
    from importlib.util import find_spec

    from ..errors import ConfigError

    missing = [name for name in ("sklearn", "matplotlib", "threadpoolctl") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"training needs {', '.join(missing)}: pip install 'logclf[train]'")


@contextmanager
def progress_bar() -> Iterator[Callable[[str], None]]:
    """A bar on a terminal, nothing elsewhere; called with what is being done now."""
    if not sys.stderr.isatty():
        yield lambda _: None
        return
    from rich.console import Console  # 60 ms
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (BarColumn(), TimeElapsedColumn(), TextColumn("{task.description}", markup=False))
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=9)

        def step(text: str) -> None:
            bar.update(task, description=text, advance=0 if text.startswith("encoding") else 1)

        yield step


@dataclass(frozen=True)
class Place:
    """Where the model goes: a directory, or the store under a name, and whether it comes into use."""

    name: str
    directory: Path | None
    use: bool

    def check(self) -> None:
        """Complain before the work is done, not after.

        Raises:
            ConfigError, ArtifactError: it cannot go there.
        """
        from ..store import check_name
        from ..training.publish import check_directory

        if self.directory is None:
            check_name(self.name)
            return
        if self.use:
            raise click.UsageError("--use is about models in the store; leave --out and --profile away")
        check_directory(self.directory)

    def publish(self, trained: Trained, embedding: Embedder, taxonomy: Taxonomy) -> tuple[Path, str]:
        """Write the artifact; its directory, and what to say about it."""
        from ..store import Store
        from ..training.publish import next_version, replace_directory, writer

        if self.directory is not None:
            name = self.directory.parent.name if self.directory.name == "model" else self.directory.name
            version = next_version(self.directory)
            replace_directory(self.directory, writer(trained, embedding, name or self.name, taxonomy.name, version))
            return self.directory, f"model: {self.directory}"
        store = Store()
        reference = str(store.add(writer(trained, embedding, self.name, taxonomy.name), self.name))
        if not self.use:
            return store.path(reference), f"model: {reference}; `logclf models use {reference}` makes it the one in use"
        previous = store.use(reference)
        return store.path(reference), f"model: {reference}, now in use; `logclf models use {previous}` goes back"


def summary(report: Report, seconds: float) -> str:
    """What a person is told at the end."""
    from ..pretty import visible  # with numpy, which --help need not load

    lines = [
        f"{report.rows:,} rows, {report.templates:,} templates, {len(report.labels)} labels; {seconds:.1f} s",
        *(f"left out: {count:,} rows with {reason}" for reason, count in report.dropped.items()),
        *overruled(report),
        "",
        f"{'held out':26}{'accuracy':>9}{'macro-F1':>10}",
        *(f"{visible(split.name)[:24]:26}{split.accuracy:9.4f}{split.macro_f1:10.4f}" for split in report.splits),
        *(
            f"{'source ' + visible(split.name)[:17]:26}{split.accuracy:9.4f}{split.macro_f1:10.4f}"
            for split in report.by_source
        ),
        f"{'five folds of templates':26}{report.accuracy:9.4f}{report.macro_f1:10.4f}"
        f"   calibration error {report.calibration_error:.4f}",
        "",
        promise(report),
    ]
    thin = [f"{visible(each.name)} ({each.templates})" for each in report.labels if each.thin]
    if thin:
        lines.append(f"too few templates to be answered, handed on to the LLM where there is one: {', '.join(thin)}")
    return "\n".join(lines)


def overruled(report: Report) -> list[str]:
    """A line about templates with several labels, where there are any."""
    from ..pretty import visible

    if not report.overruled:
        return []
    return [
        f"{report.overruled:,} rows have another label than most rows of their template, whose label counts; see the "
        f"report, first of all {visible(report.conflicts[0].sample)[:80]}"
    ]


def promise(report: Report) -> str:
    """What the threshold holds, and what it would take where it does not."""
    from ..training.report import percent

    target, bound = percent(report.target_precision), percent(report.precision_bound)
    if not report.coverage:
        least = f"; it takes at least {report.needed:,} more templates" if report.needed else ""
        thin = all(each.thin for each in report.labels)
        why = "every label has too few" if thin else f"no threshold is right in {target} of held-out"
        return f"this model always abstains, with a guess: {why} templates{least}; label more" + (
            "" if thin else ", or ask for less with --target-precision"
        )
    answers = (
        f"from {report.threshold:.2f} on it answers {percent(report.coverage)} of new templates "
        f"({percent(report.coverage_rows)} of rows), right in {percent(report.precision)} of them"
    )
    if report.needed == 0:
        return f"{answers}, and in at least {bound} with 95 % certainty"
    more = (
        f"some {report.needed:,} more labelled templates like these would show it"
        if report.needed
        else "more templates like these would not show it"
    )
    return f"{answers}; too few to promise {target} (surely {bound}): {more}"
