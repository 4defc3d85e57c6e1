"""A training run for people: one self-contained HTML page, and the model card in Markdown.

Labels, sources and log lines are hostile. On the page they go through `text` alone, the one door from data to `Html`,
and the page's own policy forbids scripts and anything from elsewhere. The card has no log lines at all: it travels with
the model, and what was in the logs stays where they are.
"""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NewType

from . import figures
from .figures import shown
from .page import FRAME

if TYPE_CHECKING:
    from ..model import Manifest
    from .measure import Mistake, Report, Split

Html = NewType("Html", str)

SPLITS = {
    "random rows": "What others quote: near-copies of the tested rows are in training too, so it flatters.",
    "templates": "New lines of known systems: no template of the test is in training.",
    "sources": "A new system: a whole source is left out of training, one after the other.",
}
HANDED_ON = "too few templates: handed on to the LLM stage, not answered"
NO_SOURCES = "Not measured: it needs rows of at least two sources that can be told apart, and labels in both."
CAPTIONS = {
    "confusion": "Held-out templates: labels by row, answers by column, with counts. The stronger the colour, the"
    " larger the share of the row; blue is right, orange wrong.",
    "reliability": "How often held-out answers are right, by how sure they are; bars are 95 % intervals. On the dashed"
    " line sureness can be taken at its word. Below, how many templates there are of each sureness.",
    "coverage": "The fewer templates are answered, the surest first, the more answers are right. The point, if anything"
    " is answered, is the threshold; the solid line goes down to the precision that is certain at 95 %. The curve is of"
    " all held-out templates, the point of those that are familiar and of labels with enough templates.",
    "learning": "Right answers on the same test templates from ever more training templates: while it climbs, more"
    " labelled templates help.",
}


def page(report: Report, manifest: Manifest) -> str:
    """The HTML page: text and pictures in one file, readable in light and dark, with no script and no link.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    parts = [
        _head(report, manifest),
        _section("What to expect", _splits(report), _by_source(report)),
        _section("Labels", _labels(report), _picture("confusion", figures.confusion(report))),
        _section("Sureness", _sureness(report)),
        _section("More examples", _learning(report)),
        _section("Most confused templates", _confused(report)),
        _section("Likely label errors", _doubtful(report)),
        _section("Conflicts", _conflicts(report)),
        _section("Rows left out", _dropped(report)),
        _section("How it was made", _table(("what", "value"), [(text(k), text(v)) for k, v in made(report, manifest)])),
    ]
    return FRAME.format(title=text(f"Training report: {manifest.name} {manifest.version}"), body="\n".join(parts))


def headline(report: Report) -> str:
    """What can be expected, in one sentence."""
    target, more = percent(report.target_precision), "more examples of the same kind do not help"
    if not report.coverage:
        if report.labels and all(each.thin for each in report.labels):
            return "Answers nothing: every label has too few templates."
        help_ = more if report.needed is None else f"it takes at least {count(report.needed, 'more labelled template')}"
        return f"Answers nothing: no threshold gives the target precision of {target} on held-out templates; {help_}."
    answers = f"Answers {percent(report.coverage)} of new templates, right in {percent(report.precision)} of them"
    sure = f"(at least {percent(report.precision_bound)} with 95 % certainty)"
    if report.needed == 0:
        return f"{answers} {sure}."
    help_ = more if report.needed is None else f"that takes at least {count(report.needed, 'more labelled template')}"
    return f"{answers} {sure}: the target precision of {target} is not promised; {help_}."


def outlook(report: Report) -> str:
    """The same for systems that nobody labelled lines of."""
    if not report.by_source:
        return "That is for new lines of systems it was trained on; what a new system gets was not measured."
    worst, whole = min(report.by_source, key=lambda each: each.accuracy), overall(report.by_source)
    lowest = f" (lowest of {len(report.by_source)}: {percent(worst.accuracy)})" if len(report.by_source) > 1 else ""
    return (
        "That is for new lines of systems it was trained on; of a source left out of training,"
        f" {percent(whole.accuracy)} of the templates get the right label when none is held back{lowest}."
    )


def overall(splits: Sequence[Split]) -> Split:
    """All sources as one: accuracy over their templates, and the mean of their macro-F1."""
    from .measure import Split  # it imports what fitting takes

    examples = sum(each.examples for each in splits)
    accuracy = sum(each.accuracy * each.examples for each in splits) / max(examples, 1)
    return Split("each source left out", examples, accuracy, sum(each.macro_f1 for each in splits) / len(splits))


def percent(share: float) -> str:
    """With one decimal, rounded down: 99.96 % is not 100 %."""
    return f"{math.floor(share * 1000 + 1e-6) / 10:.1f} %"


def count(number: int, what: str) -> str:
    """`1 template`, `1,200 templates`."""
    return f"{number:,} {what}{'' if number == 1 else 's'}"


def made(report: Report, manifest: Manifest) -> list[tuple[str, str]]:
    """How the model was made: what, and its value; plain text from data among it."""
    said, (dense, sparse) = manifest.training, report.strength
    thin = [each.name for each in report.labels if each.thin]
    return [
        ("model", f"{manifest.name} {manifest.version} (format {manifest.format})"),
        ("encoder", report.encoder or manifest.encoder),
        ("regularisation", f"C = {dense:g} on vectors, C = {sparse:g} on n-grams"),
        ("mix", f"{manifest.mix:g} of the n-grams' log-probabilities"),
        ("temperature", f"{manifest.temperature:g}"),
        ("threshold", f"{manifest.threshold:g}, for a target precision of {percent(report.target_precision)}"),
        ("familiarity", f"cosine {manifest.familiarity:g} to a training template, {percent(manifest.known_words)} of"
                        " its words known"),
        ("background class", "yes: prose and source code are never answered" if manifest.background else "no"),
        ("labels not answered", ", ".join(thin) or "none"),
        ("training data", f"{count(report.rows, 'row')}, {count(report.templates, 'template')}"),
        ("its fingerprint", f"SHA-256 {said.get('sha256', 'unknown')}"),
        ("taxonomy", str(said.get("taxonomy", "unknown"))),
        ("held out", str(said.get("held_out", "unknown"))),
        ("trained", f"{said.get('trained', 'unknown')}" + (f", in {report.seconds:.1f} s" if report.seconds else "")),
    ]  # fmt: skip


# The page.


def text(value: str) -> Html:
    """Data as HTML: the only way there."""
    return Html(html.escape(shown(value)))


def _prose(sentence: str) -> Html:
    return Html(html.escape(sentence).replace(" %", "&nbsp;%"))


def _paragraph(sentence: str) -> Html:
    return Html(f"<p>{_prose(sentence)}</p>")


def _line(sample: str) -> Html:
    return Html(f"<code>{text(sample)}</code>")


def _section(title: str, *parts: Html) -> Html:
    return Html(f"<section>\n<h2>{_prose(title)}</h2>\n{''.join(parts)}\n</section>")


def _table(heads: Sequence[str], rows: Iterable[Sequence[Html]], kind: str = "table") -> Html:
    """Heads that end in # are of numbers."""
    classes = [' class="n"' if name.endswith("#") else "" for name in heads]
    top = _cells("th", [f'{each} scope="col"' for each in classes], [_prose(name.rstrip("#")) for name in heads])
    body = "\n".join(f"<tr>{_cells('td', classes, row)}</tr>" for row in rows)
    inside = f"<thead><tr>{top}</tr></thead>\n<tbody>{body}</tbody>"
    return Html(f'<div class="wide"><table class="{kind}">{inside}</table></div>')


def _cells(tag: str, attributes: Sequence[str], cells: Sequence[Html]) -> str:
    return "".join(f"<{tag}{extra}>{cell}</{tag}>" for extra, cell in zip(attributes, cells, strict=True))


def _picture(name: str, svg: str) -> Html:
    caption = _prose(CAPTIONS[name])
    return Html(f'<figure class="{name}"><div class="wide">{svg}</div><figcaption>{caption}</figcaption></figure>')


def _head(report: Report, manifest: Manifest) -> Html:
    kind = "promised" if report.needed == 0 else "open"
    tiles = [
        ("rows", f"{report.rows:,}"),
        ("templates", f"{report.templates:,}"),
        ("labels", f"{len(report.labels):,}"),
        ("rows answered", percent(report.coverage_rows)),
        ("right, none held back", percent(report.accuracy)),
        ("macro-F1", f"{report.macro_f1:.3f}"),
        ("calibration error", f"{report.calibration_error:.3f}"),
    ]
    shown_tiles = "".join(f"<div><dt>{_prose(name)}</dt><dd>{_prose(value)}</dd></div>" for name, value in tiles)
    return Html(
        f"<header>\n<h1>Training report <small>{text(manifest.name)} {text(manifest.version)}</small></h1>\n"
        f'<p class="lead {kind}">{_prose(headline(report))}</p>\n{_paragraph(outlook(report))}\n'
        f"<dl>{shown_tiles}</dl>\n</header>"
    )


def _splits(report: Report) -> Html:
    rows = [_split_row(each, SPLITS.get(each.name, "")) for each in report.splits]
    if report.by_source:
        rows.append(_split_row(overall(report.by_source), SPLITS["sources"]))
    else:
        dash = Html("–")
        rows.append((text("each source left out"), dash, dash, dash, _prose(NO_SOURCES)))
    heads = ("split", "tested#", "right#", "macro-F1#", "what it answers")
    return Html(_paragraph("Every tested example is answered here, with none held back.") + _table(heads, rows))


def _split_row(split: Split, says: str) -> tuple[Html, ...]:
    return (text(split.name), *_figures(split), _prose(says))


def _figures(split: Split) -> tuple[Html, Html, Html]:
    return _prose(f"{split.examples:,}"), _prose(percent(split.accuracy)), _prose(f"{split.macro_f1:.3f}")


def _by_source(report: Report) -> Html:
    if not report.by_source:
        return Html("")
    rows = [(text(named(each.name)), *_figures(each)) for each in report.by_source]
    return Html("<h3>By source left out</h3>" + _table(("source", "templates#", "right#", "macro-F1#"), rows))


def named(source: str) -> str:
    """A source's name, where it has one."""
    return source if source.strip() else "(no name)"


def _labels(report: Report) -> Html:
    rows = [
        (
            text(each.name), _prose(f"{each.rows:,}"), _prose(f"{each.templates:,}"), _prose(percent(each.precision)),
            _prose(percent(each.recall)), _prose(percent(each.f1)), _prose(HANDED_ON if each.thin else ""),
        )
        for each in report.labels
    ]  # fmt: skip
    return _table(("label", "rows#", "templates#", "precision#", "recall#", "F1#", "note"), rows)


def _sureness(report: Report) -> Html:
    pictures: list[tuple[str, Sequence[object], Callable[[Report], str]]] = [
        ("reliability", report.reliability, figures.reliability),
        ("coverage", report.coverage_points, figures.coverage),
    ]
    drawn = [_picture(name, draw(report)) for name, points, draw in pictures if points]
    return Html(f'<div class="pair">{"".join(drawn)}</div>') if drawn else _paragraph("Nothing was held out.")


def _learning(report: Report) -> Html:
    if not report.learning:
        return _paragraph("Not measured: too few templates.")
    return _picture("learning", figures.learning(report))


def _confused(report: Report) -> Html:
    if not report.confused:
        return _paragraph("None: every held-out template was told right.")
    lead = (
        "Held-out templates with another answer than their label, those first that are surest and have the most rows."
    )
    return Html(_paragraph(lead) + _mistakes(report.confused, "answer"))


def _doubtful(report: Report) -> Html:
    if not report.doubtful:
        return _paragraph("None found.")
    lead = "Models that did not see these templates are as sure of the suggestion as they are of its own. Worth a look."
    return Html(_paragraph(lead) + _mistakes(report.doubtful, "suggestion"))


def _mistakes(found: Sequence[Mistake], answer: str) -> Html:
    rows = [
        (
            _line(each.sample), text(each.label), text(each.answer), _prose(percent(each.confidence)),
            _prose(f"{each.rows:,}"),
        )
        for each in found
    ]  # fmt: skip
    return _table(("example line", "label", answer, "sureness#", "rows#"), rows, "lines")


def _conflicts(report: Report) -> Html:
    if not report.conflicts:
        return _paragraph("None: all rows of a template have the same label.")
    lead = "Templates whose rows have several labels. Training takes the first, the most frequent."
    rows = [
        (
            _line(each.sample),
            Html("<br>".join(f"{text(name)}: {_prose(f'{number:,}')}" for name, number in each.labels)),
        )
        for each in report.conflicts
    ]
    return Html(_paragraph(lead) + _table(("example line", "labels with their rows"), rows, "lines"))


def _dropped(report: Report) -> Html:
    if not report.dropped:
        return _paragraph("None.")
    return _table(("reason", "rows#"), [(text(why), _prose(f"{number:,}")) for why, number in report.dropped.items()])


# The card.


def card(report: Report, manifest: Manifest) -> str:
    """The model card: Markdown with names from data as code, and without log lines."""
    parts = [
        f"# Model card: {code(manifest.name)} {code(manifest.version)}",
        headline(report),
        outlook(report),
        "## What to expect",
        "Every tested example is answered here, with none held back.",
        _markdown(("split", "tested", "right", "macro-F1", "what it answers"), _card_splits(report)),
        "## Labels",
        _markdown(("label", "rows", "templates", "precision", "recall", "F1", "note"), _card_labels(report)),
        "## When it does not answer",
        _abstains(report, manifest),
        "## Training data",
        _data(report),
        "## How it was made",
        _markdown(("what", "value"), [(what, code(value)) for what, value in made(report, manifest)]),
    ]
    return "\n\n".join(parts) + "\n"


def code(value: str) -> str:
    """Data as a code span: what ends one, starts HTML or parts a table's cells is written as its number."""
    spelt = {ord(char): f"\\x{ord(char):02x}" for char in "`|<"}
    return f"`{shown(value).translate(spelt) or ' '}`"


def _markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _card_splits(report: Report) -> list[tuple[str, ...]]:
    whole = [overall(report.by_source)] if report.by_source else []
    known = [(each.name, each, SPLITS.get(each.name, "")) for each in report.splits]
    known += [(each.name, each, SPLITS["sources"]) for each in whole]
    known += [(code(named(each.name)), each, "This source left out.") for each in report.by_source]
    return [
        (name, f"{each.examples:,}", percent(each.accuracy), f"{each.macro_f1:.3f}", says) for name, each, says in known
    ]


def _card_labels(report: Report) -> list[tuple[str, ...]]:
    return [
        (
            code(each.name), f"{each.rows:,}", f"{each.templates:,}", percent(each.precision), percent(each.recall),
            percent(each.f1), HANDED_ON if each.thin else "",
        )
        for each in report.labels
    ]  # fmt: skip


def _abstains(report: Report, manifest: Manifest) -> str:
    thin = ", ".join(code(each.name) for each in report.labels if each.thin)
    lines = [
        f"Below a confidence of {manifest.threshold:g} its best guess is handed on, not answered.",
        "So is text unlike all it was trained on, however sure it feels.",
        f"So are labels with too few templates: {thin}." if thin else "",
        f"At that threshold it answers {percent(report.coverage_rows)} of rows like those it was trained on.",
        f"How sure it says it is differs from how often it is right by {report.calibration_error:.3f} (expected"
        " calibration error).",
    ]
    return "\n".join(f"- {line}" for line in lines if line)


def _data(report: Report) -> str:
    left_out = ", ".join(f"{code(why)} {number:,}" for why, number in report.dropped.items()) or "none"
    lines = [
        f"{count(report.rows, 'row')} of {count(report.templates, 'template')}.",
        f"Rows left out: {left_out}.",
        f"Templates whose rows have several labels: {len(report.conflicts):,} looked at in the report.",
        f"Templates whose label is likely wrong: {len(report.doubtful):,} looked at in the report.",
    ]
    return "\n".join(f"- {line}" for line in lines)
