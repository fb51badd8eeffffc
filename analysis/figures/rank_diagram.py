"""Mean ranks on an axis, with bars that join what is not separated. Draws frames and computes no rank."""

from __future__ import annotations

from collections.abc import Collection

import polars as pl

from analysis.figures.style.chart_style import GREY, PALETTE, Chart, check_rows, styled
from analysis.text import number
from bench.lazy import altair as alt

_ROW, _BAR = 20, 9  # pixels a method, and a bar
_ABOVE = 50  # pixels from the axis up to the critical difference
_WIDTH = 330


def rank_diagram(
    frame: pl.DataFrame,
    groups: Collection[Collection[str]],
    *,
    title: str,
    subtitle: str = "",
    critical_difference: float,
) -> Chart:
    """A drop from the axis to each method's name, the best on top; a bar joins the methods of each of the `groups`.

    `frame` is that of `mean_ranks`: method, mean_rank, best first. `groups` are those of `not_separated`. Names stand
    on one side alone, unlike in the source, for two sides of long names leave no room for the axis in a column.
    Source: Demšar 2006, Fig. 1.
    """
    check_rows(frame, ("method", "mean_rank"), "the frame of mean ranks")
    means = dict(frame.select("method", "mean_rank").iter_rows())
    first = _BAR * (len(groups) + 1) + _ROW // 2  # pixels from the axis to the first name
    methods = frame.with_columns(
        place=first + _ROW * pl.int_range(pl.len()),
        label=pl.Series([f"{name}  {number(mean, 2)}" for name, mean in means.items()], dtype=pl.String),
    )
    height = first + _ROW * frame.height - _ROW // 2
    ends = [[means[name] for name in group] for group in groups]
    bars = pl.DataFrame(
        [(min(ranks), max(ranks), _BAR * (place + 1)) for place, ranks in enumerate(ends)],
        schema={"low": pl.Float64, "high": pl.Float64, "place": pl.Float64},
        orient="row",
    )
    joined = alt.Chart(bars).mark_rule(color=PALETTE[0], strokeWidth=4.5, strokeCap="round")
    joined = joined.encode(x="low:Q", x2="high:Q", y="place:Q")
    layers = [*_drops(methods, height), joined, *_critical_difference(critical_difference)]
    bare = alt.ViewBackground(stroke=None)
    return styled(alt.layer(*layers, width=_WIDTH, height=height, view=bare), title, subtitle)


def _x(name: str, num_methods: int) -> alt.X:
    """The axis of mean ranks, on top: 1 to the number of methods."""
    axis = alt.Axis(orient="top", grid=False, values=list(range(1, num_methods + 1)), format="d", domainColor="black")
    return alt.X(
        f"{name}:Q", scale=alt.Scale(domain=[1, num_methods], nice=False), title="mean rank, 1 best", axis=axis
    )


def _drops(methods: pl.DataFrame, height: float) -> list[alt.Chart]:
    """From the axis down at the mean rank, then left to the name."""
    base = alt.Chart(methods)
    row = alt.Y("place:Q", scale=alt.Scale(domain=[0, height], reverse=True, nice=False), axis=None)
    x = _x("mean_rank", methods.height)
    down = base.mark_rule(color=GREY, strokeWidth=1.2).encode(x=x, y=row, y2=alt.value(0))
    left = base.mark_rule(color=GREY, strokeWidth=1.2).encode(x=x, x2=alt.value(0), y=row)
    names = base.mark_text(align="right", dx=-6, fontSize=11.5).encode(x=alt.value(0), y=row, text="label:N")
    return [down, left, names]


def _critical_difference(width: float) -> list[alt.Chart]:
    """A bar of this width from the best rank there is, above the axis."""
    data = pl.DataFrame({"low": [1.0], "high": [1.0 + width], "label": [f"critical difference {number(width, 2)}"]})
    base = alt.Chart(data).encode(y=alt.value(-_ABOVE))
    bar = base.mark_rule(color="black", strokeWidth=1.6).encode(x="low:Q", x2="high:Q")
    tick = base.mark_tick(color="black", orient="vertical", size=9, thickness=1.6)
    words = base.mark_text(align="left", baseline="bottom", dy=-5).encode(x="low:Q", text="label:N")
    return [bar, tick.encode(x="low:Q"), tick.encode(x="high:Q"), words]
