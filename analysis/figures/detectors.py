"""ROC and lead-time curves of detectors of failure. Draws a frame, computes nothing."""

from __future__ import annotations

import polars as pl

from analysis.figures.style.chart_style import GREY, PALETTE, Chart, check_rows, log_axis, method_legend, styled
from analysis.scores.causes.alarms import FALSE_ALARM_SHARE
from analysis.scores.causes.detectors import DETECTORS
from analysis.scores.causes.warning_curves import WARNING_CURVE_COLUMNS
from bench.lazy import altair as alt

CURVE_TITLES: dict[str, str] = {
    "roc": "Runs warned of against false alarms",
    "lead": "Runs warned of, by how early",
}
CURVE_NOTES: dict[str, str] = {
    "roc": "Over all thresholds of a detector; dashed: chance; a hit is an alarm before the failure, at any lead",
    "lead": "At thresholds that other methods (or rates, or seeds) gave, at which at most "
    f"{FALSE_ALARM_SHARE:.0%} of their stable runs alarm",
}
_DASHES = ([1, 0], [6, 3], [2, 2])


def warning_plot(frame: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """A line a detector of one curve, workload and optimizer of a frame of WARNING_CURVE_COLUMNS.

    Raises UsageError for more rows than a figure takes.
    """
    check_rows(frame, tuple(WARNING_CURVE_COLUMNS), "the frame of curves")
    names = list(DETECTORS)
    detectors = frame["detector"].unique(maintain_order=True).to_list()
    titles = [DETECTORS[name].title for name in detectors]
    places = [names.index(name) for name in detectors]
    colours = [PALETTE[place % len(PALETTE)] for place in places]
    dashes = [_DASHES[place // len(PALETTE)] for place in places]
    legend = method_legend(symbolType="stroke", symbolSize=260, symbolStrokeWidth=2)
    is_roc = frame["curve"][0] == "roc"
    percent = alt.Axis(format="%", tickCount=5)
    x = alt.X("x:Q", title="share of stable runs that alarm", scale=alt.Scale(domain=[0, 1]), axis=percent)
    if not is_roc:
        low, high = float(frame["x"].min()), float(frame["x"].max())  # pyright: ignore[reportArgumentType]
        scale = alt.Scale(type="log", domain=[low, high], nice=False)
        x = alt.X("x:Q", title="steps before the failure (log scale)", scale=scale, axis=log_axis(low, high))
    y = alt.Y("y:Q", title="share of failed runs", scale=alt.Scale(domain=[0, 1]), axis=percent)
    rows = frame.with_columns(title=pl.col("detector").replace_strict(dict(zip(detectors, titles, strict=True))))
    mark = {"interpolate": "step-after" if is_roc else "step-before", "strokeWidth": 1.8}
    lines = alt.Chart(rows).mark_line(**mark)
    drawn = lines.encode(
        x=x,
        y=y,
        order=alt.Order("x:Q"),
        color=alt.Color("title:N", scale=alt.Scale(domain=titles, range=colours), legend=legend),
        strokeDash=alt.StrokeDash("title:N", scale=alt.Scale(domain=titles, range=dashes), legend=legend),
        tooltip=["title:N", alt.Tooltip("x:Q", format=".3g"), alt.Tooltip("y:Q", format=".0%")],
    )
    layers = [drawn]
    if is_roc:
        chance = alt.Chart(pl.DataFrame({"x": [0.0, 1.0], "y": [0.0, 1.0]}))
        layers.insert(0, chance.mark_line(strokeDash=[5, 4], color=GREY, strokeWidth=1.2).encode(x="x:Q", y="y:Q"))
    return styled(alt.layer(*layers, width=420, height=300), title, subtitle)
