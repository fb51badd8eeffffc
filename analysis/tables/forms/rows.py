"""Tables of frames, a line a row: each column is a title and what it makes of a row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import polars as pl

from analysis.curves import ENTRY, groups_of, label_of
from analysis.scores.flags import flags_of
from analysis.tables.forms.table import Cell, Flags, Group, IntervalCell, Number, Table, columns
from analysis.text import interval_decimals

Row = dict[str, Any]
Filled = tuple[str, Callable[[Row], Cell]]


def table_of(heading: str, frame: pl.DataFrame, *filled: Filled, num_names: int = 1) -> Table:
    """A line a row of the frame; `filled` is the title of each column and its cell, from a row."""
    rows = tuple(tuple(cell(row) for _, cell in filled) for row in frame.iter_rows(named=True))
    titles = (title for title, _ in filled)
    return Table(heading=heading, columns=columns(*titles, num_names=num_names), rows=rows)


def grouped(table: Callable[..., Table], frame: pl.DataFrame, *names: str, note: str) -> Group:
    """A table for each group of these columns: `table` makes it of their values and the group's rows."""
    return Group(tables=tuple(table(*key, rows) for key, rows in groups_of(frame, *names)), note=note)


def text(name: str) -> Callable[[Row], Cell]:
    """A column of the frame as it is."""
    return lambda row: str(row[name])


def fixed(name: str, decimals: int | None) -> Callable[[Row], Cell]:
    """A column of numbers in these decimals; None: three significant digits."""
    return lambda row: Number(value=row[name], decimals=decimals)


def scored(title: str, name: str, ends: str, decimals: int) -> tuple[Filled, Filled]:
    """A column of numbers, and one of their intervals, from `ends`_low to `ends`_high, whose widths decide digits.

    `decimals`: of numbers without an interval.
    """

    def value(row: Row) -> Cell:
        places = interval_decimals(row[f"{ends}_low"], row[f"{ends}_high"], decimals)
        return Number(value=row[name], decimals=places)

    def interval(row: Row) -> Cell:
        return IntervalCell(low=row[f"{ends}_low"], high=row[f"{ends}_high"], decimals=decimals)

    return (title, value), ("95% interval", interval)


def bracketed(title: str, name: str, ends: str, decimals: int) -> Filled:
    """A column of numbers, each with its interval, from `ends`_low to `ends`_high, behind it.

    `decimals`: of numbers without an interval.
    """

    def cell(row: Row) -> Cell:
        return Number(value=row[name], low=row[f"{ends}_low"], high=row[f"{ends}_high"], decimals=decimals)

    return title, cell


def varied(frame: pl.DataFrame, *names: str) -> list[str]:
    """The columns that do not say the same on every row."""
    return [name for name in names if frame[name].n_unique() > 1]


def label(row: Row) -> Cell:
    """Method, optimizer and knobs in one."""
    return label_of(row[name] for name in ENTRY[1:])


def flags(row: Row) -> Cell:
    """The flags of the row."""
    return Flags(flags=flags_of(row["flags"]))
