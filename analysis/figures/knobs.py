"""Figures over knobs: largest stable lr, joint maps, optimizers x methods. Draws frames and computes no score."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Any

import polars as pl

from analysis.figures.style.chart_style import (
    CROSS,
    GREY,
    PALETTE,
    Chart,
    check_rows,
    lr_axis,
    panel_title,
    styled,
)
from analysis.knobs import knob_text
from analysis.text import decimals, interval_decimals, number
from bench.errors import UsageError
from bench.lazy import altair as alt

# Perceptually uniform and safe for colour blindness; dark is low, and its light end is where a diverged cell lies.
_SCHEME = "viridis"
_CELL, _LEAST_HIGH = 30, 84  # pixels, of a joint map: a cell, and the height of a panel, beside which its knob stands
_MATRIX_CELL = (150, 40)
_DARK_SHARE = 0.5  # of the colour scale: text is white on what is darker
_PANELS_PER_ROW = 3
_MARGIN_DECADES = 0.2  # of the axis of edges, on either side
# Of the ticks of each decade of that axis: the first that put two on it. Any axis with its margins has two of the last.
_MANTISSAS = ((1,), (1, 2, 5), (1, 1.5, 2, 3, 5, 7))
_TICK_TEXT = "format(datum.value, datum.value < 0.001 ? '~e' : '~r')"


def edge_plot(frame: pl.DataFrame, *, title: str, subtitle: str = "", knob: str = "lr") -> Chart:
    """The largest stable learning rate (or `knob`) of each method, a row a method, the largest on top.

    A point and its interval. Columns: method, value, low, high. low and high are null without an interval. Where high
    is infinite, the edge lies beyond what was tried and an arrow says so; where value is, too, no point is drawn.
    Raises UsageError for a value that no log axis has.
    """
    check_rows(frame, ("method", "value", "low", "high"), "the frame of edges")
    ends = [end for row in frame.select("value", "low", "high").iter_rows() for end in row if end is not None]
    finite = [end for end in ends if math.isfinite(end)]
    if not finite or min(finite) <= 0:
        raise UsageError(f"a learning rate on a log axis must be above 0 and finite, got {min(ends, default=None)}")
    border = max(finite) * 10**_MARGIN_DECADES
    point = pl.when(pl.col("value").is_finite()).then("value")
    is_open = (pl.col("high").is_infinite() | pl.col("value").is_infinite()).fill_null(False)
    rows = frame.with_columns(
        is_open=is_open,
        point=point,
        start=pl.coalesce("low", point),
        end=pl.when(is_open).then(pl.lit(border)).otherwise(pl.coalesce("high", point)),
    )
    order = rows.sort("value", "method", descending=[True, False])["method"].to_list()
    base = alt.Chart(rows).encode(y=alt.Y("method:N", sort=order, title=None, axis=alt.Axis(labelLimit=260)))
    limits = [min(finite) / 10**_MARGIN_DECADES, border]
    scale = alt.Scale(type="log", nice=False, domain=limits)
    axis = _edge_axis(*limits)
    axis_title = f"largest stable {'learning rate' if knob == 'lr' else knob} (log scale)"
    place = {name: alt.X(f"{name}:Q", scale=scale, title=axis_title, axis=axis) for name in ("start", "end", "point")}
    bars = base.mark_rule(strokeWidth=2, color=PALETTE[0], opacity=0.6).encode(x=place["start"], x2="end:Q")
    points = base.mark_point(filled=True, size=70, color=PALETTE[0], opacity=1).encode(
        x=place["point"], tooltip=["method:N", "value:Q", "low:Q", "high:Q"]
    )
    opened = base.transform_filter("datum.is_open")
    arrows = opened.mark_point(shape="triangle-right", filled=True, size=110, color=PALETTE[0], opacity=1)
    words = opened.mark_text(align="left", dx=10, color=GREY, text="no edge found")
    layers = [bars, points, arrows.encode(x=place["end"]), words.encode(x=place["end"])]
    return styled(alt.layer(*layers, width=420, height=alt.Step(26)), title, subtitle)


def _edge_axis(low: float, high: float) -> alt.Axis:
    """The axis of learning rates; ticks between whole decades where these alone would be fewer than two."""
    whole, *finer = (_ticks(low, high, mantissas) for mantissas in _MANTISSAS)
    if len(whole) > 1:
        return lr_axis()
    values = next(ticks for ticks in finer if len(ticks) > 1)
    return alt.Axis(values=values, labelExpr=_TICK_TEXT, labelOverlap=True, grid=False)


def _ticks(low: float, high: float, mantissas: Iterable[float]) -> list[float]:
    """The mantissas times powers of ten from low to high, ascending."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    ticks = [float(f"{mantissa}e{decade}") for decade in decades for mantissa in mantissas]
    return [tick for tick in ticks if low <= tick <= high]


def joint_heat_map(frame: pl.DataFrame, *, title: str, subtitle: str = "", loss: str = "final loss") -> Chart:
    """Loss over two knobs, a panel a method: diverged cells are crossed, the best cell has a ring.

    `frame` is that of `joint_map` for one workload, optimizer and knobs; `loss` says what its loss is. Every value that
    was tried is a row or column of the same width, so that 0 and infinity have their place and no scale is implied.
    """
    columns = ("method", "x_knob", "x", "y_knob", "y", "loss", "is_best", "num_diverged", "num_seeds")
    check_rows(frame, columns, "the joint map")
    axes = {name: _ordinal(frame, name) for name in ("x", "y")}
    rows = frame.with_columns(
        x_text=_texts(frame["x"]), y_text=_texts(frame["y"]), is_diverged=pl.col("num_diverged") > 0
    )
    methods = frame["method"].unique().sort().to_list()
    domain = _limits(frame["loss"])
    colour = alt.Color(
        "loss:Q",
        scale=alt.Scale(scheme=_SCHEME, domain=list(domain)),
        legend=alt.Legend(title=loss.split("\n"), format="~g", tickCount=5),
    )
    high = max(_CELL, _LEAST_HIGH / frame["y"].n_unique())
    panels = [_heat_panel(rows.filter(method=method), axes, colour, method, high) for method in methods]
    return styled(alt.concat(*panels, columns=_PANELS_PER_ROW, spacing=20), title, subtitle)


def optimizer_matrix_chart(frame: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """Learning-rate sensitivity by method and optimizer: number and interval in each cell, coloured by the number.

    `frame` is that of `optimizer_matrix` for one workload and knobs; methods are ordered by their mean, the most robust
    on top; a cell where little or nothing was learned, or that has no score, is grey.
    """
    scores = ("lr_sensitivity", "ci_low", "ci_high", "method_mean")
    check_rows(frame, ("method", "optimizer", *scores, "at_chance", "learned_little"), "the optimizer matrix")
    methods = frame.sort("method_mean", "method", nulls_last=True)["method"].unique(maintain_order=True).to_list()
    frame = frame.with_columns(
        is_grey=pl.col("at_chance") | pl.col("learned_little") | pl.col("lr_sensitivity").is_null()
    )
    low, high = _limits(frame.filter(~pl.col("is_grey"))["lr_sensitivity"])
    dark_until = low + _DARK_SHARE * (high - low)
    places = decimals(frame["lr_sensitivity"].drop_nulls(), 3)
    texts = [_cell_text(row, places) for row in frame.iter_rows(named=True)]
    rows = frame.with_columns(
        cell=pl.Series("cell", texts, pl.String),
        is_light=pl.col("is_grey") | (pl.col("lr_sensitivity") > dark_until),
    )
    base = alt.Chart(rows).encode(
        x=alt.X("optimizer:N", title=None, axis=alt.Axis(orient="top", labelAngle=0, labelLimit=_MATRIX_CELL[0])),
        y=alt.Y("method:N", sort=methods, title=None, axis=alt.Axis(labelLimit=260)),
    )
    scale = alt.Scale(scheme=_SCHEME, domain=[low, high])
    fill = alt.Color(
        "lr_sensitivity:Q", scale=scale, legend=alt.Legend(title=["LR sensitivity", "(lower is", "more robust)"])
    )
    cells = base.mark_rect(stroke="white").encode(
        color=alt.condition("datum.is_grey", alt.value("#dddddd"), fill),
        tooltip=["method:N", "optimizer:N", "lr_sensitivity:Q", "ci_low:Q", "ci_high:Q"],
    )
    words = base.mark_text(lineBreak="\n", lineHeight=13, dy=-6).encode(
        text="cell:N", color=alt.condition("datum.is_light", alt.value("black"), alt.value("white"))
    )
    width, height = (alt.Step(size) for size in _MATRIX_CELL)
    return styled(alt.layer(cells, words, width=width, height=height), title, subtitle)


def _heat_panel(rows: pl.DataFrame, axes: dict[str, Any], colour: alt.Color, method: str, high: float) -> Any:
    base = alt.Chart(rows).encode(**axes)
    tooltip = ["x_text:N", "y_text:N", alt.Tooltip("loss:Q", format=".4g"), "num_diverged:Q", "num_seeds:Q"]
    cells = base.mark_rect(stroke="white", strokeWidth=0.5).encode(color=colour, tooltip=tooltip)
    crosses = base.transform_filter("datum.is_diverged").mark_point(shape=CROSS, size=130, strokeWidth=1.3, opacity=1)
    ring = base.transform_filter("datum.is_best").mark_point(shape="circle", size=170, strokeWidth=2.2, opacity=1)
    layers = [cells, crosses.encode(color=alt.value("black")), ring.encode(color=alt.value("white"))]
    return alt.layer(*layers, width=alt.Step(_CELL), height=alt.Step(high), title=panel_title(method))


def _ordinal(frame: pl.DataFrame, name: str) -> Any:
    """An axis of all values tried, ascending to the right and up."""
    knobs = frame[f"{name}_knob"].unique()
    if len(knobs) != 1:
        raise UsageError(f"a joint map must have one pair of knobs, got {', '.join(knobs.sort())} on {name}")
    texts = _texts(frame[name].unique().sort()).to_list()
    channel = alt.X if name == "x" else alt.Y
    axis = alt.Axis(labelAngle=-45 if name == "x" else 0)
    return channel(
        f"{name}_text:O", title=knobs[0], axis=axis, scale=alt.Scale(domain=texts if name == "x" else texts[::-1])
    )


def _texts(values: pl.Series) -> pl.Series:
    """Values as an axis shows them: whole numbers, else three digits; where these confuse two, all have every digit."""
    texts = [knob_text(value) if value == round(value, 0) else f"{value:.3g}" for value in values]
    exact = len(set(texts)) < values.n_unique()
    return pl.Series([repr(value) for value in values] if exact else texts, dtype=pl.String)


def _limits(values: pl.Series) -> tuple[float, float]:
    """Least and largest; (0, 1) of no values."""
    numbers = values.to_list()
    return min(numbers, default=0.0), max(numbers, default=1.0)


def _cell_text(row: dict[str, Any], places: int) -> str:
    if row["lr_sensitivity"] is None:
        return "no score"
    if row["is_grey"]:
        return "at chance" if row["at_chance"] else "learned\nlittle"
    places = interval_decimals(row["ci_low"], row["ci_high"], places)
    value, low, high = (number(row[name], places) for name in ("lr_sensitivity", "ci_low", "ci_high"))
    return value if row["ci_low"] is None else f"{value}\n[{low}, {high}]"
