"""Figures of attention while it trains: logit variance and entropy, layer by layer, gammas, rows and matrices.

Draws frames of analysis/figures/frames/inspected.py and computes nothing.
"""

from __future__ import annotations

import math
from typing import Any

import polars as pl

from analysis.curves import require_columns
from analysis.figures.frames.aggregate import UNIFORM_ENTROPY, plot_limits
from analysis.figures.frames.inspected import GAMMAS
from analysis.figures.frames.theory import with_last_edge
from analysis.figures.style.chart_style import (
    CROSS,
    GREY,
    Chart,
    check_size,
    depth_scheme,
    labelled_edge,
    labelled_rule,
    layer_colour,
    panel_title,
    step_x,
    styled,
)
from analysis.figures.traces import uniform_rules
from bench.errors import UsageError
from bench.lazy import altair as alt

_Y_EXTENT = 38  # pixels of labels, so that panels below each other begin at the same place
_MAX_CELLS = 40_000  # of a figure of heat maps: 10 MB of SVG
_ROW_COLUMNS = 2  # methods beside each other where each has a row of panels
_GAMMA_TITLES = {
    "gamma_query": "γ of queries (root mean square)",
    "gamma_key": "γ of keys (root mean square)",
    "gamma_product": "mean |γ of queries × γ of keys|",
}


def variance_against_entropy(points: pl.DataFrame, curve: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """Logit variance against normalised entropy of every layer during training, a panel a method, colour by step.

    `points` has the columns of `variance_and_entropy`; `curve`, dashed, those of `gaussian_curve`, and method: softmax
    of Gaussian logits of that variance. Source: Hong & Lee 2025, Fig. 4 and Eq. 8.
    """
    require_columns(points, ("method", "layer", "step", "logit_variance", "normalised_entropy"), "the points")
    require_columns(curve, ("method", "logit_variance", "normalised_entropy"), "the curve")
    x = _log_axis(alt.X, points["logit_variance"], "logit_variance:Q", "logit variance (log scale)")
    y = _log_axis(alt.Y, points["normalised_entropy"], "normalised_entropy:Q", "H / (largest H − H) (log scale)")
    last = max(1, *points["step"]) + 1
    scale = alt.Scale(type="log", domain=[1, last], scheme=depth_scheme())
    legend = alt.Legend(title=["step,", "from 1"], format="~s", gradientLength=150, tickCount=4)
    colour = alt.Color("from_one:Q", scale=scale, legend=legend)
    panels = []
    for rows in points.with_columns(from_one=pl.col("step") + 1).partition_by("method", maintain_order=True):
        check_size(rows)
        dots = alt.Chart(rows).mark_point(filled=True, size=13, opacity=0.75, clip=True).encode(x=x, y=y, color=colour)
        expected = alt.Chart(curve.filter(method=rows["method"][0])).mark_line(
            color=GREY, strokeDash=[4, 3], strokeWidth=1.2, clip=True
        )
        panels.append(alt.layer(expected.encode(x=x, y=y), dots, width=200, height=140, title=_titled(rows)))
    return styled(alt.concat(*panels, columns=3, spacing=20), title, subtitle)


def gammas_by_layer(summary: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """The gammas of queries and keys and their product against step, a row of panels a method, colour by depth.

    `summary` has the columns of `gamma_summary`; a line that ends in a cross is of a run that diverged there. The rule
    is 1, where gammas start. Source: Hong & Lee 2025, Fig. 8.
    """
    columns = ("method", "step", "layer", "quantity", "value", "is_end")
    require_columns(summary, columns, "the gammas")
    summary = summary.with_columns(from_one=pl.col("step") + 1)
    step, colour = _step_and_depth(summary)
    rows = []
    for of_method in summary.partition_by("method", maintain_order=True):
        low, high = min(1.0, *of_method["value"]), max(1.0, *of_method["value"])
        margin = 0.18 * max(high - low, 0.2)
        scale = alt.Scale(domain=[low - margin, high + margin], nice=False)
        y = alt.Y("value:Q", title="γ", scale=scale, axis=alt.Axis(tickCount=4, minExtent=_Y_EXTENT))
        panels = []
        for quantity in GAMMAS:
            lines = _lines_and_crosses(of_method.filter(quantity=quantity), step, y, colour)
            rule = labelled_rule(1.0, "1: as it starts", align="right")
            name = _titled(of_method, _GAMMA_TITLES[quantity])
            panels.append(alt.layer(*lines, *rule, width=200, height=115, title=name))
        rows.append(alt.hconcat(*panels, spacing=20))
    return styled(alt.vconcat(*rows, spacing=18), title, subtitle)


def variance_and_entropy_by_layer(summary: pl.DataFrame, *, num_keys: int, title: str, subtitle: str = "") -> Chart:
    """Logit variance and entropy of every layer against step, a row of panels a method, colour by depth.

    `summary` has the columns of `layer_summary` and `quantity`, of both. The rule is the entropy of uniform rows, as in
    `analysis.figures.traces.uniform_rules`. Source: Hong & Lee 2025, Fig. 9.
    """
    columns = ("method", "outcome", "layer", "step", "value", "is_end", "quantity", UNIFORM_ENTROPY)
    require_columns(summary, columns, "the quantities of layers")
    summary = summary.with_columns(from_one=pl.col("step") + 1)
    step, colour = _step_and_depth(summary)
    is_variance = pl.col("quantity") == "logit_variance"
    variances = summary.filter(is_variance, pl.col("value") > 0)["value"]
    variance = _log_axis(alt.Y, variances, "value:Q", "logit variance (log scale)", minExtent=_Y_EXTENT)
    scale = alt.Scale(domain=[0, math.log(num_keys) * 1.18], nice=False)
    axis = alt.Axis(tickCount=4, minExtent=_Y_EXTENT)
    entropy = alt.Y("value:Q", title="entropy (nats)", scale=scale, axis=axis)
    rows = []
    for of_method in summary.partition_by("method", maintain_order=True):
        size: dict[str, Any] = {"width": 300, "height": 120, "title": _titled(of_method)}
        spread = of_method.filter(is_variance, pl.col("value") > 0)
        entropies = of_method.filter(quantity="entropy")
        left = alt.layer(*_lines_and_crosses(spread, step, variance, colour), **size)
        rules = [one for label, height in uniform_rules(entropies, num_keys) for one in labelled_rule(height, label)]
        right = alt.layer(*_lines_and_crosses(entropies, step, entropy, colour), *rules, **size)
        rows.append(alt.hconcat(left, right, spacing=20))
    return styled(alt.vconcat(*rows, spacing=18), title, subtitle)


def rows_in_training(summary: pl.DataFrame, *, num_keys: int, title: str, subtitle: str = "") -> Chart:
    """Histograms of the weights and of the row entropies of each method at a few steps of its training.

    `summary` has the columns of `histogram_summary`. Rules: 1 / N and log N, weight and entropy of a uniform row that
    sees all N keys.
    """
    columns = ("method", "of", "place", "step", "low", "high", "share")
    require_columns(summary, columns, "the histograms")
    rules = {"weight": (1 / num_keys, "1/N"), "entropy": (math.log(num_keys), "log N")}
    rows = []
    for of_method in summary.partition_by("method", maintain_order=True):
        panels = [_histogram(of_method.filter(pl.col("of") == of), of, *rules[of]) for of in rules]
        rows.append(alt.hconcat(*panels, spacing=20).resolve_scale(color="shared"))
    chart = alt.concat(*rows, columns=_ROW_COLUMNS, spacing=20)
    return styled(chart.resolve_scale(color="independent"), title, subtitle)


def heat_maps(summary: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """Matrices of attention weights during training: a row a method, a column a step. Source: Hong & Lee 2025, Fig. 11.

    `summary` has the columns of `heat_map_summary`. Raises UsageError for more than 40,000 cells.
    """
    require_columns(summary, ("method", "place", "step", "query", "key", "size", "weight"), "the matrices")
    if summary.height > _MAX_CELLS:
        raise UsageError(f"a figure of heat maps has at most {_MAX_CELLS:,} cells, got {summary.height:,}")
    legend = alt.Legend(title=["weight P", "(√ scale)"], gradientLength=150, values=[0, 0.05, 0.2, 0.5, 1])
    scale = alt.Scale(type="sqrt", domain=[0, 1], scheme="viridis", clamp=True)
    colour = alt.Color("weight:Q", scale=scale, legend=legend)
    last = int(max(summary["query"].max() or 0, summary["key"].max() or 0) + summary["size"][0])
    placed = summary.with_columns(query_end=pl.col("query") + pl.col("size"), key_end=pl.col("key") + pl.col("size"))
    rows = []
    for of_method in placed.partition_by("method", maintain_order=True):
        maps = []
        for of_step in of_method.partition_by("place", maintain_order=True):
            axis = alt.Axis(tickCount=3, grid=False, labelFontSize=9)
            x = alt.X("key:Q", scale=alt.Scale(domain=[0, last], nice=False), title="key", axis=axis)
            name = "query" if of_step["place"][0] == 0 else None
            y = alt.Y("query:Q", scale=alt.Scale(domain=[last, 0], nice=False), title=name, axis=axis)
            cells = alt.Chart(of_step).mark_rect(strokeWidth=0)
            cells = cells.encode(x=x, x2="key_end:Q", y=y, y2="query_end:Q", color=colour)
            step = alt.TitleParams(f"step {of_step['step'][0]}", fontSize=11, fontWeight="normal", offset=3)
            maps.append(cells.properties(width=105, height=105, title=step))
        rows.append(alt.hconcat(*maps, spacing=8, title=_titled(of_method)))
    return styled(alt.concat(*rows, columns=_ROW_COLUMNS, spacing=14), title, subtitle)


def _titled(rows: pl.DataFrame, subtitle: str = "") -> alt.TitleParams:
    return panel_title(rows["method"][0], subtitle)


def _log_axis(channel: Any, values: pl.Series, field: str, title: str, **layout: Any) -> Any:
    scale = alt.Scale(type="log", domain=list(plot_limits(values)), nice=False)
    axis = alt.Axis(format="~g", labelOverlap=True, grid=False, tickCount=5, **layout)
    return channel(field, scale=scale, title=title, axis=axis)


def _step_and_depth(summary: pl.DataFrame) -> tuple[alt.X, alt.Color]:
    """The axis of steps and the colour of layers."""
    colour = layer_colour(max(0, *summary["layer"]), gradient=120)
    return step_x(max(1, *summary["step"]), is_log=True), colour


def _lines_and_crosses(rows: pl.DataFrame, step: alt.X, value: alt.Y, colour: alt.Color) -> list[Any]:
    check_size(rows)
    detail = ["layer:Q", "outcome:N"] if "outcome" in rows.columns else ["layer:Q"]
    base = alt.Chart(rows).encode(x=step, y=value, color=colour, detail=detail)
    ends = alt.Chart(rows.filter("is_end")).encode(x=step, y=value, color=colour)
    return [
        base.mark_line(strokeWidth=1.6, clip=True),
        ends.mark_point(shape=CROSS, size=90, strokeWidth=1.6, opacity=1, clip=True),
    ]


def _histogram(rows: pl.DataFrame, of: str, place: float, label: str) -> Any:
    check_size(rows)
    steps = rows["step"].unique().sort()
    named = with_last_edge(rows).with_columns(when=pl.format("step {}", pl.col("step")))
    names = [f"step {step}" for step in steps]
    colours = ["#B3CDE3", "#6BAED6", "#2171B5", "#54278F", "#000000"][-len(names) :]
    scale = alt.Scale(domain=names, range=colours)
    legend = alt.Legend(title=None, orient="bottom", columns=5, symbolType="stroke", symbolStrokeWidth=2.5)
    domain = [min(rows["low"]), max(rows["high"])]
    if of == "weight":
        axis = alt.Axis(values=[1e-8, 1e-6, 1e-4, 1e-2, 1], format=".0e", grid=False)
        x = alt.X(
            "low:Q", scale=alt.Scale(type="log", domain=domain, nice=False), title="weight P (log scale)", axis=axis
        )
    else:
        domain = [0, domain[1] * 1.05]
        axis = alt.Axis(grid=False, tickCount=4)
        x = alt.X("low:Q", scale=alt.Scale(domain=domain, nice=False), title="entropy of a row (nats)", axis=axis)
    y = alt.Y("share:Q", title=f"share of {'weights' if of == 'weight' else 'rows'}", axis=alt.Axis(tickCount=3))
    lines = alt.Chart(named).mark_line(interpolate="step-after", strokeWidth=1.6)
    lines = lines.encode(x=x, y=y, color=alt.Color("when:N", scale=scale, legend=legend))
    return alt.layer(lines, *labelled_edge(place, label), width=190, height=95, title=_titled(rows))
