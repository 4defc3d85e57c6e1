"""`logclf models list|show|use|add|diff`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeGuard

import click

from .stream import vocabulary_options

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from ..comparing import Changes
    from ..model import Manifest
    from ..store import Reference, Store

# The engine's modules (numpy: 0.1 s) are imported inside the commands, so that `--help` stays quick.

FIGURES = ("accuracy", "macro_f1", "coverage", "precision")
MOST_PAIRS = 20
COMPARED = (*FIGURES, "calibration_error")


@click.group("models")
def models_command() -> None:
    """List, show, choose and compare models.

    \b
    logclf models list
    logclf models add bank my-model
    logclf models use bank@2              running daemons follow
    logclf models diff bank@1 bank@2 --data app.log
    """


@models_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for scripts.")
def list_command(as_json: bool) -> None:
    """Shipped and stored models; `*` marks the one in use. Figures are those of held-out templates."""
    from ..errors import ArtifactError
    from ..store import Store

    store = Store()
    try:
        current = store.current()
    except ArtifactError as error:
        click.echo(f"logclf: {error}", err=True)
        current = None
    rows = [row(store, reference, reference == current) for reference in store.models()]
    if as_json:
        from msgspec import json

        click.echo(json.encode(rows).decode())
    else:
        click.echo(table([LIST_HEAD, *map(shown_row, rows)]))


LIST_HEAD = ("", "MODEL", "LABELS", "ENCODER", "TRAINED", "TEMPLATES", "ACCURACY", "MACRO-F1", "COVERAGE", "PRECISION")


def row(store: Store, reference: Reference, current: bool) -> dict[str, Any]:
    """A model as `list --json` shows it; of one whose manifest cannot be read, why."""
    from ..errors import ArtifactError
    from ..model import read_manifest

    found = {"model": str(reference), "name": reference.name, "version": reference.version, "current": current}
    try:
        manifest = read_manifest(store.path(str(reference)))
    except ArtifactError as error:
        return found | {"damaged": str(error)}
    return found | {
        "labels": len(manifest.labels),
        "encoder": manifest.encoder,
        "trained": manifest.training.get("trained"),
        "templates": manifest.training.get("templates"),
        **{name: manifest.metrics.get(name) for name in FIGURES},
    }


def shown_row(found: dict[str, Any]) -> tuple[str, ...]:
    mark = "*" if found["current"] else ""
    if "damaged" in found:
        return (mark, found["model"], f"damaged: {found['damaged']}")
    columns = ("labels", "encoder", "trained", "templates", *FIGURES)
    return (mark, found["model"], *(figure(found[name]) for name in columns))


@models_command.command("show")
@click.argument("model", metavar="NAME[@VERSION]|DIR")
def show_command(model: str) -> int:
    """What a model says about itself, and whether its files verify. Exit 1 where they do not."""
    from ..errors import LogclfError
    from ..model import load_model, read_manifest
    from ..topology import model_directory

    directory = model_directory(model)
    manifest = read_manifest(directory)
    try:
        load_model(directory)
        damage = None
    except LogclfError as error:
        damage = str(error)
    click.echo(description(manifest, directory, damage))
    return 1 if damage else 0


def description(manifest: Manifest, directory: Path, damage: str | None) -> str:
    """A manifest for people; `damage` says why its files do not verify."""
    f1 = by_label(manifest)
    labels = [("  " + name, figure(f1.get(name))) for name in manifest.labels]
    head = [
        ("model", f"{manifest.name}@{manifest.version}"),
        ("directory", str(directory)),
        ("files verified", f"no: {damage}" if damage else "yes"),
        ("encoder", manifest.encoder),
        ("threshold", figure(manifest.threshold)),
        ("temperature", figure(manifest.temperature)),
    ]
    training = [("trained from", "")] + [(f"  {key}", figure(value)) for key, value in manifest.training.items()]
    simple = [(f"  {key}", figure(value)) for key, value in manifest.metrics.items() if not isinstance(value, dict)]
    return table([*head, *training, ("held-out templates", ""), *simple, (f"{len(labels)} labels", "F1"), *labels])


@models_command.command("use")
@click.argument("model", metavar="NAME[@VERSION]")
@vocabulary_options
def use_command(model: str, profile: str, taxonomy: Path | None) -> None:
    """Make a model the one that is used where none is named. Running `tail` and `filter` follow within a second.

    It is verified first, and its labels must be those of the profile or taxonomy.
    """
    from ..store import Store
    from ..topology import NO_MODEL, fitting_model, resolve

    labels = resolve(profile, taxonomy, (), NO_MODEL).taxonomy
    store = Store()
    before = store.use(model, lambda directory: fitting_model(directory, labels))
    now = str(store.current())
    click.echo(f"{now} is in use" + (f"; before it was {before}" if before != now else ""))
    if before != now:
        click.echo(f"go back: logclf models use {before}")


@models_command.command("add")
@click.argument("name")
@click.argument("directory", metavar="DIR", type=click.Path(path_type=Path))
def add_command(name: str, directory: Path) -> None:
    """Store the model in DIR under NAME's next version. It is verified and copied, whole or not at all."""
    from ..store import Store

    added = Store().add(directory, name)
    click.echo(f"{added} is stored; use it: logclf models use {added}")


@models_command.command("diff")
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option(
    "--data", type=click.Path(path_type=Path), metavar="FILE", help="Also label this text or CSV file with both."
)
@click.option("--text-column", metavar="NAME", help="The CSV file's text column; found by usual names if left out.")
def diff_command(before: str, after: str, data: Path | None, text_column: str | None) -> None:
    """Two models side by side: figures, labels, F1 by label, threshold; B minus A in the last column.

    Figures of models that were held against different templates say little; --data compares them on the same texts.
    """
    from ..model import read_manifest
    from ..topology import model_directory

    first, second = model_directory(before), model_directory(after)
    click.echo(side_by_side(read_manifest(first), read_manifest(second)))
    if data:
        from ..comparing import label_changes, read_texts
        from ..model import load_model

        changes = label_changes(read_texts(data, text_column), load_model(first), load_model(second))
        click.echo("\n" + shown_changes(changes))


def side_by_side(first: Manifest, second: Manifest) -> str:
    """Two manifests' figures, labels and thresholds."""
    rows = [("", *(f"{each.name}@{each.version}" for each in (first, second)), "")]
    rows += [compared(name, first.metrics.get(name), second.metrics.get(name)) for name in COMPARED]
    rows.append(compared("threshold", first.threshold, second.threshold))
    rows.append(compared("templates", first.training.get("templates"), second.training.get("templates")))
    rows.append(("F1 by label", "", "", ""))
    left, right = by_label(first), by_label(second)
    for name in dict.fromkeys([*first.labels, *second.labels]):
        rows.append(compared(f"  {name}", *(cell(name, *each) for each in ((first, left), (second, right)))))
    return table(rows)


def cell(label: str, manifest: Manifest, f1: dict[str, Any]) -> object:
    return f1.get(label) if label in manifest.labels else "no such label"


def compared(name: str, before: object, after: object) -> tuple[str, str, str, str]:
    """A row: both figures and how much the second is above the first."""
    difference = ""
    if is_number(before) and is_number(after):
        change = after - before
        difference = f"{change:+,}" if isinstance(change, int) else f"{change:+.3f}"
    return (name.replace("_", " "), figure(before), figure(after), difference)


def shown_changes(changes: Changes) -> str:
    """How many labels change, which ones, and some of the texts, safe to look at."""
    from ..pretty import visible

    share = f" ({100 * changes.changed / changes.texts:.1f} %)" if changes.texts else ""
    lines = [f"{changes.changed:,} of {changes.texts:,} texts get another label{share}"]
    lines.append(
        table([(f"{count:,}", f"{old} → {new}") for (old, new), count in changes.pairs.most_common(MOST_PAIRS)])
    )
    lines += [f"  {visible(old)} → {visible(new)}: {shortened(visible(text))}" for old, new, text in changes.examples]
    return "\n".join(line for line in lines if line)


def by_label(manifest: Manifest) -> dict[str, Any]:
    found = manifest.metrics.get("f1")
    return found if isinstance(found, dict) else {}


def is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def figure(value: object) -> str:
    """A figure or text of a manifest; nested ones in short."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    if is_number(value):
        return f"{value:,}"
    return shortened(str(value))


def shortened(text: str, most: int = 160) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def table(rows: Iterable[Sequence[str]]) -> str:
    """Columns of text, safe to look at: manifests may come from anywhere."""
    from ..pretty import visible

    safe = [[visible(text) for text in each] for each in rows]
    widest = max(map(len, safe), default=0)
    widths = [max((len(each[at]) for each in safe if at < len(each) - 1), default=0) for at in range(widest)]
    lines = ("  ".join(text.ljust(width) for text, width in zip(each, widths, strict=False)) for each in safe)
    return "\n".join(line.rstrip() for line in lines)
