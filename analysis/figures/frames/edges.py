"""Curvature over the edge of stability during training, at every learning rate. Computes; draws nothing."""

from __future__ import annotations

import polars as pl

from analysis.curves import require_columns
from bench.outcome import RESULT_OUTCOMES
from bench.trace import TRACE_COLUMNS

# Each is 1 where a quadratic loss would begin to rise: along the sharpest direction, the gradient, the update.
EDGES: dict[str, str] = {
    "edge_ratio": "sharpness",
    "gradient_edge_ratio": "along the gradient",
    "update_edge_ratio": "along the update",
}
_MAX_STEPS = 40
_LINE = ["method", "quantity", "lr"]


def edge_summary(results: pl.DataFrame, traces: pl.DataFrame) -> pl.DataFrame:
    """Median over seeds of each of EDGES against step, a line a method, quantity and learning rate.

    `traces` has TRACE_COLUMNS and trial_id. Lines end where the first of their seeds diverged. Columns: method,
    quantity (of EDGES), lr, step, value (above 0: where the loss is concave there is no edge to reach), num_seeds,
    is_end (the last step before a divergence); sorted. At most 40 steps a line, evenly spread; no row where none of
    EDGES was measured.
    """
    require_columns(traces, (*TRACE_COLUMNS, "trial_id"), "the traces frame")
    is_result = pl.col("outcome").is_in(RESULT_OUTCOMES)
    chosen = results.filter(is_result).select(
        "trial_id", "method", "lr", end=pl.col("diverged_step").min().over("method", "lr")
    )
    rows = (
        traces.filter(pl.col("quantity").is_in([*EDGES]) & pl.col("value").is_finite())
        .join(chosen, on="trial_id")
        .filter(pl.col("end").is_null() | (pl.col("step") <= pl.col("end")))
        .group_by(*_LINE, "step")
        .agg(
            value=pl.col("value").cast(pl.Float64).median(),
            num_seeds=pl.len().cast(pl.Int64),
            has_end=pl.col("end").is_not_null().any(),
        )
        .filter(pl.col("value") > 0)
        .sort(*_LINE, "step")
    )
    place, length = pl.int_range(pl.len()).over(_LINE), pl.len().over(_LINE)
    spread = rows.with_columns(
        is_end=pl.col("has_end") & (place == length - 1),
        is_kept=(length <= _MAX_STEPS) | (place % (length / _MAX_STEPS).ceil() == 0) | (place == length - 1),
    )
    return spread.filter("is_kept").drop("has_end", "is_kept")
