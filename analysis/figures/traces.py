"""Figures against step: training behaviour, entropy by layer. Draws frames of analysis/figures/frames/aggregate.py."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import polars as pl

from analysis.curves import require_columns
from analysis.figures.frames.aggregate import (
    DIVERGED_COLUMNS,
    UNIFORM_ENTROPY,
    Panel,
    collapses,
    most_entropy,
    plot_limits,
    trace_panels,
)
from analysis.figures.style.chart_style import (
    CROSS,
    Chart,
    check_size,
    labelled_rule,
    layer_colour,
    log_axis,
    method_colour,
    method_dash,
    method_legend,
    panel_title,
    step_x,
    styled,
)
from analysis.figures.style.diverged_words import diverged_words
from bench.held_out import HELD_OUT
from bench.lazy import altair as alt

_MARGIN = 0.13  # of a linear axis, for a bound's label
_MASS_TOLERANCE = 0.01  # rows in half precision sum to 1 within it
_ROUNDING = 1e-5  # nats, of single precision
_ALIKE = 0.05  # share of the entropy of uniform rows within which two are one rule, as their labels would overlap
_WIDTH, _HEIGHT = 330, 200  # pixels of a panel of training_behaviour


def training_behaviour(summary: pl.DataFrame, *, num_keys: int, title: str, subtitle: str = "") -> Chart:
    """Loss, gradient norm, attention entropy and ||P||_F against step, a line for each method and outcome.

    `summary` has the columns of `trace_summary`. Where it has held-out quantities, two panels more: training and
    held-out loss, and accuracy; where rows of P do not sum to 1, one of their sums; one of every quantity that a suite
    added, under its name. A line that ends in a cross is of seeds that diverged; pointed at, it says at which steps.
    Band: standard deviation over layers. Labelled dashed rules, N being `num_keys`: the entropy of rows that are
    uniform over the keys that they see, log N where all see N or traces do not say; 1 and sqrt N for ||P||_F, which
    hold for rows that sum to 1 and are drawn for these only (under a causal mask they bound all the same, but no matrix
    reaches 1). A triangle on a line of the entropy is where it collapses (`aggregate.collapses`).
    Source: Hong & Lee 2025, Figs. 1 (bottom) and 5; bounds of Prop. 5.3.
    """
    columns = ("panel", "method", "outcome", "step", "value", "low", "high", "is_end", UNIFORM_ENTROPY)
    require_columns(summary, (*columns, *DIVERGED_COLUMNS), "the trace summary")
    summary = summary.with_columns(from_one=pl.col("step") + 1)
    methods = summary["method"].unique().sort().to_list()
    entropy = summary.filter(panel="entropy")
    bounds = _bounds(num_keys, uniform_rules(entropy, num_keys), rows_sum_to_one=_rows_sum_to_one(summary))
    marked = {"entropy": collapses(entropy, ["method", "outcome"], num_keys)}
    panels = [
        _trace_panel(summary, name, panel, methods, bounds.get(name, []), marked.get(name, entropy.clear()))
        for name, panel in _shown_panels(summary).items()
    ]
    return styled(alt.concat(*panels, columns=2, spacing={"column": 30, "row": 25}), title, subtitle)


def entropy_by_layer(
    summary: pl.DataFrame, *, num_keys: int, title: str, subtitle: str = "", names: Sequence[str] = ()
) -> Chart:
    """Attention entropy of every layer against step, a panel a method, colour by depth: which layers collapse.

    `summary` has the columns of `layer_summary`. Dashed lines that end in a cross are of seeds that diverged; when, is
    said over the panel. The labelled rule is the entropy of uniform rows as in `training_behaviour`; a triangle is
    where a layer collapses (`aggregate.collapses`). names: of layers, where a model has several stacks of them.
    """
    columns = ("method", "outcome", "layer", "step", "value", "is_end", UNIFORM_ENTROPY, *DIVERGED_COLUMNS)
    require_columns(summary, columns, "the layer summary")
    summary = summary.with_columns(from_one=pl.col("step") + 1)
    colour = layer_colour(max(0, *summary["layer"]), gradient=150, names=names)
    step = step_x(_num_steps(summary), is_log=True)
    words = diverged_words(summary)
    panels = [
        _layer_panel(rows, num_keys, step, colour, words)
        for rows in summary.partition_by("method", maintain_order=True)
    ]
    return styled(alt.concat(*panels, columns=3, spacing=25), title, subtitle)


def _shown_panels(summary: pl.DataFrame) -> dict[str, Panel]:
    """Losses and gradient norms, and what else was measured: a suite chooses its probes."""
    panels = {"loss", "grad_norm", *summary["panel"]}
    if _rows_sum_to_one(summary):
        panels.discard("row_mass")
    return {name: panel for name, panel in trace_panels(summary["panel"].unique()).items() if name in panels}


def _rows_sum_to_one(summary: pl.DataFrame) -> bool:
    """Whether the rows of every method's P do, as they do where no row mass was measured."""
    mass = summary.filter(pl.col("panel") == "row_mass")["value"]
    return not ((mass - 1).abs() > _MASS_TOLERANCE).any()


def _bounds(
    num_keys: int, of_entropy: list[tuple[str, float]], *, rows_sum_to_one: bool
) -> dict[str, list[tuple[str, float, bool]]]:
    """Theoretical bounds of panels that have any: label, height, and whether the label goes below the rule."""
    norm = [
        (f"√N (N = {num_keys}): rows one-hot", math.sqrt(num_keys), False),
        ("1: rows uniform over N keys", 1.0, True),
    ]
    return {
        "entropy": [(*rule, False) for rule in of_entropy],
        "frobenius_norm": norm if rows_sum_to_one else [],
        "row_mass": [("1: rows sum to 1", 1.0, False)],
    }


def uniform_rules(rows: pl.DataFrame, num_keys: int) -> list[tuple[str, float]]:
    """Label and height of a rule for each different entropy of uniform rows in a summary, the highest first.

    One rule for those within _ALIKE of each other, as means over steps with examples of unequal lengths are.
    """
    most = rows.select("method", most=most_entropy(rows, num_keys).round(6)).unique().sort("method")
    rules, last = [], math.inf
    for height in most["most"].unique().sort(descending=True).to_list():
        if height > (1 - _ALIKE) * last:
            continue
        last = height
        is_alike = pl.col("most").is_between((1 - _ALIKE) * height, height)
        methods = most.filter(is_alike)["method"].unique().sort().to_list()
        whose = methods[0] if len(methods) == 1 else f"{len(methods)} methods"
        whose = "" if len(methods) == most["method"].n_unique() else f", {whose}"
        if abs(height - math.log(num_keys)) < _ROUNDING:
            rules.append((f"log N (N = {num_keys}): rows uniform over N keys{whose}", math.log(num_keys)))
        else:
            words = "uniform over keys seen" if whose else "rows uniform over the keys they see"
            rules.append((f"{height:.2f}: {words}{whose}", height))
    return rules


def _trace_panel(
    summary: pl.DataFrame,
    name: str,
    panel: Panel,
    methods: list[str],
    bounds: list[tuple[str, float, bool]],
    collapsed: pl.DataFrame,
) -> Any:
    rows = summary.filter(pl.col("panel") == name)
    is_held_out = name in HELD_OUT  # measured at equal distances in step, and so drawn
    beside = summary.filter(pl.col("panel") == "loss") if name == "val_loss" else rows.clear()
    check_size(rows)
    low, high = _limits(pl.concat([rows, beside]), name, [height for _, height, _ in bounds], is_log=panel.is_log)
    scale = alt.Scale(type="log" if panel.is_log else "linear", domain=[low, high], nice=False)
    step = step_x(_num_steps(summary), is_log=not is_held_out)
    axis = log_axis(low, high) if panel.is_log else alt.Undefined
    value = alt.Y("value:Q", title=panel.axis, scale=scale, axis=axis)
    legend = method_legend(symbolType="stroke", symbolSize=400, symbolStrokeWidth=2.5)
    colour, dash = method_colour(methods, legend), method_dash(methods, legend)
    base = alt.Chart(rows).encode(x=step, y=value, color=colour, detail=alt.Detail("outcome:N"))
    layers: list[Any] = []
    if rows["low"].is_not_null().any():
        layers.append(
            base.mark_area(opacity=0.13, clip=True).encode(y=alt.Y("low:Q", scale=scale), y2=alt.Y2("high:Q"))
        )
    if beside.height:
        thin = alt.Chart(beside).mark_line(strokeWidth=0.9, opacity=0.6, clip=True)
        layers.append(thin.encode(x=step, y=value, color=colour, detail=alt.Detail("outcome:N"), strokeDash=dash))
    layers.append(base.mark_line(strokeWidth=1.8, clip=True).encode(strokeDash=dash))
    if is_held_out:
        layers.append(base.mark_point(filled=True, size=22, opacity=1, clip=True))
    ended = beside if beside.height else rows
    layers.append(_crosses(ended, step, value, (low, high)).encode(color=colour))
    if collapsed.height:
        layers.append(_triangles(collapsed, step, value).encode(color=colour))
    for label, height, below in bounds:
        layers += labelled_rule(height, label, below=below)
    return alt.layer(*layers, width=_WIDTH, height=_HEIGHT, title=panel_title(panel.title))


def _layer_panel(rows: pl.DataFrame, num_keys: int, step: alt.X, colour: alt.Color, words: Mapping[str, str]) -> Any:
    check_size(rows)
    rules = uniform_rules(rows, num_keys)
    high = max(math.log(num_keys), *(height for _, height in rules)) * (1 + _MARGIN)
    value = alt.Y("value:Q", title="entropy (nats)", scale=alt.Scale(domain=[0, high], nice=False))
    outcomes = alt.Scale(domain=["completed", "diverged"], range=[[1, 0], [4, 3]])
    dash = alt.StrokeDash("outcome:N", scale=outcomes, legend=None)
    lines = alt.Chart(rows).mark_line(strokeWidth=1.8, clip=True)
    lines = lines.encode(x=step, y=value, color=colour, strokeDash=dash, detail=alt.Detail("layer:Q"))
    crosses = _crosses(rows, step, value, (0, high)).encode(color=colour)
    collapsed = collapses(rows, ["outcome", "layer"], num_keys)
    triangles = [_triangles(collapsed, step, value).encode(color=colour)] if collapsed.height else []
    rule = [layer for label, height in rules for layer in labelled_rule(height, label)]
    method = rows["method"][0]
    title = panel_title(method, words[method] if words else "")
    return alt.layer(lines, crosses, *triangles, *rule, width=240, height=150, title=title)


def _crosses(rows: pl.DataFrame, step: alt.X, value: alt.Y, limits: tuple[float, float]) -> alt.Chart:
    ends = rows.filter("is_end").with_columns(pl.col("value").clip(*limits))
    marks = alt.Chart(ends).mark_point(shape=CROSS, size=130, strokeWidth=1.8, opacity=1)
    tooltip = [alt.Tooltip("method:N"), *(alt.Tooltip(f"{name}:Q", format=",") for name in DIVERGED_COLUMNS)]
    return marks.encode(x=step, y=value, tooltip=tooltip)


def _triangles(rows: pl.DataFrame, step: alt.X, value: alt.Y) -> alt.Chart:
    """Where lines collapse: hollow, so that those of several layers at one step can be told apart."""
    marks = alt.Chart(rows).mark_point(shape="triangle-down", size=70, strokeWidth=1.6, opacity=1, filled=False)
    return marks.encode(x=step, y=value)


def _num_steps(summary: pl.DataFrame) -> int:
    """The last step drawn in any panel, where all horizontal axes end."""
    return max(1, *summary["step"])


def _limits(rows: pl.DataFrame, name: str, bounds: list[float], *, is_log: bool) -> tuple[float, float]:
    """Limits of a panel's value axis: what the bounds span, or the data's up to 30 times what was measured first."""
    if is_log:
        first = rows.filter(pl.col("step") == pl.col("step").min())["value"].to_list()
        return plot_limits(rows["value"], cap=30 * max(first) if first else None)
    largest = max([0.0, *bounds, *rows["value"]])
    lowest = min(bounds) if name == "frobenius_norm" and bounds else min([0.0, *rows["value"]])
    margin = _MARGIN * ((largest - lowest) or 1.0)
    return (lowest - margin if lowest else 0.0, largest + margin)
