"""What an intervention costs against the step at which it begins and its strength. Draws a frame, computes nothing."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.figures.style.chart_style import PALETTE, Chart, check_rows, labelled_rule, panel_title, styled
from analysis.scores.causes.effects import EFFECT_COLUMNS
from bench.lazy import altair as alt

_PANEL = (210, 150)
_MARGIN = 1.0  # on both sides of the points at one step, in distances between two of them
_UNSTATED = "none stated"


def effect_plot(frame: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """A panel for each learning rate and length, in it a point with its interval for each strength at each first step.

    `frame` is a frame of EFFECT_COLUMNS of one workload, method and kind of intervention. Raises UsageError for more
    rows than a figure takes.
    """
    check_rows(frame, tuple(EFFECT_COLUMNS), "the frame of effects")
    rows = frame.select(
        *("lr", "from_step", "loss", "loss_low", "loss_high"),
        strength=pl.col("strength").cast(pl.String).fill_null(_UNSTATED),
        steps=pl.col("end_step") - pl.col("from_step"),
    )
    strengths = (
        rows.select("strength").unique().sort(pl.col("strength").cast(pl.Float64, strict=False))["strength"].to_list()
    )
    longest = rows["steps"].unique().sort(nulls_last=True).to_list()
    ends = [end for end in (*rows["loss_low"], *rows["loss_high"], 0.0) if end is not None]
    limits = [min(ends), max(ends)]
    panels = [
        [
            _panel(part, strengths, limits, f"lr {lr:g}, {'for good' if steps is None else f'for {steps} steps'}")
            for lr in rows["lr"].unique().sort()
            if (part := rows.filter((pl.col("lr") == lr) & pl.col("steps").eq_missing(steps))).height
        ]
        for steps in longest
    ]
    return styled(alt.vconcat(*(alt.hconcat(*row) for row in panels)), title, subtitle)


def _panel(part: pl.DataFrame, strengths: list[str], limits: list[float], title: str) -> Any:
    legend = alt.Legend(title="strength")
    colour = alt.Color("strength:N", scale=alt.Scale(domain=strengths, range=list(PALETTE)), legend=legend)
    shift = alt.XOffset("strength:N", sort=strengths, scale=alt.Scale(paddingOuter=_MARGIN))
    base = alt.Chart(part).encode(x=alt.X("from_step:O", title="first step", axis=alt.Axis(labelAngle=0)))
    scale = alt.Scale(domain=limits)
    value = alt.Y("loss:Q", title=["final loss, with", "minus without"], scale=scale)
    points = base.mark_point(filled=True, size=45, opacity=1).encode(y=value, color=colour, xOffset=shift)
    bars = base.mark_rule(strokeWidth=1.5).encode(
        y=alt.Y("loss_low:Q", scale=scale), y2="loss_high:Q", color=colour, xOffset=shift
    )
    layers = [*labelled_rule(0.0, ""), bars, points]
    return alt.layer(*layers, width=_PANEL[0], height=_PANEL[1], title=panel_title(title))
