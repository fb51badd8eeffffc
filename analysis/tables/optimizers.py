"""Optimizers x methods, and how far optimizers order the methods alike."""

from __future__ import annotations

from typing import Any

import polars as pl

from analysis.across.optimizer_matrix import optimizer_matrix, rank_correlations
from analysis.curves import label_of
from analysis.tables.forms.rows import fixed, table_of, text
from analysis.tables.forms.table import NOTHING, Group, Number, Table, columns
from analysis.text import decimals

POOR_MARK = "*"
_NOTE = (
    "Learning-rate sensitivity (lower is more robust) with its 95% interval over seeds; methods ordered by their mean "
    "over the optimizers under which they learned; *: at chance, or learned less than half of what the best method did "
    "under the optimizer, so the number says little. Rank correlations are over the methods that learned with both."
)


def optimizer_group(board: pl.DataFrame) -> Group:
    """The matrix, methods by their mean, and the rank correlations of each workload and knobs; none for one optimizer.

    `board` is the frame of analysis.scores.leaderboard.
    """
    tables = []
    correlations = rank_correlations(board).partition_by("workload", "knobs", as_dict=True)
    for key, group in optimizer_matrix(board).group_by("workload", "knobs", maintain_order=True):
        tables.append(_matrix_table(label_of(key), group))
        if key in correlations:
            tables.append(_correlation_table(label_of(key), correlations[key]))
    return Group(tables=tuple(tables), note=_NOTE)


def _matrix_table(place: str, group: pl.DataFrame) -> Table:
    optimizers = group["optimizer"].unique().sort().to_list()
    digits = decimals(group["lr_sensitivity"].drop_nulls(), 3)
    rows = []
    for (method,), of_method in group.group_by("method", maintain_order=True):
        cells = {row["optimizer"]: _cell(row, digits) for row in of_method.iter_rows(named=True)}
        mean = Number(value=of_method["method_mean"][0], decimals=digits)
        rows.append((str(method), *(cells.get(name, NOTHING) for name in optimizers), mean))
    heading = f"LR sensitivity by optimizer on {place}"
    return Table(heading=heading, columns=columns("Method", *optimizers, "Mean"), rows=tuple(rows))


def _cell(row: dict[str, Any], digits: int) -> Number:
    mark = POOR_MARK if row["at_chance"] or row["learned_little"] else ""
    return Number(value=row["lr_sensitivity"], low=row["ci_low"], high=row["ci_high"], decimals=digits, mark=mark)


def _correlation_table(place: str, rows: pl.DataFrame) -> Table:
    return table_of(
        f"Rank correlation of the methods' order on {place}",
        rows,
        ("Optimizer", text("first")),
        ("Optimizer", text("second")),
        ("Spearman", fixed("spearman", 2)),
        ("Kendall", fixed("kendall", 2)),
        ("Methods", text("num_methods")),
        num_names=2,
    )
