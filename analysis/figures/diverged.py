"""The map of divergence, lr x seed for each method. Draws a frame of analysis/figures/frames/diverged_map.py."""

from __future__ import annotations

import polars as pl

from analysis.figures.frames.diverged_map import BLOWN_UP, COMPLETED, DIVERGED, LOST, STUCK
from analysis.figures.style.chart_style import CROSS, GREY, QUIET, Chart, check_rows, styled
from analysis.text import lr_text
from bench.lazy import altair as alt

_CELL = 15  # pixels
_PANELS_PER_ROW = 3


def diverged_map_chart(cells: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """A panel a method, a column a learning rate, a row a seed: how and when each trial ended.

    `cells` is the frame of `diverged_map` for one workload, optimizer and knobs. Quiet cells completed, with a
    triangle where they blew up and a bar where they are stuck; a colour is the step of divergence, dark is early; a
    cross on white is a trial without a result; no cell: no such trial.
    """
    check_rows(cells, ("method", "lr", "seed", "state", "step"), "the map of divergence")
    lrs, seeds = cells["lr"].unique().sort(), cells["seed"].unique().sort().to_list()
    texts = {lr: lr_text(lr) for lr in lrs}
    rows = cells.with_columns(
        lr_text=pl.col("lr").replace_strict(texts, return_dtype=pl.String), from_one=pl.col("step") + 1
    )
    labelled = [texts[lr] for lr in lrs.gather_every(max(1, -(-len(lrs) // 8)))]
    x = alt.X(
        "lr_text:O",
        title="learning rate",
        scale=alt.Scale(domain=list(texts.values())),
        axis=alt.Axis(values=labelled, labelAngle=-45),
    )
    y = alt.Y("seed:O", title="seed", scale=alt.Scale(domain=seeds), axis=alt.Axis(labelOverlap=True))
    colour = _colour(rows.filter(state=DIVERGED)["step"].drop_nulls().to_list())
    base = alt.Chart(rows).encode(x=x, y=y, tooltip=["lr:Q", "seed:Q", "state:N", "step:Q"])
    squares = base.mark_rect(stroke="white", strokeWidth=0.5)
    ended = " || ".join(f"datum.state == '{state}'" for state in (COMPLETED, BLOWN_UP, STUCK))
    quiet = squares.transform_filter(ended).encode(color=alt.value(QUIET))
    blown_up = base.transform_filter(f"datum.state == '{BLOWN_UP}'").mark_point(
        shape="triangle-up", filled=True, size=45, opacity=1
    )
    stuck = base.transform_filter(f"datum.state == '{STUCK}'").mark_point(shape="stroke", size=70, strokeWidth=2)
    diverged = squares.transform_filter(f"datum.state == '{DIVERGED}'")
    unknown = diverged.transform_filter("datum.step == null").encode(color=alt.value(GREY))
    timed = diverged.transform_filter("datum.step != null").encode(color=colour)
    lost = base.transform_filter(f"datum.state == '{LOST}'").mark_point(shape=CROSS, size=50, strokeWidth=1.2)
    cell = alt.Step(_CELL)
    marks = (mark.encode(color=alt.value(GREY)) for mark in (blown_up, stuck, lost))
    layers = alt.layer(quiet, unknown, timed, *marks, width=cell, height=cell)
    # A facet, not panels put together: Altair takes a second for every ten of those.
    header = alt.Header(title=None, labelAnchor="start", labelFontSize=13, labelFontWeight="bold", labelLimit=300)
    grid = layers.facet(facet=alt.Facet("method:N", header=header), columns=_PANELS_PER_ROW, spacing=20)
    return styled(grid.resolve_axis(x="independent", y="independent"), title, subtitle)


def _colour(steps: list[int]) -> alt.Color:
    """Colour by step on a log scale, counted from 1; the light end of the scheme would be too near to a quiet cell."""
    scheme = alt.SchemeParams("viridis", extent=[0, 0.9])
    low, high = min(steps, default=0) + 1, max(steps, default=0) + 1
    scale = alt.Scale(type="log", scheme=scheme, domain=[low, max(high, low + 1)], nice=False)
    legend = alt.Legend(title=["diverged", "at step"], format="~s", tickCount=4, gradientLength=110)
    return alt.Color("from_one:Q", scale=scale, legend=legend if steps else None)
