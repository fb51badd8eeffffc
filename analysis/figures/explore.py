"""The explore page's charts: traces of every trial, chosen by quantity, layer, lr and seed, and a map of all trials.

Specifications of Vega-Lite, with its own controls; draws what analysis/figures/frames/explored.py computes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from analysis.figures.frames.diverged_map import DIVERGED
from analysis.figures.frames.explored import Explored, in_order
from analysis.figures.style.chart_style import CROSS, DASHES, PALETTE
from analysis.figures.style.method_looks import looks

Spec = dict[str, Any]
SMOOTHING = {"none": 0, "3 points": 1, "7 points": 3}  # and how many points to either side
_ALL = "all"
# Of an exponent of ten: 320 and 0.0032, but 1e+6 and 1e-5.
_POWER = "format(pow(10, datum.value), abs(datum.value) < 5 ? '.2~r' : '.1~e')"
_CELL_HEIGHT = 11  # pixels of the map
_WIDTH, _HEIGHT = 760, 340


def explore_spec(explored: Explored, *, lr: str, caption: str, layer_names: Sequence[str] = ()) -> Spec:
    """The specification of one chart. lr: the text of the learning rate that is shown first.

    layer_names: by their numbers, where a model has several stacks of layers.
    """
    methods = explored.cells["method"].unique().sort().to_list()
    lrs = explored.cells.sort("lr")["lr_text"].unique(maintain_order=True).to_list()
    seeds = explored.cells["seed"].unique().sort().to_list()
    of_methods = looks(methods)
    series = [
        {"i": one["trial"], "q": one["quantity"], "l": one["layer"], "v": one["values"]} for one in explored.series
    ]
    scales = {
        "color": {"domain": methods, "range": [PALETTE[look.colour] for look in of_methods]},
        "strokeDash": {"domain": methods, "range": [DASHES[look.style] for look in of_methods]},
    }
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "description": caption,
        "datasets": {"series": series, "cells": _map_rows(explored)},
        "params": _controls(explored, methods, lrs, seeds, lr, layer_names),
        "vconcat": [_traces(explored.steps, scales), _map(methods, lrs, seeds)],
        "resolve": {"scale": {"color": "independent", "strokeDash": "independent"}},
        "spacing": 30,
    }


def _controls(
    explored: Explored, methods: list[str], lrs: list[str], seeds: list[int], lr: str, layer_names: Sequence[str]
) -> list[Spec]:
    quantities = sorted({one["quantity"] for one in explored.series}, key=in_order)
    layers = sorted({one["layer"] for one in explored.series})
    names = ["mean" if layer < 0 else str(layer_names[layer] if layer_names else layer) for layer in layers]
    return [
        {"name": "STEPS", "value": explored.steps},
        {"name": "LAYERED", "value": explored.layered},
        _select("quantity", quantities, quantities[0]),
        _select("layer", layers, -1, names=names),
        _select("lr", [_ALL, *lrs], lr),
        _select("seed", [_ALL, *seeds], _ALL),
        _select("method", [_ALL, *methods], _ALL),
        _select("axis", ["log", "linear"], "log"),
        _select("smoothing", list(SMOOTHING.values()), 0, names=list(SMOOTHING)),
    ]


def _select(name: str, options: list[Any], value: Any, *, names: list[str] | None = None) -> Spec:
    labels = {} if names is None else {"labels": names}
    return {"name": f"p_{name}", "value": value,
            "bind": {"input": "select", "options": options, "name": f"{name} ", **labels}}  # fmt: skip


def _traces(steps: list[int], scales: dict[str, Spec]) -> Spec:
    is_chosen = (
        "(p_lr == 'all' || datum.lr == p_lr) && (p_seed == 'all' || datum.s == p_seed)"
        " && !(isDefined(cell.trial) && length(cell.trial))"
    )
    is_layer = "datum.l == p_layer || (datum.l == -1 && indexof(LAYERED, p_quantity) < 0)"
    tooltip = [
        {"field": "m", "title": "method"}, {"field": "lr", "title": "lr"}, {"field": "s", "title": "seed"},
        {"field": "t", "title": "step"}, {"field": "smooth", "title": "value", "format": ".3~g"},
    ]  # fmt: skip
    legend = {"orient": "top", "title": None, "columns": 4, "labelLimit": 250,
              "symbolType": "stroke", "symbolSize": 500, "symbolStrokeWidth": 2.5}  # fmt: skip
    is_bright = {"and": [{"param": "chosen"}, "p_method == 'all' || datum.m == p_method"]}
    return {
        "data": {"name": "series"},
        "transform": [
            {"filter": f"datum.q == p_quantity && ({is_layer})"},
            {"calculate": "datum.i", "as": "trial"},
            {"lookup": "i", "from": {"data": {"name": "cells"}, "key": "trial", "fields": ["m", "lr", "s"]}},
            {"filter": {"or": [{"param": "cell", "empty": False}, is_chosen]}},
            {"calculate": "slice(STEPS, 0, length(datum.v))", "as": "t"},
            {"flatten": ["t", "v"], "as": ["t", "y0"]},
            {"filter": "isValid(datum.y0)"},
            *(_window(number) for number in SMOOTHING.values() if number),
            {"calculate": _smoothed(), "as": "smooth"},
            {"calculate": "p_axis == 'log' ? (datum.smooth > 0 ? log(datum.smooth) / LN10 : null) : datum.smooth",
             "as": "y"},
            {"calculate": "datum.t + 1", "as": "from_one"},
        ],
        "params": [{"name": "chosen", "select": {"type": "point", "fields": ["m"]}, "bind": "legend"}],
        "mark": {"type": "line", "point": {"size": 18, "filled": True}, "strokeWidth": 1.6, "clip": True},
        "encoding": {
            "x": {"field": "from_one", "type": "quantitative", "title": "step, counted from 1 (log scale)",
                  "scale": {"type": "log", "domain": [1, steps[-1] + 1], "nice": False},
                  "axis": {"format": "~s", "grid": False, "tickCount": 6}},
            "y": {"field": "y", "type": "quantitative", "title": "the chosen quantity", "scale": {"zero": False},
                  "axis": {"labelExpr": f"p_axis == 'log' ? {_POWER} : datum.label",
                           "tickCount": 6}},
            **{name: {"field": "m", "type": "nominal", "scale": scale, "legend": legend}
               for name, scale in scales.items()},
            "detail": {"field": "i"},
            "opacity": {"condition": {"test": is_bright, "value": 0.9}, "value": 0.07},
            "tooltip": tooltip,
        },
        "width": _WIDTH,
        "height": _HEIGHT,
    }  # fmt: skip


def _window(number: int) -> Spec:
    mean = {"op": "mean", "field": "y0", "as": f"y{number}"}
    return {"window": [mean], "frame": [-number, number], "groupby": ["i"], "sort": [{"field": "t"}]}


def _smoothed() -> str:
    """An expression: the mean that the control asks for."""
    none, *others = SMOOTHING.values()
    return "".join(f"p_smoothing == {number} ? datum.y{number} : " for number in others) + f"datum.y{none}"


def _map_rows(explored: Explored) -> list[Spec]:
    names = {"method": "m", "lr_text": "lr", "seed": "s", "trial": "trial", "state": "state", "end": "end", "step": "t"}
    return explored.cells.select(*names).rename(names).to_dicts()


def _map(methods: list[str], lrs: list[str], seeds: list[int]) -> Spec:
    """A cell a trial: a click shows its traces above, a click beside all cells those of the controls."""
    rows = [f"{method}|{seed}" for method in methods for seed in seeds]
    label = f"split(datum.value, '|')[1] == '{seeds[0]}' ? split(datum.value, '|')[0] : ''"
    place = {
        "x": {"field": "lr", "type": "ordinal", "scale": {"domain": lrs}, "title": "learning rate",
              "axis": {"labelAngle": -45}},
        "y": {"field": "row", "type": "nominal", "scale": {"domain": rows}, "title": None,
              "axis": {"labelExpr": label, "ticks": False, "domain": False, "labelLimit": 250}},
    }  # fmt: skip
    tooltip = [
        {"field": "m", "title": "method"}, {"field": "lr"}, {"field": "s", "title": "seed"},
        {"field": "end", "title": "final loss, clipped at init"}, {"field": "state"},
        {"field": "t", "title": "diverged at step"},
    ]  # fmt: skip
    colour = {"field": "end", "type": "quantitative", "scale": {"scheme": {"name": "viridis", "extent": [0.05, 0.95]}},
              "legend": {"title": "final loss", "gradientLength": 120}}  # fmt: skip
    is_picked = {"param": "cell", "empty": False}
    return {
        "data": {"name": "cells"},
        "transform": [{"calculate": "datum.m + '|' + datum.s", "as": "row"}],
        "title": {"text": ["Every trial: a click shows its traces,", "shift-click several, a double click none"],
                  "anchor": "start", "fontSize": 13},
        "layer": [
            {"params": [{"name": "cell", "select": {"type": "point", "fields": ["trial"]}}],
             "mark": {"type": "rect", "cursor": "pointer"},
             "encoding": {**place, "color": colour, "tooltip": tooltip,
                          "stroke": {"condition": {**is_picked, "value": PALETTE[1]}, "value": "transparent"},
                          "strokeWidth": {"condition": {**is_picked, "value": 3}, "value": 0.5}}},
            {"transform": [{"filter": f"datum.state == '{DIVERGED}'"}],
             "mark": {"type": "point", "shape": CROSS, "size": 30, "color": "white", "opacity": 1, "tooltip": None},
             "encoding": place},
        ],
        "width": _WIDTH,
        "height": {"step": _CELL_HEIGHT},
    }  # fmt: skip
