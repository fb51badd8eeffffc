"""Our scores beside published ones as text."""

import json

import pytest

from analysis.across.comparison import compare
from analysis.references import load
from analysis.scores.leaderboard import leaderboard
from analysis.tables.published import COMPARISON_FORMATS
from tests.analysis.synthetic_results import METHODS, results


@pytest.mark.parametrize("form", ["markdown", "html", "latex"])
def test_text_has_a_row_a_method_and_the_source(form):
    compared = compare(leaderboard(results(num_seeds=2)), load("paper"))
    text = COMPARISON_FORMATS[form](compared).replace("<wbr>", "").replace("\\_", "_")
    assert all(method in text for method in METHODS)
    assert "Spearman" in text
    assert "Table 1" in text
    assert "2.20" in text


def test_json_carries_every_row():
    compared = compare(leaderboard(results(num_seeds=2)), load("paper"))
    assert json.loads(COMPARISON_FORMATS["json"](compared)) == compared.to_dicts()
