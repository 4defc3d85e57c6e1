"""The recipe of the default model: `python -m logclf.training.default` trains `models/default` from its corpus."""

from __future__ import annotations

import hashlib
from pathlib import Path

import click

from .. import features, masking, resources
from ..encoders import SentenceTransformerEncoder, StaticEncoder
from ..model import TOKENIZER, VOCABULARY, Manifest, save_model
from ..taxonomy import DEFAULT
from .corpus import CorpusTemplate, read_corpus, samples
from .distill import distill
from .fit import fit

VERSION = "1.1.0"
RENDERINGS = 2
SEED = 1
DIMENSIONS = 128
TARGET_PRECISION = 0.95
KNOWN_WORDS = 0.6  # real systems' lines have 86 % at the median and 55 % at the lowest hundredth; random words none


def training_texts(templates: list[CorpusTemplate], renderings: int = RENDERINGS) -> dict[str, CorpusTemplate]:
    """What the model reads of the rendered corpus, each text once, with the template that it came from."""
    rendered = list(samples(templates, renderings, SEED))
    masked = masking.mask([line.encode() for _, line in rendered])
    texts: dict[str, CorpusTemplate] = {}
    for (template, _), text in zip(rendered, masked, strict=True):
        texts.setdefault(features.read(masking.readable(text)).text, template)
    return texts


@click.command()
@click.option(
    "--corpus", type=click.Path(path_type=Path), default=resources.MODELS / "default" / "corpus", show_default=True
)
@click.option("--out", type=click.Path(path_type=Path), default=resources.MODELS / "default", show_default=True)
@click.option("--encoder", type=click.Choice(["static", "minilm"]), default="static", show_default=True)
def main(corpus: Path, out: Path, encoder: str) -> None:
    """Train the default model."""
    templates = read_corpus(corpus, DEFAULT)
    texts = training_texts(templates)
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
    owners = list(texts.values())
    fitted = fit(list(texts), [t.label for t in owners], [t.system for t in owners], chosen, TARGET_PRECISION)
    digest = hashlib.sha256("\n".join(sorted(texts)).encode()).hexdigest()
    manifest = Manifest(
        format=1,
        name=out.name,
        version=VERSION,
        labels=list(fitted.labels),
        encoder=chosen.name,
        temperature=fitted.temperature,
        threshold=fitted.threshold,
        familiarity=fitted.familiarity,
        known_words=KNOWN_WORDS,
        files={},
        training={"templates": len(templates), "texts": len(texts), "sha256": digest, "held_out": "corpus files"},
        metrics=fitted.metrics,
    )
    vocabulary = sorted({word for text in texts for word in features.words(text)})
    save_model(out, manifest, weights | fitted.weights(), tokenizer | {VOCABULARY: "\n".join(vocabulary)})
    click.echo(f"{out}: {len(templates)} templates, {fitted.metrics}, threshold {fitted.threshold}")


if __name__ == "__main__":
    main()
