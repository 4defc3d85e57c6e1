"""`logclf eval`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import click

from .stream import CascadeOptions, cascade_options
from .train import table_options


@click.command("eval")
@click.argument("data", type=click.Path(path_type=Path))
@table_options
@cascade_options
@click.option("--skip-unknown", is_flag=True, help="Leave out rows with labels that the taxonomy lacks.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object, for scripts.")
def eval_command(
    data: Path,
    text_column: str | None,
    label_column: str | None,
    source_column: str | None,
    form: str | None,
    encoding: str,
    chosen: CascadeOptions,
    skip_unknown: bool,
    as_json: bool,
) -> None:
    """Measure rules and model on DATA, a table of lines and their labels.

    `--route '*=model'` measures the model alone, `--model none` the rules. A `severity` and a `count` column are used
    where the table has them.
    """
    from ..classifier import Classifier
    from ..errors import ConfigError
    from ..evaluation import evaluate, tables
    from ..training.labelled import Columns, read_rows, unknown_labels

    columns = Columns(text_column, label_column, source_column)
    rows = read_rows(data, columns, form, encoding)
    chosen = chosen.without_llm()
    names = chosen.setup().taxonomy.names
    tested, result = evaluate(rows, Classifier(chosen.build()), names)
    if tested.unknown and not skip_unknown:
        raise unknown_labels(tested.unknown, names)
    if result is None:
        left = "".join(f"; {count:,} rows have {reason}" for reason, count in tested.dropped.items())
        raise ConfigError(f"no row to measure has both a text and a label{left}", str(data))
    if as_json:
        from msgspec import json

        click.echo(json.encode(result))
    else:
        skipped = Counter({"labels that the taxonomy lacks": tested.unknown.total()})
        click.echo(tables(result, tested.dropped + skipped))
