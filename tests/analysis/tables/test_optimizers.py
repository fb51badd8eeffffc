"""The matrix of optimizers and methods as text."""

from analysis.tables.forms.html import group_html
from analysis.tables.forms.latex import group_latex
from analysis.tables.forms.markdown import group_markdown
from analysis.tables.optimizers import optimizer_group
from tests.analysis.across.test_optimizer_matrix import BY_HAND, board


def test_text_has_every_cell_and_the_correlations():
    group = optimizer_group(board(BY_HAND))
    for write in (group_markdown, group_html, group_latex):
        for words in ("0.450", "Spearman", "0.80", "adamw", "in"):
            assert words in write(group)
    assert group_latex(group).count(r"\begin{tabular}") == 2


def test_one_optimizer_has_no_table():
    assert optimizer_group(board({"sgd": {"a": 0.1, "b": 0.2}})).tables == ()
