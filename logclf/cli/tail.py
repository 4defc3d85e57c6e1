"""`logclf tail`."""

from __future__ import annotations

import logging
import os
import signal
import sys
import time
from pathlib import Path

import click

from ..errors import OutputClosedError, OutputError
from .stream import CascadeOptions, asking, cascade_options, flush_option, keys, message_key_option, summary

log = logging.getLogger(__name__)


@click.command("tail")
@click.argument("files", nargs=-1, required=True, metavar="FILES...")
@click.option("--follow/--no-follow", default=True, help="Go on at the end of the files (the default), or stop there.")
@click.option(
    "--from",
    "begin",
    type=click.Choice(["start", "end"]),
    default="start",
    show_default=True,
    help="Where to begin reading.",
)
@click.option("-n", "--lines", type=click.IntRange(1), metavar="N", help="Begin N lines before the end.")
@click.option(
    "--checkpoint", type=click.Path(path_type=Path), metavar="DIR", help="Keep positions here, and go on from them."
)
@click.option(
    "-o", "--output", type=click.Path(path_type=Path), metavar="FILE", help="Append JSON lines here instead of stdout."
)
@click.option("--pretty", is_flag=True, help="For people: aligned and coloured instead of JSON.")
@click.option(
    "--source", metavar="NAME", help="The lines' source, for rules that say `where`; the file's name if left out."
)
@message_key_option
@cascade_options
@flush_option
def tail_command(
    files: tuple[str, ...],
    follow: bool,
    begin: str,
    lines: int | None,
    checkpoint: Path | None,
    output: Path | None,
    pretty: bool,
    source: str | None,
    message_keys: str,
    chosen: CascadeOptions,
    flush_ms: int,
) -> int:
    """Follow log FILES (names and globs) and write every line, labelled, to stdout as JSON lines.

    \b
    logclf tail /var/log/app.log
    logclf tail '/var/log/*.log' --from end --pretty
    logclf tail app.log --no-follow -o labelled.jsonl
    """
    if pretty and output:
        raise click.UsageError("--pretty is for the terminal, -o for JSON lines: choose one")
    # The engine (numpy, Hyperscan) takes 0.1 s to import, which --help and usage errors need not pay.
    from ..batch import DecodeCounts
    from ..checkpoint import CheckpointStore
    from ..decoding import Decoder
    from ..encoding import Encoder
    from ..pipeline import Sink, Tally, run
    from ..pretty import PrettySink
    from ..sinks import DescriptorSink, open_output, regular_file
    from ..sources.stop import Stop
    from ..sources.tail import Begin, TailSource

    names = keys(message_keys)
    stop, counts = Stop(), DecodeCounts()

    def decoder(path: str) -> Decoder:
        return Decoder(source or Path(path).name, path, message_keys=names, counts=counts)

    where = Begin(at_end=begin == "end", last_lines=lines or 0)
    tailed = TailSource(files, decoder, stop, follow=follow, begin=where, wait=flush_ms / 1000)
    tailed.output = regular_file(output)
    tailed.check()
    cascade, look = chosen.follow()
    tailed.store = CheckpointStore(checkpoint) if checkpoint else None
    sink: Sink
    if pretty:
        sink = PrettySink(1, cascade.table, colour=sys.stdout.isatty() and "NO_COLOR" not in os.environ)
    elif output:
        sink = DescriptorSink(open_output(output), Encoder(cascade.table), str(output))
    else:
        sink = DescriptorSink(1, Encoder(cascade.table))
    stop.on_signals()
    tally = Tally(time.monotonic())
    try:
        with asking(cascade, stop):
            run(tailed, cascade, sink, tally, look)
    except OutputClosedError:
        raise  # the reader has what it wanted, and no summary was asked for
    except OutputError:
        log.info("%s", summary(tally, cascade, counts))
        raise
    log.info("%s", summary(tally, cascade, counts))
    if stop.signal == signal.SIGINT:
        return 130
    return 1 if tailed.skipped and not follow else 0
