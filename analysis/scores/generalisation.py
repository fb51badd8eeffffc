"""How each method does on held-out data at its best learning rate: means and intervals."""

from __future__ import annotations

import math
from collections.abc import Mapping

from analysis.curves import CURVE_COLUMNS, ENTRY, require_columns
from analysis.scores.definition import Definition, Extent, Kind
from analysis.scores.seeds.intervals import mean_interval
from analysis.scores.seeds.scales import Interval
from bench.held_out import HELD_OUT
from bench.lazy import numpy as np
from bench.lazy import polars as pl

_KINDS: dict[str, Kind] = {"steps": "steps", "workload's": "loss"}  # of measures in these units

# Columns of a leaderboard where the workload has held-out data, each the mean over seeds at the method's best lr.
HELD_OUT_SCORES: dict[str, Definition] = {
    **{
        name: Definition(
            title=measure.heading,
            definition=measure.definition,
            unit=measure.unit,
            bounds=(measure.low, measure.high),
            kind=_KINDS.get(measure.unit, "any"),
            higher_is_better=measure.higher_is_better,
            sources=measure.sources,
        )
        for name, measure in HELD_OUT.items()
    },
    "generalisation_gap": Definition(
        title="Generalisation gap",
        definition="held-out loss after the last update - training loss, mean over the last steps, paired by seed; "
        "training losses are taken as training computes them, with dropout where there is any, so it may be negative",
        unit=HELD_OUT["val_loss"].unit,
        bounds=(-math.inf, math.inf),
        higher_is_better=False,
    ),
}

HELD_OUT_MEASURES: dict[str, type] = {
    **dict.fromkeys(HELD_OUT_SCORES, float),
    **{f"{name}_{end}": float for name in HELD_OUT_SCORES for end in ("ci_low", "ci_high")},
}


def held_out(curve_frame: pl.DataFrame, best_lrs: pl.DataFrame, num_steps: Mapping[str, float]) -> pl.DataFrame:
    """ENTRY and HELD_OUT_MEASURES: one row an entry of `best_lrs` that has results at its lr.

    `curve_frame` is that of `curves` on the training loss, `best_lrs` has ENTRY and best_lr, `num_steps` the updates of
    the longest trial by workload. ci_low and ci_high bound the 95% interval of the mean over seeds, the lr taken as
    given, within what the measure can be. They are null with one seed, and where all seeds have the least or most that
    there is, such as no right answer, of which their spread says nothing. A measure is null where a seed with a result
    lacks it or diverged, so that no mean is over the lucky seeds alone.
    """
    require_columns(curve_frame, CURVE_COLUMNS, "the curves frame")
    require_columns(best_lrs, (*ENTRY, "best_lr"), "the frame of best learning rates")
    at_best = curve_frame.join(best_lrs.select(*ENTRY, "best_lr"), on=ENTRY).filter(
        pl.col("lr") == pl.col("best_lr"), pl.col("final_loss").is_not_null()
    )
    with_gap = at_best.with_columns(generalisation_gap=pl.col("val_loss") - pl.col("final_loss"))
    lowest = pl.min_horizontal("val_loss", "least_val_loss").min()
    least = dict(curve_frame.group_by("workload").agg(lowest).iter_rows())

    def extent(workload: str) -> Extent:
        is_negative = least[workload] is not None and least[workload] < 0
        return Extent(num_steps=num_steps[workload], least_loss=-math.inf if is_negative else 0.0)

    rows = [
        {**dict(zip(ENTRY, key, strict=True)), **_measures(of_entry, extent(str(key[0])))}
        for key, of_entry in with_gap.group_by(ENTRY, maintain_order=True)
    ]
    return pl.DataFrame(rows, schema={**dict.fromkeys(ENTRY, pl.String), **HELD_OUT_MEASURES})


def _measures(of_entry: pl.DataFrame, extent: Extent) -> dict[str, float | None]:
    row: dict[str, float | None] = dict.fromkeys(HELD_OUT_MEASURES)
    for name, definition in HELD_OUT_SCORES.items():
        values_S = of_entry[name].cast(pl.Float64).fill_null(float("nan")).to_numpy()
        if np.isfinite(values_S).all():
            interval = mean_interval(values_S)
            if np.ptp(values_S) == 0 and values_S[0] in definition.bounds:
                interval = Interval.around(interval.value, None)
            elif definition.bounds == (0.0, 1.0):
                interval = interval.of_share()
            elif definition.unit == "steps":
                interval = interval.of_positive_mean()
            row |= interval.within(definition.domain(extent)).columns(name, f"{name}_ci")
    return row
