"""How each method does on held-out data at its best learning rate, as a table."""

from __future__ import annotations

import polars as pl

from analysis.curves import ENTRY, require_columns
from analysis.losses import SCORED_LOSSES
from analysis.scores.generalisation import HELD_OUT_MEASURES, HELD_OUT_SCORES
from analysis.tables.forms.table import Group, Number, Table, columns
from analysis.text import decimals


def held_out_group(leaderboard: pl.DataFrame) -> Group | None:
    """One table a workload that has held-out data, lowest held-out loss first; columns that say nothing are left out.

    `leaderboard` is the frame of analysis.scores.leaderboard. None without held-out data.
    """
    require_columns(leaderboard, (*ENTRY, "best_lr", *HELD_OUT_MEASURES), "the leaderboard frame")
    names = ["method", *(name for name in ("optimizer", "knobs") if leaderboard[name].n_unique() > 1)]
    tables = []
    for (workload,), group in leaderboard.group_by("workload", maintain_order=True):
        measures = [name for name in HELD_OUT_SCORES if group[name].is_not_null().any()]
        if measures:
            tables.append(_table(f"Generalisation on {workload}", group, names, measures))
    return Group(tables=tuple(tables), note=_note(leaderboard)) if tables else None


def _note(leaderboard: pl.DataFrame) -> str:
    """What the numbers and their intervals are, with the loss that chose the learning rate."""
    chosen_by = " and ".join(SCORED_LOSSES[loss].title for loss in leaderboard["loss"].unique().sort())
    return (
        f"Means over seeds at each method's best learning rate (by its {chosen_by}); brackets: 95% interval over seeds "
        "(Student's t; of shares on the scale of Wilson's interval). Nothing is stated where a seed diverged at that "
        "rate. Generalisation gap: held-out minus training loss."
    )


def _table(heading: str, group: pl.DataFrame, names: list[str], measures: list[str]) -> Table:
    ordered = group.sort("val_loss", *names, nulls_last=True)
    cells = [ordered[name].to_list() for name in names]
    cells += [[Number(value=lr) for lr in ordered["best_lr"]], *(_measure_cells(ordered, name) for name in measures)]
    titles = (*(name.capitalize() for name in names), "Best lr", *(HELD_OUT_SCORES[name].title for name in measures))
    rows = tuple(zip(*cells, strict=True))
    return Table(heading=heading, columns=columns(*titles, num_names=len(names)), rows=rows)


def _measure_cells(group: pl.DataFrame, name: str) -> list[Number]:
    """Means with their intervals; without one, three digits of the largest mean."""
    places = decimals(group[name].drop_nulls(), 3)
    ends = group.select(name, f"{name}_ci_low", f"{name}_ci_high")
    return [Number(value=value, low=low, high=high, decimals=places) for value, low, high in ends.iter_rows()]
