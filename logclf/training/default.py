"""The recipe of the default model: `python -m logclf.training.default` trains `models/default` from its corpus."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random

import click
import numpy as np

from .. import features, resources
from ..encoders import SentenceTransformerEncoder, StaticEncoder
from ..features import TOLD_LEVELS, Reading
from ..model import FORMAT, TOKENIZER, VOCABULARY, Manifest, save_model
from ..taxonomy import DEFAULT
from .background import background_readings, read_lines
from .corpus import CorpusTemplate, read_corpus, samples
from .distill import distill
from .fit import USUAL_STRENGTH, Companion, Examples, describe, fit

VERSION = "2.0.0"
RENDERINGS = 2
SEED = 1
DIMENSIONS = 128
TARGET_PRECISION = 0.95
UNFAMILIAR = 0.15  # of texts of systems that were held out
STRAY = 0.3  # of the levels are others than the meaning suggests, as programmers will have it


def training_readings(
    templates: list[CorpusTemplate], renderings: int = RENDERINGS
) -> tuple[list[Reading], list[CorpusTemplate]]:
    """What the model reads of the rendered corpus, each with the template that it came from.

    Each text comes without a level and with one, so that what it says must count and the level may help.
    """
    rendered = list(samples(templates, renderings, SEED))
    rng = Random(SEED)  # noqa: S311  (reproducible, not secret)
    found: dict[Reading, CorpusTemplate] = {}
    for (template, _), reading in zip(rendered, read_lines([line for _, line in rendered]), strict=True):
        found.setdefault(reading._replace(level=""), template)
        found.setdefault(reading._replace(level=stated_level(template.severity, rng)), template)
    return list(found), list(found.values())


def stated_level(severity: str, rng: Random) -> str:
    """The level that a program might state with a message of this severity; "" for one that the model isn't told."""
    levels = (*TOLD_LEVELS, "fatal")
    place = levels.index(severity.lower())
    if rng.random() < STRAY:
        place = min(max(place + rng.choice((-2, -1, 1)), 1), len(levels) - 1)
    return levels[place] if levels[place] in TOLD_LEVELS else ""


@click.command()
@click.option(
    "--corpus", type=click.Path(path_type=Path), default=resources.MODELS / "default" / "corpus", show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), default=resources.MODELS / "default", show_default=True)
@click.option("--encoder", type=click.Choice(["static", "minilm"]), default="static", show_default=True)
def main(corpus: Path, out: Path, encoder: str) -> None:
    """Train the default model."""
    templates = read_corpus(corpus, DEFAULT)
    readings, owners = training_readings(templates)
    background = background_readings()
    weights, tokenizer = {}, {}
    if encoder == "static":
        static = distill(dimensions=DIMENSIONS)
        weights = {"static": static.vectors, "static_scales": static.scales}
        tokenizer = {TOKENIZER: static.tokenizer}
        chosen: StaticEncoder | SentenceTransformerEncoder = StaticEncoder(
            static.vectors, static.scales, static.tokenizer
        )
    else:
        chosen = SentenceTransformerEncoder()
    names = tuple(sorted({template.label for template in owners}))
    truth = np.array([names.index(template.label) for template in owners])
    companions = [Companion(reading, len(names)) for reading in background]
    examples = Examples(readings, truth, names, companions)
    systems = [template.system for template in owners]
    fitted = fit(examples, systems, chosen, TARGET_PRECISION, UNFAMILIAR, [USUAL_STRENGTH], progress=click.echo)
    texts = sorted({reading.hinted for reading in readings})
    manifest = Manifest(
        format=FORMAT,
        name=out.name,
        version=VERSION,
        labels=list(names),
        encoder=chosen.name,
        temperature=fitted.calibration.temperature,
        mix=fitted.calibration.mix,
        background=bool(background),
        threshold=fitted.threshold.value,
        familiarity=fitted.familiarity,
        known_words=fitted.known_words,
        files={},
        training={
            "templates": len(templates),
            "texts": len(texts),
            "background": len(background),
            "sha256": hashlib.sha256("\n".join(texts).encode()).hexdigest(),
            "held_out": "corpus files",
        },
        metrics=describe(fitted),
    )
    vocabulary = sorted({word for reading in readings for word in features.words(reading.text)})
    save_model(out, manifest, weights | fitted.weights(), tokenizer | {VOCABULARY: "\n".join(vocabulary)})
    click.echo(f"{out}: {len(templates)} templates, {manifest.metrics}, threshold {manifest.threshold}")


if __name__ == "__main__":
    main()
