"""Knobs other than lr: sensitivity to each, the stable area with lr, and how the best lr moves along it."""

from __future__ import annotations

import polars as pl

from analysis.knobs import knob_text
from analysis.tables.forms.rows import fixed, flags, grouped, label, scored, table_of
from analysis.tables.forms.table import Group, Table
from analysis.text import decimals

_KNOB_NOTE = (
    "Sensitivity to a knob at the best learning rate for each of its values, then at the one best learning rate; "
    "brackets: 95% interval over seeds, too narrow where the best learning rate lies at a cliff that wanders between "
    "seeds (in simulations it then covers 65% to 92%)."
)
_AREA_NOTE = "Share: of the grid. The area is bounded by the grid, so it compares methods on one grid only."
_TRANSFER_NOTE = (
    "From the smallest to the largest value of the knob: how far the best learning rate moves, and what is lost at the "
    "largest by keeping that of the smallest."
)


def sensitivity_group(sensitivity: pl.DataFrame) -> Group:
    """A table a workload and knob of the frame of `knob_sensitivity`."""
    return grouped(_sensitivity_table, sensitivity, "workload", "knob", note=_KNOB_NOTE)


def area_group(areas: pl.DataFrame) -> Group:
    """A table a workload, knob and unit of the frame of `stable_area`."""
    return grouped(_area_table, areas, "workload", "y_knob", "unit", note=_AREA_NOTE)


def transfer_group(transfer: pl.DataFrame) -> Group:
    """A table a workload and knob of the frame of `lr_transfer`."""
    return grouped(_transfer_table, transfer, "workload", "knob", note=_TRANSFER_NOTE)


def _sensitivity_table(workload: str, knob: str, rows: pl.DataFrame) -> Table:
    places = decimals(rows["sensitivity"], 3)
    return table_of(
        f"Sensitivity to {knob} on {workload}",
        rows,
        ("Method", label),
        *scored("Sensitivity", "sensitivity", "ci", places),
        *scored("At one lr", "at_best_lr", "at_best_lr_ci", places),
        ("Best loss", fixed("best_loss", decimals(rows["best_loss"], 3))),
        ("Best at", lambda row: knob_text(row["best_value"])),
        ("Worst at", lambda row: knob_text(row["worst_value"])),
        ("Flags", flags),
    )


def _area_table(workload: str, _: str, unit: str, rows: pl.DataFrame) -> Table:
    return table_of(
        f"Stable area on {workload}, in {unit}",
        rows,
        ("Method", label),
        *scored("Stable area", "stable_area", "ci", decimals(rows["stable_area"], 3)),
        ("Share", lambda row: f"{row['stable_share']:.0%}"),
        ("Flags", flags),
    )


def _transfer_table(workload: str, knob: str, rows: pl.DataFrame) -> Table:
    entry = ["method", "optimizer", "knobs"]
    ends = rows.sort("value").group_by(entry, maintain_order=True).agg(pl.all().last(), first=pl.col("best_lr").first())
    return table_of(
        f"Best learning rate across {knob} on {workload}",
        ends.sort(entry),
        ("Method", label),
        ("Best lr at the smallest", fixed("first", None)),
        ("At the largest", fixed("best_lr", None)),
        *scored("Shift in decades", "shift_decades", "shift_ci", 2),
        *scored("Loss lost", "loss_lost", "loss_lost_ci", decimals(ends["loss_lost"].drop_nulls(), 2)),
        ("Flags", flags),
    )
