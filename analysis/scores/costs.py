"""What a step of each entry costs, from the manifest of a suite's run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import polars as pl

COST_COLUMNS: dict[str, type[pl.DataType]] = {"num_parameters": pl.Int64, "step_flops": pl.Float64}

_PLACE = ("workload", "method")


def with_costs(board: pl.DataFrame, manifest: Mapping[str, Any]) -> pl.DataFrame:
    """A leaderboard with COST_COLUMNS of its entries; null for what the manifest has no cost of.

    The manifest's `costs` are rows of workload and method, labels both, and COST_COLUMNS.
    """
    rows = manifest.get("costs", ())  # those of earlier versions have none
    costs = pl.DataFrame(rows, schema={**dict.fromkeys(_PLACE, pl.String), **COST_COLUMNS})
    joined = board.drop(*COST_COLUMNS).join(costs, on=_PLACE, how="left", maintain_order="left")
    return joined.select(board.columns)


def step_costs(board: pl.DataFrame) -> pl.DataFrame:
    """workload, method, COST_COLUMNS, and the share of either beyond the cheapest method of the workload.

    Columns `parameters_over` and `flops_over`: 0 for the cheapest. One row a method that has a cost, in the board's
    order.
    """
    known = board.filter(pl.col("num_parameters").is_not_null()).select(*_PLACE, *COST_COLUMNS)
    return known.unique(maintain_order=True).with_columns(
        parameters_over=pl.col("num_parameters") / pl.col("num_parameters").min().over("workload") - 1,
        flops_over=pl.col("step_flops") / pl.col("step_flops").min().over("workload") - 1,
    )
