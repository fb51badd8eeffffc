"""Loss against learning rate, and how charts are saved. Draws a frame of `aggregate` and computes nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import polars as pl

from analysis.figures.frames.aggregate import LOSS_COLUMNS
from analysis.figures.style.chart_style import (
    CROSS,
    NARROW_LETTERS,
    Chart,
    check_rows,
    labelled_rule,
    lr_axis,
    method_colour,
    method_dash,
    method_legend,
    method_shape,
    styled,
)
from analysis.figures.style.fonts import in_font, with_font
from analysis.figures.style.same_bytes import pdf_of, svg_of
from analysis.losses import SCORED_LOSSES
from bench.errors import UsageError
from bench.files import write_file
from bench.lazy import altair as alt
from bench.lazy import vl_convert

_LABEL_ROOM = 0.08  # of the loss at init, above it
PNG_SCALE = 2  # pixels of a PNG for one of the SVG

# Suffix: what is made of the SVG.
DRAWN_FORMATS: dict[str, Callable[[str], bytes]] = {
    "svg": str.encode,
    "png": lambda svg: vl_convert.svg_to_png(svg, scale=PNG_SCALE),
    "pdf": pdf_of,
}
FIGURE_FORMATS = (*DRAWN_FORMATS, "html")  # of a report: HTML is one interactive page of all charts


def loss_against_lr(summary: pl.DataFrame, *, title: str, subtitle: str = "", loss: str = "train") -> Chart:
    """Final loss against learning rate, one line a method; bars span the seeds, crosses mark divergence and blow-up.

    `summary` has the columns of `loss_summary` for one workload, optimizer and knobs; `loss` is which of SCORED_LOSSES
    it was made of. The dashed rule is the loss at init. Source: Hong & Lee 2025, Figs. 2 and 6.
    """
    check_rows(summary, ("method", "lr", *LOSS_COLUMNS), "the loss summary")
    methods = summary["method"].unique().sort().to_list()
    lr_scale = alt.Scale(type="log", nice=False, padding=10)
    lr = alt.X("lr:Q", scale=lr_scale, title="learning rate (log scale)", axis=lr_axis())
    loss_title = f"final {SCORED_LOSSES[loss].title}, clipped at the loss at init"
    height = alt.Y("loss_mean:Q", title=loss_title, scale=alt.Scale(zero=True, domainMax=_top(summary)))
    legend = method_legend(symbolSize=90, symbolStrokeWidth=0)
    base = alt.Chart(summary).encode(x=lr, color=method_colour(methods, legend))
    bars = base.mark_rule(strokeWidth=1.2, opacity=0.55).encode(y=alt.Y("loss_low:Q"), y2=alt.Y2("loss_high:Q"))
    lines = base.mark_line(strokeWidth=2).encode(y=height, strokeDash=method_dash(methods, None))
    points = base.mark_point(filled=True, size=45, opacity=1).encode(
        y=height,
        shape=method_shape(methods, legend),
        tooltip=[
            alt.Tooltip("method:N"),
            alt.Tooltip("lr:Q"),
            alt.Tooltip("loss_mean:Q", format=".4g"),
            alt.Tooltip("num_diverged:Q"),
            alt.Tooltip("num_blown_up:Q"),
            alt.Tooltip("num_seeds:Q"),
        ],
    )
    crosses = base.transform_filter("datum.num_diverged + datum.num_blown_up > 0").mark_point(
        shape=CROSS, size=160, strokeWidth=1.6, opacity=1
    )
    layers = [bars, lines, points, crosses.encode(y=height), *_initial_loss(summary)]
    return styled(alt.layer(*layers, width=520, height=300), title, subtitle, letters=NARROW_LETTERS)


def save_spec(
    spec: dict[str, Any], folder: Path, name: str, formats: Collection[str], *, font: str | None = None
) -> list[Path]:
    """Writes a chart's specification (`Chart.to_dict`) as `name`.svg, and in these of DRAWN_FORMATS; the paths.

    PNG and PDF are made of the SVG, so that the chart is laid out once, and looked through by Altair once. font: one of
    FONTS, embedded; with None a sans serif of whoever looks at the SVG.
    """
    unknown = [form for form in formats if form not in DRAWN_FORMATS]
    if unknown:
        raise UsageError(f"can't save a figure as {unknown[0]!r}; formats are {', '.join(DRAWN_FORMATS)}")
    svg = svg_of(in_font(spec, font))
    paths = []
    for form, draw in DRAWN_FORMATS.items():
        if form == "svg" or form in formats:
            drawn = with_font(svg, font).encode() if font and form == "svg" else draw(svg)
            paths.append(write_file(folder / f"{name}.{form}", drawn))
    return paths


def _top(summary: pl.DataFrame) -> float:
    """Where the axis ends: above the loss at init it has room for the label, which panels that zoom would cut."""
    losses = summary["initial_loss"].to_numpy()
    return max(float(losses.mean() + _LABEL_ROOM * abs(losses.mean())), *summary["loss_high"], *losses)


def _initial_loss(summary: pl.DataFrame) -> list[alt.Chart]:
    losses = summary["initial_loss"].to_numpy()
    alike = losses.max() - losses.min() <= 0.02 * abs(losses.mean())
    label = "loss at init" if alike else "loss at init, mean over methods"
    return labelled_rule(float(losses.mean()), label, align="right")
