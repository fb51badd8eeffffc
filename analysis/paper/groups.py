"""Groups of tables as a bundle's LaTeX: all scores, pairwise differences, and how a long table is continued."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import polars as pl

from analysis.curves import ENTRY, groups_of, label_of, short_labels
from analysis.paper.widths import floating_of, page_wide, sides_of
from analysis.scores.kinds import SCORE_KINDS
from analysis.scores.parts import ScoredEntry
from analysis.scores.table import score_differences, score_table
from analysis.tables.forms.latex import floated, line_latex, row_latex, stacked_title
from analysis.tables.forms.rows import scored, table_of
from analysis.tables.forms.table import NOTHING, Group, Name, Table
from analysis.tables.scores import scores_tables
from analysis.text import breakable_latex

LINES = 40  # of a table
CONTINUED = ", continued"  # as tables of scores say it too
_DECIMALS = 3
_SCORES_NOTE = (
    "Brackets: 95% interval over seeds; *: at chance, so its numbers say little; what each score is stands in the "
    "README of this bundle."
)
_DIFFERENCES_NOTE = (
    "First minus second, lower is better, with its 95% interval over seeds; p after Holm's correction over the "
    "workload's pairs; bold: separated."
)


def group_tables(group: Group, label: str) -> list[str]:
    """LaTeX of each table of the group, in a column where all fit into one; long ones go on in further tables.

    The first caption says how the tables are read. Labels are tab:LABEL, tab:LABEL-2, and so on.
    """
    tables = [part for table in group.tables for part in _parts(table)]
    floating = floating_of(tables)
    labels = (f"tab:{label}{f'-{place}' if place > 1 else ''}" for place in range(1, len(tables) + 1))
    notes = (group.note if place == 0 else "" for place in range(len(tables)))
    return [
        floated(_body(table), caption=breakable_latex(f"{table.heading}. {note}"), label=one, floating=floating)
        for table, note, one in zip(tables, notes, labels, strict=True)
    ]


def _body(table: Table) -> tuple[str, str, Iterable[str]]:
    """Columns, head and rows."""
    head = line_latex(stacked_title(column.title, column.side) for column in table.columns)
    return sides_of(table), head, map(row_latex, table.rows)


def scores_group(entries: Sequence[ScoredEntry], loss: str) -> Group:
    """Every score that a leaderboard lacks, with its interval, a few a table."""
    return Group(tables=tuple(scores_tables(score_table(entries, loss))), note=_SCORES_NOTE)


def differences_group(entries: Sequence[ScoredEntry], score: str) -> Group:
    """A table a workload: its pairs of entries under this score, named by `short_labels`."""
    differences = score_differences(entries, score)
    tables = (
        _pairs(str(workload), rows.with_columns(pl.col("first", "second").replace(_short(entries, workload))), score)
        for (workload,), rows in groups_of(differences, "workload")
    )
    return Group(tables=tuple(tables), note=_DIFFERENCES_NOTE)


def _short(entries: Sequence[ScoredEntry], workload: str) -> dict[str, str]:
    """`short_labels` of the workload's entries, by the labels that frames of differences have."""
    keys = [entry.key for entry in entries if entry.key[0] == workload]
    rows = pl.DataFrame(keys, schema=dict.fromkeys(ENTRY, pl.String), orient="row")
    return dict(zip((label_of(key[1:]) for key in keys), short_labels(rows), strict=True))


def _pairs(workload: str, rows: pl.DataFrame, score: str) -> Table:
    return table_of(
        f"Differences in {SCORE_KINDS[score].title} on {workload}",
        rows,
        ("First", lambda row: Name(text=row["first"], is_best=row["verdict"] == "first better")),
        ("Second", lambda row: Name(text=row["second"], is_best=row["verdict"] == "second better")),
        *scored("Difference", "difference", "ci", _DECIMALS),
        ("p (Holm)", lambda row: NOTHING if row["p_holm"] is None else f"{row['p_holm']:.2g}"),
        num_names=2,
    )


def _parts(table: Table) -> list[Table]:
    """The table in parts that fit a page, of at most LINES rows; from the second on the heading says "continued"."""
    parts = [
        replace(part, rows=part.rows[start : start + LINES])
        for part in page_wide(table)
        for start in range(0, max(1, len(table.rows)), LINES)
    ]
    further = f"{table.heading.removesuffix(CONTINUED)}{CONTINUED}"
    return [replace(part, heading=further) if place else part for place, part in enumerate(parts)]
