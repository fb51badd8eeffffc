"""The leaderboard of the page: a table a workload with each entry's curve and interval drawn."""

from __future__ import annotations

import dataclasses
from collections.abc import Set

import polars as pl

from analysis.curves import ENTRY
from analysis.figures.sparklines import interval_axis, spark_plot, sparkline, whisker
from analysis.labels import Names
from analysis.scores.flags import FLAGS, used_flags, word_of
from analysis.tables.forms.html import part
from analysis.tables.forms.named import named_table
from analysis.tables.forms.table import NOTHING, Column, Drawing, Table
from analysis.tables.leaderboard import reading_note, workload_tables

# The drawn cells come after the cell of this column.
_DRAWN_AFTER = "interval"
_CURVE_NOTE = (
    "Curves: final loss against learning rate on axes shared within the workload, clipped at the loss at init "
    "(dashed); line: mean over seeds; band: least to largest seed; green dot: best learning rate; orange cross: at "
    "least one seed diverged or blew up."
)


def board_html(board: pl.DataFrame, summary: pl.DataFrame, *, names: Names, is_linked: bool) -> str:
    """A table for each workload, how to read it, and what each flag means that occurs, to which links lead.

    `names` is what it calls methods and workloads, `summary` the frame of `loss_summary` of the results and the loss
    behind the leaderboard.
    """
    tables = [
        _with_drawings(table, board.filter(workload=table.heading), summary.filter(workload=table.heading))
        for table in workload_tables(board)
    ]
    note = f"{names.in_text(reading_note(board))} {_CURVE_NOTE}"
    html = part("board", [named_table(table, names) for table in tables], note, FLAGS, is_linked)
    return html + flags_html(used_flags(board))


def flags_html(flags: Set[str]) -> str:
    """What each of the flags means; empty without any."""
    used = sorted(flags & FLAGS.keys(), key=word_of)
    return part("flag_terms", [(flag, FLAGS[flag]) for flag in used]) if used else ""


def _with_drawings(table: Table, entries: pl.DataFrame, curves: pl.DataFrame) -> Table:
    """The table with each entry's interval and curve; `entries` has the rows of the table. As it is without curves."""
    if curves.is_empty():
        return table
    ends = [*entries["ci_low"].drop_nulls(), *entries["ci_high"].drop_nulls()]
    low, high = axis = interval_axis(entries["lr_sensitivity"].drop_nulls().to_list(), ends)
    drawn = (
        Column(title="Interval drawn", is_name=True, name="drawn", ends=(f"{low:.2g}", f"{high:.2g}")),
        Column(title="Loss against lr", is_name=True, name="curve"),
    )
    plot, by_entry = spark_plot(curves), curves.partition_by(ENTRY[1:], as_dict=True)
    place = next(place for place, column in enumerate(table.columns, 1) if column.name == _DRAWN_AFTER)
    rows = []
    for row, entry in zip(table.rows, entries.iter_rows(named=True), strict=True):
        if entry["lr_sensitivity"] is None:
            rows.append((*row[:place], NOTHING, NOTHING, *row[place:]))
            continue
        interval = whisker(entry["lr_sensitivity"], entry["ci_low"], entry["ci_high"], axis)
        of_entry = by_entry[tuple(entry[name] for name in ENTRY[1:])]
        curve = sparkline(of_entry, plot, best_lr=entry["best_lr"])
        rows.append((*row[:place], Drawing(svg=interval), Drawing(svg=curve), *row[place:]))
    columns = (*table.columns[:place], *drawn, *table.columns[place:])
    return dataclasses.replace(table, columns=columns, rows=tuple(rows))
