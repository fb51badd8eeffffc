"""What a step of each method costs: a table a workload."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.tables.forms.rows import grouped, table_of, text
from analysis.tables.forms.table import Group, Table

_NOTE = (
    "Parameters of a model, and floating-point operations of the matrix products of forward and backward pass over the "
    "batch of a step, 2 for a multiplication with its addition; attention is counted dense, as the reference computes "
    "it. In brackets: beyond the cheapest method of the workload."
)


def cost_group(costs: pl.DataFrame) -> Group:
    """A table a workload of the frame of `step_costs`."""
    return grouped(_cost_table, costs, "workload", note=_NOTE)


def _cost_table(workload: str, rows: pl.DataFrame) -> Table:
    return table_of(
        f"A step on {workload}",
        rows,
        ("Method", text("method")),
        ("Parameters", lambda row: f"{row['num_parameters']:,}{_over(row['parameters_over'])}"),
        ("FLOPs", lambda row: f"{row['step_flops']:.3g}{_over(row['flops_over'])}"),
        num_names=1,
    )


def _over(share: Any) -> str:
    return f" (+{share:.2%})" if share else ""
