"""Joint maps of two knobs: the loss of every cell, which cells are stable, and the stable area as a score.

Legend: X and Y values of the two knobs, S seeds.
"""

from __future__ import annotations

import numpy as np
import polars as pl

from analysis.curves import ENTRY
from analysis.scores.definition import Extent
from analysis.scores.flags import flag_text
from analysis.scores.guards import knob_flags
from analysis.scores.knob_maps import KnobMap, clipped_map, knob_maps, map_interval, stable_cells
from analysis.scores.knobs import KNOB_SCORES
from analysis.scores.robustness import mean_of_present

JOINT_MAP_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("workload", "method", "optimizer", "knobs", "x_knob", "y_knob"), pl.String),
    **dict.fromkeys(("x", "y", "loss", "initial_loss"), pl.Float64),
    **dict.fromkeys(("stable", "is_best"), pl.Boolean),
    **dict.fromkeys(("num_diverged", "num_seeds"), pl.Int64),
}

STABLE_AREA_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("workload", "method", "optimizer", "x_knob", "y_knob"), pl.String),
    **dict.fromkeys(("stable_area", "ci_low", "ci_high"), pl.Float64),
    "unit": pl.String,
    "stable_share": pl.Float64,
    **dict.fromkeys(("num_cells", "num_seeds", "num_trials"), pl.Int64),
    "flags": pl.String,
    "knobs": pl.String,
}


def joint_map(results: pl.DataFrame, x: str, y: str) -> pl.DataFrame:
    """JOINT_MAP_COLUMNS, one row a cell with a result: every method's loss over the knobs `x` and `y`.

    `results` are as `knob_maps` takes them. loss is the mean over seeds clipped at the mean loss at init of the cell
    (initial_loss), so a cell where one seed diverged has that; stable as in `stable_cells`; is_best marks the least
    loss, of equal ones the first by x, then y. num_seeds counts seeds with a result, diverged ones too. Entries with
    one value of either knob are left out. Rows are by entry, x, y.
    """
    rows = [row for key, joint in _maps(results, x, y).items() for row in _cells(key, x, y, joint)]
    return pl.DataFrame(rows, schema=JOINT_MAP_COLUMNS).sort("workload", "optimizer", "knobs", "method", "x", "y")


def stable_area(results: pl.DataFrame, x: str, y: str) -> pl.DataFrame:
    """STABLE_AREA_COLUMNS, one row an entry of `joint_map`: how much of the map is stable; higher is more robust.

    Each stable cell counts with its extent along x times that along y; a cell reaches midway to its neighbours and at
    the grid's border no further, as in `stable_decades`. An axis whose values are all positive and finite is measured
    in decades, any other (warmup 0 has no logarithm) in grid steps; `unit` names both. The area is bounded by the grid,
    so compare methods on the same grid; stable_share is the area over that of all cells. ci_low and ci_high bound the
    95% interval over seeds of analysis/intervals (null with one seed); it covers 0.8 to 0.98 in simulated maps of three
    to five seeds (tests/analysis/test_knob_intervals.py), least where the cliff rarely leaves its grid step. Rows are
    by entry, the largest area first.
    Source: this project.
    """
    rows = []
    maps = _maps(results, x, y)
    for key, joint in maps.items():
        extents_XY = np.outer(cell_extents(joint.x_values)[0], cell_extents(joint.y_values)[0])

        def area(losses_XYS: np.ndarray, initial_XYS: np.ndarray, extents_XY: np.ndarray = extents_XY) -> float:
            return float(extents_XY[stable_cells(losses_XYS, initial_XYS)].sum())

        extent = Extent(area=float(extents_XY.sum()))
        interval = map_interval(area, joint).within(KNOB_SCORES["stable_area"].domain(extent))
        rows.append(
            {
                **dict(zip(ENTRY, key, strict=True)),
                "x_knob": x,
                "y_knob": y,
                **interval.columns("stable_area", "ci"),
                "unit": " x ".join(
                    f"{cell_extents(axis)[1]} of {name}" for axis, name in ((joint.x_values, x), (joint.y_values, y))
                ),
                "stable_share": interval.value / extent.area,
                "num_cells": int((~np.isnan(joint.losses)).any(-1).sum()),
                "num_seeds": len(joint.seeds),
                "num_trials": joint.num_trials,
                "flags": flag_text(_area_flags(joint)),
            }
        )
    board = pl.DataFrame(rows, schema=STABLE_AREA_COLUMNS)
    order = ["workload", "knobs", "stable_area", "method", "optimizer"]
    return board.sort(order, descending=[name == "stable_area" for name in order])


def cell_extents(values_X: np.ndarray) -> tuple[np.ndarray, str]:
    """How far each value's cell reaches, (X,), and the unit: decades, or grid steps where a value has no logarithm."""
    has_log = bool((values_X > 0).all() and np.isfinite(values_X).all())
    places_X = np.log10(values_X) if has_log else np.arange(len(values_X), dtype=float)
    half_gaps = np.diff(places_X) / 2
    return np.append(half_gaps, 0.0) + np.append(0.0, half_gaps), "decades" if has_log else "grid steps"


def _maps(results: pl.DataFrame, x: str, y: str) -> dict[tuple[str, ...], KnobMap]:
    return {key: joint for key, joint in knob_maps(results, x, y).items() if min(joint.losses.shape[:2]) > 1}


def _area_flags(joint: KnobMap) -> set[str]:
    """The flags that say something of an area; its border is what the grid ends at, whichever cell is best."""
    raised = knob_flags(joint, tuple(joint.x_values))
    return raised & {"at_chance", "few_seeds", "incomplete", "lost_trials"}


def _cells(key: tuple[str, ...], x: str, y: str, joint: KnobMap) -> list[dict[str, object]]:
    map_XY, initial_XY = clipped_map(joint.losses, joint.initial_losses), mean_of_present(joint.initial_losses)
    stable_XY = stable_cells(joint.losses, joint.initial_losses)
    best = tuple(int(place) for place in np.unravel_index(np.nanargmin(map_XY), map_XY.shape))
    return [
        {
            **dict(zip(ENTRY, key, strict=True)),
            "x_knob": x,
            "y_knob": y,
            "x": float(joint.x_values[cell[0]]),
            "y": float(joint.y_values[cell[1]]),
            "loss": float(map_XY[cell]),
            "initial_loss": float(initial_XY[cell]),
            "stable": bool(stable_XY[cell]),
            "is_best": cell == best,
            "num_diverged": int(np.isinf(joint.losses[cell]).sum()),
            "num_seeds": int((~np.isnan(joint.losses[cell])).sum()),
        }
        for cell in np.ndindex(map_XY.shape)
        if not np.isnan(map_XY[cell])
    ]
