"""Does it matter when an intervention begins? What it costs from a later step minus from the first one, by seed.

The cost of an intervention is the difference in final loss to its twin (analysis.scores.causes.effects). Both starts
have the same twin, seed, data and pack, so they are compared pair by pair, with Student's interval over seeds; not
corrected for the number of comparisons. A later start also leaves fewer steps in which to recover.
"""

from __future__ import annotations

import polars as pl

from analysis.curves import require_columns
from analysis.scores.causes.effects import PAIRED_COLUMNS
from analysis.scores.seeds.intervals import mean_interval
from analysis.text import entry_name

_PLACE = ("workload", "method", "optimizer", "schedule", "intervention")
_KNOBS = ("lr", "warmup_steps", "weight_decay", "grad_clip", "init_scale")
START_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(_PLACE, pl.String),  # the intervention by its name alone
    "strength": pl.Float64,
    "num_steps": pl.Int64,  # that it acts; null: for good
    **dict.fromkeys(_KNOBS, pl.Float64),
    "first_step": pl.Int64,
    "later_step": pl.Int64,
    "num_seeds": pl.Int64,
    "first_cost": pl.Float64,  # mean over seeds
    "later_cost": pl.Float64,
    "difference": pl.Float64,  # later minus first
    "difference_low": pl.Float64,
    "difference_high": pl.Float64,
}


def effect_starts(matched: pl.DataFrame) -> pl.DataFrame:
    """START_COLUMNS, a row for each start of an intervention after its first, of a frame of PAIRED_COLUMNS.

    Of seeds that have both; no row of an intervention with one start.
    """
    require_columns(matched, tuple(PAIRED_COLUMNS), "the frame of pairs")
    costs = matched.drop_nulls(["capped", "twin_capped"]).with_columns(
        intervention=pl.col("intervention").map_elements(entry_name, pl.String),
        num_steps=pl.col("end_step") - pl.col("from_step"),
        cost=pl.col("capped") - pl.col("twin_capped"),
    )
    group = (*_PLACE, "strength", "num_steps", *_KNOBS)
    rows = []
    for key, part in costs.group_by(*group, maintain_order=True):
        first, *later = part["from_step"].unique().sort().to_list()
        own = part.filter(from_step=first).select("seed", first="cost")
        for step in later:
            both = part.filter(from_step=step).join(own, on="seed").sort("seed")
            if both.height:
                change = mean_interval((both["cost"] - both["first"]).to_numpy())
                row = (first, step, both.height, both["first"].mean(), both["cost"].mean())
                rows.append((*key, *row, change.value, change.low, change.high))
    order = ("intervention", "strength", "num_steps", *_KNOBS, "later_step")
    return pl.DataFrame(rows, schema=START_COLUMNS, orient="row").sort(*_PLACE[:-1], *order, maintain_order=True)
