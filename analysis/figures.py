"""Altair figures: each draws a frame of analysis/aggregate.py and computes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import altair as alt
import polars as pl

from analysis.aggregate import TRACE_PANELS, plot_limits
from analysis.curves import require_columns
from bench.errors import UsageError
from bench.trace import QUANTITIES

# Okabe & Ito 2008, safe for the common kinds of colour blindness; their yellow, too faint on white, is left out.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_SHAPES = ("circle", "square", "triangle-up", "diamond", "triangle-down", "triangle-right", "triangle-left")
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])
# Labels at whole decades only: 1e-5 ... 0.001 ... 10.
_DECADES = (
    "abs(log(datum.value) / LN10 - round(log(datum.value) / LN10)) > 1e-6 ? '' : "
    "datum.value < 0.001 ? format(datum.value, '.0e') : format(datum.value, '~r')"
)
_FONT = "Helvetica, Arial, Liberation Sans, sans-serif"
_GREY = "#555555"


class _ScriptSafe(json.JSONEncoder):
    """JSON that may stand inside <script>: Altair writes names such as `</script>` as they are."""

    def encode(self, o: Any) -> str:
        return super().encode(o).replace("<", "\\u003c")


# Suffix: how Altair is told to save it.
FIGURE_FORMATS: dict[str, dict[str, Any]] = {
    "svg": {},
    "png": {"scale_factor": 2},
    "pdf": {},
    "html": {"inline": True, "json_kwds": {"cls": _ScriptSafe}},
}
_MAX_ROWS = 5000

Chart = alt.LayerChart | alt.VConcatChart


def loss_against_lr(summary: pl.DataFrame, *, title: str, subtitle: str = "") -> Chart:
    """Final loss against learning rate, one line a method; bars span the seeds, crosses mark divergence.

    `summary` has the columns of `loss_summary` for one workload, optimizer and knobs. The dashed rule is the loss at
    init. Source: Hong & Lee 2025, Figs. 2 and 6.
    """
    columns = ("method", "lr", "loss_mean", "loss_low", "loss_high", "initial_loss", "num_diverged", "num_seeds")
    require_columns(summary, columns, "the loss summary")
    _check_size(summary)
    methods = summary["method"].unique().sort().to_list()
    lr_scale = alt.Scale(type="log", nice=False, padding=10)
    lr = alt.X("lr:Q", scale=lr_scale, title="learning rate (log scale)", axis=_lr_axis())
    loss_scale = alt.Scale(zero=True)
    loss = alt.Y("loss_mean:Q", title="final loss, clipped at the loss at init", scale=loss_scale)
    legend = _legend(symbolSize=90, symbolStrokeWidth=0)
    base = alt.Chart(summary).encode(x=lr, color=_colour(methods, legend))
    bars = base.mark_rule(strokeWidth=1.2, opacity=0.55).encode(y=alt.Y("loss_low:Q"), y2="loss_high:Q")
    lines = base.mark_line(strokeWidth=2).encode(y=loss, strokeDash=_dash(methods, None))
    points = base.mark_point(filled=True, size=45, opacity=1).encode(
        y=loss,
        shape=_shape(methods, legend),
        tooltip=["method:N", "lr:Q", alt.Tooltip("loss_mean:Q", format=".4g"), "num_diverged:Q", "num_seeds:Q"],
    )
    crosses = base.transform_filter("datum.num_diverged > 0").mark_point(
        shape=_CROSS, size=160, strokeWidth=1.6, opacity=1
    )
    layers = [bars, lines, points, crosses.encode(y=loss), *_initial_loss(summary)]
    return _styled(alt.layer(*layers).properties(width=520, height=300, title=_title(title, subtitle)))


def training_behaviour(summary: pl.DataFrame, *, num_keys: int, title: str, subtitle: str = "") -> Chart:
    """Loss, gradient norm, attention entropy and ||P||_F against step: four panels, a line for each method and outcome.

    `summary` has the columns of `trace_summary`. A line that ends in a cross is of seeds that diverged. Band: standard
    deviation over layers. Labelled dashed rules: log N for the entropy, 1 and sqrt N for ||P||_F, N being `num_keys`.
    Source: Hong & Lee 2025, Figs. 1 (bottom) and 5; bounds of Prop. 5.3.
    """
    columns = ("panel", "method", "outcome", "step", "value", "low", "high", "is_end")
    require_columns(summary, columns, "the trace summary")
    methods = summary["method"].unique().sort().to_list()
    parts = {panel: summary.filter(pl.col("panel") == panel) for panel in TRACE_PANELS}
    panels = [_trace_panel(rows, panel, methods, num_keys) for panel, rows in parts.items()]
    chart = alt.vconcat(alt.hconcat(*panels[:2], spacing=30), alt.hconcat(*panels[2:], spacing=30), spacing=25)
    return _styled(chart.properties(title=_title(title, subtitle)))


def save(chart: Any, path: Path) -> Path:
    """Writes the chart as its suffix says (FIGURE_FORMATS); HTML works offline. Returns the path."""
    form = path.suffix.removeprefix(".")
    if form not in FIGURE_FORMATS:
        raise UsageError(f"can't save a figure as {path.name!r}; formats are {', '.join(FIGURE_FORMATS)}")
    chart.save(str(path), format=form, **FIGURE_FORMATS[form])
    return path


def _trace_panel(rows: pl.DataFrame, panel: str, methods: list[str], num_keys: int) -> Any:
    _check_size(rows)
    low, high = _limits(rows, panel, num_keys)
    is_log = panel in ("loss", "grad_norm")
    scale = alt.Scale(type="log" if is_log else "linear", domain=[low, high], nice=False)
    rows = rows.with_columns(step=pl.col("step") + 1)
    step = alt.X("step:Q", scale=alt.Scale(type="log", nice=False), title=_STEP_TITLE, axis=_step_axis())
    value = alt.Y("value:Q", title=_AXIS_TITLES[panel], scale=scale)
    legend = _legend(symbolType="stroke", symbolSize=400, symbolStrokeWidth=2.5)
    base = alt.Chart(rows).encode(x=step, color=_colour(methods, legend), detail="outcome:N")
    layers: list[Any] = []
    if rows["low"].is_not_null().any():
        layers.append(base.mark_area(opacity=0.13, clip=True).encode(y=alt.Y("low:Q", scale=scale), y2="high:Q"))
    layers.append(base.mark_line(strokeWidth=1.8, clip=True).encode(y=value, strokeDash=_dash(methods, legend)))
    ends = alt.Chart(rows.filter("is_end").with_columns(pl.col("value").clip(low, high))).encode(x=step, y=value)
    layers.append(
        ends.mark_point(shape=_CROSS, size=130, strokeWidth=1.8, opacity=1).encode(color=_colour(methods, legend))
    )
    for label, height, below in _bounds(panel, num_keys):
        layers += _labelled_rule(height, label, below=below)
    heading = alt.TitleParams(_PANEL_TITLES[panel], anchor="start", fontSize=13)
    return alt.layer(*layers).properties(width=330, height=200, title=heading)


_CROSS = "M-.6,-.6L.6,.6M.6,-.6L-.6,.6"
_STEP_TITLE = "step, counted from 1 (log scale)"

_PANEL_TITLES: dict[str, str] = {
    "loss": QUANTITIES["loss"].title,
    "grad_norm": QUANTITIES["grad_norm"].title,
    "entropy": QUANTITIES["entropy"].title,
    "frobenius_norm": "Frobenius norm of attention, ||P||",
}

_AXIS_TITLES: dict[str, str] = {
    "loss": "loss (log scale)",
    "grad_norm": "gradient 2-norm (log scale)",
    "entropy": "entropy, mean over layers (nats)",
    "frobenius_norm": "||P||, mean over layers",
}


def _bounds(panel: str, num_keys: int) -> list[tuple[str, float, bool]]:
    """A panel's theoretical bounds: label, height, and whether the label goes below the rule."""
    entropy, norm = QUANTITIES["entropy"], QUANTITIES["frobenius_norm"]
    bounds: dict[str, list[tuple[str, float, bool]]] = {
        "loss": [],
        "grad_norm": [],
        "entropy": [(f"log N (N = {num_keys}): rows uniform", entropy.high(num_keys), False)],
        "frobenius_norm": [
            (f"√N (N = {num_keys}): rows one-hot", norm.high(num_keys), False),
            ("1: rows uniform", norm.low, True),
        ],
    }
    return bounds[panel]


def _limits(rows: pl.DataFrame, panel: str, num_keys: int) -> tuple[float, float]:
    """Limits of a panel's value axis: the theoretical range, or the data's up to 30 times what was measured first."""
    if panel in ("entropy", "frobenius_norm"):
        low, high = QUANTITIES[panel].low, QUANTITIES[panel].high(num_keys)
        margin = 0.13 * (high - low)
        return (low if panel == "entropy" else low - margin, high + margin)
    first = rows.filter(pl.col("step") == pl.col("step").min())["value"].to_list()
    return plot_limits(rows["value"], cap=30 * max(first) if first else None)


def _initial_loss(summary: pl.DataFrame) -> list[alt.Chart]:
    losses = summary["initial_loss"].to_numpy()
    alike = losses.max() - losses.min() <= 0.02 * abs(losses.mean())
    label = "loss at init" if alike else "loss at init, mean over methods"
    return _labelled_rule(float(losses.mean()), label, align="right")


def _labelled_rule(
    height: float, label: str, *, align: Literal["left", "right"] = "left", below: bool = False
) -> list[alt.Chart]:
    """A dashed horizontal line with its label just above or below."""
    data = alt.Chart(pl.DataFrame({"height": [height], "label": [label]}))
    rule = data.mark_rule(strokeDash=[5, 4], color=_GREY, strokeWidth=1.2).encode(y="height:Q")
    place = alt.value("width") if align == "right" else alt.value(4)
    baseline, dy = ("top", 4) if below else ("bottom", -3)
    dx = -4 if align == "right" else 0
    text = data.mark_text(align=align, baseline=baseline, dy=dy, dx=dx, color=_GREY)
    return [rule, text.encode(x=place, y="height:Q", text="label:N")]


def _colour(methods: list[str], legend: alt.Legend) -> alt.Color:
    colours = [PALETTE[place % len(PALETTE)] for place in range(len(methods))]
    return alt.Color("method:N", scale=alt.Scale(domain=methods, range=colours), legend=legend)


def _shape(methods: list[str], legend: alt.Legend) -> alt.Shape:
    """Shapes shift by one whenever colours start over, so the pair tells methods apart."""
    shapes = [_SHAPES[(place + place // len(PALETTE)) % len(_SHAPES)] for place in range(len(methods))]
    return alt.Shape("method:N", scale=alt.Scale(domain=methods, range=shapes), legend=legend)


def _dash(methods: list[str], legend: alt.Legend | None) -> alt.StrokeDash:
    """Solid for the first seven methods; then colours start over and dashes tell them apart."""
    dashes = [_DASHES[place // len(PALETTE) % len(_DASHES)] for place in range(len(methods))]
    return alt.StrokeDash("method:N", scale=alt.Scale(domain=methods, range=dashes), legend=legend)


def _legend(**symbols: Any) -> alt.Legend:
    return alt.Legend(title=None, orient="bottom", columns=3, labelLimit=260, symbolOpacity=1, **symbols)


def _lr_axis() -> alt.Axis:
    return alt.Axis(labelExpr=_DECADES, labelOverlap=True, grid=False)


def _step_axis() -> alt.Axis:
    return alt.Axis(format="~s", labelOverlap=True, grid=False, tickCount=5)


def _title(title: str, subtitle: str) -> alt.TitleParams:
    lines = [line for line in subtitle.split("\n") if line]
    return alt.TitleParams(title, subtitle=lines, anchor="start", fontSize=15, subtitleFontSize=11.5, offset=12)


def _check_size(rows: pl.DataFrame) -> None:
    if rows.height > _MAX_ROWS:
        raise UsageError(f"a figure draws at most {_MAX_ROWS} rows, got {rows.height}; draw fewer methods at a time")


def _styled(chart: Any) -> Any:
    return (
        chart.configure(font=_FONT, background="white")
        .configure_axis(labelFontSize=11, titleFontSize=12, titleFontWeight="normal", gridColor="#e5e5e5")
        .configure_legend(labelFontSize=11.5)
        .configure_view(stroke="#cccccc")
        .configure_text(fontSize=11)
        .configure_title(subtitleColor=_GREY)
    )
