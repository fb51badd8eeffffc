"""Knobs other than lr: sensitivity to each, the stable area with lr, and how the best lr moves along it."""

from __future__ import annotations

import polars as pl

from analysis.curves import entry_label, groups_of
from analysis.knobs import knob_text
from analysis.scores.flags import flags_of
from analysis.tables.table import Cell, Flags, Group, Number, Table, columns, scored
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
    groups = groups_of(sensitivity, "workload", "knob")
    tables = (_sensitivity_table(str(workload), str(knob), rows) for (workload, knob), rows in groups)
    return Group(tables=tuple(tables), note=_KNOB_NOTE)


def area_group(areas: pl.DataFrame) -> Group:
    """A table a workload, knob and unit of the frame of `stable_area`."""
    groups = groups_of(areas, "workload", "y_knob", "unit")
    tables = (_area_table(str(workload), str(unit), rows) for (workload, _, unit), rows in groups)
    return Group(tables=tuple(tables), note=_AREA_NOTE)


def transfer_group(transfer: pl.DataFrame) -> Group:
    """A table a workload and knob of the frame of `lr_transfer`."""
    groups = groups_of(transfer, "workload", "knob")
    tables = (_transfer_table(str(workload), str(knob), rows) for (workload, knob), rows in groups)
    return Group(tables=tuple(tables), note=_TRANSFER_NOTE)


def _sensitivity_table(workload: str, knob: str, rows: pl.DataFrame) -> Table:
    places, loss_places = decimals(rows["sensitivity"], 3), decimals(rows["best_loss"], 3)
    cells = tuple(
        (
            _label(row),
            *scored(row, "sensitivity", "ci", places),
            *scored(row, "at_best_lr", "at_best_lr_ci", places),
            Number(value=row["best_loss"], decimals=loss_places),
            knob_text(row["best_value"]),
            knob_text(row["worst_value"]),
            _flags(row),
        )
        for row in rows.iter_rows(named=True)
    )
    titles = ("Method", "Sensitivity", "95% interval", "At one lr", "95% interval", "Best loss", "Best at", "Worst at")
    return Table(heading=f"Sensitivity to {knob} on {workload}", columns=columns(*titles, "Flags"), rows=cells)


def _area_table(workload: str, unit: str, rows: pl.DataFrame) -> Table:
    places = decimals(rows["stable_area"], 3)
    cells = tuple(
        (_label(row), *scored(row, "stable_area", "ci", places), f"{row['stable_share']:.0%}", _flags(row))
        for row in rows.iter_rows(named=True)
    )
    titles = columns("Method", "Stable area", "95% interval", "Share", "Flags")
    return Table(heading=f"Stable area on {workload}, in {unit}", columns=titles, rows=cells)


def _transfer_table(workload: str, knob: str, rows: pl.DataFrame) -> Table:
    entry = ["method", "optimizer", "knobs"]
    ends = rows.sort("value").group_by(entry, maintain_order=True).agg(pl.all().last(), first=pl.col("best_lr").first())
    loss_places = decimals(ends["loss_lost"].drop_nulls(), 2)
    cells = tuple(
        (
            _label(row),
            Number(value=row["first"]),
            Number(value=row["best_lr"]),
            *scored(row, "shift_decades", "shift_ci", 2),
            *scored(row, "loss_lost", "loss_lost_ci", loss_places),
            _flags(row),
        )
        for row in ends.sort(entry).iter_rows(named=True)
    )
    titles = ("Method", "Best lr at the smallest", "At the largest", "Shift in decades", "95% interval", "Loss lost")
    heading = f"Best learning rate across {knob} on {workload}"
    return Table(heading=heading, columns=columns(*titles, "95% interval", "Flags"), rows=cells)


def _label(row: dict[str, str]) -> str:
    return entry_label(row["method"], row["optimizer"], row["knobs"])


def _flags(row: dict[str, str]) -> Cell:
    return Flags(flags=flags_of(row["flags"]))
