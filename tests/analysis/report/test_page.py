"""The page: parses, headings in order, everything named and escaped, dark and printable, flags in words."""

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from html.parser import HTMLParser

import polars as pl
import pytest

from analysis.figures.style.chart_style import PALETTE
from analysis.report.grid_report import GridReport
from analysis.report.page import Figure, figure_html, html_page, markdown_page
from analysis.report.section import Section
from analysis.report.style import contrast, follows_the_page, on_dark, size_of
from analysis.scores.flags import FLAGS
from analysis.scores.leaderboard import leaderboard
from analysis.scores.seeds.rank_ranges import rank_text
from analysis.tables.forms.table import Group, Table, columns
from tests.analysis.synthetic_results import METHODS, frame, results, row, subject

HOSTILE = "<script>alert('x')</script>../a_b%"
VOID = {"meta", "img", "br", "wbr", "hr", "link", "input"}
SVG = (
    '<svg xmlns="http://www.w3.org/2000/svg" width="572" height="10"><rect width="572" height="10" fill="white"/></svg>'
)


class Reader(HTMLParser):
    """Tags in order with their attributes; fails where one is closed that is not open."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open[-1] == tag, (self.open, tag)
        self.open.pop()


@dataclass(frozen=True, kw_only=True)
class Sectioned(GridReport):
    """A report with these sections."""

    sections: Sequence[Section] = ()


def report(
    data: pl.DataFrame, *, title: str = "Title", sections=(), is_linked: bool = True, **facts: str
) -> GridReport:
    facts = {"suite": "quickstart", "suite_sha256": "abc", "data_sha256": ""} | facts
    return Sectioned(subject=subject(data, title=title, facts=facts), sections=sections, is_linked=is_linked)


def page_of(data: pl.DataFrame, **more) -> str:
    figure = Figure(section="Training", caption="A figure", svg=SVG, files=("figures/a.svg",))
    return html_page(report(data, **more), figures=[figure], files=["manifest.json"])


def read(page: str) -> Reader:
    reader = Reader()
    reader.feed(page)
    reader.close()
    assert reader.open == []
    return reader


@pytest.fixture(scope="module")
def page() -> str:
    return page_of(results(num_seeds=2))


def test_page_parses_and_its_headings_descend_one_at_a_time(page):
    levels = [int(tag[1]) for tag, _ in read(page).tags if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))


def test_ids_are_unique_and_links_within_the_page_have_an_end(page):
    tags = read(page).tags
    ids = [attributes["id"] for _, attributes in tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    ends = {attributes["href"] for tag, attributes in tags if tag in ("a", "use")}
    inner = {end.removeprefix("#") for end in ends if end is not None and end.startswith("#")}
    assert {"leaderboard", "provenance", "flag-few_seeds"} <= inner
    assert inner <= set(ids)


def test_drawings_have_words(page):
    tags = read(page).tags
    assert all(attributes["alt"] for tag, attributes in tags if tag == "img")
    drawn = [attributes for tag, attributes in tags if tag == "svg" and "aria-hidden" not in attributes]
    assert len(drawn) == 2 * 7  # of each method a sparkline and an interval
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in drawn)


def test_table_has_headers_of_columns_and_rows(page):
    scopes = [attributes["scope"] for tag, attributes in read(page).tags if tag == "th" and "scope" in attributes]
    assert scopes.count("row") == 7
    assert scopes.count("col") >= 10


def test_page_is_dark_where_asked_and_printable(page):
    assert "@media (prefers-color-scheme: dark)" in page
    assert "@media print" in page
    assert 'name="viewport"' in page


@pytest.mark.whole
def test_a_printed_board_fits_a4_and_its_names_break_between_words(browser, tmp_path):
    names = {"qk_layernorm_weight_clipped": METHODS["softmax"], "window_softmax(width=4)": METHODS["softmax"]}
    (tmp_path / "index.html").write_text(page_of(results(num_seeds=2, methods=names)), encoding="utf-8")
    shown = browser.new_page(viewport={"width": 688, "height": 1000})  # 210 mm less two margins of 14, at 96 dpi
    shown.emulate_media(media="print")
    shown.goto((tmp_path / "index.html").as_uri())
    assert shown.evaluate("document.documentElement.scrollWidth") <= 688
    # The texts between two places where a line may break, each with the number of lines that it stands on.
    lines = shown.evaluate("""[...document.querySelectorAll('.board tbody th.method')].flatMap(cell => {
        const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), found = [];
        while (texts.nextNode()) {
            const range = document.createRange();
            range.selectNodeContents(texts.currentNode);
            const text = texts.currentNode.textContent.trim();
            if (text) found.push([text, new Set([...range.getClientRects()].map(one => one.top)).size]);
        }
        return found;
    })""")
    assert {"layernorm_", "window_", "softmax", "(width=4)"} <= {text for text, _ in lines}
    assert {number for _, number in lines} == {1}


def test_every_flag_that_occurs_is_explained(page):
    board = leaderboard(results(num_seeds=2))
    used = {word for flags in board["flags"] for word in flags.split(",") if word}
    told = page[page.index('<section id="leaderboard">') :].partition("</section>")[0]  # beside the flags
    assert len(used) >= 2
    for word in used:
        assert f'<dt id="flag-{word}">{word.replace("_", " ")}</dt>' in told
    assert set(re.findall('id="flag-([a-z_]+)"', page)) == used


def test_flags_of_other_sections_are_explained_as_well():
    section = Section(
        title="Other", groups=(), data={"a.csv": pl.DataFrame({"flags": ["few_seeds,lr_at_border", None]})}
    )
    page = page_of(results(num_seeds=3), sections=[section])
    assert FLAGS["lr_at_border"] in page
    assert '<section id="flags">' in page
    assert '<dt id="flag-lr_at_border">lr at border</dt>' in page


def test_flags_lead_to_what_they_mean_where_the_page_has_links(page):
    meaning = FLAGS["few_seeds"]
    links = [
        attributes for tag, attributes in read(page).tags if tag == "a" and attributes["href"] == "#flag-few_seeds"
    ]
    assert {attributes["title"] for attributes in links} == {meaning}
    unlinked = html_page(report(results(num_seeds=2), is_linked=False), figures=[], files=[])
    tags = read(unlinked).tags
    assert not any(tag in ("a", "nav") for tag, _ in tags)
    assert meaning in {attributes.get("title") for tag, attributes in tags if tag == "span"}


def test_the_best_is_bold_and_each_has_its_rank_range(page):
    board = leaderboard(results(num_seeds=2))
    best = board["method"][0]
    body = page[page.index("<tbody") : page.index("</tbody>")].replace("<wbr>", "")
    assert f"<strong>{best}</strong>" in body
    ranks = [rank_text(*ends) for ends in board.select("rank", "rank_worst").iter_rows()]
    assert re.findall(r"<td[^>]*rank[^>]*>([^<]*)</td>", body) == ranks


def test_hostile_names_are_escaped():
    data = frame(
        [row(HOSTILE, lr, seed, 1.0, workload=HOSTILE, optimizer=HOSTILE) for lr in (0.1, 1.0) for seed in (0, 1)]
    )
    table = Table(heading=HOSTILE, columns=columns(HOSTILE), rows=((HOSTILE,),))
    groups = (Group(tables=(table,), note=HOSTILE),)
    section = Section(title=HOSTILE, groups=groups, data={}, definitions={HOSTILE: HOSTILE})
    page = page_of(data, title=HOSTILE, sections=[section])
    assert "<script" not in page
    assert "<script" not in markdown_page(report(data, title=HOSTILE, sections=[section]))
    read(page)


def test_sections_without_anything_are_left_out(page):
    assert "<h2>Training</h2>" in page
    plain = html_page(report(results(num_seeds=3)), figures=[], files=[])
    for title in ("Training", "Generalisation", "Files"):
        assert f"<h2>{title}</h2>" not in plain
        assert f">{title}</a>" not in plain


def test_markdown_says_the_same_as_the_page(page):
    text = markdown_page(report(results(num_seeds=2)))
    shown = re.sub("<[^>]*>", "", page)
    for words in (
        "relu",
        "few seeds",
        "quickstart",
        "Stable decades",
        "trials diverged, the first at step 6",
        "has the least LR sensitivity",
    ):
        assert words in text
        assert words in shown


def test_provenance_leads_to_the_manifest_and_leaves_out_what_is_empty(page):
    told = page[page.index('<section id="provenance">') : page.index('<section id="files">')]
    assert '<a href="manifest.json">' in told
    assert "<dt>suite_sha256</dt><dd>abc</dd>" in told
    assert "data_sha256" not in told


def test_figures_keep_their_colours_in_light_and_are_readable_in_dark():
    drawn = '<svg width="3" height="2"><rect fill="white"/><path stroke="rgb(68, 1, 84)"/></svg>'
    styled = follows_the_page(drawn)
    assert re.sub("<style>.*</style>", "", styled) == drawn
    assert '[stroke="rgb(68, 1, 84)"]' in styled
    assert "prefers-color-scheme: dark" in styled


def test_lines_are_lightened_until_they_stand_out():
    ground = (0x1D, 0x20, 0x26)
    for colour in (*PALETTE, "rgb(68, 1, 84)"):
        lighter = on_dark(colour)
        levels = (
            [int(part) for part in re.findall(r"\d+", lighter)]
            if "rgb" in lighter
            else list(bytes.fromhex(lighter[1:]))
        )
        assert contrast(tuple(levels), ground) >= 3
    assert on_dark("#56B4E9") == "#56B4E9"  # is light enough


def test_contrast_of_black_and_white_is_21():
    assert contrast((0, 0, 0), (255, 255, 255)) == pytest.approx(21)
    assert contrast((9, 9, 9), (9, 9, 9)) == 1


def test_a_figure_is_tall_if_it_is_higher_than_wide():
    """Two that are not share a printed page."""
    assert size_of(
        '<svg class="marks" width="10.5" height="20" viewBox="0 0 1 1"><rect width="3" height="4"/></svg>'
    ) == (10.5, 20)
    for wide, high, has in ((10, 20, True), (20, 10, False), (10, 10, False)):
        svg = f'<svg xmlns="http://www.w3.org/2000/svg" width="{wide}" height="{high}"></svg>'
        assert ('class="drawing tall"' in figure_html(Figure(section="s", caption="c", svg=svg, files=()))) == has
