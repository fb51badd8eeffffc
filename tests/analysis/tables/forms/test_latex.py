"""LaTeX of tables: numbers of any size, floats with labels, letters that fonts lack."""

import re

import pytest

from analysis.tables.forms.latex import ON_PAGE, cell_latex, group_latex, scientific
from analysis.tables.forms.table import Group, IntervalCell, Name, Number, Table, columns
from analysis.text import breakable_latex


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("1.25", "1.25"), ("-0.5", "-0.5"), ("1e-05", r"$1 \times 10^{-5}$"), ("nan", "--"), ("–", "--"),
        ("inf", r"$\infty$"), ("-inf", r"$-\infty$"), ("1" + "0" * 308, r"$1.00 \times 10^{308}$"),
        ("-12345678.25", r"$-1.23 \times 10^{7}$"), ("1.5e+300", r"$1.5 \times 10^{300}$"),
    ],
)  # fmt: skip
def test_numbers_that_no_column_holds_have_a_look_of_their_own(text, shown):
    assert scientific(text) == shown


def test_letters_that_fonts_lack_are_given_by_number():
    assert breakable_latex("α_1") == r"U+03B1\_\allowbreak{}1"
    assert breakable_latex("a\x07b") == "aU+0007b"
    assert breakable_latex("  two\nlines ") == "two lines"


@pytest.mark.parametrize(
    ("cell", "shown"),
    [
        (Number(value=0.25, low=0.1, high=0.4, decimals=2), "0.25 {[}0.10, 0.40{]}"),
        (Number(value=1e-5, before="≥ ", mark="‡"), r"$\geq$ $1 \times 10^{-5}$\ddag{}"),
        (Number(value=None, decimals=2), "--"),
        (Number(value=1.5, decimals=1, is_best=True), r"\textbf{1.5}"),
        (IntervalCell(low=None, high=None), "--"),
        (IntervalCell(low=3e-4, high=0.3, censored="both"), r"{[}$\leq$ 0.0003, $\geq$ 0.3{]}"),
        (IntervalCell(low=1e-5, high=1.0), r"{[}$1 \times 10^{-5}$, 1{]}"),
        (Name(text="a_b", is_best=True), r"\textbf{a\_b}"),
    ],
)
def test_cells_are_written_by_what_they_are(cell, shown):
    assert cell_latex(cell) == shown


def test_tables_of_a_page_have_labels_each():
    table = Table(heading="h", columns=columns("a", "b"), rows=(("x", "1"),))
    text = group_latex(Group(tables=(table, table), note="n"), label="held-out", floating=ON_PAGE)
    assert "usepackage" not in text
    assert re.findall(r"\\label\{(.*?)\}", text) == ["tab:held-out", "tab:held-out-2"]
    assert text.count(r"\begin{table*}") == text.count(r"\end{table*}") == 2
