"""Frames as tables for a terminal, and what is to be read with every digit as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from analysis.tables.table import Cell, Column, Number, Table, plain_cell
from analysis.text import interval_decimals

# Left out on a terminal where they say the same on every row.
_WIDE_COLUMNS = ("knobs", "definition", "source", "note")
_LOW, _HIGH, _CENSORED = "ci_low", "ci_high", "ci_censored"  # what names of columns of an interval end in
_RATE_UNITS = ("lr", "value of the knob")  # which always have three significant digits


def frame_tables(frame: pl.DataFrame) -> list[Table]:
    """A table for each value of the column `workload`, its heading; cells as in `row_cells`."""
    return [
        _table(str(workload), rows.drop("workload"))
        for (workload,), rows in frame.group_by("workload", maintain_order=True)
    ]


def row_cells(row: Mapping[str, object], *, nothing: str = "-") -> tuple[Cell, ...]:
    """The cells of a row, without what says which ends are censored, which stands before these.

    Numbers have three significant digits; one that stands before its interval, and both ends, have those that show half
    its width in two, but for learning rates. nothing: what a null is.
    """
    names = [name for name in row if not name.endswith(_CENSORED)]
    cells: dict[str, Cell] = {name: nothing if row[name] is None else plain_cell(row[name]) for name in names}
    for place, name in enumerate(names):
        if name.endswith(_LOW):
            of = names[place - 1]
            high = name.removesuffix(_LOW) + _HIGH
            cells |= _interval_cells(row, (of, name, high), row.get(name.removesuffix(_LOW) + _CENSORED))
    return tuple(cells.values())


def _interval_cells(row: Mapping[str, object], names: tuple[str, str, str], censored: object) -> dict[str, Cell]:
    """A number and the ends of its interval, where there is one."""
    values = [value for name in names if isinstance(value := row[name], float)]
    if len(values) < len(names):
        return {}
    is_rate = row.get("unit") in _RATE_UNITS or names[0] == "best_lr"
    places = interval_decimals(values[1], values[2], -1)
    decimals = None if is_rate or places < 0 else places
    before = ("", "≤ " * (censored in ("low", "both")), "≥ " * (censored in ("high", "both")))
    return {
        name: Number(value=value, decimals=decimals, before=words)
        for name, value, words in zip(names, values, before, strict=True)
    }


def plain_json(plain: Any) -> str:
    """Indented JSON; refuses infinity and NaN, which JSON has no numbers for."""
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def _table(heading: str, frame: pl.DataFrame) -> Table:
    hidden = {name for name in _WIDE_COLUMNS if name in frame.columns and frame[name].n_unique() == 1}
    shown = frame.drop(hidden)
    columns = tuple(
        Column(title=name, is_name=not kind.is_numeric())
        for name, kind in shown.schema.items()
        if not name.endswith(_CENSORED)
    )
    return Table(heading=heading, columns=columns, rows=tuple(map(row_cells, shown.iter_rows(named=True))))
