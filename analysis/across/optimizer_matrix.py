"""Optimizers x methods: whether a method's robustness, and the order of methods, hold for more than one optimizer."""

from __future__ import annotations

import itertools

import polars as pl

from analysis.across.disagreement import rank_agreement
from analysis.curves import require_columns
from analysis.scores.flags import NOT_LEARNED, has_flag

OPTIMIZER_MATRIX_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("workload", "knobs", "method", "optimizer"), pl.String),
    **dict.fromkeys(("lr_sensitivity", "ci_low", "ci_high"), pl.Float64),
    "num_seeds": pl.Int64,
    "at_chance": pl.Boolean,
    "learned_little": pl.Boolean,
    "method_rank": pl.Int64,
    "method_mean": pl.Float64,
}

CORRELATION_COLUMNS: dict[str, type[pl.DataType]] = {
    **dict.fromkeys(("workload", "knobs", "first", "second"), pl.String),
    **dict.fromkeys(("spearman", "kendall"), pl.Float64),
    "num_methods": pl.Int64,
}

_GROUP = ["workload", "knobs"]
_NEEDED = (*_GROUP, "method", "optimizer", "lr_sensitivity", "ci_low", "ci_high", "num_seeds", "flags")


def optimizer_matrix(board: pl.DataFrame) -> pl.DataFrame:
    """OPTIMIZER_MATRIX_COLUMNS, one row a method and optimizer, where workload and knobs have two optimizers at least.

    `board` is the frame of analysis.scores.leaderboard. method_rank is 1 + the number of methods with a lower score
    under the same optimizer, among those that learned: neither at chance nor learned_little. method_mean is the mean
    over the optimizers under which the method learned (null if none). Sorted by workload, knobs, method_mean, method,
    optimizer.
    """
    require_columns(board, _NEEDED, "the leaderboard frame")
    learned = pl.when(~pl.col("at_chance") & ~pl.col("learned_little")).then(pl.col("lr_sensitivity"))
    return (
        board.with_columns(has_flag(flag).alias(flag) for flag in NOT_LEARNED)
        .filter(pl.col("optimizer").n_unique().over(_GROUP) > 1)
        .with_columns(
            method_rank=learned.rank("min").over(*_GROUP, "optimizer").cast(pl.Int64),
            method_mean=learned.mean().over(*_GROUP, "method"),
        )
        .select(*OPTIMIZER_MATRIX_COLUMNS)
        .sort(*_GROUP, "method_mean", "method", "optimizer", nulls_last=True)
    )


def rank_correlations(board: pl.DataFrame) -> pl.DataFrame:
    """CORRELATION_COLUMNS, one row a pair of optimizers: how far they order the methods alike.

    Over the methods that learned with both; Spearman's rho and Kendall's tau-b, in [-1, 1], null for fewer than three
    methods or equal scores. A score without a sense of its uncertainty: see the intervals of `optimizer_matrix`.
    """
    matrix = optimizer_matrix(board).filter(~pl.col("at_chance") & ~pl.col("learned_little"))
    matrix = matrix.filter(pl.col("lr_sensitivity").is_not_null())
    rows = []
    for key, group in matrix.group_by(_GROUP, maintain_order=True):
        for first, second in itertools.combinations(group["optimizer"].unique().sort(), 2):
            one, two = (group.filter(optimizer=name).select("method", "lr_sensitivity") for name in (first, second))
            both = one.join(two, on="method")
            agreement = rank_agreement(both["lr_sensitivity"], both["lr_sensitivity_right"])
            rows.append((*key, first, second, *agreement, both.height))
    return pl.DataFrame(rows, schema=CORRELATION_COLUMNS, orient="row")
