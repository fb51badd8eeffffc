"""Frames as tables for a terminal, and what is to be read with every digit as JSON."""

from __future__ import annotations

import itertools
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import polars as pl

from analysis.tables.forms.table import NOTHING, Cell, Column, Number, Table, plain_cell
from analysis.text import interval_decimals

# Where a terminal is narrow these are left out first, then those not named here, the last one first, then _LEAVE_LAST.
_LEAVE_FIRST = (
    *("loss", "source", "note", "definition", "num_rounds", "num_trials_to_target", "num_trials", "blown_up_share"),
    *("num_seeds", "compared"),
)
_LEAVE_LAST = ("flags", "best_lr")
_STAY = ("rank", "method", "optimizer", "knobs", "score", "side", "first", "second", "value", "verdict", "field")
# Shown on every row, even if it says the same on all; a column with an interval is, too.
_NEVER_THE_SAME = ("rank", "method", "score", "side", "first", "second", "field", "verdict")
_NOTHINGS = {"", "-", NOTHING}  # what an empty cell is
_LOW, _HIGH, _CENSORED = "ci_low", "ci_high", "ci_censored"  # what names of columns of an interval end in
_WITH_INTERVAL = " [95%]"  # behind the title of a number with its interval
_RATE_UNITS = ("lr", "value of the knob")  # which always have three significant digits


def frame_tables(frame: pl.DataFrame) -> list[Table]:
    """A table for each value of the column `workload`, its heading, for a terminal: columns know when they leave.

    As `plain_table`, without the columns that say the same on every row.
    """
    return [
        _without_the_same(plain_table(str(workload), rows.drop("workload")))
        for (workload,), rows in frame.group_by("workload", maintain_order=True)
    ]


def plain_table(heading: str, frame: pl.DataFrame, *, nothing: str = "-") -> Table:
    """The frame as it is, but for intervals: each stands behind its number, and says which ends are censored.

    Numbers have three significant digits; one with an interval has those that show half its width in two, but for
    learning rates. nothing: what a null is.
    """
    scored = {low: of for of, low in itertools.pairwise(frame.columns) if low.endswith(_LOW)}
    rows = [_row(row, scored, nothing) for row in frame.iter_rows(named=True)]
    names = [name for name in frame.columns if not name.endswith((_LOW, _HIGH, _CENSORED))]
    columns = (
        Column(
            title=f"{name}{_WITH_INTERVAL}" if name in scored.values() else name,
            is_name=not frame[name].dtype.is_numeric(),
        )
        for name in names
    )
    return Table(heading=heading, columns=tuple(columns), rows=tuple(rows))


def without_the_same(table: Table) -> Table:
    """The table without columns, but the first, that say the same on every row, which it says once below.

    Numbers with an interval stay.
    """
    texts = list(zip(*table.texts, strict=True)) if table.rows else []
    same = {
        place: of_column[0]
        for place, of_column in enumerate(texts)
        if place and len(table.rows) > 1 and len(set(of_column)) == 1
        if not any(isinstance(cell := row[place], Number) and cell.ends for row in table.rows)
    }
    kept = [place for place in range(len(table.columns)) if place not in same]
    return replace(
        table,
        columns=tuple(table.columns[place] for place in kept),
        rows=tuple(tuple(row[place] for place in kept) for row in table.rows),
        same=tuple((table.titles[place], text) for place, text in same.items() if text not in _NOTHINGS),
    )


def plain_json(plain: Any) -> str:
    """Indented JSON; refuses infinity and NaN, which JSON has no numbers for."""
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def _row(row: Mapping[str, object], scored: Mapping[str, str], nothing: str) -> tuple[Cell, ...]:
    """The cells of a row; `scored`: the number that each lower end of an interval is of."""
    cells: dict[str, Cell] = {
        name: nothing if value is None else plain_cell(value)
        for name, value in row.items()
        if not name.endswith((_LOW, _HIGH, _CENSORED))
    }
    for low, of in scored.items():
        start = low.removesuffix(_LOW)
        value, least, largest = (row[name] for name in (of, low, start + _HIGH))
        if isinstance(value, float) and isinstance(least, float) and isinstance(largest, float):
            is_rate = row.get("unit") in _RATE_UNITS or of == "best_lr"
            places = interval_decimals(least, largest, -1)
            cells[of] = Number(
                value=value,
                low=least,
                high=largest,
                decimals=None if is_rate or places < 0 else places,
                censored=str(row.get(start + _CENSORED) or ""),
            )
    return tuple(cells.values())


def _without_the_same(table: Table) -> Table:
    """The table without columns that say the same on every row, which it says once, the others with when they leave."""
    names = [title.removesuffix(_WITH_INTERVAL) for title in table.titles]
    scored = {name for name, title in zip(names, table.titles, strict=True) if name != title}
    named = {name for name, column in zip(names, table.columns, strict=True) if column.is_name}
    texts = {name: set(of_column) for name, of_column in zip(names, zip(*table.texts, strict=True), strict=True)}
    same = {
        name: next(iter(words))
        for name, words in texts.items()
        if len(words) == 1 and (name not in (*_NEVER_THE_SAME, *scored) or (name == "score" and name in named))
        if len(table.rows) > 1 or words <= _NOTHINGS
    }
    kept = [name for name in names if name not in same]
    leaving = [name for name in _LEAVE_FIRST if name in kept]
    leaving += [name for name in reversed(kept) if name not in (*leaving, *_LEAVE_LAST, *_STAY, *scored)]
    leaving += [name for name in _LEAVE_LAST if name in kept and name not in scored]
    places = [names.index(name) for name in kept]
    columns = (
        replace(table.columns[place], leaves=leaving.index(name) + 1 if name in leaving else 0)
        for name, place in zip(kept, places, strict=True)
    )
    return replace(
        table,
        columns=tuple(columns),
        rows=tuple(tuple(row[place] for place in places) for row in table.rows),
        same=tuple((name, text) for name, text in same.items() if text not in _NOTHINGS),
    )
