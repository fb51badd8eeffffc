"""Figures at column width: exact size, legible text, fonts embedded, nothing else changed."""

import re
import zlib

import altair as alt
import polars as pl
import pytest
import vl_convert

from analysis.figures.frames.aggregate import loss_summary
from analysis.figures.knobs import joint_heat_map
from analysis.figures.lr_loss import loss_against_lr
from analysis.figures.style.columns import COLUMN_INCHES, PAGE_INCHES, save_at_width, svg_at_width
from analysis.scores.joint_maps import joint_map
from tests.analysis.synthetic_results import METHODS, results

ROOM = 72 * PAGE_INCHES * 11 / 7  # pixels at which text of 11 is 7 pt
FEW = {name: METHODS[name] for name in ("softmax", "relu_kernel")}


@pytest.fixture(scope="module")
def chart():
    return loss_against_lr(loss_summary(results(num_seeds=2, methods=FEW)), title="TITLE", subtitle="SUBTITLE")


@pytest.fixture(scope="module")
def saved(tmp_path_factory, chart):
    return save_at_width(chart, tmp_path_factory.mktemp("figures"), "f", COLUMN_INCHES)


def test_size_is_exact_in_pdf_and_svg(saved):
    pdf, svg = saved
    assert (pdf.name, svg.name) == ("f.pdf", "f.svg")
    (box,) = re.findall(rb"/MediaBox ?\[([^\]]*)\]", pdf.read_bytes())
    left, bottom, right, top = map(float, box.split())
    width, height = map(float, re.search(r'width="([\d.]+)pt" height="([\d.]+)pt"', svg.read_text()).groups())
    assert (left, bottom) == (0, 0)
    assert right == pytest.approx(72 * COLUMN_INCHES, abs=0.01)
    assert (width, height) == pytest.approx((right, top), abs=0.01)


def test_fonts_are_embedded_in_the_pdf(saved):
    data = saved[0].read_bytes()
    parts = [data]
    for stream in re.findall(rb"stream\r?\n(.*?)\r?\nendstream", data, flags=re.DOTALL):
        try:
            parts.append(zlib.decompress(stream))
        except zlib.error:
            continue
    text = b"\n".join(parts)
    fonts = len(re.findall(rb"/Type ?/FontDescriptor", text))
    assert set(re.findall(rb"/FontName ?/[A-Z]{6}\+([\w-]+)", text)) == {b"DejaVuSans"}
    assert fonts == 1
    assert len(re.findall(rb"/FontFile[23]? ", text)) == fonts


def test_text_is_seven_points_at_least_and_titles_are_left_to_the_caption(saved):
    svg = saved[1].read_text()
    wide = float(re.search(r'viewBox="0 0 ([\d.]+)', svg)[1])
    sizes = [float(size) * 72 * COLUMN_INCHES / wide for size in re.findall(r'font-size="([\d.]+)px"', svg)]
    assert min(sizes) > 6.9
    assert "TITLE" not in svg
    assert "SUBTITLE" not in svg
    assert "relu_kernel" in svg


def test_maps_too_wide_for_the_page_go_into_fewer_columns():
    rows = pl.concat(
        results(num_seeds=1, methods=FEW).with_columns(
            warmup_steps=pl.lit(steps), trial_id=pl.concat_str(pl.lit(str(steps)), "trial_id")
        )
        for steps in (0.0, 100.0)
    )
    chart = joint_heat_map(joint_map(rows, "lr", "warmup_steps"), title="t")
    widths = [
        float(re.search(r'width="([\d.]+)"', svg)[1])
        for svg in (vl_convert.vegalite_to_svg(chart.to_dict()), svg_at_width(chart, PAGE_INCHES))
    ]
    assert widths[0] > ROOM >= widths[1]


@pytest.mark.parametrize(
    ("width", "least"),
    [
        pytest.param(alt.Step(30), 2 * 300, id="two panels of ten steps a row, of six"),
        pytest.param(150, 0.99 * ROOM, id="panels made narrower, to fill the page"),
    ],
)
def test_a_facet_too_wide_for_the_page_is_made_to_fit(width, least):
    rows = pl.DataFrame([{"panel": panel, "x": str(x)} for panel in "abcdef" for x in range(10)])
    panel = alt.Chart(rows).mark_rect().encode(x="x:O").properties(width=width, height=40)
    svg = svg_at_width(panel.facet(facet="panel:N", columns=6), PAGE_INCHES)
    assert least <= float(re.search(r'width="([\d.]+)"', svg)[1]) <= 1.01 * ROOM
    assert re.findall(">([a-f])</text>", svg) == list("abcdef")


def test_a_map_of_few_cells_is_not_blown_up(tmp_path):
    chart = alt.Chart(pl.DataFrame({"x": ["a", "b"]})).mark_rect().encode(x="x:O")
    chart = chart.properties(width=alt.Step(30)).configure_axis(labelFontSize=11)
    svg = save_at_width(chart, tmp_path, "f", PAGE_INCHES)[1].read_text()
    points, pixels = (
        float(re.search(pattern, svg)[1]) for pattern in (r'width="([\d.]+)pt"', r'viewBox="0 0 ([\d.]+)')
    )
    assert 11 * points / pixels == pytest.approx(9, abs=1e-3)
