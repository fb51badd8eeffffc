"""ROC and lead-time curves of detectors, worked out by hand, and their figures."""

import numpy as np
import polars as pl
import pytest

from analysis.figures.detectors import CURVE_TITLES, warning_plot
from analysis.scores.causes.alarms import alarm_scores
from analysis.scores.causes.warning_curves import WARNING_CURVE_COLUMNS, WITHOUT_CURVES, leads, longest_run, roc
from tests.analysis.scores.causes.test_early_warning import subject, watched

__all__ = ["subject"]
RUNS = [
    (60.0, {0: 1.0, 20: 4.0}),  # passes 3 at 20
    (60.0, {0: 1.0, 59: 2.5}),
    (np.nan, {0: 1.0, 90: 2.0}),
    (np.nan, {0: 1.0, 90: 3.0}),
]


def test_roc_by_hand():
    """Thresholds 3 (no stable run alarms, one failed does) and 2 (one of two stable runs, both failed ones)."""
    assert list(roc(watched(RUNS))) == [(0, 0), (0, 0.5), (0.5, 1), (1, 1)]


def test_leads_by_hand():
    """At a threshold of 3 the one alarm leaves 40 steps; at the lead of one step it is the board's recall."""
    runs = watched(RUNS)
    found = dict(leads(runs, 100))
    assert found[1] == 0.5 == alarm_scores(runs, np.ones((1, 4)))["recall"][0]
    assert {share for lead, share in found.items() if lead <= 40} == {0.5}
    assert {share for lead, share in found.items() if lead > 40} == {0}


@pytest.mark.parametrize(("num_steps", "longest"), [([100, 90], 100), ([None, 90], 90), ([None, None], 60)])
def test_runs_of_unknown_length_are_as_long_as_what_is_known(num_steps, longest):
    assert longest_run(pl.Series(num_steps, dtype=pl.Int64), watched(RUNS)) == longest


def test_a_perfect_detector_has_a_perfect_curve_and_its_lead(subject):
    curves = subject.warning_curves
    assert curves.columns == list(WARNING_CURVE_COLUMNS)
    best = curves.filter(detector="max_logit")
    assert best.filter(curve="roc").filter(x=0)["y"].max() == 1
    assert best.filter(curve="lead").filter(y=1)["x"].max() == pytest.approx(30, abs=2)
    assert not set(WITHOUT_CURVES) & set(curves["detector"])
    board = subject.early_warning.filter(held_out="method", left_out="")
    at_one = curves.filter(curve="lead", x=1)
    recall = dict(board.select("detector", "recall").iter_rows())
    assert {name: recall[name] for name in at_one["detector"]} == dict(at_one.select("detector", "y").iter_rows())


@pytest.mark.parametrize("curve", CURVE_TITLES)
def test_a_figure_has_a_line_a_detector(subject, curve):
    rows = subject.warning_curves.filter(curve=curve)
    spec = warning_plot(rows, title="t").to_dict()
    (lines,) = (one for one in spec["layer"] if "color" in one["encoding"])
    assert len(lines["encoding"]["color"]["scale"]["domain"]) == rows["detector"].n_unique()
    colours = zip(*(lines["encoding"][name]["scale"]["range"] for name in ("color", "strokeDash")), strict=True)
    assert len({str(one) for one in colours}) == rows["detector"].n_unique(), "no two look alike"
