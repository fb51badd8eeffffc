"""Published scores, as CSV files with their source: workload, method, lr_sensitivity, source, note."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from bench.errors import unknown

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
        raise unknown("reference", name, REFERENCES)
    return pl.read_csv(Path(__file__).parent / REFERENCES[name], schema=_SCHEMA)
