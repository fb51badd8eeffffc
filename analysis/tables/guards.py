"""How far to trust the order of a leaderboard: seeds that would separate neighbours, and curves moved along lr."""

from __future__ import annotations

import polars as pl

from analysis.tables.forms.rows import fixed, grouped, label, scored, table_of, text
from analysis.tables.forms.table import Group, Table
from analysis.text import decimals

_SEEDS_NOTE = (
    "Neighbours in the order of methods with one optimizer and knobs: the worse minus the better score, with its 95% "
    "interval (not corrected for their number; Welch's where unpaired), and the number of seeds at which such an "
    "interval excludes 0 with 80% power, if difference and spread are as found: an order of magnitude."
)
_SHIFT_NOTE = (
    "The shift along log lr that brings each curve nearest to that of softmax, and the root mean square distance of "
    "their losses before and after. A method that is shifted and not otherwise different changes what a learning rate "
    "means."
)


def separation_group(separation: pl.DataFrame) -> Group:
    """A table a workload of the frame of `seeds_to_separate`."""
    return grouped(_separation_table, separation, "workload", note=_SEEDS_NOTE)


def shift_group(shifts: pl.DataFrame) -> Group:
    """A table a workload of the frame of `lr_shift`."""
    return grouped(_shift_table, shifts, "workload", note=_SHIFT_NOTE)


def _separation_table(workload: str, rows: pl.DataFrame) -> Table:
    return table_of(
        f"Seeds to separate neighbours on {workload}",
        rows,
        ("Better", text("better")),
        ("Worse", text("worse")),
        *scored("Difference", "difference", "ci", decimals(rows["difference"], 2)),
        ("Compared", text("compared")),
        ("Seeds", text("num_seeds")),
        ("Seeds needed", text("seeds_needed")),
        num_names=2,
    )


def _shift_table(workload: str, rows: pl.DataFrame) -> Table:
    places = decimals(rows["distance_unshifted"], 2)
    return table_of(
        f"Learning rates against those of softmax on {workload}",
        rows,
        ("Method", label),
        ("Shift in decades", fixed("shift_decades", 2)),
        ("Distance", fixed("distance_unshifted", places)),
        ("After the shift", fixed("distance", places)),
        ("Shifted", lambda row: "yes" if row["is_shifted"] else "no"),
    )
