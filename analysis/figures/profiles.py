"""Performance profiles: on which share of the conditions a method is within a distance of the best. Draws a frame."""

from __future__ import annotations

import polars as pl

from analysis.figures.style.chart_style import (
    Chart,
    check_rows,
    method_colour,
    method_dash,
    method_legend,
    styled,
)
from bench.lazy import altair as alt

_THIN, _THICK = 1.6, 6.0  # pixels, of the last method and at most of the first
_THICKER = 0.8  # pixels, at most, that a line is thicker than the next
_MARGIN = 0.06  # of the axis, beyond the last step


def profile_plot(frame: pl.DataFrame, *, title: str, subtitle: str = "", distance: str) -> Chart:
    """Steps, one line a method; `distance` says what tau is. The axis ends soon after the last step.

    Columns: method, tau, share, in [0, 1], a row a method at every tau at which some share rises, and at both ends.
    Lines are the thinner the later they are drawn, so that what lies below shows on both sides. Source: Dolan & Moré
    2002.
    """
    check_rows(frame, ("method", "tau", "share"), "the frame of profiles")
    rows = frame.sort("method", "tau")
    methods = rows["method"].unique(maintain_order=True).to_list()
    low, high = _limits(rows)
    axis = alt.Axis(grid=False, tickCount=6)
    tau = alt.X("tau:Q", scale=alt.Scale(domain=[low, high], nice=False), title=f"τ: {distance}", axis=axis)
    share_axis = alt.Axis(format="%", tickCount=5)
    share_scale = alt.Scale(domain=[0, 1])
    share = alt.Y("share:Q", scale=share_scale, title="share of conditions within τ", axis=share_axis)
    legend = method_legend(symbolType="stroke", symbolSize=260, symbolStrokeWidth=3)
    thicker = min(_THICKER, (_THICK - _THIN) / max(1, len(methods) - 1))
    widths = [_THIN + thicker * place for place in reversed(range(len(methods)))]
    lines = alt.Chart(_until(rows, high)).mark_line(interpolate="step-after", clip=False)
    drawn = lines.encode(
        x=tau,
        y=share,
        color=method_colour(methods, legend),
        strokeDash=method_dash(methods, legend),
        strokeWidth=alt.StrokeWidth(
            "method:N", scale=alt.Scale(type="ordinal", domain=methods, range=widths), legend=None
        ),
        tooltip=["method:N", alt.Tooltip("tau:Q", format=".3f"), alt.Tooltip("share:Q", format=".2f")],
    )
    return styled(alt.layer(drawn, width=420, height=260), title, subtitle)


def _limits(rows: pl.DataFrame) -> tuple[float, float]:
    """From the first tau to a little beyond the last at which a share rises; to the last tau if none does."""
    taus = rows["tau"].unique().sort().to_list()
    rises = rows.filter(pl.col("share") > pl.col("share").shift(1).over("method"))["tau"]
    last = max(rises, default=taus[-1])
    return taus[0], min(taus[-1], last + _MARGIN * (last - taus[0]))


def _until(rows: pl.DataFrame, end: float) -> pl.DataFrame:
    """The rows up to the end, where every line gets a last point."""
    before = rows.filter(pl.col("tau") < end)
    last = before.group_by("method", maintain_order=True).last().with_columns(tau=pl.lit(end)).select(rows.columns)
    return pl.concat([before, last]).sort("method", "tau")
