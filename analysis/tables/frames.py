"""Frames as tables for a terminal, and what is to be read with every digit as JSON."""

from __future__ import annotations

import json
from typing import Any

import polars as pl

from analysis.tables.table import Cell, Column, Table, plain_cell

# Left out on a terminal where they say the same on every row.
_WIDE_COLUMNS = ("knobs", "definition", "source", "note")


def frame_tables(frame: pl.DataFrame) -> list[Table]:
    """A table for each value of the column `workload`, its heading; numbers in three significant digits."""
    return [
        _table(str(workload), rows.drop("workload"))
        for (workload,), rows in frame.group_by("workload", maintain_order=True)
    ]


def plain_json(plain: Any) -> str:
    """Indented JSON; refuses infinity and NaN, which JSON has no numbers for."""
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def _table(heading: str, frame: pl.DataFrame) -> Table:
    hidden = {name for name in _WIDE_COLUMNS if name in frame.columns and frame[name].n_unique() == 1}
    shown = frame.drop(hidden)
    columns = tuple(Column(title=name, is_name=not kind.is_numeric()) for name, kind in shown.schema.items())
    return Table(heading=heading, columns=columns, rows=tuple(tuple(map(_cell, row)) for row in shown.iter_rows()))


def _cell(value: object) -> Cell:
    return "-" if value is None else plain_cell(value)
