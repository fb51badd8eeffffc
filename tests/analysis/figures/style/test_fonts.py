"""Every SVG of a paper carries the font that its text is set in, whole, and asks for no other."""

import base64
import io
import re
from xml.etree import ElementTree

import altair as alt
import polars as pl
import pytest
from fontTools.ttLib import TTFont

from analysis.figures.lr_loss import save_spec
from analysis.figures.style.columns import COLUMN_INCHES, save_at_width
from analysis.figures.style.fonts import FONTS, with_font

LETTERS = "ηΣ‖²−†µ√∞×▽ Tö(width=8)"
FAMILY = FONTS["sans"].family
NO_TEXT = '<svg xmlns="http://www.w3.org/2000/svg"><path d="M0,0"/></svg>'


def chart():
    rows = pl.DataFrame({"x": [1e-4, 3e-3], "method": [LETTERS, "softmax & <b>"]})
    marks = alt.Chart(rows).mark_point().encode(x=alt.X("x:Q", title="‖P‖, a log scale"), y="method:N")
    panel = marks.properties(width=200, height=80, title=alt.TitleParams("Bold −1 η", fontWeight="bold"))
    return alt.vconcat(panel, title="left to the caption").configure(font="Helvetica, Arial")


@pytest.fixture(scope="module")
def svg(tmp_path_factory):
    return save_at_width(chart(), tmp_path_factory.mktemp("figures"), "f", COLUMN_INCHES)[1].read_text("utf-8")


def faces(svg):
    """The embedded fonts by (family, weight)."""
    pattern = r'@font-face\{font-family:"([^"]*)";font-weight:(\w+);src:url\("data:font/woff;base64,([^"]*)"\)'
    return {
        (family, weight): TTFont(io.BytesIO(base64.b64decode(data)))
        for family, weight, data in re.findall(pattern, svg)
    }


def letters(svg):
    """The letters of all text by (family, weight)."""
    found = {}
    for text in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text"):
        place = (text.get("font-family", "").partition(",")[0], text.get("font-weight", "normal"))
        found.setdefault(place, set()).update("".join(text.itertext()))
    return found


def test_each_letter_is_in_the_embedded_font_of_its_family_and_weight(svg):
    used, embedded = letters(svg), faces(svg)
    assert set(used) == set(embedded) == {(FAMILY, "normal"), (FAMILY, "bold")}
    assert set(LETTERS) | set("&<") <= used[FAMILY, "normal"]
    assert set("−η‖P") <= used[FAMILY, "bold"]
    for place, font in embedded.items():
        cmap = font.getBestCmap()
        assert {letter for letter in used[place] if ord(letter) not in cmap} == set()
        assert {chr(code) for code in cmap} <= used[place] | {" "}
        assert [font["name"].getDebugName(1), font["OS/2"].usWeightClass] == [
            FAMILY,
            {"normal": 400, "bold": 700}[place[1]],
        ]


def test_figures_of_a_report_are_in_the_font_that_is_asked_for(tmp_path):
    (path,) = save_spec(chart().to_dict(), tmp_path, "f", [], font="serif")
    svg = path.read_text("utf-8")
    assert {family for family, _ in letters(svg)} == {family for family, _ in faces(svg)} == {FONTS["serif"].family}


def test_outlines_are_there_and_as_wide_as_in_the_whole_font(svg):
    font = faces(svg)[FAMILY, "normal"]
    glyph = font.getBestCmap()[ord("η")]
    assert font["glyf"][glyph].numberOfContours > 0
    assert font["hmtx"][glyph][0] / font["head"].unitsPerEm == pytest.approx(1298 / 2048)  # DejaVu Sans 2.37


def test_the_same_chart_is_the_same_bytes(svg, tmp_path):
    again = save_at_width(chart(), tmp_path, "again", COLUMN_INCHES)[1]
    assert again.read_text("utf-8") == svg


def test_what_is_embedded_is_small(svg):
    assert len(re.search("<style>.*</style>", svg)[0]) < 20_000


def test_without_text_no_font_is_embedded():
    assert faces(with_font(NO_TEXT, "sans")) == {}
    assert list(ElementTree.fromstring(with_font(NO_TEXT, "sans")))[-1].tag == "{http://www.w3.org/2000/svg}path"
