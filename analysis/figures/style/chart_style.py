"""How all figures look: colours, dashes, axes, legends, labelled rules. Says nothing about what is drawn."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, Literal, TypeAlias

import polars as pl

from analysis.curves import require_columns
from analysis.figures.style.method_looks import looks
from bench.errors import UsageError
from bench.lazy import altair as alt

# Okabe & Ito 2008, safe for the common kinds of colour blindness; their yellow, too faint on white, is left out.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
CROSS = "M-.6,-.6L.6,.6M.6,-.6L-.6,.6"
GREY = "#555555"
QUIET = "#dfe3e8"  # of a cell that nothing happened in
RIM = "#fffffe"  # around letters, as lines pass behind them; no other white, as the dark has it dark

Chart: TypeAlias = "alt.LayerChart | alt.VConcatChart | alt.ConcatChart | alt.FacetChart"

_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-right", "triangle-left")
DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2], [12, 3])
# Labels at whole decades only: 1e-5 ... 0.001 ... 10.
_DECADES = (
    "abs(log(datum.value) / LN10 - round(log(datum.value) / LN10)) > 1e-6 ? '' : "
    "datum.value < 0.001 ? format(datum.value, '.0e') : format(datum.value, '~r')"
)
_FONT = "Helvetica, Arial, Liberation Sans, sans-serif"
LINE_LETTERS = 160  # of a figure's subtitle
NARROW_LETTERS = 100  # of a single panel's
_MAX_ROWS = 5000


def method_colour(methods: list[str], legend: alt.Legend | None) -> alt.Color:
    """The colour of each method's look."""
    colours = [PALETTE[look.colour] for look in looks(methods)]
    return alt.Color("method:N", scale=alt.Scale(domain=methods, range=colours), legend=legend)


def method_shape(methods: list[str], legend: alt.Legend) -> alt.Shape:
    """The shape of each method's look; of one colour no two are alike."""
    shapes = [_SHAPES[(look.colour + look.style) % len(_SHAPES)] for look in looks(methods)]
    return alt.Shape("method:N", scale=alt.Scale(domain=methods, range=shapes), legend=legend)


def method_dash(methods: list[str], legend: alt.Legend | None) -> alt.StrokeDash:
    """The dash of each method's look; of one colour no two are alike."""
    dashes = [DASHES[look.style] for look in looks(methods)]
    return alt.StrokeDash("method:N", scale=alt.Scale(domain=methods, range=dashes), legend=legend)


def method_legend(**symbols: Any) -> alt.Legend:
    return alt.Legend(title=None, orient="bottom", columns=3, labelLimit=260, symbolOpacity=1, **symbols)


def lr_axis() -> alt.Axis:
    return alt.Axis(labelExpr=_DECADES, labelOverlap=True, grid=False)


def log_axis(low: float, high: float) -> alt.Axis:
    """The axis of a log scale between these: labels at powers of ten, and at 1-2-5 between them where there is room."""
    decades = math.log10(high / low)
    digits = (1,) if decades > 3 else (1, 2, 5) if decades > 1 else (1, 1.5, 2, 3, 4, 5, 7)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    values = [value for power in powers for digit in digits if low <= (value := digit * 10.0**power) <= high]
    return alt.Axis(values=values if len(values) > 1 else alt.Undefined, format="~g")


def step_x(num_steps: int, *, is_log: bool) -> alt.X:
    """The axis of figures against step, of updates done: linear from 0, or on a log scale from 1 for `step` + 1."""
    axis = alt.Axis(format="~s", labelOverlap=True, grid=False, tickCount=5)
    if not is_log:
        axis.labelExpr = "datum.value == 0 ? '0' : datum.label"  # else 0k
        return alt.X("step:Q", scale=alt.Scale(domain=[0, num_steps], nice=False), title="step", axis=axis)
    scale = alt.Scale(type="log", domain=[1, num_steps + 1], nice=False)
    return alt.X("from_one:Q", scale=scale, title="step, counted from 1 (log scale)", axis=axis)


def depth_scheme() -> alt.SchemeParams:
    """Colours of layers, steps and losses: viridis without its light end, which would be too faint on white."""
    return alt.SchemeParams("viridis", extent=[0, 0.88])


def layer_colour(last_layer: int, *, gradient: int, names: Sequence[str] = ()) -> alt.Color:
    """The colour of layers 0 to the last, dark next to the input; `gradient` is the legend's length in pixels.

    names: of all layers, where a model has several stacks of them: the first of each is labelled so.
    """
    labelled = sorted({0, last_layer // 2, last_layer})
    legend = alt.Legend(title=["layer, 0 next", "to the input"], format="d", values=labelled, gradientLength=gradient)
    if names:
        stacks = [name.rpartition(".")[0] for name in names]
        labelled = sorted({*(stacks.index(stack) for stack in stacks), len(names) - 1})
        expression = " : ".join(f"datum.value == {index} ? '{names[index]}'" for index in labelled) + " : ''"
        legend = alt.Legend(title="layer", labelExpr=expression, values=labelled, gradientLength=gradient)
    scale = alt.Scale(scheme=depth_scheme(), domain=[0, max(last_layer, 1)])
    return alt.Color("layer:Q", scale=scale, legend=legend if last_layer else None)


def panel_title(title: str, subtitle: str = "") -> alt.TitleParams:
    more: dict[str, Any] = {"subtitle": subtitle, "subtitleFontSize": 11} if subtitle else {}
    return alt.TitleParams(title, anchor="start", fontSize=13, **more)


def labelled_rule(
    height: float, label: str, *, align: Literal["left", "right"] = "left", below: bool = False
) -> list[alt.Chart]:
    """A dashed horizontal line with its label just above or below, which has a rim of the background's colour."""
    # Channels as objects, here and wherever many are made: of a string Altair finds the class in 5 ms.
    data = alt.Chart(pl.DataFrame({"height": [height], "label": [label]}))
    rule = data.mark_rule(strokeDash=[5, 4], color=GREY, strokeWidth=1.2).encode(y=alt.Y("height:Q"))
    place = alt.XValue("width" if align == "right" else 4)
    baseline, dy = ("top", 4) if below else ("bottom", -3)
    dx = -4 if align == "right" else 0
    text = data.encode(x=place, y=alt.Y("height:Q"), text=alt.Text("label:N"))
    looks_of = [{"color": RIM, "stroke": RIM, "strokeWidth": 3}, {"color": GREY}] if label else []
    return [rule, *(text.mark_text(align=align, baseline=baseline, dy=dy, dx=dx, **look) for look in looks_of)]


def labelled_edge(low: float, label: str) -> list[alt.Chart]:
    """A dashed vertical line at a value of the column `low` with its label to the left of its upper end."""
    data = alt.Chart(pl.DataFrame({"low": [low], "label": [label]}))
    rule = data.mark_rule(strokeDash=[5, 4], color=GREY).encode(x="low:Q")
    text = data.mark_text(align="right", dx=-4, baseline="top", color=GREY)
    return [rule, text.encode(x="low:Q", y=alt.value(3), text="label:N")]


def check_rows(rows: pl.DataFrame, columns: tuple[str, ...], what: str) -> None:
    """Raises UsageError where `what` is to be drawn lacks one of the columns, or has more rows than Altair takes."""
    require_columns(rows, columns, what)
    check_size(rows)


def check_size(rows: pl.DataFrame) -> None:
    """Raises UsageError for more rows than Altair takes."""
    if rows.height > _MAX_ROWS:
        raise UsageError(f"a figure draws at most {_MAX_ROWS} rows, got {rows.height}; draw fewer methods at a time")


def subtitle_lines(text: str, letters: int = LINE_LETTERS) -> list[str]:
    """A line of a subtitle as lines of at most so many letters, between words: a longer one would widen the figure.

    A line that goes on in the next one ends with a space, by which `whole_lines` knows it.
    """
    if len(text) <= letters:
        return [text] if text else []
    *going_on, last = textwrap.wrap(text, letters, break_long_words=False, break_on_hyphens=False)
    return [*(f"{line} " for line in going_on), last]


def whole_lines(subtitle: Iterable[str]) -> list[str]:
    """The lines of a subtitle as they were before `subtitle_lines` broke them."""
    return "\n".join(subtitle).replace(" \n", " ").split("\n")


def styled(chart: Any, title: str, subtitle: str, *, letters: int = LINE_LETTERS) -> Any:
    """The chart itself, in our style, below its title and the lines of its subtitle, which breaks where it is long.

    Each of Altair's configure_... would copy all of it, panels and layers, anew.
    """
    lines = [line for long in subtitle.split("\n") for line in subtitle_lines(long, letters)]
    chart.title = alt.TitleParams(title, subtitle=lines, anchor="start", fontSize=15, subtitleFontSize=11.5, offset=12)
    chart.config = alt.Config(
        font=_FONT,
        background="white",
        axis=alt.AxisConfig(labelFontSize=11, titleFontSize=12, titleFontWeight="normal", gridColor="#e5e5e5"),
        legend=alt.LegendConfig(labelFontSize=11.5),
        view=alt.ViewConfig(stroke="#cccccc"),
        text=alt.MarkConfig(fontSize=11),
        title=alt.TitleConfig(subtitleColor=GREY),
    )
    return chart
