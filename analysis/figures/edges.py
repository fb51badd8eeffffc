"""The figure of curvature over the edge of stability during training. Draws a frame; computes nothing."""

from __future__ import annotations

import polars as pl

from analysis.figures.frames.edges import EDGES
from analysis.figures.style.chart_style import (
    CROSS,
    Chart,
    check_rows,
    depth_scheme,
    labelled_rule,
    log_axis,
    panel_title,
    step_x,
    styled,
)
from bench.lazy import altair as alt

LEAST_DRAWN = 1e-2  # far from any edge


def curvature_over_edge(summary: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """Ratios of curvature to the edge against step, a row of panels a quantity, a column a method, colour by rate.

    `summary` has the columns of `edge_summary`. The rule is 1: above it a quadratic loss would rise. The axis begins at
    LEAST_DRAWN at the lowest. Source: Cohen et al. 2021, Fig. 1.
    """
    check_rows(summary, ("method", "quantity", "lr", "step", "value", "is_end"), "the ratios")
    low = max(LEAST_DRAWN, min(0.5, *summary["value"]) / 1.3)
    high = 1.6 * max(1.0, *summary["value"])
    y = alt.Y(
        "value:Q",
        scale=alt.Scale(type="log", domain=[low, high], nice=False),
        title="over the edge (log scale)",
        axis=log_axis(low, high),
    )
    rates = summary["lr"].unique().sort().to_list()
    scale = alt.Scale(domain=[f"{rate:g}" for rate in rates], scheme=depth_scheme())
    colour = alt.Color("rate:N", scale=scale, legend=alt.Legend(title="learning rate", orient="bottom", columns=8))
    step = step_x(max(1, *summary["step"]), is_log=False)
    named = summary.with_columns(rate=pl.col("lr").map_elements(lambda rate: f"{rate:g}", return_dtype=pl.String))
    panels = []
    for quantity in (one for one in EDGES if one in set(summary["quantity"])):
        beside = []
        for method in summary["method"].unique().sort():
            own = named.filter(quantity=quantity, method=method)
            base = alt.Chart(own).encode(x=step, y=y, color=colour)
            ends = alt.Chart(own.filter("is_end")).encode(x=step, y=y, color=colour)
            lines = [
                base.mark_line(strokeWidth=1.6, clip=True),
                ends.mark_point(shape=CROSS, size=90, strokeWidth=1.6, opacity=1, clip=True),
            ]
            name = panel_title(method, EDGES[quantity])
            beside.append(alt.layer(*lines, *labelled_rule(1.0, "edge"), width=190, height=115, title=name))
        panels.append(alt.concat(*beside, columns=3, spacing=20))
    return styled(alt.vconcat(*panels, spacing=18), title, subtitle)
