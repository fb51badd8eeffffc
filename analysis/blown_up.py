"""Which trials blew up: those that completed with a final loss above their loss at init by more than a margin.

A divergence is a loss that is not finite; a run that ends at a thousand times its loss at init is none, and yet did not
train.
"""

from __future__ import annotations

from bench.lazy import polars as pl
from bench.trial import BLOWN_UP_MARGIN

MARGIN = "blown_up_margin"


def with_margin(results: pl.DataFrame, margin: float | pl.Expr) -> pl.DataFrame:
    """The results with the margin of each trial, a share of its loss at init; those that have margins keep them."""
    if MARGIN in results.columns:
        return results
    column = margin if isinstance(margin, pl.Expr) else pl.lit(margin, pl.Float64)
    return results.with_columns(column.alias(MARGIN))


def with_blown_up(points: pl.DataFrame) -> pl.DataFrame:
    """`points`, which have final_loss and initial_loss, with the column `blown_up`: true, or false.

    True where the final loss is finite and larger than initial_loss + margin * |initial_loss|; the margin is that of
    the column MARGIN, or bench.trial.BLOWN_UP_MARGIN. Source: this project.
    """
    final, initial = pl.col("final_loss"), pl.col("initial_loss")
    margin = pl.col(MARGIN) if MARGIN in points.columns else pl.lit(BLOWN_UP_MARGIN)
    is_above = final.is_finite() & (final > initial + margin * initial.abs())
    return points.with_columns(blown_up=is_above.fill_null(False))
