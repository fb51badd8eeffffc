"""Cells as text: value, interval, marks, flags."""

import polars as pl
import pytest

from analysis.tables.forms.frames import frame_tables
from analysis.tables.forms.html import group_html
from analysis.tables.forms.markdown import table_markdown
from analysis.tables.forms.table import (
    Drawing,
    Flags,
    Group,
    IntervalCell,
    Name,
    Number,
    Table,
    columns,
    interval_text,
    plain_cell,
    text_of,
)


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("a", "a"),
        (Name(text="a", is_best=True), "a"),
        (Number(value=0.25, decimals=3), "0.250"),
        (Number(value=1e-5), "1e-05"),
        (Number(value=None, decimals=2), "–"),
        (Number(value=1.0, low=0.5, high=2.0, decimals=1, before="≥ ", mark="†"), "≥ 1.00† [0.50, 2.00]"),
        (Number(value=0.01, low=3e-4, high=0.3, censored="both"), "0.01 [≤ 0.0003, ≥ 0.3]"),
        (Number(value=102.5, low=0.0, high=290.0, decimals=1), "102 [0, 290]"),
        (Number(value=0.25, low=0.25, high=0.25, decimals=1), "0.2 [0.2, 0.2]"),
        (IntervalCell(low=0.5, high=2.0, decimals=1), "[0.50, 2.00]"),
        (IntervalCell(low=None, high=None), "–"),
        (Flags(flags=("few_seeds", "imported")), "few seeds, imported"),
        (Drawing(svg="<svg/>"), ""),
    ],
)
def test_text_of_a_cell(cell, text):
    assert text_of(cell) == text


def test_an_open_end_has_a_round_bracket():
    assert interval_text("0", "1", is_open=(True, False)) == "(0, 1]"
    assert interval_text("0", "∞", is_open=(False, True)) == "[0, ∞)"


def test_any_value_is_a_cell():
    assert [text_of(plain_cell(value)) for value in (None, 0.12345, 3, "a", True)] == ["–", "0.123", "3", "a", "True"]


def test_markdown_has_names_to_the_left_and_the_best_in_bold():
    rows = ((Name(text="a|b", is_best=True), Number(value=1.0, decimals=1)),)
    text = table_markdown(Table(heading="h_1", columns=columns("Method", "Score"), rows=rows))
    assert text == "**h\\_1**\n\n| Method | Score |\n| --- | ---: |\n| **a\\|b** | 1.0 |\n"


def test_html_escapes_once_and_shows_drawings_as_they_are():
    rows = (("<a&b_c>", Drawing(svg="<svg></svg>"), Flags(flags=("few_seeds",))),)
    table = Table(heading="<h>", columns=columns("<M>", "D", "F"), rows=rows)
    text = group_html(Group(tables=(table,), note="<n>"))
    for words in ("&lt;a&amp;b_<wbr>c&gt;", "<svg></svg>", "few seeds", "&lt;h&gt;", "&lt;M&gt;", "<p>&lt;n&gt;</p>"):
        assert words in text
    assert "&amp;lt;" not in text


def test_frames_are_a_table_a_workload_without_what_is_the_same_on_every_row():
    frame = pl.DataFrame({"workload": ["v", "v", "w"], "knobs": ["", "", "x"], "score": [1.0, None, 2.0]})
    first, second = frame_tables(frame)
    assert (first.heading, second.heading) == ("v", "w")
    assert first.titles == ("score",)
    assert first.texts == (("1",), ("-",))
    assert not first.columns[0].is_name
    assert second.texts == (("x", "2"),)
