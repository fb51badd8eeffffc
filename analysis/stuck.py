"""Which trials are stuck: those that completed and neither learned nor blew up.

A run whose loss stays at that of the untrained model, as that of a model whose attention collapsed early, neither
diverges nor blows up; a share of trials that diverged says nothing of it.
"""

from __future__ import annotations

from bench.lazy import polars as pl

# Of the loss at init: less than so much below it is nothing learned. Fixed before any result was looked at.
STUCK_SHARE = 0.05


def with_stuck(points: pl.DataFrame) -> pl.DataFrame:
    """`points`, which have final_loss, initial_loss and blown_up, with the column `stuck`: true, or false.

    True where the final loss is finite, above initial_loss - STUCK_SHARE |initial_loss|, and not blown up. Source: this
    project, after "stuck" runs as Zhai et al. 2023, Fig. 1, at twice the learning rate.
    """
    final, initial = pl.col("final_loss"), pl.col("initial_loss")
    is_near = final.is_finite() & (final > initial - STUCK_SHARE * initial.abs())
    return points.with_columns(stuck=is_near.fill_null(False) & ~pl.col("blown_up"))
