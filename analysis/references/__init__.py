"""Published scores, as CSV files with their source: workload, method, lr_sensitivity, source, note."""

from __future__ import annotations

import difflib
from pathlib import Path

import polars as pl

from bench.errors import UsageError

REFERENCES: dict[str, str] = {
    "paper": "hong_lee_2025_table1.csv",
}

_SCHEMA = {
    "workload": pl.String,
    "method": pl.String,
    "lr_sensitivity": pl.Float64,
    "source": pl.String,
    "note": pl.String,
}


def load(name: str) -> pl.DataFrame:
    """The published numbers of this name, columns as above. Raises UsageError for an unknown name."""
    if name not in REFERENCES:
        near = difflib.get_close_matches(name, REFERENCES, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise UsageError(f"unknown reference {name!r}{hint} (there are {', '.join(REFERENCES)})")
    return pl.read_csv(Path(__file__).parent / REFERENCES[name], schema=_SCHEMA)
