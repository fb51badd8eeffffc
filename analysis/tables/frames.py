"""Frames as tables for a terminal, and what is to be read with every digit as JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import polars as pl

from analysis.tables.table import Cell, Column, Number, Table, plain_cell, text_of
from analysis.text import interval_decimals

# Where a terminal is narrow these are left out first, then those not named here, the last one first, then _LEAVE_LAST.
_LEAVE_FIRST = ("loss", "source", "note", "definition", "num_trials", "blown_up_share", "num_seeds", "compared")
_LEAVE_LAST = ("flags", "best_lr")
_STAY = ("rank", "method", "optimizer", "knobs", "score", "side", "first", "second", "value", "verdict", "field")
# Shown on every row, even if it says the same on all; a column with an interval is, too.
_NEVER_THE_SAME = ("rank", "method", "score", "side", "first", "second", "field", "verdict", "compared")
_NOTHINGS = {"", "-"}  # what an empty cell is
_LOW, _HIGH, _CENSORED = "ci_low", "ci_high", "ci_censored"  # what names of columns of an interval end in
_RATE_UNITS = ("lr", "value of the knob")  # which always have three significant digits


def frame_tables(frame: pl.DataFrame) -> list[Table]:
    """A table for each value of the column `workload`, its heading; digits as in `row_cells`."""
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
    whole = _with_interval(row, names, censored)
    if whole is None:
        return {}
    words = ("", "≤ " * (censored in ("low", "both")), "≥ " * (censored in ("high", "both")))
    values = (whole.value, whole.low, whole.high)
    return {
        name: Number(value=value, decimals=whole.decimals, before=before)
        for name, value, before in zip(names, values, words, strict=True)
    }


def _with_interval(row: Mapping[str, object], names: tuple[str, str, str], censored: object) -> Number | None:
    """A number with its interval, from the columns of these names; None where one is missing."""
    values = [value for name in names if isinstance(value := row[name], float)]
    if len(values) < len(names):
        return None
    is_rate = row.get("unit") in _RATE_UNITS or names[0] == "best_lr"
    places = interval_decimals(values[1], values[2], -1)
    return Number(
        value=values[0],
        low=values[1],
        high=values[2],
        decimals=None if is_rate or places < 0 else places,
        censored=str(censored or ""),
    )


def plain_json(plain: Any) -> str:
    """Indented JSON; refuses infinity and NaN, which JSON has no numbers for."""
    return json.dumps(plain, indent=1, allow_nan=False) + "\n"


def _row(row: Mapping[str, object], scored: Mapping[str, str]) -> dict[str, Cell]:
    """The cells of a row by the names of its columns; `scored`: the number that each lower end of an interval is of."""
    cells: dict[str, Cell] = {
        name: "-" if value is None else plain_cell(value)
        for name, value in row.items()
        if not name.endswith((_LOW, _HIGH, _CENSORED))
    }
    for low, of in scored.items():
        start = low.removesuffix(_LOW)
        whole = _with_interval(row, (of, low, start + _HIGH), row.get(start + _CENSORED))
        cells |= {} if whole is None else {of: whole}
    return cells


def _table(heading: str, frame: pl.DataFrame) -> Table:
    """The frame without columns that say the same on every row, a number and its interval in one."""
    scored = {name: frame.columns[place - 1] for place, name in enumerate(frame.columns) if name.endswith(_LOW)}
    rows = [_row(row, scored) for row in frame.iter_rows(named=True)]
    texts = {name: {text_of(row[name]) for row in rows} for name in rows[0]}
    same = {
        name: next(iter(words))
        for name, words in texts.items()
        if len(words) == 1 and name not in (*_NEVER_THE_SAME, *scored.values())
        if len(rows) > 1 or words <= _NOTHINGS
    }
    kept = [name for name in texts if name not in same]
    leaving = [name for name in _LEAVE_FIRST if name in kept]
    leaving += [name for name in reversed(kept) if name not in (*leaving, *_LEAVE_LAST, *_STAY, *scored.values())]
    leaving += [name for name in _LEAVE_LAST if name in kept and name not in scored.values()]
    columns = (
        Column(
            title=f"{name} [95%]" if name in scored.values() else name,
            is_name=not frame[name].dtype.is_numeric(),
            leaves=leaving.index(name) + 1 if name in leaving else 0,
        )
        for name in kept
    )
    return Table(
        heading=heading,
        columns=tuple(columns),
        rows=tuple(tuple(row[name] for name in kept) for row in rows),
        same=tuple((name, text) for name, text in same.items() if text not in _NOTHINGS),
    )
