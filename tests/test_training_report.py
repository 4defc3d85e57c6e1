"""The training report: what it says, that it is well-formed, and that nothing hostile gets through."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from typing import Any
from xml.etree import ElementTree

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from logclf.errors import ConfigError
from logclf.model import Manifest
from logclf.pretty import visible
from logclf.training import figures
from logclf.training.measure import Conflict, LabelFigures, Mistake, Report, Split
from logclf.training.report import card, code, headline, outlook, page, percent, text

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=http://evil.example/x onerror=alert(1)>',
    "$\\alpha$ $\\frac{",
    "red\x1b[31m\u202egnp\u2028\x00",
    "half \ud800 of a pair \ufffe",
    "a|b` ](http://evil.example) {body} %s &amp;",
    "登录失败次数过多并已锁定账户请检查安全警报登录失败",
    "_hidden",
    " " * 3,
    "long " * 80,
)
VOID = {"meta", "br", "img", "link", "input", "hr"}
TAGS = {
    *"html head meta title style body header section h1 h2 h3 small p dl div dt dd".split(),
    *"table thead tbody tr th td code br figure figcaption".split(),
    *"svg g path defs use text clipPath rect tspan".split(),
}


class Page(HTMLParser):
    """Elements, attributes and text of a page; fails where tags do not match."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.text: list[str] = []
        self.open: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def labels_of(names: tuple[str, ...]) -> list[LabelFigures]:
    return [LabelFigures(name, 70, 10, 0.9, 0.8, 0.847, at == 1) for at, name in enumerate(names)]


def report_of(names: tuple[str, ...] = ("Error", "Security Alert", "HTTP Status"), **changes: Any) -> Report:
    """A report of ten templates a label, of which one is mistaken for the next label."""
    count = len(names)
    table = [[9 if at == row else 1 if at == (row + 1) % count else 0 for at in range(count)] for row in range(count)]
    made = Report(
        rows=70 * count,
        templates=10 * count,
        dropped={"no text": 12},
        labels=labels_of(names),
        splits=[Split("random rows", 21 * count, 0.9987, 0.998), Split("templates", 3 * count, 0.94, 0.87)],
        by_source=[Split("sshd", 10, 0.9, 0.6), Split("LegacyCRM", 30, 0.7, 0.4)],
        accuracy=0.9,
        macro_f1=0.85,
        calibration_error=0.021,
        target_precision=0.98,
        threshold=0.8123,
        precision=0.991,
        precision_bound=0.982,
        coverage=0.87,
        coverage_rows=0.94,
        needed=0,
        strength=(10.0, 30.0),
        reliability=[(0.45, 0.5, 4), (0.97, 0.98, 12_345)],
        coverage_points=[(0.99, 0.01, 0.0), (0.9, 0.5, 1.0), (0.8, 0.87, 0.98), (0.3, 1.0, 0.9)],
        confusion=table,
        learning=[(40, 0.6), (160, 0.85), (400, 0.94)],
        confused=[Mistake("a held-out line", names[0], names[1], 0.98, 120)],
        doubtful=[Mistake("a doubtful line", names[1], names[0], 0.77, 3)],
        conflicts=[Conflict("a line of two minds", [(names[0], 80), (names[1], 3)])],
        encoder="static",
        seconds=8.4,
    )
    return msgspec.structs.replace(made, **changes)


def manifest_of(report: Report, name: str = "payments") -> Manifest:
    return Manifest(
        format=2,
        name=name,
        version="3",
        labels=[each.name for each in report.labels],
        encoder="static",
        temperature=0.81,
        threshold=0.8123,
        files={},
        background=True,
        training={"sha256": "5eed" * 16, "taxonomy": "default", "trained": "2025-01-01T00:00:00+00:00"},
    )


def page_of(report: Report) -> str:
    return page(report, manifest_of(report))


def pictures(source: str) -> list[ElementTree.Element]:
    """Every picture of a page, parsed as XML."""
    return [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", source, re.DOTALL)]


def words_of(picture: ElementTree.Element) -> list[str]:
    return ["".join(each.itertext()) for each in picture.iter(f"{{{figures.SVG}}}text")]


def hostile_report() -> Report:
    lines = [Mistake(evil, evil, evil, 0.5, 1) for evil in HOSTILE]
    return report_of(
        HOSTILE,
        dropped=dict.fromkeys(HOSTILE, 1),
        by_source=[Split(evil, 3, 0.5, 0.5) for evil in HOSTILE],
        confused=lines,
        doubtful=lines,
        conflicts=[Conflict(evil, [(evil, 2), (evil, 1)]) for evil in HOSTILE],
        encoder=HOSTILE[0],
    )


@pytest.fixture(scope="module")
def hostile_page() -> str:
    report = hostile_report()
    manifest = manifest_of(report, HOSTILE[1])
    manifest.training = dict.fromkeys(("sha256", "taxonomy", "held_out", "trained"), HOSTILE[0])
    return page(report, manifest)


def test_the_page_says_all_that_was_found_out() -> None:
    shown = " ".join(" ".join(Page(page_of(report_of())).text).replace("\xa0", " ").split())
    for said in (
        "Answers 87.0 % of new templates, right in 99.1 % of them (at least 98.2 % with 95 % certainty).",
        "random rows 63 99.8 % 0.998 What others quote",
        "templates 9 94.0 % 0.870 New lines of known systems",
        "each source left out 40 75.0 % 0.500 A new system",
        "Security Alert 70 10 90.0 % 80.0 % 84.7 % too few templates: handed on to the LLM stage",
        "a held-out line Error Security Alert 98.0 % 120",
        "a doubtful line Security Alert Error 77.0 % 3",
        "a line of two minds Error: 80 Security Alert: 3",
        "no text 12",
        "C = 10 on vectors, C = 30 on n-grams",
        "SHA-256 " + "5eed" * 16,
    ):
        assert said in shown, said


def test_all_four_pictures_are_there_and_well_formed() -> None:
    found = pictures(page_of(report_of()))
    assert [each.get("aria-label", "").split()[0] for each in found] == [
        "Confusion", "Reliability", "Precision", "Learning",
    ]  # fmt: skip
    words = [words_of(each) for each in found]
    assert {"Error", "Security Alert", "HTTP Status", "9", "1"} <= set(words[0])
    assert {"4", "12k"} <= set(words[1])  # how many there are of each sureness
    assert {"target 98 %", "threshold 0.812"} <= set(words[2])
    assert {"60 %", "85 %", "94 %"} <= set(words[3])


def test_pictures_take_their_colours_from_the_page() -> None:
    source = page_of(report_of())
    assert not re.search("#00ff0[0-9a-f]", source)
    for name in figures.COLOURS:
        assert source.count(f"--{name}:") == 2 or name == "surface", name  # light and dark
        assert f"var(--{name}" in source


def test_ids_are_unique_and_every_reference_is_within_the_page(hostile_page: str) -> None:
    attributes = Page(hostile_page).attributes
    ids = [value for key, value in attributes if key == "id"]
    assert len(set(ids)) == len(ids)
    targets = [value for key, value in attributes if key in {"href", "xlink:href", "src"}]
    targets += re.findall(r"url\((.*?)\)", hostile_page)
    assert targets
    assert {(value or "")[:1] for value in targets} == {"#"}
    assert {(value or "")[1:] for value in targets} <= set(ids)


def test_hostile_data_adds_no_element_and_no_attribute(hostile_page: str) -> None:
    found = Page(hostile_page)
    assert {tag.lower() for tag in found.tags} <= {tag.lower() for tag in TAGS}
    assert not [key for key, _ in found.attributes if key.startswith("on")]
    assert "{body}" in "".join(found.text)
    assert hostile_page.count("default-src 'none'") == 1


def test_nothing_invisible_is_left_and_the_page_is_utf8(hostile_page: str) -> None:
    assert visible(hostile_page.replace("\n", "")) == hostile_page.replace("\n", "")
    assert hostile_page.encode()
    assert "red\\x1b[31m\\u202egnp\\u2028\\x00" in hostile_page
    assert "half \\ud800 of a pair \\ufffe" in hostile_page


def test_labels_in_pictures_are_text_not_mathematics(hostile_page: str) -> None:
    matrix = words_of(pictures(hostile_page)[0])
    assert matrix.count("$\\alpha$ $\\frac{") == 2  # once by row, once by column
    assert matrix.count("_hidden") == 2
    assert matrix.count("<script>alert(1)</script>") == 2


def test_a_matplotlibrc_changes_nothing() -> None:
    import matplotlib as mpl

    usual = page_of(report_of())
    with mpl.rc_context({"text.usetex": True, "svg.fonttype": "path", "font.size": 40}):
        assert page_of(report_of()) == usual
        assert mpl.rcParams["text.usetex"] is True


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"needed": 0}, "(at least 98.2 % with 95 % certainty)."),
        ({"needed": 1}, "98.0 % is not promised; that takes at least 1 more labelled template."),
        ({"needed": 1400}, "98.0 % is not promised; that takes at least 1,400 more labelled templates."),
        ({"needed": None}, "98.0 % is not promised; more examples of the same kind do not help."),
        ({"needed": None, "coverage": 0.0}, "Answers nothing: no threshold gives the target precision of 98.0 %"),
    ],
)
def test_the_headline_promises_only_what_holds(changes: dict[str, Any], said: str) -> None:
    assert said in headline(report_of(**changes))


def test_where_every_label_is_thin_the_headline_says_so() -> None:
    thin = [msgspec.structs.replace(each, thin=True) for each in report_of().labels]
    assert headline(report_of(labels=thin, coverage=0.0, needed=None)) == (
        "Answers nothing: every label has too few templates."
    )


def test_the_outlook_for_new_systems_names_the_worst_or_that_it_is_unknown() -> None:
    assert "75.0 % of the templates" in outlook(report_of())
    assert "(lowest of 2: 70.0 %)" in outlook(report_of())
    assert "not measured" in outlook(report_of(by_source=[]))


def test_a_report_with_nothing_to_show_says_so() -> None:
    empty = report_of(
        by_source=[], learning=[], confused=[], doubtful=[], conflicts=[], dropped={}, needed=None, coverage=0.0,
        precision=0.0, precision_bound=0.0, threshold=1.0, reliability=[(1.0, 1.0, 1)],
        coverage_points=[(1.0, 1.0, 1.0)],
    )  # fmt: skip
    source = page_of(empty)
    shown = " ".join(Page(source).text)
    assert len(pictures(source)) == 3
    for said in ("at least two sources", "too few templates", "every held-out template was told right", "None found."):
        assert said in shown
    assert not any("threshold" in word for word in words_of(pictures(source)[2]))


def test_one_source_has_no_lowest() -> None:
    one = report_of(by_source=[Split("", 10, 0.9, 0.6)])
    assert "lowest" not in outlook(one)
    assert "(no name)" in page_of(one)


def test_forty_labels_are_all_in_the_matrix_and_fit_into_it() -> None:
    names = tuple(f"{'A rather long name of a label' if at % 2 else 'Label'} {at}" for at in range(40))
    source = page_of(report_of(names))
    matrix = pictures(source)[0]
    assert words_of(matrix).count("9") == 40
    assert all(f"<td>{name}</td>" in source for name in names)
    assert len({word for word in words_of(matrix) if word.startswith("A rather")}) == 20  # told apart though cut
    width = float(matrix.get("width", "").removesuffix("pt"))
    assert width < 72 * 14


def test_more_labels_than_fit_are_joined_and_no_count_is_lost() -> None:
    names = tuple(f"Label {at}" for at in range(60))
    report = report_of(names)
    shown, table = figures.most_mistaken(names, report.confusion)
    assert len(shown) == len(table) == figures.MOST_LABELS
    assert shown[-1] == figures.OTHERS
    assert sum(map(sum, table)) == 600
    assert figures.OTHERS in words_of(pictures(page_of(report))[0])


def test_the_card_has_figures_but_no_log_line() -> None:
    report = report_of()
    written = card(report, manifest_of(report))
    assert "# Model card: `payments` `3`\n\nAnswers 87.0 % of new templates" in written
    assert "| `Security Alert` | 70 | 10 | 90.0 % | 80.0 % | 84.7 % | too few templates" in written
    assert "| `LegacyCRM` | 30 | 70.0 % | 0.400 | This source left out. |" in written
    assert not [line for line in ("held-out line", "doubtful line", "line of two minds") if line in written]


def test_hostile_names_stay_in_their_cell_of_the_card() -> None:
    report = hostile_report()
    written = card(report, manifest_of(report, HOSTILE[5]))
    assert "<" not in written
    assert written.encode()
    assert visible(written.replace("\n", "")) == written.replace("\n", "")
    for table in re.findall(r"(?:^\|.*\n)+", written, re.MULTILINE):
        assert len({line.count("|") for line in table.splitlines()}) == 1
        assert all(line.count("`") % 2 == 0 for line in table.splitlines())


@given(st.text())
def test_any_text_is_one_code_span_and_no_html(data: str) -> None:
    span = code(data)
    assert span.count("`") == 2
    assert not set(span) & set("|<\n\r")
    assert not set(text(data)) & set("<>\"'\n\r")


@given(st.text(), st.integers(4, 40))
def test_shortened_names_fit(name: str, most: int) -> None:
    assert figures.columns_of(figures.shortened(name, most)) <= most


@pytest.mark.parametrize(
    ("share", "said"), [(1.0, "100.0 %"), (0.9999, "99.9 %"), (0.982, "98.2 %"), (0.29, "29.0 %"), (0.0, "0.0 %")]
)
def test_shares_are_rounded_down(share: float, said: str) -> None:
    assert percent(share) == said


def test_wilsons_interval_holds_the_share() -> None:
    low, high = figures.interval(0.5, 10)
    assert (round(low, 3), round(high, 3)) == (0.237, 0.763)
    assert figures.interval(1.0, 1)[1] == pytest.approx(1.0)


def test_without_matplotlib_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with pytest.raises(ConfigError, match=r"needs matplotlib: pip install 'logclf\[train\]'"):
        page_of(report_of())


def test_importing_the_report_loads_no_matplotlib() -> None:
    program = "import sys, logclf.training.report; assert 'matplotlib' not in sys.modules, 'matplotlib'"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
