"""What an adaptive search asked for, in order, and what it answered. Draws a frame and computes nothing."""

from __future__ import annotations

import polars as pl

from analysis.figures.style.chart_style import (
    CROSS,
    GREY,
    PALETTE,
    QUIET,
    Chart,
    check_rows,
    depth_scheme,
    labelled_rule,
    lr_axis,
    styled,
)
from analysis.text import lr_text
from bench.lazy import altair as alt

ASKED_COLUMNS: dict[str, type[pl.DataType]] = {
    "trial": pl.Int64,  # from 1, in the order of asking
    "round": pl.Int64,  # from 1
    "value": pl.Float64,  # of the searched knob
    "seed": pl.Int64,
    "state": pl.String,  # of STATES
    "loss": pl.Float64,  # final loss clipped at the loss at init; null unless completed
}
SETTING_COLUMNS: dict[str, type[pl.DataType]] = {
    "trial": pl.Int64,  # the number of the setting, from 1, in the order of asking
    "round": pl.Int64,
    "setting": pl.String,
    "loss": pl.Float64,  # mean over seeds, each clipped at the loss at init; null without a result
    "least": pl.Float64,  # of the settings so far
    "num_diverged": pl.Int64,  # seeds
}
COMPLETED, DIVERGED, PRUNED, NO_RESULT = STATES = ("completed", "diverged", "pruned", "no result")

_TRIALS, _SETTINGS = (f"{what}, in the order of asking" for what in ("trial", "setting"))
_MARGIN = 1.5  # factor of the axis beyond the values that were asked for
_SHADE, _INTERVAL = 0.5, 0.16  # opacity


def asked_chart(
    asked: pl.DataFrame,
    *,
    knob: str,
    answer: float | None,
    interval: tuple[float, float] | None,
    title: str,
    subtitle: str = "",
) -> Chart:
    """The searched knob against the trial's number: colour is the loss, a cross a divergence.

    `asked` has ASKED_COLUMNS. A triangle was pruned, a ring has no result. Every other round is shaded. The dashed rule
    is the `answer`, a value of the knob, in the band of its `interval`, which may end at 0 or infinity; None where the
    search answers in other units or not at all.
    """
    check_rows(asked, tuple(ASKED_COLUMNS), "the frame of trials asked for")
    values = asked["value"].to_list()
    limits = [min(values) / _MARGIN, max(values) * _MARGIN]
    words = "learning rate (log scale)" if knob == "lr" else f"{knob} (log scale)"
    value = alt.Y("value:Q", title=words, axis=lr_axis(), scale=alt.Scale(type="log", nice=False, domain=limits))
    layers = _rounds(asked, _TRIALS)
    if answer is not None and limits[0] <= answer <= limits[1]:
        layers += [*_band(interval, limits), *labelled_rule(answer, f"answer: {lr_text(answer)}")]
    layers += _trials(asked, value)
    return styled(alt.layer(*layers, width=560, height=240), title, subtitle)


def settings_chart(asked: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """The loss of every setting against its number, a cross where a seed diverged, and a line for the least so far.

    `asked` has SETTING_COLUMNS. Every other round is shaded.
    """
    check_rows(asked, tuple(SETTING_COLUMNS), "the frame of settings asked for")
    rows = asked.filter(pl.col("loss").is_not_null())
    y = alt.Y(
        "loss:Q", title=["final loss, mean over", "seeds (clipped at init)"], scale=alt.Scale(zero=False, padding=20)
    )
    tooltip = ["trial:Q", "round:Q", "setting:N", alt.Tooltip("loss:Q", format=".4g"), "num_diverged:Q"]
    x = _number_x(asked, "trial", _SETTINGS)
    base = {is_ok: alt.Chart(rows.filter((pl.col("num_diverged") == 0) == is_ok)) for is_ok in (True, False)}
    points = base[True].mark_point(filled=True, size=55, opacity=0.8, color=PALETTE[0])
    crosses = base[False].mark_point(shape=CROSS, size=80, strokeWidth=2, opacity=1, color=PALETTE[1])
    least = alt.Chart(rows).mark_line(interpolate="step-after", color=GREY, strokeWidth=1.5).encode(x=x, y="least:Q")
    marks = [mark.encode(x=x, y=y, tooltip=tooltip) for mark in (points, crosses)]
    return styled(alt.layer(*_rounds(asked, _SETTINGS), least, *marks, width=560, height=240), title, subtitle)


def _number_x(asked: pl.DataFrame, name: str, title: str) -> alt.X:
    """The axis of numbers in the order of asking, half of one wider on either side, for the column `name`."""
    scale = alt.Scale(domain=[0.5, asked.height + 0.5], nice=False)
    axis = alt.Axis(format="d", tickMinStep=1, grid=False)
    return alt.X(f"{name}:Q", title=title, scale=scale, axis=axis)


def _rounds(asked: pl.DataFrame, title: str) -> list[alt.Chart]:
    """Shades of every other round, and the numbers of all at the top."""
    rounds = asked.group_by("round").agg(start=pl.col("trial").min() - 0.5, end=pl.col("trial").max() + 0.5)
    rounds = rounds.sort("round").with_columns(middle=(pl.col("start") + pl.col("end")) / 2)
    shaded = alt.Chart(rounds.filter(pl.col("round") % 2 == 0))
    shades = shaded.mark_rect(color=QUIET, opacity=_SHADE).encode(x=_number_x(asked, "start", title), x2="end:Q")
    words = pl.when(pl.col("round") == 1).then(pl.lit("round 1")).otherwise(pl.col("round").cast(pl.String))
    numbers = alt.Chart(rounds.with_columns(words=words)).mark_text(color=GREY, baseline="top")
    return [shades, numbers.encode(x=_number_x(asked, "middle", title), y=alt.value(4), text="words:N")]


def _band(interval: tuple[float, float] | None, limits: list[float]) -> list[alt.Chart]:
    """The interval as far as the axes go."""
    if interval is None:
        return []
    low, high = max(interval[0], limits[0]), min(interval[1], limits[1])
    data = alt.Chart(pl.DataFrame({"low": [low], "high": [high]}))
    return [data.mark_rect(color=PALETTE[0], opacity=_INTERVAL).encode(y="low:Q", y2="high:Q")]


def _trials(asked: pl.DataFrame, value: alt.Y) -> list[alt.Chart]:
    trial = _number_x(asked, "trial", _TRIALS)
    tooltip = [
        *("trial:Q", "round:Q", "seed:Q", "state:N"),
        alt.Tooltip("value:Q", format=".3g"),
        alt.Tooltip("loss:Q", format=".4g"),
    ]
    base = {state: alt.Chart(asked.filter(state=state)).encode(x=trial, y=value, tooltip=tooltip) for state in STATES}
    scale = alt.Scale(scheme=depth_scheme())
    legend = alt.Legend(title=["final loss", "(clipped", "at init)"], format="~g", tickCount=5, gradientLength=120)
    points = base[COMPLETED].mark_point(filled=True, size=75, opacity=1, stroke=GREY, strokeWidth=0.8)
    crosses = base[DIVERGED].mark_point(shape=CROSS, size=110, strokeWidth=2, opacity=1, color=PALETTE[1])
    rings = base[NO_RESULT].mark_point(filled=False, size=75, strokeWidth=1.5, opacity=1, color=GREY)
    ends = base[PRUNED].mark_point(shape="triangle-down", size=75, strokeWidth=1.5, opacity=1, color=GREY)
    return [points.encode(color=alt.Color("loss:Q", scale=scale, legend=legend)), crosses, rings, ends]
