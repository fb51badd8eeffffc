"""What theorems say beside what was measured, as tables."""

from __future__ import annotations

import polars as pl

from analysis.scores.causes.theory import DEVIATION_COLUMNS, STATEMENTS
from analysis.tables.forms.rows import Row, fixed, grouped, table_of, text
from analysis.tables.forms.table import Cell, Group, Table

NOTE = (
    "A point is one layer of a trial at a measured step, mean over batch, heads and rows, in nats where it is an "
    "entropy. Predicted and measured: medians over points; deviation: measured minus predicted, its median and the one "
    "farthest off, of a bound on its wrong side; outside: share of points on the wrong side of a bound, which of means "
    "over rows that differ need not hold. Eq. 8 of Hong & Lee 2025 is infinite at uniform rows, so clamped; Eq. 9 "
    "is false as printed if its norms are Frobenius in and the largest row out (twice the bound with 16 keys), and no "
    "trace holds what the safe bound needs: |P|_2 + max_j |x_j| |DZ|_2 / sqrt 2 (analysis.scores.causes.theory)."
)


def theory_group(frame: pl.DataFrame) -> Group:
    """A table a workload of a frame of DEVIATION_COLUMNS."""
    assert frame.columns == list(DEVIATION_COLUMNS)
    return grouped(_table, frame, "workload", note=NOTE)


def _table(workload: str, frame: pl.DataFrame) -> Table:
    return table_of(
        f"Theory beside measurement on {workload}",
        frame,
        ("Method", text("method")),
        ("Statement", _title),
        ("Measured is", text("relation")),
        ("Points", fixed("num_points", 0)),
        ("Measured", fixed("measured", 4)),
        ("Predicted", fixed("predicted", 4)),
        ("Deviation", fixed("deviation", 4)),
        ("Farthest", fixed("largest", 4)),
        ("Outside", fixed("outside", 3)),
        num_names=3,
    )


def _title(row: Row) -> Cell:
    return STATEMENTS[row["statement"]].title
