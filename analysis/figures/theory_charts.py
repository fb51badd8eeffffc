"""Figures that need no training: weights and entropy as logits spread, entropy against the 2-norm of a row.

Draws frames of analysis/figures/frames/theory.py.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl

from analysis.curves import require_columns
from analysis.figures.frames.theory import CONCENTRATIONS, KINDS, entropy_range, small_variance_entropy, with_last_edge
from analysis.figures.style.chart_style import (
    GREY,
    PALETTE,
    Chart,
    check_rows,
    labelled_edge,
    labelled_rule,
    panel_title,
    styled,
)
from bench.lazy import altair as alt

# Light to dark, without the ends that white and black would hide.
_LIGHT_TO_DARK = ["#6BAED6", "#2171B5", "#54278F", "#000000"]
_DASHES = [[1, 0], [6, 3], [2, 2], [8, 2, 2, 2]]


def weights_and_entropy(histograms: pl.DataFrame, entropies: pl.DataFrame, *, num_keys: int, width: int) -> Chart:
    """Histogram of a row's weights as the standard deviation of its logits grows; below, the entropy of the row.

    `histograms` has the columns of `weight_histograms`, `entropies` of `entropy_against_std`. Drawn in: 1 / N, log N,
    and what Theorem 5.1 predicts of softmax. Source: Hong & Lee 2025, Fig. 3.
    """
    check_rows(histograms, ("kind", "logit_std", "low", "high", "share"), "the histograms")
    require_columns(entropies, ("kind", "logit_std", "entropy", "spread"), "the entropies")
    top = alt.concat(*[_histogram(histograms, kind, num_keys) for kind in KINDS], columns=2, spacing=20)
    subtitle = (
        f"Rows of N = {num_keys} keys. softmax: logits z ~ N(0, s² I). Kernels: q, k ~ N(0, s/√d I), d = {width}, so "
        f"that q·k has variance s²\nThe least weights shown hold all smaller ones"
    )
    both = alt.vconcat(top, _entropies(entropies, num_keys), spacing=25)
    both = both.resolve_scale(color="independent", strokeDash="independent")
    return styled(both, "Weights and entropy of a row of attention as its logits spread", subtitle)


def entropy_against_norm(rows: pl.DataFrame, *, num_keys: int) -> Chart:
    """Entropy of a row against its 2-norm, rows drawn from Dirichlet distributions, between what entropies can be.

    `rows` has the columns of `dirichlet_rows`. Source: Hong & Lee 2025, Fig. 10.
    """
    check_rows(rows, ("concentration", "norm", "entropy"), "the rows")
    uniform = 1 / math.sqrt(num_keys)
    x = alt.X(
        "norm:Q",
        scale=alt.Scale(domain=[0, 1.03], nice=False),
        title=f"2-norm of the row, from 1/√N = {uniform:.3f} (uniform) to 1 (one-hot)",
        axis=alt.Axis(grid=False),
    )
    top = math.log(num_keys) * 1.1
    y = alt.Y("entropy:Q", scale=alt.Scale(domain=[0, top], nice=False), title="entropy of the row (nats)")
    names = [_dirichlet(concentration) for concentration in CONCENTRATIONS]
    colour = alt.Color(
        "rows:N",
        scale=alt.Scale(domain=names, range=list(PALETTE[:2])),
        legend=alt.Legend(title=None, orient="bottom", symbolOpacity=1),
    )
    shape = alt.Shape("rows:N", scale=alt.Scale(domain=names, range=["circle", "triangle-up"]))
    named = rows.with_columns(rows=pl.col("concentration").map_elements(_dirichlet, return_dtype=pl.String))
    points = alt.Chart(named).mark_point(size=22, opacity=0.65, strokeWidth=1.1)
    norms = np.linspace(uniform, 1, 300)
    least, largest = entropy_range(norms, num_keys)
    band = alt.Chart(pl.DataFrame({"norm": norms, "least": least, "largest": largest}))
    area = band.mark_area(color="#e4e4e4", line={"color": GREY, "strokeWidth": 1}).encode(
        x=x, y=alt.Y("least:Q", scale=alt.Scale(domain=[0, top], nice=False), title=""), y2="largest:Q"
    )
    rule = labelled_rule(math.log(num_keys), f"log N (N = {num_keys})", align="right")
    subtitle = "Grey: all entropies that a row of this norm can have (Harremoës & Topsøe 2001)"
    edge = band.mark_line(color=GREY, strokeWidth=1).encode(x=x, y=alt.Y("largest:Q"))
    layers = [area, edge, points.encode(x=x, y=y, color=colour, shape=shape), *rule]
    chart = alt.layer(*layers, width=460, height=300)
    return styled(chart, "Entropy against 2-norm of random rows of attention", subtitle)


def _stroke_legend() -> alt.Legend:
    look = {"symbolType": "stroke", "symbolStrokeWidth": 2.5, "symbolSize": 400, "symbolOpacity": 1}
    return alt.Legend(title=None, orient="bottom", columns=4, **look)


def _dirichlet(concentration: float) -> str:
    return f"Dirichlet({concentration:g})"


def _histogram(histograms: pl.DataFrame, kind: str, num_keys: int) -> Any:
    rows = with_last_edge(histograms.filter(pl.col("kind") == kind)).with_columns(
        s=pl.format("s = {}", pl.col("logit_std").cast(int))
    )
    names = rows["s"].unique(maintain_order=True).to_list()
    weight = alt.Scale(type="log", domain=[min(rows["low"]), 1], nice=False)
    powers = alt.Axis(values=[1e-12, 1e-9, 1e-6, 1e-3, 1], format=".0e", grid=False)
    legend = _stroke_legend()
    lines = (
        alt.Chart(rows)
        .mark_line(interpolate="step-after", strokeWidth=1.7)
        .encode(
            x=alt.X("low:Q", scale=weight, title="weight P (log scale)", axis=powers),
            y=alt.Y("share:Q", title="share of weights", scale=alt.Scale(domain=[0, 1], nice=False)),
            color=alt.Color("s:N", scale=alt.Scale(domain=names, range=_LIGHT_TO_DARK), legend=legend),
            strokeDash=alt.StrokeDash("s:N", scale=alt.Scale(domain=names, range=_DASHES), legend=legend),
        )
    )
    return alt.layer(lines, *labelled_edge(1 / num_keys, "1/N"), width=250, height=130, title=panel_title(kind))


def _entropies(entropies: pl.DataFrame, num_keys: int) -> Any:
    stds = entropies["logit_std"].unique().sort().to_list()
    top = math.log(num_keys) * 1.12
    axis = alt.Axis(values=[0.1, 0.2, 0.5, 1, 2, 4, 8], format="g", grid=False)
    limits = [stds[0], stds[-1]]
    x = alt.X(
        "logit_std:Q",
        scale=alt.Scale(type="log", domain=limits, nice=False),
        title="standard deviation of logits, s (log scale)",
        axis=axis,
    )
    y = alt.Y("entropy:Q", scale=alt.Scale(domain=[0, top], nice=False), title="entropy (nats)")
    legend = _stroke_legend()
    colour = alt.Color("kind:N", scale=alt.Scale(domain=list(KINDS), range=list(PALETTE[:4])), legend=legend)
    dashes = alt.Scale(domain=list(KINDS), range=_DASHES)
    spread = entropies.with_columns(
        low=(pl.col("entropy") - pl.col("spread")).clip(lower_bound=0), high=pl.col("entropy") + pl.col("spread")
    )
    dash = alt.StrokeDash("kind:N", scale=dashes, legend=legend)
    base = alt.Chart(spread).encode(x=x, color=colour)
    bands = base.mark_area(opacity=0.13).encode(y=alt.Y("low:Q"), y2="high:Q")
    lines = base.mark_line(strokeWidth=1.9).encode(y=y, strokeDash=dash)
    fine = np.geomspace(stds[0], stds[-1], 200)
    predicted = pl.DataFrame({"logit_std": fine, "entropy": small_variance_entropy(fine, num_keys)})
    drawn = predicted.filter(pl.col("entropy") >= 0)
    theorem = alt.Chart(drawn).mark_line(color=GREY, strokeDash=[3, 3], strokeWidth=1.4).encode(x=x, y=y)
    end = alt.Chart(drawn.tail(1).with_columns(label=pl.lit("Theorem 5.1: log N − (N−1)s²/(2N)")))
    text = end.mark_text(align="right", dx=-6, dy=-6, color=GREY).encode(x=x, y=y, text="label:N")
    rule = labelled_rule(math.log(num_keys), f"log N (N = {num_keys}): uniform rows")
    title = panel_title("Entropy of a row: mean, and standard deviation over rows (band)")
    return alt.layer(bands, lines, theorem, text, *rule, width=560, height=220, title=title)
