"""The pictures of a training report: matplotlib's SVG, made to stand inside an HTML page.

Colours are CSS variables with a light fallback, so that one picture is readable in light and dark; ids are unique
within the page. Names from data are hostile: `shown` makes what is invisible visible, matplotlib escapes them for XML,
and neither its mathematics nor LaTeX ever reads them.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width
from xml.etree import ElementTree

from ..errors import ConfigError
from ..pretty import visible
from ..scoring import BINS

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from .measure import Report

SVG, XLINK = "http://www.w3.org/2000/svg", "http://www.w3.org/1999/xlink"
# What the page calls a colour, and its fallback outside the page.
COLOURS = {
    "ink": "#1c2026", "muted": "#5d6671", "line": "#d9dde2", "surface": "#ffffff",
    "right": "#1f4fa3", "wrong": "#b4500a", "on-cell": "#ffffff",
}  # fmt: skip
# Drawn with stand-ins, which the SVG's styles are searched for; none is black, which matplotlib leaves out.
STAND_IN = {name: f"#00ff{number:02x}" for number, name in enumerate(COLOURS, 1)}
STYLE: dict[Any, Any] = {
    "svg.fonttype": "none",  # text stays text: found by search, read aloud, and in the reader's own font
    "svg.hashsalt": "logclf",  # the same report gives the same page
    "text.usetex": False,
    "text.parse_math": False,
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.formatter.use_mathtext": False,
    "axes.edgecolor": STAND_IN["line"],
    "axes.labelcolor": STAND_IN["muted"],
    "grid.color": STAND_IN["line"],
    "grid.linewidth": 0.6,
    "text.color": STAND_IN["ink"],
    "xtick.color": STAND_IN["line"],
    "ytick.color": STAND_IN["line"],
    "xtick.labelcolor": STAND_IN["muted"],
    "ytick.labelcolor": STAND_IN["muted"],
}
NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}
LONGEST_NAME = 26  # columns of a label in a picture; the tables have it whole
MOST_LABELS = 40  # in the confusion matrix
OTHERS = "(all others)"
DARK_CELL = 0.68  # from this share on a cell's count is written in `on-cell`


def shown(text: str) -> str:
    """Hostile text with everything made visible that hides, reorders or cannot be in XML or UTF-8."""
    plain = visible(text).encode("utf-8", "backslashreplace").decode()
    return plain.translate({0xFFFE: "\\ufffe", 0xFFFF: "\\uffff"})


def columns_of(text: str) -> int:
    """How wide text stands, in columns: East Asian characters take two."""
    return sum(2 if east_asian_width(char) in "WF" else 1 for char in text)


def shortened(text: str, most: int = LONGEST_NAME) -> str:
    """A name made visible, in at most so many columns: its beginning and its end, since names often differ there."""
    text = shown(text)
    if columns_of(text) <= most:
        return text
    end = _fitting(text[::-1], most // 3)[::-1]
    return f"{_fitting(text, most - 1 - columns_of(end)).rstrip()}…{end.lstrip()}"


def _fitting(text: str, most: int) -> str:
    """The longest beginning of a text that is at most so many columns wide."""
    text = text[:most]
    while columns_of(text) > most:
        text = text[:-1]
    return text


def confusion(report: Report) -> str:
    """Row-normalised heat map of labels and held-out answers, with counts."""
    names, table = most_mistaken([shortened(each.name) for each in report.labels], report.confusion)
    side = 0.34 if len(names) <= 14 else 0.27
    margin = 0.072 * max(map(columns_of, names)) + 0.2
    size = side * len(names)
    return drawn(
        partial(_confusion, names=names, table=table, margin=margin),
        "confusion", "Confusion matrix: labels by row, answers by column", margin + size + 0.3, margin + size + 0.3,
    )  # fmt: skip


def most_mistaken(names: Sequence[str], table: Sequence[Sequence[int]]) -> tuple[list[str], list[list[int]]]:
    """Names and table (labels, labels) as they are, or where too many the most mistaken and the others in one."""
    if len(names) <= MOST_LABELS:
        return list(names), [list(row) for row in table]
    sums = [sum(row) for row in zip(*table, strict=True)]
    mistakes = [sum(row) + sums[at] - 2 * row[at] for at, row in enumerate(table)]
    chosen = sorted(sorted(range(len(names)), key=lambda at: -mistakes[at])[: MOST_LABELS - 1])
    place = {at: number for number, at in enumerate(chosen)}
    found = [[0] * MOST_LABELS for _ in range(MOST_LABELS)]
    for at, row in enumerate(table):
        for column, count in enumerate(row):
            found[place.get(at, MOST_LABELS - 1)][place.get(column, MOST_LABELS - 1)] += count
    return [*(names[at] for at in chosen), OTHERS], found


def _confusion(figure: Figure, names: list[str], table: list[list[int]], margin: float) -> None:
    axes = _axes(figure, margin, 0.3, margin, 0.3)
    axes.set(xlim=(0, len(names)), ylim=(len(names), 0))
    centres = [at + 0.5 for at in range(len(names))]
    axes.set_xticks(centres, names, rotation=90, ha="left", va="center", rotation_mode="anchor")
    axes.set_yticks(centres, names)
    axes.tick_params(length=0, labelsize=8, labelcolor=STAND_IN["ink"], top=True, labeltop=True, labelbottom=False)
    axes.grid(visible=False)
    axes.vlines(range(len(names) + 1), 0, len(names), colors=STAND_IN["line"], linewidth=0.4)
    axes.hlines(range(len(names) + 1), 0, len(names), colors=STAND_IN["line"], linewidth=0.4)
    for at, row in enumerate(table):
        for column, count in enumerate(row):
            if count:
                _cell(axes, at, column, count, count / sum(row))


def _cell(axes: Axes, row: int, column: int, count: int, share: float) -> None:
    from matplotlib.patches import Rectangle

    colour = STAND_IN["right" if row == column else "wrong"]
    axes.add_patch(Rectangle((column, row), 1, 1, facecolor=colour, alpha=0.15 + 0.85 * share, linewidth=0))
    text = STAND_IN["on-cell" if share >= DARK_CELL else "ink"]
    axes.text(column + 0.5, row + 0.5, brief(count), color=text, fontsize=7, ha="center", va="center_baseline")


def brief(count: int) -> str:
    """A count in at most four characters: 9999, 12k, 3M."""
    return str(count) if count < 10_000 else f"{count // 1000}k" if count < 1_000_000 else f"{count // 1_000_000}M"


def reliability(report: Report) -> str:
    """How often answers of a sureness are right, and below how many there are of each sureness."""
    return drawn(partial(_reliability, bins=report.reliability), "reliability", "Reliability diagram", 5.2, 4.6)


def _reliability(figure: Figure, bins: Sequence[tuple[float, float, int]]) -> None:
    above, below = _axes(figure, 0.7, 0.15, 0.15, 1.75), _axes(figure, 0.7, 0.15, 3.25, 0.55)
    above.plot([0, 1], [0, 1], color=STAND_IN["muted"], linewidth=1, dashes=(4, 3))
    above.text(0.16, 0.06, "as sure as right", color=STAND_IN["muted"], fontsize=8)
    for sure, share, size in bins:
        low, high = interval(share, size)
        above.vlines(sure, low, high, colors=STAND_IN["right"], linewidth=1, alpha=0.5)
    above.plot([each[0] for each in bins], [each[1] for each in bins], "o", color=STAND_IN["right"], markersize=4.5)
    above.set(xlim=(0, 1), ylim=(0, 1.02), ylabel="right")
    _percent(above, "y")
    above.tick_params(labelbottom=False, length=0)
    places = [(min(int(sure * BINS), BINS - 1) + 0.5) / BINS for sure, _, _ in bins]
    sizes = [size for _, _, size in bins]
    below.bar(places, sizes, width=0.85 / BINS, color=STAND_IN["right"], alpha=0.75)
    for place, size in zip(places, sizes, strict=True):
        below.annotate(brief(size), (place, size), (0, 2), textcoords="offset points", ha="center", fontsize=7)
    below.set(xlim=(0, 1), ylim=(0, 1.25 * max(sizes)), xlabel="sureness of the answer", ylabel="templates", yticks=[])
    _percent(below, "x")


def interval(share: float, size: int, z: float = 1.96) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) of a share measured on so many."""
    middle, spread = share + z * z / (2 * size), z * (share * (1 - share) / size + z * z / (4 * size * size)) ** 0.5
    return (middle - spread) / (1 + z * z / size), (middle + spread) / (1 + z * z / size)


def coverage(report: Report) -> str:
    """Precision of the answers against the share answered; the threshold and the target are marked."""
    return drawn(partial(_coverage, report=report), "coverage", "Precision against coverage", 5.2, 4.6)


def _coverage(figure: Figure, report: Report) -> None:
    axes = _axes(figure, 0.7, 0.15, 0.15, 0.55)
    points, target = report.coverage_points, report.target_precision
    axes.plot([each[1] for each in points], [each[2] for each in points], color=STAND_IN["right"], linewidth=1.8)
    # The surest few have any precision at all: they must not squeeze the rest.
    settled = [each[2] for each in points if each[1] >= 0.05] or [each[2] for each in points]
    marked = [report.precision, report.precision_bound] if report.coverage else []
    low = max(0.0, min([*settled, *marked, target]) - 0.03)
    axes.set(xlim=(0, 1), ylim=(low, 1 + (1 - low) * 0.03), xlabel="answered templates", ylabel="right answers")
    axes.axhline(target, color=STAND_IN["wrong"], linewidth=1, dashes=(4, 3))
    _target(axes, target, right=report.coverage < 0.6, above=report.coverage < 0.6 and points[-1][2] < target)
    if report.coverage:
        _threshold(axes, report)
    _percent(axes, "x")
    _percent(axes, "y")


def _target(axes: Axes, target: float, right: bool, above: bool) -> None:
    """The target's name: on the side where the threshold is not, and where the falling curve seldom is."""
    axes.annotate(
        f"target {100 * target:.4g} %", (float(right), target), (-2 if right else 4, 3 if above else -4),
        textcoords="offset points", ha="right" if right else "left", va="bottom" if above else "top",
        color=STAND_IN["wrong"], fontsize=8,
    )  # fmt: skip


def _threshold(axes: Axes, report: Report) -> None:
    at, ink = report.coverage, STAND_IN["ink"]
    low = axes.get_ylim()[0]
    axes.vlines(at, report.precision_bound, report.precision, colors=ink, linewidth=1.4)
    axes.vlines(at, low, report.precision_bound, colors=STAND_IN["muted"], linewidth=0.8, linestyles=":")
    axes.plot([at], [report.precision_bound], "_", color=ink, markersize=8)
    axes.plot([at], [report.precision], "o", color=ink, markersize=6)
    # At the foot of its line, on the side that has room: the curve falls, so it is seldom there.
    side, step = ("right", -6) if at > 0.4 else ("left", 6)
    text = f"threshold {report.threshold:.3f}"
    axes.annotate(text, (at, low), (step, 6), textcoords="offset points", ha=side, color=ink, fontsize=8.5)


def learning(report: Report) -> str:
    """Accuracy on the same test templates, from ever more training templates."""
    return drawn(partial(_learning, points=report.learning), "learning", "Learning curve", 5.2, 3.4)


def _learning(figure: Figure, points: Sequence[tuple[int, float]]) -> None:
    from matplotlib.ticker import MaxNLocator

    axes = _axes(figure, 0.7, 0.5, 0.2, 0.55)
    sizes, shares = [each[0] for each in points], [each[1] for each in points]
    axes.plot(sizes, shares, "o-", color=STAND_IN["right"], linewidth=1.8, markersize=4.5)
    for size, share in points:
        # Below and to the right: where a rising curve is not.
        axes.annotate(f"{100 * share:.0f} %", (size, share), (4, -12), textcoords="offset points", fontsize=8)
    low = max(0.0, min(shares) - 0.12)
    axes.set(xlim=(0, max(sizes) * 1.04), ylim=(low, 1.02), xlabel="training templates", ylabel="right answers")
    axes.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
    _percent(axes, "y")
    axes.tick_params(length=0)


def _axes(figure: Figure, left: float, right: float, top: float, bottom: float) -> Axes:
    """Axes with margins in inches: names are cut to a known width, so nothing needs to be found by trial."""
    width, height = figure.get_size_inches()
    return figure.add_axes(
        (left / width, bottom / height, (width - left - right) / width, (height - top - bottom) / height)
    )


def _percent(axes: Axes, which: str) -> None:
    from matplotlib.ticker import MaxNLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(MaxNLocator(nbins=6, steps=[1, 2, 5, 10]))
    axis.set_tick_params(length=0, pad=6)  # the two axes' first labels meet in the corner
    axis.set_major_formatter(lambda value, _: f"{100 * value:.4g} %")


def drawn(draw: Any, name: str, title: str, width: float, height: float) -> str:
    """What `draw` puts on a figure of so many inches, as an <svg> element; `name` makes its ids its own.

    Raises:
        ConfigError: matplotlib is not installed.
    """
    try:
        import matplotlib as mpl  # 0.3 s, and only reports have pictures
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ConfigError("a training report needs matplotlib: pip install 'logclf[train]'") from error
    import warnings

    written = io.BytesIO()
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # glyphs that its font lacks: the reader's browser draws them
        mpl.rcdefaults()  # nobody's matplotlibrc may bring LaTeX back
        mpl.rcParams.update(STYLE)
        figure = Figure(figsize=(width, height))
        draw(figure)
        figure.savefig(written, format="svg", transparent=True, metadata=NO_METADATA)
    return inlined(written.getvalue(), name, title)


def inlined(svg: bytes, name: str, title: str) -> str:
    """An SVG document as an element of a page: no prologue, ids of its own, a title, colours by the page's names."""
    root = ElementTree.fromstring(svg)  # noqa: S314  (matplotlib wrote it just now)
    for element in root.iter():
        for key, value in list(element.attrib.items()):
            element.set(key, _attribute(key, value, name))
    root.attrib.pop("version", None)
    root.set("role", "img")
    root.set("aria-label", title)
    ElementTree.register_namespace("", SVG)
    ElementTree.register_namespace("xlink", XLINK)
    return ElementTree.tostring(root, encoding="unicode")


def _attribute(key: str, value: str, name: str) -> str:
    if key == "id":
        return f"{name}-{value}"
    if key == f"{{{XLINK}}}href":
        return value.replace("#", f"#{name}-", 1)
    value = value.replace("url(#", f"url(#{name}-")
    return _STAND_INS.sub(lambda found: f"var(--{_NAMED[found[0]]}, {COLOURS[_NAMED[found[0]]]})", value)


_NAMED = {code: name for name, code in STAND_IN.items()}
_STAND_INS = re.compile("|".join(STAND_IN.values()))
