"""Figures of a box: curves over delta and draws, importance, pairs, profiles, points. Draw frames, compute nothing."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.figures.style.chart_style import (
    Chart,
    check_rows,
    depth_scheme,
    method_colour,
    method_dash,
    method_legend,
    panel_title,
    styled,
)
from analysis.scores.box.curves import BUDGET_COLUMNS, SHARE_COLUMNS
from analysis.scores.box.importance import IMPORTANCE_COLUMNS
from analysis.scores.box.pairs import CELL_COLUMNS
from analysis.scores.box.profiles import PROFILE_COLUMNS
from bench.lazy import altair as alt
from bench.lazy import numpy as np

_WIDTH, _HEIGHT = 420, 300
_EVALUATOR_AXES = {"fanova": "share of the variance, alone", "ped_anova": "share, to reach the best tenth"}


def share_plot(frame: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """A line with its 95% band for each method: the share of the runs within delta, over delta.

    `frame` is a frame of SHARE_COLUMNS of one workload, optimizer, knobs and best. Raises UsageError for more rows than
    a figure takes.
    """
    check_rows(frame, tuple(SHARE_COLUMNS), "the frame of robust shares")
    axis = alt.Axis(format="%", grid=False)
    x = alt.X("delta:Q", title="delta: share of the learning given up", axis=axis)
    whole, percent = alt.Scale(domain=[0, 1]), alt.Axis(format="%")
    y = alt.Y("share:Q", title="share of the box within delta", scale=whole, axis=percent)
    return _curves(frame, x, y, title, subtitle)


def budget_plot(frame: pl.DataFrame, *, title: str, subtitle: str = "", loss: str = "loss") -> Chart:
    """A line with its 95% band for each method: the expected loss of the best of so many draws.

    `frame` is a frame of BUDGET_COLUMNS of one workload, optimizer and knobs. `loss` names the vertical axis. Raises
    UsageError for more rows than a figure takes.
    """
    check_rows(frame, tuple(BUDGET_COLUMNS), "the frame of expected best losses")
    values = frame["num_draws"].unique().sort().to_list()
    scale = alt.Scale(type="log", domain=[values[0], max(values[-1], 2)], nice=False)
    x = alt.X("num_draws:Q", title="random draws", scale=scale, axis=alt.Axis(values=values, format="d", grid=False))
    y = alt.Y("loss:Q", title=["expected best", loss], scale=alt.Scale(zero=False))
    return _curves(frame, x, y, title, subtitle)


def _curves(frame: pl.DataFrame, x: Any, y: Any, title: str, subtitle: str) -> Chart:
    methods = frame["method"].unique(maintain_order=True).to_list()
    base = alt.Chart(frame).encode(x=x)
    band = base.mark_area(opacity=0.15).encode(y=alt.Y("ci_low:Q"), y2="ci_high:Q", color=method_colour(methods, None))
    line = base.mark_line(strokeWidth=2).encode(
        y=y, color=method_colour(methods, method_legend()), strokeDash=method_dash(methods, None)
    )
    return styled(alt.layer(line, band, width=_WIDTH, height=_HEIGHT), title, subtitle)


def importance_plot(frame: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """A panel for each evaluator, in it a point with its interval for each knob and method.

    `frame` is a frame of IMPORTANCE_COLUMNS of one workload, optimizer and knobs. Raises UsageError for more rows than
    a figure takes.
    """
    check_rows(frame, tuple(IMPORTANCE_COLUMNS), "the frame of importances")
    methods = frame["method"].unique(maintain_order=True).to_list()
    order = frame["knob"].unique(maintain_order=True).to_list()
    colour, shift = method_colour(methods, method_legend()), alt.YOffset("method:N", sort=methods)
    panels = []
    for (evaluator,), rows in frame.group_by("evaluator", maintain_order=True):
        scale = alt.Scale(domain=[0, 1])
        base = alt.Chart(rows).encode(y=alt.Y("knob:N", sort=order, title=None), yOffset=shift, color=colour)
        bars = base.mark_rule(strokeWidth=1.2).encode(x=alt.X("ci_low:Q", scale=scale), x2="ci_high:Q")
        points = base.mark_point(filled=True, size=30, opacity=1).encode(
            x=alt.X("importance:Q", scale=scale, title=_EVALUATOR_AXES[str(evaluator)], axis=alt.Axis(format="%"))
        )
        height = 11 * len(methods) * len(order)
        panels.append(alt.layer(points, bars, width=260, height=height, title=panel_title(str(evaluator))))
    return styled(alt.hconcat(*panels), title, subtitle)


def cell_plot(frame: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """A map for each method: the share of the runs within delta of its best in each cell of two knobs' ranges.

    `frame` is a frame of CELL_COLUMNS of one workload, optimizer, knobs and pair. Raises UsageError for more rows than
    a figure takes.
    """
    check_rows(frame, tuple(CELL_COLUMNS), "the frame of cells")
    first, second = frame.select("first", "second").row(0)
    parts = {
        axis: frame.sort(f"{axis}_place")[f"{axis}_part"].unique(maintain_order=True).to_list()
        for axis in ("first", "second")
    }
    x = alt.X("first_part:N", sort=parts["first"], title=first, axis=alt.Axis(labelAngle=-40, labelFontSize=9))
    y = alt.Y("second_part:N", sort=parts["second"][::-1], title=second, axis=alt.Axis(labelFontSize=9))
    scale = alt.Scale(domain=[0, 1], scheme="blues")
    colour = alt.Color("share:Q", scale=scale, legend=alt.Legend(title=["share", "within delta"], format="%"))
    words = alt.condition("datum.share > 0.55", alt.value("white"), alt.value("black"))
    panels = []
    for (method,), rows in frame.group_by("method", maintain_order=True):
        base = alt.Chart(rows.filter(pl.col("share").is_not_null())).encode(x=x, y=y)
        cells = base.mark_rect(stroke="white").encode(color=colour, tooltip=["share:Q", "num_points:Q"])
        text = base.mark_text(fontSize=10).encode(text=alt.Text("share:Q", format=".0%"), color=words)
        size = {"width": 42 * len(parts["first"]), "height": 26 * len(parts["second"])}
        panels.append(alt.layer(cells, text, **size, title=panel_title(str(method))))
    return styled(alt.concat(*panels, columns=4), title, subtitle)


def profile_plot(frame: pl.DataFrame, *, title: str, subtitle: str = "", loss: str = "loss") -> Chart:
    """A panel for each knob: the mean loss of each part of its range, and, dashed, the loss with the others tuned.

    `frame` is a frame of PROFILE_COLUMNS of one workload, optimizer and knobs. Raises UsageError for more rows than a
    figure takes.
    """
    check_rows(frame, tuple(PROFILE_COLUMNS), "the frame of profiles")
    methods = frame["method"].unique(maintain_order=True).to_list()
    long = frame.unpivot(
        ("drawn_loss", "tuned_loss"), index=("method", "knob", "place", "part"), variable_name="others"
    ).with_columns(others=pl.col("others").replace({"drawn_loss": "drawn", "tuned_loss": "tuned"}))
    ends = [float(np.nanmin(values := long["value"].drop_nulls().to_numpy())), float(np.nanmax(values))]
    strokes = alt.Legend(title="other knobs", orient="bottom", symbolType="stroke", symbolStrokeWidth=2)
    scale = alt.Scale(domain=["drawn", "tuned"], range=[[1, 0], [3, 2]])
    dash = alt.StrokeDash("others:N", scale=scale, legend=strokes)
    panels = []
    for (knob,), rows in long.group_by("knob", maintain_order=True):
        parts = rows.sort("place")["part"].unique(maintain_order=True).to_list()
        x = alt.X("part:N", sort=parts, title=str(knob), axis=alt.Axis(labelAngle=-40, labelFontSize=9))
        y = alt.Y("value:Q", title=loss, scale=alt.Scale(domain=ends))
        line = alt.Chart(rows).mark_line(strokeWidth=1.6, point=alt.OverlayMarkDef(size=18))
        line = line.encode(x=x, y=y, color=method_colour(methods, method_legend()), strokeDash=dash)
        panels.append(line.properties(width=250, height=160))
    return styled(alt.concat(*panels, columns=3), title, subtitle)


def parallel_plot(frame: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """An axis for each knob, and a line for each point, dark where much of what the best learns is kept.

    frame: rows of `point`, `knob`, `order`, `unit` and `regret`. Raises UsageError for more rows than a figure takes.
    """
    check_rows(frame, ("point", "knob", "order", "unit", "regret"), "the frame of points")
    knobs = frame.sort("order")["knob"].unique(maintain_order=True).to_list()
    x = alt.X("knob:N", sort=knobs, title=None, axis=alt.Axis(labelAngle=0, grid=True))
    y = alt.Y("unit:Q", title="share of the knob's range below", axis=alt.Axis(format="%", grid=False))
    legend = alt.Legend(title=["share of the", "learning lost"], format="%", gradientLength=120)
    colour = alt.Color("regret:Q", scale=alt.Scale(scheme=depth_scheme(), domain=[0, 1]), legend=legend)
    lines = (
        alt.Chart(frame)
        .mark_line(strokeWidth=1)
        .encode(
            x=x,
            y=y,
            color=colour,
            detail="point:N",
            order=alt.Order("regret:Q", sort="descending"),
            opacity=alt.Opacity("regret:Q", scale=alt.Scale(domain=[0, 1], range=[0.9, 0.15]), legend=None),
            tooltip=[alt.Tooltip("point:N"), alt.Tooltip("knob:N"), alt.Tooltip("value:N"), alt.Tooltip("regret:Q")],
        )
    )
    return styled(alt.layer(lines, width=110 * len(knobs), height=280), title, subtitle)
