"""Sparklines and intervals: paths worked out by hand."""

import math
import re

import polars as pl
import pytest

from analysis.figures.frames.aggregate import loss_summary
from analysis.figures.sparklines import Plot, curve_label, interval_axis, sparkline, whisker
from tests.analysis.synthetic_results import frame, row

PLOT = Plot(width=110.0, height=50.0, margin=5.0, lrs=(0.01, 1.0), losses=(0.0, 4.0))


@pytest.fixture
def rows() -> pl.DataFrame:
    """Loss at init 4; means 4, 1 and, as one of two seeds diverged, (2 + 4) / 2 = 3."""
    losses = {(0.01, 0): 4.0, (0.01, 1): 4.0, (0.1, 0): 0.5, (0.1, 1): 1.5, (1.0, 0): 2.0, (1.0, 1): math.inf}
    return loss_summary(frame([row("m", lr, seed, loss) for (lr, seed), loss in losses.items()]))


def path(svg: str, kind: str) -> str:
    found = re.search(f'class="{kind}" d="([^"]*)"', svg)
    assert found is not None, svg
    return found[1]


def test_sparkline_worked_by_hand(rows):
    """lr decades are 50 pixels apart from x = 5; 10 pixels a unit of loss up from y = 45."""
    svg = sparkline(rows, PLOT, best_lr=0.1)
    assert path(svg, "line") == "M5,5L55,35L105,15"
    assert path(svg, "band") == "M5,5L55,30L105,5L105,25L55,40L5,5Z"
    assert path(svg, "init") == "M5,5H105"
    assert path(svg, "cross") == "M102.4,12.4L107.6,17.6M102.4,17.6L107.6,12.4"
    assert '<circle class="best" cx="55" cy="35"' in svg


def test_no_cross_where_nothing_diverged(rows):
    assert 'class="cross"' not in sparkline(rows.filter(pl.col("num_diverged") == 0), PLOT, best_lr=0.1)


def test_a_blow_up_has_a_cross_too():
    rows = loss_summary(frame([row("m", lr, 0, loss) for lr, loss in ((0.01, 2.0), (0.1, 1.0), (1.0, 500.0))]))
    assert rows["num_blown_up"].to_list() == [0, 0, 1]
    assert path(sparkline(rows, PLOT, best_lr=0.1), "cross").startswith("M102.4")


def test_curve_in_words(rows):
    assert curve_label(rows, 0.1) == (
        "Final loss against learning rate 0.01 to 1: 4.00 at init, least 1.00, best learning rate 0.1; "
        "seeds diverged or blew up at 1 of 3 learning rates, the smallest 1"
    )


def test_one_learning_rate_lies_in_the_middle(rows):
    plot = Plot(width=110.0, height=50.0, margin=5.0, lrs=(0.1, 0.1), losses=(0.0, 4.0))
    assert path(sparkline(rows.filter(lr=0.1), plot, best_lr=0.1), "line") == "M55,35"


def test_interval_worked_by_hand():
    """108 pixels for 0 to 2, from x = 6."""
    svg = whisker(1.0, 0.5, 1.5, (0.0, 2.0))
    assert re.findall('class="range" d="([^"]*)"', svg) == ["M33,9H87", "M33,6V12", "M87,6V12"]
    assert '<circle class="dot" cx="60" cy="9"' in svg
    assert 'aria-label="1.00, 95% interval 0.50 to 1.50"' in svg


def test_interval_beyond_the_axis_ends_in_an_arrow():
    svg = whisker(1.0, 0.5, 9.0, (0.0, 2.0))
    assert re.findall('class="range" d="([^"]*)"', svg) == ["M33,9H114", "M33,6V12", "M109,5L114,9L109,13"]
    assert "0.5 to 9" in svg


def test_score_without_an_interval_is_a_dot():
    svg = whisker(1.0, None, None, (0.0, 2.0))
    assert 'class="range"' not in svg
    assert "no interval" in svg


@pytest.mark.parametrize(
    ("values", "ends", "expected"),
    [
        ([1.0, 2.0], [0.5, 2.5], (0.0, 2.5)),
        ([1.0, 2.0], [-0.25, 30.0], (-0.25, 2.5)),  # a wide interval does not flatten the others
        ([1.0], [-9.0, 11.0], (-0.25, 1.25)),
        ([0.0], [0.0, 0.0], (0.0, 1.0)),
        ([0.4], [], (0.0, 0.4)),
    ],
)
def test_axis_of_intervals(values, ends, expected):
    assert interval_axis(values, ends) == pytest.approx(expected)
