"""`logclf filter`."""

from __future__ import annotations

import logging

import click

from .stream import CascadeOptions, asking, cascade_options, flush_option, keys, message_key_option, summary

log = logging.getLogger(__name__)


@click.command("filter")
@click.option(
    "--in",
    "form",
    type=click.Choice(["auto", "text", "json"]),
    default="auto",
    show_default=True,
    help="What comes in, line by line.",
)
@click.option(
    "--source",
    default="stdin",
    show_default=True,
    metavar="NAME",
    help="The lines' source, for rules that say `where`.",
)
@message_key_option
@cascade_options
@flush_option
def filter_command(form: str, source: str, message_keys: str, chosen: CascadeOptions, flush_ms: int) -> None:
    """Label stdin to stdout: one JSON event out for one line or JSON event in, in order.

    Made to run inside a log shipper: stdout carries events and nothing else, the end of stdin and SIGTERM drain, and a
    reader that goes away ends it quietly. Lines go out as soon as they are labelled, well within --flush-ms.
    """
    # The engine (numpy, Hyperscan) takes 0.1 s to import, which --help and usage errors need not pay.
    from ..decoding import EVENT_FORMS, TEXT, Decoder
    from ..encoding import Encoder
    from ..pipeline import run
    from ..sinks import DescriptorSink
    from ..sources.stdin import PipeSource
    from ..sources.stop import Stop

    stop = Stop()
    forms = frozenset((TEXT,)) if form == "text" else EVENT_FORMS
    decoder = Decoder(source, None, forms, keys(message_keys))
    stop.on_signals()  # first of all: what is in the pipe is labelled even if one comes now
    cascade, look = chosen.follow()
    lines = PipeSource(0, decoder, stop, flush_ms / 1000)
    sink = DescriptorSink(1, Encoder(cascade.table))
    with asking(cascade, stop):
        tally = run(lines, cascade, sink, before_batch=look)
    log.info("%s", summary(tally, cascade, decoder.counts))
