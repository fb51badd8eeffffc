"""Curves of a box: robust share over delta, expected best over the number of draws. Draw frames, compute nothing."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.figures.chart_style import Chart, check_rows, method_colour, method_dash, method_legend, styled
from analysis.scores.box.curves import BUDGET_COLUMNS, SHARE_COLUMNS
from bench.lazy import altair as alt

_WIDTH, _HEIGHT = 420, 300


def share_plot(found: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """A line with its 95% band for each method: the share of the runs within delta, over delta.

    `found` is a frame of SHARE_COLUMNS of one workload, optimizer, knobs and best. Raises UsageError for more rows than
    a figure takes.
    """
    check_rows(found, tuple(SHARE_COLUMNS), "the frame of robust shares")
    axis = alt.Axis(format="%", grid=False)
    x = alt.X("delta:Q", title="delta: share of the learning given up", axis=axis)
    whole, percent = alt.Scale(domain=[0, 1]), alt.Axis(format="%")
    y = alt.Y("share:Q", title="share of the box within delta", scale=whole, axis=percent)
    return _curves(found, x, y, title, subtitle)


def budget_plot(found: pl.DataFrame, *, title: str, subtitle: str = "", loss: str = "loss") -> Chart:
    """A line with its 95% band for each method: the expected loss of the best of so many draws.

    `found` is a frame of BUDGET_COLUMNS of one workload, optimizer and knobs. `loss` names the vertical axis. Raises
    UsageError for more rows than a figure takes.
    """
    check_rows(found, tuple(BUDGET_COLUMNS), "the frame of expected best losses")
    values = found["num_draws"].unique().sort().to_list()
    scale = alt.Scale(type="log", domain=[values[0], max(values[-1], 2)], nice=False)
    x = alt.X("num_draws:Q", title="random draws", scale=scale, axis=alt.Axis(values=values, format="d", grid=False))
    y = alt.Y("loss:Q", title=["expected best", loss], scale=alt.Scale(zero=False))
    return _curves(found, x, y, title, subtitle)


def _curves(found: pl.DataFrame, x: Any, y: Any, title: str, subtitle: str) -> Chart:
    methods = found["method"].unique(maintain_order=True).to_list()
    base = alt.Chart(found).encode(x=x)
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("ci_low:Q"), y2="ci_high:Q", color=method_colour(methods, None))
    line = base.mark_line(strokeWidth=2).encode(
        y=y, color=method_colour(methods, method_legend()), strokeDash=method_dash(methods, None)
    )
    return styled(alt.layer(line, band, width=_WIDTH, height=_HEIGHT), title, subtitle)
